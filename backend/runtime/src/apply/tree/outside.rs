//! The outer half of the file system's steps: what needs the host's rights or paths is made here, detached, and handed over.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use belljar_linux::mount::{self, Attributes, Depth};
use belljar_linux::{Result, process};
use rustix::io::Errno;

use super::{init_layer, overlay};
use crate::stack::OverlayMount;
use crate::step::TreeStep;
use crate::step::tree::{Access, Owners};

/// What the steps of the file system share outside.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// What waits to be handed over, in order.
    pub(crate) mounts: Vec<OwnedFd>,
    /// The container's user namespace, where it is not this process's.
    pub(crate) user_namespace: Option<OwnedFd>,
    /// What the step that is being taken has to say beside its time.
    pub(crate) note: Option<String>,
}

impl Outside {
    /// Takes one step. Handing over is the loop's.
    pub(crate) fn take(&mut self, step: &TreeStep) -> Result<()> {
        match step {
            TreeStep::FillInitLayer { layer, hostname } => init_layer::fill(layer, hostname),
            TreeStep::Overlay { mount, owners } => self.overlay(mount, *owners),
            TreeStep::TakeRoot { folder, access } => self.take_root(folder, *access),
            TreeStep::TakeBind { source, access, owners, .. } => self.take_bind(source, *access, *owners),
            _ => Err(crate::apply::misplaced(step.verb(), &step.object())),
        }
    }

    fn overlay(&mut self, mount: &OverlayMount, owners: Owners) -> Result<()> {
        overlay::prepare(mount)?;
        let made = match (owners, &self.user_namespace) {
            (Owners::Mapped(base), Some(user_namespace)) => {
                process::with_file_ids(base, || overlay::make(mount, Some(user_namespace.as_fd())))?
            }
            _ => overlay::make(mount, None)?,
        };
        self.mounts.push(made);
        Ok(())
    }

    fn take_root(&mut self, folder: &Path, access: Access) -> Result<()> {
        let taken = mount::clone_tree(folder, Depth::All)?;
        let read_only = if access == Access::ReadOnly { Attributes::MOUNT_ATTR_RDONLY } else { mount::no_attributes() };
        mount::set_attributes(&taken, read_only, Depth::One)?;
        self.mounts.push(taken);
        Ok(())
    }

    fn take_bind(&mut self, source: &Path, access: Access, owners: Owners) -> Result<()> {
        // What is mounted below comes along, as people expect of a bind; owners are shifted on the mount itself.
        let taken = mount::clone_tree(source, Depth::All)?;
        if let Some(user_namespace) = self.user_namespace.as_ref().filter(|_| owners != Owners::AsTheyAre) {
            match mount::map_ids(&taken, user_namespace, Depth::One) {
                // The next safest: its files belong to nobody inside, and the step says so.
                Err(error) if error.errno == Errno::INVAL => self.note = Some(cannot_map(source)),
                mapped => mapped?,
            }
        }
        let read_only = if access == Access::ReadOnly { Attributes::MOUNT_ATTR_RDONLY } else { mount::no_attributes() };
        mount::set_attributes(&taken, read_only | Attributes::MOUNT_ATTR_NODEV | Attributes::MOUNT_ATTR_NOSUID, Depth::All)?;
        self.mounts.push(taken);
        Ok(())
    }
}

fn cannot_map(source: &Path) -> String {
    let filesystem = mount::filesystem_of(source).unwrap_or_else(|_| "unknown".to_owned());
    format!(": its file system, {filesystem}, cannot map owners, so they stay as they are and read as nobody")
}
