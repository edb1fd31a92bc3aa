//! Namespaces: recognising them by inode, entering and leaving them, and giving them their ids and clocks.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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

/// Opens the file at `path` as a namespace of the kind of `flag` (`CLONE_NEW*`), and checks that it is one and, where an
/// inode is given, that one: a path may have come to mean something else.
pub fn open_at(path: &Path, flag: i32, inode: Option<u64>) -> Result<OwnedFd> {
    let subject = || path.display().to_string();
    // Without waiting: whoever names a pipe must not hold us up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::open(path, flags, Mode::empty()).context("open", subject)?;
    if kind_of(&opened) != Some(flag) {
        return Err(Error::new("use", format!("{}: not a namespace of this kind", path.display()), rustix::io::Errno::INVAL));
    }
    let found = rustix::fs::fstat(&opened).context("stat", subject)?.st_ino;
    match inode {
        Some(expected) if expected != found => {
            let subject = format!("{}: it is namespace {found}, not {expected}", path.display());
            Err(Error::new("use", subject, rustix::io::Errno::STALE))
        }
        _ => Ok(opened),
    }
}

/// Which kind of namespace is open (`NS_GET_NSTYPE` of `ioctl_nsfs(2)`); `None` where it is none.
fn kind_of(opened: &OwnedFd) -> Option<i32> {
    /// `_IO(0xb7, 0x3)`.
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: NS_GET_NSTYPE takes no argument and returns a number; on anything but a namespace it fails with ENOTTY.
    let kind = unsafe { libc::ioctl(opened.as_raw_fd(), NS_GET_NSTYPE) };
    (kind > 0).then_some(kind)
}

/// Which user of this process's own user namespace an open user namespace belongs to (`NS_GET_OWNER_UID` of `ioctl_nsfs(2)`).
pub fn owner(user_namespace: &OwnedFd) -> Result<u32> {
    /// `_IO(0xb7, 0x4)`.
    const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;
    let mut owner: libc::uid_t = 0;
    // SAFETY: NS_GET_OWNER_UID writes one uid_t through its argument, which points to one for the length of the call; on
    // anything but a user namespace it fails and writes nothing.
    let done = unsafe { libc::ioctl(user_namespace.as_raw_fd(), NS_GET_OWNER_UID, &raw mut owner) };
    if done == 0 { Ok(owner) } else { Err(Error::last("read the owner of", "user namespace")) }
}

/// Puts this process into new namespaces (`CLONE_NEW*`, together).
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: unshare(2) takes flags only. No flag of threads (CLONE_VM, CLONE_FILES, CLONE_SIGHAND) is among the CLONE_NEW*;
    // CLONE_NEWNS implies CLONE_FS, which only matters to threads, and callers have one.
    let done = unsafe { libc::unshare(flags) };
    if done == 0 { Ok(()) } else { Err(Error::last("unshare", "namespaces")) }
}

/// Puts this process into a new cgroup namespace, whose root is the cgroup that it is in now.
pub fn unshare_cgroup() -> Result<()> {
    unshare(CLONE_NEWCGROUP)
}

/// Puts this process into a mount namespace of its own, in which nothing that it mounts is seen by others.
pub fn unshare_mounts() -> Result<()> {
    unshare(CLONE_NEWNS)
}

/// Puts this process into another mount namespace, at whose root it then stands.
pub fn enter_mounts(namespace: &OwnedFd) -> Result<()> {
    enter(namespace, CLONE_NEWNS)
}

/// Puts this process into a namespace of the kind of `flag`, or with a pidfd into all those of that process that the flags
/// name. A pid namespace is only that of children made from now on.
pub fn enter(namespace: impl AsFd, flags: i32) -> Result<()> {
    // SAFETY: setns(2) takes a descriptor, borrowed for the call, and flags.
    let done = unsafe { libc::setns(namespace.as_fd().as_raw_fd(), flags) };
    if done == 0 { Ok(()) } else { Err(Error::last("enter", "namespace")) }
}

/// Sets the clocks of a time namespace that was unshared and has no process yet: name of the clock, seconds, nanoseconds.
pub fn set_clocks(offsets: &[(&str, i64, u32)]) -> Result<()> {
    let path = "/proc/self/timens_offsets";
    let lines: String = offsets.iter().map(|(clock, seconds, nanoseconds)| format!("{clock} {seconds} {nanoseconds}\n")).collect();
    std::fs::write(path, lines).context("write", || path.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_known_by_its_kind_and_its_inode() {
        let path = Path::new("/proc/self/ns/uts");
        let inode = inode(std::process::id() as i32, "uts").unwrap();
        assert!(open_at(path, CLONE_NEWUTS, Some(inode)).is_ok());
        let refused = |path: &Path, flag, inode| open_at(path, flag, inode).map(drop).unwrap_err().errno;
        assert_eq!(refused(path, CLONE_NEWUTS, Some(inode + 1)), rustix::io::Errno::STALE);
        assert_eq!(refused(path, CLONE_NEWNET, None), rustix::io::Errno::INVAL);
        assert_eq!(refused(Path::new("/dev/null"), CLONE_NEWUTS, None), rustix::io::Errno::INVAL);
    }
}
