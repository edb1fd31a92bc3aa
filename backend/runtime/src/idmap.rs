//! Whether owners of files can be shown in another way than they are on disk: asked of the kernel by doing it, since no file
//! tells which of its file systems can.

use std::os::fd::OwnedFd;
use std::path::Path;

use belljar_linux::mount::{self, Depth};
use belljar_linux::{Error, Result};
use rustix::io::Errno;

/// The user namespace of nobody, which mounts can be mapped into to see whether they can.
#[derive(Debug)]
pub struct Mapper {
    user_namespace: OwnedFd,
}

impl Mapper {
    /// Makes the namespace. Only a process with one thread may do so; what it answers later may be asked by any thread.
    pub fn new() -> Result<Self> {
        let only_root = [(0, 0, 1)];
        Ok(Self { user_namespace: belljar_linux::idmap::user_namespace(&only_root, &only_root)? })
    }

    /// Why the owners of what lies at `path` cannot be mapped, as a clause; `None` where they can, or where it cannot be told:
    /// then the start itself says which step failed.
    pub fn why_not(&self, path: &Path) -> Option<String> {
        let taken = mount::clone_tree(path, Depth::One).ok()?;
        match mount::map_ids(&taken, &self.user_namespace, Depth::One) {
            Err(Error { errno: Errno::INVAL, .. }) => {
                let filesystem = mount::filesystem_of(path).unwrap_or_else(|_| "unknown".to_owned());
                Some(format!("{} lies on a file system ({filesystem}) that cannot map owners", path.display()))
            }
            _ => None,
        }
    }
}
