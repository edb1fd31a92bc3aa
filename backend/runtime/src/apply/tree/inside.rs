//! The inner half of the file system's steps: the new root and everything in it, put together from detached mounts.

use std::os::fd::OwnedFd;
use std::path::Path;

use belljar_linux::mount::{self, Attributes, Change, Depth, Value, magic};
use belljar_linux::procfs::Procfs;
use belljar_linux::{Error, Result, tree};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::cgroups::Cgroups;
use super::{attributes, copy_up, place};
use crate::spec::{Attribute, CopyUp, MountAttributes, Propagation};
use crate::step::TreeStep;
use crate::step::tree::{Missing, NewMount, Otherwise};

/// What the steps of the file system share inside.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// What was handed over, by number; each is taken once.
    pub(crate) mounts: Vec<Option<OwnedFd>>,
    /// The new root, before and after it becomes the only one.
    pub(crate) root: Option<OwnedFd>,
    /// What the step that is being taken has to say beside its time.
    pub(crate) note: Option<String>,
    /// The host's `/dev/null`, once it was proven to be that.
    pub(super) null: Option<OwnedFd>,
    /// The empty folder that masks others.
    pub(super) empty: Option<OwnedFd>,
    /// A `/proc` that nobody else can reach.
    proc: Option<Procfs>,
    /// What is to be made read-only once it is filled, by target.
    pub(super) unsealed: Vec<(String, OwnedFd)>,
}

impl Inside {
    /// Takes one step.
    pub(crate) fn take(&mut self, step: &TreeStep) -> Result<()> {
        match step {
            TreeStep::MakeMountsPrivate => mount::make_all_private(),
            TreeStep::AttachRoot { staging } => self.attach_root(staging),
            TreeStep::Attach { target, mount, missing } => self.attach(target, *mount, *missing),
            TreeStep::AttachCgroups { target, mount, layout, attributes } => {
                self.attach_cgroups(&Cgroups { target, mount: *mount, layout, attributes })
            }
            TreeStep::Mount(new) => self.mount(new),
            TreeStep::ChangeMount { target, options, attributes, propagation } => {
                self.change(target, options, attributes)?;
                self.propagate(target, *propagation)
            }
            TreeStep::PlaceDevice { device, way } => self.place_device(device, *way),
            TreeStep::LinkDevices => self.link_devices(),
            TreeStep::Mask(path) => self.mask(path),
            TreeStep::OpenProc => {
                self.proc = Some(Procfs::private()?);
                Ok(())
            }
            TreeStep::SetSysctl { path, value, .. } => self.set_sysctl(path, value),
            TreeStep::MakeReadOnly(path) => self.make_read_only(path),
            TreeStep::SealMount(target) => self.seal(target),
            TreeStep::Pivot => mount::pivot(self.root()?),
            TreeStep::OpenRoot { folder } => {
                self.root = Some(tree::root(folder)?);
                Ok(())
            }
            TreeStep::Chroot => tree::change_root(self.root()?),
            TreeStep::PropagateRoot(asked) => propagate(self.root()?, *asked),
            TreeStep::SealRoot => mount::change(self.root()?, &Change::setting(Attributes::MOUNT_ATTR_RDONLY), Depth::One),
            TreeStep::SealGraft(place) => {
                let graft = tree::open(self.root()?, place, OFlags::PATH | OFlags::NOFOLLOW)?;
                mount::change(&graft, &Change::setting(Attributes::MOUNT_ATTR_RDONLY), Depth::One)
            }
            _ => Err(crate::apply::misplaced(step.verb(), &step.object())),
        }
    }

    /// The container's root.
    pub(crate) fn root(&self) -> Result<&OwnedFd> {
        self.root.as_ref().ok_or_else(|| Error::new("find", "new root", Errno::NOENT))
    }

    /// The staging folder is opened here and not by the maker: a descriptor of its would lie in another mount namespace.
    fn attach_root(&mut self, staging: &Path) -> Result<()> {
        let root = self.handed_over(0)?;
        mount::attach(&root, tree::root(staging)?)?;
        // What was handed over is the root's own mount, now that it hangs: nothing needs to be looked up again.
        self.root = Some(root);
        Ok(())
    }

    pub(super) fn handed_over(&mut self, index: usize) -> Result<OwnedFd> {
        let missing = || Error::new("find", format!("mount {index}"), Errno::NOENT);
        self.mounts.get_mut(index).and_then(Option::take).ok_or_else(missing)
    }

    fn attach(&mut self, target: &str, index: usize, missing: Missing) -> Result<()> {
        let taken = self.handed_over(index)?;
        let place = match missing {
            Missing::Folder => tree::make_folder(self.root()?, target, 0o755)?,
            Missing::Alike => place::of(self.root()?, target, &taken)?,
        };
        mount::attach(&taken, &place)
    }

    fn mount(&mut self, new: &NewMount) -> Result<()> {
        let before = tree::open(self.root()?, &new.target, OFlags::PATH).ok();
        let made = self.make(new, before.as_ref())?;
        if tree::kind_of(&made)? != FileType::Directory {
            return Err(Error::new("mount", format!("{} at {}", new.kind, new.target), Errno::NOTDIR));
        }
        if let (CopyUp::Yes, Some(before)) = (new.copy_up, &before) {
            copy_up::copy(before, &made)?;
        }
        mount::attach(&made, place::of(self.root()?, &new.target, &made)?)?;
        if let Some(propagation) = new.propagation {
            propagate(&made, propagation)?;
        }
        if is_sealed_later(new) {
            self.unsealed.push((new.target.clone(), made));
        }
        Ok(())
    }

