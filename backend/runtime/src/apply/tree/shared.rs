//! What of a tree is shared with the host. A copy of a shared mount is its peer at once, and what the setup mounts below it would
//! appear on the host and outlast the container. So what hangs in the tree is private until all is mounted, while a second copy,
//! which hangs nowhere, keeps its place among the host's peers; then each mount gets the place of the one that it is a copy of.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use belljar_linux::error::Context;
use belljar_linux::mount::{self, Change, Depth, Propagation};
use belljar_linux::tree::{self, Links};
use belljar_linux::{Error, Result, mountinfo};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// Trees of mounts that become the host's peers.
#[derive(Debug, Default)]
pub(super) struct Shared {
    trees: Vec<Tree>,
}

/// Mounts of a tree by their paths in it, and a copy of the tree that kept its place among the host's peers.
#[derive(Debug)]
struct Tree {
    /// Opened before they hang anywhere: what the setup mounts may hide them.
    mounts: Vec<(PathBuf, OwnedFd)>,
    peers: OwnedFd,
}

impl Shared {
    /// Makes a tree of mounts private, and keeps it for [`Shared::join`] with another copy of it. `places` is where it has mounts.
    pub(super) fn keep(&mut self, taken: &OwnedFd, peers: OwnedFd, places: Vec<PathBuf>) -> Result<()> {
        mount::change(taken, &Change::propagating(Propagation::Private), Depth::All)?;
        let mut tree = Tree { mounts: Vec::with_capacity(places.len()), peers };
        for path in places {
            if let Some(mount) = open(taken, &path)? {
                tree.mounts.push((path, mount));
            }
        }
        self.trees.push(tree);
        Ok(())
    }

    /// Lets them be peers.
    pub(super) fn join(&mut self) -> Result<()> {
        for tree in self.trees.drain(..) {
            for (path, mount) in &tree.mounts {
                let Some(peer) = open(&tree.peers, path)? else { continue };
                match mount::join_group(&peer, mount) {
                    // The host shares it with nobody, or another mount hides it.
                    Err(error) if error.errno == Errno::INVAL => {}
                    joined => joined?,
                }
            }
        }
        Ok(())
    }
}

/// What a tree of mounts has at a path; `None` where it is hidden or gone.
fn open(tree: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>> {
    // Not by its path: it may be a file.
    if path.as_os_str().is_empty() {
        return tree.try_clone().map(Some).map_err(|error| Error::from_io("keep", "mount", &error));
    }
    match tree::open_bytes(tree, path.as_os_str().as_encoded_bytes(), OFlags::PATH, Links::Refused) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        opened => opened.map(Some).context("open", || path.display().to_string()),
    }
}

/// A mount itself, as a path in it.
pub(super) fn only_itself() -> Vec<PathBuf> {
    vec![PathBuf::new()]
}

/// Where something is mounted at or below a folder of the host, as paths in it.
pub(super) fn mounts_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let folder = std::fs::canonicalize(folder).context("resolve", || folder.display().to_string())?;
    let below = |mount: mountinfo::Mount| mount.point.strip_prefix(&folder).ok().map(Path::to_owned);
    let mut below: Vec<PathBuf> = mountinfo::read()?.into_iter().filter_map(below).collect();
    // Also where the folder is no mount, its copy is one.
    below.extend(only_itself());
    below.sort();
    below.dedup();
    Ok(below)
}
