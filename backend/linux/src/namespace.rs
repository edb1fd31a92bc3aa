//! Namespaces: recognising them by inode, and leaving some.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, OFlags};

use crate::error::{Context, Error, Result};

pub use libc::{CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS};

/// Inode of a process's namespace of this kind (`mnt`, `pid`, …), which is its identity as long as it exists.
/// `ENOENT` where the kernel has no such kind.
pub fn inode(pid: i32, kind: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/ns/{kind}");
    std::fs::metadata(&path).context("read", || path).map(|metadata| metadata.ino())
}

/// A descriptor of a process's namespace of this kind.
pub fn open(pid: i32, kind: &str) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/{kind}");
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context("open", || path.clone())
}

/// Puts this process into a new cgroup namespace, whose root is the cgroup that it is in now.
pub fn unshare_cgroup() -> Result<()> {
    // SAFETY: unshare(2) takes flags only; CLONE_NEWCGROUP changes nothing that the process's memory or threads rely on.
    let done = unsafe { libc::unshare(CLONE_NEWCGROUP) };
    if done == 0 { Ok(()) } else { Err(Error::last("unshare", "cgroup namespace")) }
}

/// Puts this process into a mount namespace of its own, in which nothing that it mounts is seen by others.
pub fn unshare_mounts() -> Result<()> {
    // SAFETY: as above; CLONE_NEWNS implies CLONE_FS, which only matters to threads, and callers have one.
    let done = unsafe { libc::unshare(CLONE_NEWNS) };
    if done == 0 { Ok(()) } else { Err(Error::last("unshare", "mount namespace")) }
}

/// Puts this process into another mount namespace, at whose root it then stands.
pub fn enter_mounts(namespace: &OwnedFd) -> Result<()> {
    nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNS).context("enter", || "mount namespace".into())
}

/// A user namespace with nobody in it, which lives as long as the descriptor. Made by a child that ends at once; only a
/// process with one thread can make it.
pub fn new_user_namespace() -> Result<OwnedFd> {
    use crate::process::{self, Cloned};
    let (ours, theirs) = crate::fd::message_pair()?;
    match process::clone(CLONE_NEWUSER as u64, None)? {
        Cloned::Child => {
            drop(ours);
            // Until the other end is gone: the namespace must be there while it is opened.
            let _ = crate::fd::receive(&theirs, &mut [0]);
            process::exit_now(0)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let made = map_ids(pid, &[(0, 0, 1)], &[(0, 0, 1)]).and_then(|()| open(pid, "user"));
            drop(ours);
            process::wait(&pidfd)?;
            made
        }
    }
}

/// Writes a child's `uid_map` and `gid_map`: ranges of its ids, each with the first one inside, the first one outside and
/// how many. Where the caller may not map groups at will, the child gives up `setgroups(2)` first, as the kernel demands
/// (`user_namespaces(7)`).
pub fn map_ids(pid: i32, uids: &[(u32, u32, u32)], gids: &[(u32, u32, u32)]) -> Result<()> {
    let file = |name: &str| format!("/proc/{pid}/{name}");
    let write = |path: String, text: &str| std::fs::write(&path, text).context("write", || path);
    write(file("uid_map"), &map_lines(uids))?;
    let lines = map_lines(gids);
    match write(file("gid_map"), &lines) {
        Err(error) if error.errno == rustix::io::Errno::PERM => {
            write(file("setgroups"), "deny")?;
            write(file("gid_map"), &lines)
        }
        written => written,
    }
}

fn map_lines(ranges: &[(u32, u32, u32)]) -> String {
    ranges.iter().map(|(inside, outside, count)| format!("{inside} {outside} {count}\n")).collect()
}
