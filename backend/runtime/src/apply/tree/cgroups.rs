//! The container's cgroups in its tree: its own folder of each hierarchy, bound, so that nothing above can be seen; with a
//! cgroup namespace or without, it is the same.

use std::path::PathBuf;

use belljar_linux::mount::{self, Attributes, Depth, Value};
use belljar_linux::{Result, device};

use super::{Inside, Outside, attributes, place};
use crate::spec::{Access, Attribute, MountAttributes};
use crate::step::tree::CgroupLayout;

impl Outside {
    pub(super) fn take_cgroups(&mut self, folders: &[PathBuf], access: Access) -> Result<()> {
        let limited = if access == Access::ReadOnly { Attributes::MOUNT_ATTR_RDONLY } else { Attributes::empty() };
        let never = Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV | Attributes::MOUNT_ATTR_NOEXEC;
        for folder in folders {
            let taken = mount::clone_tree(folder, Depth::One)?;
            mount::set_attributes(&taken, limited | never, Depth::One)?;
            self.mounts.push(taken);
        }
        Ok(())
    }
}

impl Inside {
    pub(super) fn attach_cgroups(&mut self, wanted: &Cgroups<'_>) -> Result<()> {
        let (names, links) = match wanted.layout {
            CgroupLayout::Single => {
                let taken = self.handed_over(wanted.mount)?;
                return mount::attach(&taken, place::of(self.root()?, wanted.target, &taken)?);
            }
            CgroupLayout::Several { names, links } => (names, links),
        };
        let holder =
            mount::new_filesystem("tmpfs", &[("mode", Value::Text("755"))], attributes::bits(&without_read_only(wanted.attributes)))?;
        mount::attach(&holder, place::of(self.root()?, wanted.target, &holder)?)?;
        for (index, name) in names.iter().enumerate() {
            let taken = self.handed_over(wanted.mount + index)?;
            mount::attach_in(&taken, &holder, name)?;
        }
        for (name, to) in links {
            device::link(&holder, name, to)?;
        }
        if wanted.attributes.set.contains(&Attribute::ReadOnly) {
            // Not yet: other mounts may follow in it.
            self.unsealed.push((wanted.target.to_owned(), holder));
        }
        Ok(())
    }
}

/// What is hung where.
pub(super) struct Cgroups<'a> {
    pub(super) target: &'a str,
    /// Number of the first that was handed over.
    pub(super) mount: usize,
    pub(super) layout: &'a CgroupLayout,
    pub(super) attributes: &'a MountAttributes,
}

fn without_read_only(attributes: &MountAttributes) -> std::collections::BTreeSet<Attribute> {
    let writable = |attribute: &&Attribute| **attribute != Attribute::ReadOnly;
    attributes.set.iter().filter(writable).copied().collect()
}
