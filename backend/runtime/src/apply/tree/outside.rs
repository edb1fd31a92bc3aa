//! The outer half of the file system's steps: what needs the host's rights or paths is made here, detached, and handed over.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use belljar_linux::mount::{self, Change, Depth, Propagation};
use belljar_linux::{Error, Result, process, tree};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::overlay::{self, Upper};
use super::shared::{Shared, mounts_of, only_itself};
use super::{attributes, init_layer};
use crate::spec::{Depth as SpecDepth, IdMap, IdMaps, MountIds, Propagation as Asked};
use crate::stack::OverlayMount;
use crate::step::TreeStep;
use crate::step::tree::{Bind, Owners, Peers};

/// What the steps of the file system share outside.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// What waits to be handed over, in order.
    pub(crate) mounts: Vec<OwnedFd>,
    /// The container's user namespace, where it is not this process's.
    pub(crate) user_namespace: Option<OwnedFd>,
    /// What is shared with the host once all is mounted.
    shared: Shared,
    /// What the step that is being taken has to say beside its time.
    pub(crate) note: Option<String>,
}

impl Outside {
    /// Takes one step. Handing over is the loop's.
    pub(crate) fn take(&mut self, step: &TreeStep) -> Result<()> {
        match step {
            TreeStep::LimitLayer { upper, work, limit } => crate::quota::apply((upper, work), limit),
            TreeStep::FillInitLayer { layer, hostname } => init_layer::fill(layer, hostname.as_deref()),
            TreeStep::Overlay { mount, owners } => self.overlay(mount, *owners),
            TreeStep::TakeRoot { folder, propagation } => self.take_root(folder, *propagation),
            TreeStep::TakeBind(bind) => self.take_bind(bind),
            TreeStep::TakeCgroups { folders, access } => self.take_cgroups(folders, *access),
            TreeStep::ShareWithHost => self.shared.join(),
            _ => Err(crate::apply::misplaced(step.verb(), &step.object())),
        }
    }

    fn overlay(&mut self, mount: &OverlayMount, owners: Owners) -> Result<()> {
        overlay::prepare(mount)?;
        let made = match (owners, &self.user_namespace) {
            (Owners::Mapped(base), Some(user_namespace)) => {
                process::with_file_ids(base, || overlay::make(mount, Some(user_namespace.as_fd()), Upper::Containers))?
            }
            _ => overlay::make(mount, None, Upper::Containers)?,
        };
        self.mounts.push(made);
        Ok(())
    }

    /// The folder as it is, with what is mounted below it: bound to nothing yet, so that pivoting finds a mount.
    fn take_root(&mut self, folder: &Path, propagation: Option<Asked>) -> Result<()> {
        let taken = mount::clone_tree(folder, Depth::All)?;
        if tree::kind_of(&taken)? != FileType::Directory {
            return Err(Error::new("take", folder.display().to_string(), Errno::NOTDIR));
        }
        match propagation.map(attributes::propagation) {
            None | Some(Propagation::Private | Propagation::Unbindable) => {
                mount::change(&taken, &Change::propagating(Propagation::Private), Depth::All)?;
            }
            Some(Propagation::Slave) => mount::change(&taken, &Change::propagating(Propagation::Slave), Depth::All)?,
            Some(Propagation::Shared) if self.user_namespace.is_some() => {
                mount::change(&taken, &Change::propagating(Propagation::Slave), Depth::All)?;
            }
            // What lies below becomes the host's peer. The root itself cannot be: pivoting refuses one that is shared.
            Some(Propagation::Shared) => {
                let peers = mount::clone_tree(folder, Depth::All)?;
                mount::change(&peers, &Change::propagating(Propagation::Slave), Depth::One)?;
                self.shared.keep(&taken, peers, mounts_of(folder)?)?;
            }
        }
        self.mounts.push(taken);
        Ok(())
    }

