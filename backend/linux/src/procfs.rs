//! A `/proc` that nobody else can reach: an instance of its own that hangs nowhere, held by a descriptor.
//!
//! Whatever is mounted over the container's `/proc`, or swapped for it while it is being looked at, what is written here
//! arrives at the kernel's own files (CVE-2019-16884, CVE-2025-52881). It shows the processes of the pid namespace that its
//! maker was in.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::mount::{self, Attributes};

/// Number of the root folder in every procfs.
const ROOT_INODE: u64 = 1;

/// An open root of a procfs.
#[derive(Debug)]
pub struct Procfs {
    root: OwnedFd,
}

impl Procfs {
    /// A new instance. Where this process may not mount one (a user namespace to which the pid namespace does not belong), the
    /// `/proc` that it sees is taken instead, which is proven to be one.
    pub fn private() -> Result<Self> {
        let attributes = Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NOEXEC | Attributes::MOUNT_ATTR_NODEV;
        match mount::new_filesystem("proc", &[], attributes) {
            Ok(root) => Ok(Self { root }),
            Err(error) if matches!(error.errno, Errno::PERM | Errno::ACCESS) => Self::seen(),
            Err(error) => Err(error),
        }
    }

    /// The `/proc` of the namespace that this process is in.
    pub fn seen() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::proven(rustix::fs::openat(CWD, "/proc", flags, Mode::empty()).context("open", || "/proc".into())?)
    }

    /// What is open, if it is the root of a procfs.
    pub fn proven(root: OwnedFd) -> Result<Self> {
        let is_root = rustix::fs::fstat(&root).context("stat", || "/proc".into())?.st_ino == ROOT_INODE;
        if is_root && mount::magic_of(&root)? == mount::magic::PROC {
            Ok(Self { root })
        } else {
            Err(Error::new("trust", "/proc: it is not the root of a procfs", Errno::XDEV))
        }
    }

    /// Its root.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Opens a file by its path from the root. No symbolic link is followed and no mount crossed: `ELOOP` and `EXDEV` mean
    /// that somebody tried.
    pub fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let look_up = || rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        crate::tree::resolved(look_up).context("open", || format!("/proc/{path}"))
    }

    /// Writes a file in one piece: the kernel takes each write as a whole value.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        let file = self.open(path, OFlags::WRONLY)?;
        let written =
            rustix::io::retry_on_intr(|| rustix::io::write(&file, content.as_bytes())).context("write", || format!("/proc/{path}"))?;
        if written == content.len() { Ok(()) } else { Err(Error::new("write", format!("/proc/{path}"), Errno::IO)) }
    }

    /// Writes a file of this thread: `attr/exec`.
    pub fn write_own(&self, name: &str, content: &str) -> Result<()> {
        let (process, thread) = (rustix::process::getpid(), rustix::thread::gettid());
        self.write(&format!("{}/task/{}/{name}", process.as_raw_nonzero(), thread.as_raw_nonzero()), content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_root_of_a_procfs_is_not_trusted() {
        for path in ["/proc/self", "/proc/sys", "/", "/dev/shm"] {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(CWD, path, flags, Mode::empty()).unwrap();
            assert_eq!(Procfs::proven(opened).map(drop).map_err(|error| error.errno), Err(Errno::XDEV), "{path}");
        }
    }

    #[test]
    fn neither_links_nor_mounts_are_crossed() {
        let proc = Procfs::seen().unwrap();
        assert_eq!(proc.open("self/status", OFlags::RDONLY).map(drop).map_err(|error| error.errno), Err(Errno::LOOP));
        let own = rustix::process::getpid().as_raw_nonzero();
        assert_eq!(proc.open(&format!("{own}/root/etc"), OFlags::PATH).map(drop).map_err(|error| error.errno), Err(Errno::LOOP));
        assert!(proc.open(&format!("{own}/status"), OFlags::RDONLY).is_ok());
        assert!(proc.open("../etc", OFlags::PATH).is_err());
    }
}
