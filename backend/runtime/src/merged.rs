//! A container's layers as one tree, for a process that is not the container: mounted in a mount namespace of that process's
//! own, by the same code as for a start. Nobody else sees it, and it goes with the process.
//!
//! The caller must have one thread, and must be ready to stay in the mount namespace that is made for it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use belljar_linux::mount::{self, Attributes, Change, Depth, Value};
use belljar_linux::{Result, namespace, process, tree};

use crate::apply::overlay;
use crate::spec::OverlayTree;
use crate::stack;

/// How much of the layers is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All: what is written goes to the container's own layer. Nobody else may have that mounted meanwhile.
    Whole,
    /// What lies below the container's own layer, read-only: what it would be without a change.
    Below,
}

/// Whose ids the owners of files are shown as.
#[derive(Debug)]
pub struct Owners<'a> {
    /// The container's user namespace.
    pub user_namespace: &'a OwnedFd,
    /// The id outside that its root has.
    pub base: u32,
}

/// Where the tree is put together, in the namespace made for this only. The folder exists on every Linux.
const DESK: &str = "/dev/shm";

/// Puts the tree together and opens its root (`O_PATH`). Without `owners` ids are as on disk, which is as inside.
pub fn open(layers: &OverlayTree, share: Share, owners: Option<&Owners<'_>>) -> Result<OwnedFd> {
    namespace::unshare_mounts()?;
    mount::make_all_private()?;
    let tmpfs = mount::new_filesystem("tmpfs", &[("mode", Value::Text("755"))], mount::no_attributes())?;
    mount::attach(&tmpfs, tree::root(Path::new(DESK))?)?;
    let desk = tree::root(Path::new(DESK))?;
    let layers = match share {
        Share::Whole => layers.clone(),
        // An upper layer that is nobody's: the kernel makes an overlay of a single layer only with one.
        Share::Below => {
            let own = |name: &str| tree::make_folder(&desk, name, 0o755).map(|_| Path::new(DESK).join(name));
            OverlayTree { upper: own("upper")?, work: own("work")?, ..layers.clone() }
        }
    };
    let place = tree::make_folder(&desk, "merged", 0o755)?;
    let mut root = None;
    for wanted in stack::mounts(&layers) {
        std::fs::create_dir_all(&wanted.upper).map_err(|error| belljar_linux::Error::from_io("make", "layer", &error))?;
        overlay::prepare(&wanted)?;
        let upper = if share == Share::Whole { overlay::Upper::Containers } else { overlay::Upper::Nobodys };
        let made = match owners {
            Some(owners) => process::with_file_ids(owners.base, || overlay::make(&wanted, Some(owners.user_namespace.as_fd()), upper))?,
            None => overlay::make(&wanted, None, upper)?,
        };
        match &root {
            None => {
                mount::attach(&made, &place)?;
                root = Some(tree::root(&Path::new(DESK).join("merged"))?);
            }
            Some(root) => hang(root, &wanted.at, &made, owners)?,
        }
        if share == Share::Below {
            mount::change(&made, &Change::setting(Attributes::MOUNT_ATTR_RDONLY), Depth::One)?;
        }
    }
    match root {
        Some(root) => Ok(root),
        None => Err(belljar_linux::Error::new("mount", "a tree without layers", rustix::io::Errno::INVAL)),
    }
}

/// Hangs a grafted folder into the tree, as a start does.
fn hang(root: &OwnedFd, at: &str, made: &OwnedFd, owners: Option<&Owners<'_>>) -> Result<()> {
    let make = || tree::make_folder(root, at, 0o755);
    let place = match owners {
        Some(owners) => process::with_file_ids(owners.base, make)?,
        None => make()?,
    };
    mount::attach(made, place)
}