    fn take_bind(&mut self, bind: &Bind) -> Result<()> {
        let depth = attributes::depth(bind.depth);
        let taken = match &bind.within {
            None => mount::clone_tree(&bind.source, depth)?,
            // A container wrote what is there: looked up by descriptor, and never out of it.
            Some(path) => mount::clone_below(tree::open(tree::root(&bind.source)?, path, OFlags::PATH | OFlags::DIRECTORY)?, depth)?,
        };
        self.map_ids(&taken, bind)?;
        attributes::apply(&taken, &bind.attributes)?;
        self.propagate(&taken, bind)?;
        self.mounts.push(taken);
        Ok(())
    }

    /// Owners are shifted on the copy of the mount: nothing on disk changes, and nobody else sees it.
    fn map_ids(&mut self, taken: &OwnedFd, bind: &Bind) -> Result<()> {
        let mapped = |namespace: &OwnedFd, depth| {
            mount::map_ids(taken, namespace, depth).map_err(|error| {
                let filesystem = mount::filesystem_of(&bind.source).unwrap_or_else(|_| "unknown".to_owned());
                Error { subject: format!("{}, which lies on a file system ({filesystem}) that cannot", bind.source.display()), ..error }
            })
        };
        match (&bind.ids, &self.user_namespace) {
            (MountIds::AsTheyAre, _) | (MountIds::ContainerWherePossible, None) => Ok(()),
            (MountIds::ContainerWherePossible, Some(namespace)) => match mount::map_ids(taken, namespace, Depth::One) {
                // The next safest: its files belong to nobody inside, and the step says so.
                Err(error) if error.errno == Errno::INVAL => {
                    self.note = Some(cannot_map(&bind.source));
                    Ok(())
                }
                mapped => mapped,
            },
            (MountIds::Container(depth), Some(namespace)) => mapped(namespace, attributes::depth(*depth)),
            (MountIds::Container(_), None) => Err(Error::new("map ids of", bind.target.clone(), Errno::INVAL)),
            (MountIds::Maps { maps, depth }, _) => mapped(&namespace_of(maps)?, attributes::depth(*depth)),
        }
    }

    /// A copy of a shared mount is its peer: without a word of the spec it becomes nobody's. Where nothing may go to the host,
    /// `shared` means shared with what the container itself makes of it.
    fn propagate(&mut self, taken: &OwnedFd, bind: &Bind) -> Result<()> {
        let set = |propagation, depth| mount::change(taken, &Change::propagating(propagation), depth);
        let Some(asked) = bind.propagation else { return set(Propagation::Private, Depth::All) };
        let depth = attributes::depth(asked.depth());
        match attributes::propagation(asked) {
            Propagation::Private => set(Propagation::Private, Depth::All),
            Propagation::Unbindable => {
                set(Propagation::Private, Depth::All)?;
                set(Propagation::Unbindable, depth)
            }
            Propagation::Slave => set(Propagation::Slave, Depth::All),
            Propagation::Shared if bind.peers == Peers::Own => {
                set(Propagation::Slave, Depth::All)?;
                set(Propagation::Shared, depth)
            }
            Propagation::Shared => {
                let peers = mount::clone_tree(&bind.source, attributes::depth(bind.depth))?;
                // One that the host shares with nobody is shared all the same: with what the container makes of it.
                mount::change(&peers, &Change::propagating(Propagation::Shared), depth)?;
                let places = if bind.depth == SpecDepth::All { mounts_of(&bind.source)? } else { only_itself() };
                self.shared.keep(taken, peers, places)
            }
        }
    }
}

/// A user namespace that exists only for its maps.
fn namespace_of(maps: &IdMaps) -> Result<OwnedFd> {
    let ranges = |maps: &[IdMap]| maps.iter().map(|map| (map.inside, map.outside, map.count)).collect::<Vec<_>>();
    belljar_linux::idmap::user_namespace(&ranges(&maps.uids), &ranges(&maps.gids))
}

fn cannot_map(source: &Path) -> String {
    let filesystem = mount::filesystem_of(source).unwrap_or_else(|_| "unknown".to_owned());
    format!(": its file system, {filesystem}, cannot map owners, so they stay as they are and read as nobody")
}
