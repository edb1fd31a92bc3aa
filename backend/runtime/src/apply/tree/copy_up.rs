//! Copies what the tree has at a target into the tmpfs that will cover it (`tmpcopyup`): folders, files, links, with owners,
//! modes and times; sockets, pipes and devices stay behind. All by descriptors, and no link is followed.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use belljar_linux::error::Context;
use belljar_linux::{Error, Result};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

/// Deepest folder that is copied: a descriptor stays open for each.
const DEPTH_MAX: usize = 256;

/// Copies all that is in folder `from` into folder `to`.
pub(super) fn copy(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let from = open(&from, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    copy_below(&from, to.as_fd().try_clone_to_owned().context("copy", || "tmpfs".into())?, 0)
}

fn copy_below(from: &OwnedFd, to: OwnedFd, depth: usize) -> Result<()> {
    if depth == DEPTH_MAX {
        return Err(Error::new("copy", format!("folders more than {DEPTH_MAX} deep"), Errno::LOOP));
    }
    for entry in Dir::read_from(from).context("list", || "folder".into())? {
        let entry = entry.context("list", || "folder".into())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if matches!(name.as_str(), "." | "..") {
            continue;
        }
        let stat = rustix::fs::statat(from, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).context("stat", || name.clone())?;
        copy_one((from, &to), &name, &stat, depth)?;
    }
    Ok(())
}

fn copy_one((from, to): (&OwnedFd, &OwnedFd), name: &str, stat: &Stat, depth: usize) -> Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU).context("make folder", || name.to_owned())?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let made = open(to, name, flags)?;
            copy_below(&open(from, name, flags)?, made.try_clone().context("copy", || name.to_owned())?, depth + 1)?;
            finish(&made, stat, name)
        }
        FileType::RegularFile => {
            let mut source = File::from(open(from, name, OFlags::RDONLY | OFlags::NONBLOCK)?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(to, name, flags, mode).context("make file", || name.to_owned())?;
            let mut made = File::from(made);
            std::io::copy(&mut source, &mut made).context("copy", || name.to_owned())?;
            finish(&OwnedFd::from(made), stat, name)
        }
        FileType::Symlink => {
            let end = rustix::fs::readlinkat(from, name, Vec::new()).context("read link", || name.to_owned())?;
            rustix::fs::symlinkat(end.as_c_str(), to, name).context("link", || name.to_owned())?;
            let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
            allowed(rustix::fs::chownat(to, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW), name)
        }
        _ => Ok(()),
    }
}

fn open(folder: impl AsFd, name: &str, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat(folder, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).context("open", || name.to_owned())
}

/// Owner first: a change of owner takes set-uid bits away.
fn finish(made: &OwnedFd, stat: &Stat, name: &str) -> Result<()> {
    allowed(rustix::fs::fchown(made, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid))), name)?;
    rustix::fs::fchmod(made, Mode::from_raw_mode(stat.st_mode & 0o7777)).context("set mode of", || name.to_owned())?;
    let time = |tv_sec, nanoseconds: u64| Timespec { tv_sec, tv_nsec: nanoseconds as i64 };
    let times =
        Timestamps { last_access: time(stat.st_atime, stat.st_atime_nsec), last_modification: time(stat.st_mtime, stat.st_mtime_nsec) };
    rustix::fs::futimens(made, &times).context("set times of", || name.to_owned())
}

/// An owner that the container has no id for cannot be given: the copy is its root's.
fn allowed(given: rustix::io::Result<()>, name: &str) -> Result<()> {
    match given {
        Err(Errno::INVAL | Errno::PERM) => Ok(()),
        given => given.context("give", || name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn what_is_copied_up_keeps_content_mode_and_links_and_follows_none() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(from.path().join("a/b")).unwrap();
        std::fs::write(from.path().join("a/b/file"), "content").unwrap();
        std::fs::set_permissions(from.path().join("a/b/file"), std::fs::Permissions::from_mode(0o4751)).unwrap();
        symlink("/etc/passwd", from.path().join("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, from.path().join("pipe"), Mode::RWXU).unwrap();
        let open = |path: &std::path::Path| belljar_linux::tree::root(path).unwrap();
        copy(open(from.path()), open(to.path())).unwrap();
        assert_eq!(std::fs::read_to_string(to.path().join("a/b/file")).unwrap(), "content");
        assert_eq!(std::fs::metadata(to.path().join("a/b/file")).unwrap().permissions().mode() & 0o7777, 0o4751);
        assert_eq!(std::fs::read_link(to.path().join("link")).unwrap(), std::path::Path::new("/etc/passwd"));
        assert!(!to.path().join("pipe").exists(), "what is not content stays behind");
    }
}