    /// Makes the file system; where this process may not, what the host has of it may serve.
    fn make(&mut self, new: &NewMount, before: Option<&OwnedFd>) -> Result<OwnedFd> {
        let mut wanted = new.attributes.set.clone();
        if is_sealed_later(new) {
            wanted.remove(&Attribute::ReadOnly);
        }
        let mode = mode_of(new, before)?;
        let mut options = attributes::values(&new.kind, &new.options);
        options.extend(mode.as_deref().map(|mode| ("mode", Value::Text(mode))));
        options.extend(new.source.as_deref().filter(|source| !source.is_empty()).map(|source| ("source", Value::Text(source))));
        let bits = attributes::bits(&wanted);
        match mount::new_filesystem(&new.kind, &options, bits) {
            // A group that the container has no id for: its terminals are its root's then.
            Err(error) if new.kind == "devpts" && error.errno == Errno::INVAL && has(new, "gid") => {
                self.note = Some(": without its group, for which the container has no id".to_owned());
                options.retain(|(key, _)| *key != "gid");
                mount::new_filesystem(&new.kind, &options, bits)
            }
            Err(error) if new.otherwise == Otherwise::BindHosts && matches!(error.errno, Errno::PERM | Errno::ACCESS) => {
                let (path, taken) = take_hosts(&new.kind, &new.attributes).map_err(|_| error)?;
                self.note = Some(format!(": the host's {path} bound, as the namespace that it shows belongs to the host"));
                Ok(taken)
            }
            made => made,
        }
    }

    /// A mount that is there already; a target at which there is none is refused.
    fn change(&mut self, target: &str, options: &[(String, String)], wanted: &MountAttributes) -> Result<()> {
        let opened = tree::open(self.root()?, target, OFlags::PATH)?;
        if !options.is_empty() {
            mount::reconfigure(&opened, &attributes::values("", options)).map_err(|error| at(error, target))?;
        }
        match attributes::apply(&opened, wanted).map_err(|error| at(error, target))? {
            attributes::Kept::Some => self.note = Some(": but for attributes that the host keeps set".to_owned()),
            attributes::Kept::Nothing => {}
        }
        Ok(())
    }

    fn propagate(&self, target: &str, asked: Option<Propagation>) -> Result<()> {
        let Some(asked) = asked else { return Ok(()) };
        propagate(&tree::open(self.root()?, target, OFlags::PATH)?, asked).map_err(|error| at(error, target))
    }

    fn set_sysctl(&self, path: &str, value: &str) -> Result<()> {
        let proc = self.proc.as_ref().ok_or_else(|| Error::new("find", "proc", Errno::NOENT))?;
        proc.write(&format!("sys/{path}"), value)
    }

    /// Read-only from here on: the last of several mounts at one target is the one that can be seen.
    fn seal(&mut self, target: &str) -> Result<()> {
        let index = self.unsealed.iter().rposition(|(place, _)| place == target);
        let (_, mount) = index.map(|index| self.unsealed.remove(index)).ok_or_else(|| Error::new("find", target, Errno::NOENT))?;
        mount::change(&mount, &Change::setting(Attributes::MOUNT_ATTR_RDONLY), Depth::One)
    }
}

fn at(error: Error, target: &str) -> Error {
    Error { subject: target.to_owned(), ..error }
}

fn propagate(mount: &OwnedFd, asked: Propagation) -> Result<()> {
    mount::change(mount, &Change::propagating(attributes::propagation(asked)), attributes::depth(asked.depth()))
}

fn has(new: &NewMount, option: &str) -> bool {
    new.options.iter().any(|(key, _)| key == option)
}

/// Mount points and devices are made in it first.
fn is_sealed_later(new: &NewMount) -> bool {
    new.kind == "tmpfs" && new.attributes.set.contains(&Attribute::ReadOnly)
}

/// A tmpfs whose mode nobody gave has that of the folder that it covers: `/root` stays closed.
fn mode_of(new: &NewMount, before: Option<&OwnedFd>) -> Result<Option<String>> {
    match before {
        Some(before) if new.kind == "tmpfs" && !has(new, "mode") => Ok(Some(format!("{:o}", tree::stat(before)?.st_mode & 0o7777))),
        _ => Ok(None),
    }
}

/// What the host has of a file system that shows one of its namespaces. Its `/sys` is for reading, whatever was asked.
fn take_hosts(kind: &str, wanted: &MountAttributes) -> Result<(&'static str, OwnedFd)> {
    let (path, magic, always) = match kind {
        "sysfs" => ("/sys", magic::SYS, Attributes::MOUNT_ATTR_RDONLY),
        "proc" => ("/proc", magic::PROC, Attributes::empty()),
        _ => ("/dev/mqueue", magic::MQUEUE, Attributes::empty()),
    };
    // With all that is mounted below: what is locked together cannot be taken apart, nor may it, as one hides the other.
    let taken = mount::clone_tree(Path::new(path), Depth::All)?;
    if mount::magic_of(&taken)? != magic {
        return Err(Error::new("take", path, Errno::XDEV));
    }
    mount::set_attributes(&taken, attributes::bits(&wanted.set) | always, Depth::All)?;
    Ok((path, taken))
}
