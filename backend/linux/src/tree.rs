//! Files and folders inside a tree that somebody hostile may have made: symbolic links lead nowhere but inside it.
//!
//! Every function takes the tree's root as a descriptor and a path *of the tree*. Paths are resolved by the kernel with
//! `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)` (Linux 5.6); what is made is made one folder at a time on
//! descriptors, so that nobody can swap a component in between (CVE-2021-30465, CVE-2024-45310).

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// Most symbolic links that lead nowhere yet, one to the next, before what is made at their end; as the kernel's own limit.
const LINKS_MAX: u32 = 40;

/// How often a path is looked up again that the kernel could not be sure of. Whoever renames in a loop, anywhere on the host,
/// could otherwise keep us at it for as long as they like.
const LOOK_UPS_MAX: u32 = 128;

/// Opens `path` of the tree.
pub fn open(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd> {
    open_resolving(root.as_fd(), path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens `path` of the tree, of which no part may be a symbolic link (`ELOOP`).
pub fn open_without_links(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd> {
    open_resolving(root.as_fd(), path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS)
}

/// Whether symbolic links of a tree lead on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// They do, inside the tree.
    Followed,
    /// None is passed (`ELOOP`), and `..` leads nowhere (`EXDEV`).
    Refused,
}

/// As [`open`], with a path of any bytes; [`Links::Refused`] lets no part of it be a link.
pub fn open_bytes(root: impl AsFd, path: &[u8], flags: OFlags, links: Links) -> rustix::io::Result<OwnedFd> {
    let resolve = match links {
        Links::Followed => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        Links::Refused => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS,
    };
    let begin = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    let path = if begin == path.len() { b"." } else { &path[begin..] };
    resolved(|| rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// Opens what a folder has under one name, whatever it is, without acting on it (`O_PATH`): a link is opened itself. A name
/// with a slash is refused.
pub fn open_entry(folder: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    if name.contains(&b'/') {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    resolved(|| rustix::fs::openat2(&folder, name, flags, Mode::empty(), resolve))
}

/// Opens for reading what was opened as `O_PATH` before and found to be a regular file or a folder: that very file, whatever its
/// name means by now. Anything else is refused with `EINVAL`, since opening a device acts and a FIFO waits.
pub fn reopen(opened: impl AsFd) -> rustix::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Err(Errno::INVAL);
    }
    let link = format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd());
    rustix::fs::open(link, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
}

fn open_resolving(root: BorrowedFd<'_>, path: &str, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    resolved(|| rustix::fs::openat2(root, relative(path), flags | OFlags::CLOEXEC, Mode::empty(), resolve))
        .context("open", || path.to_owned())
}

/// Looks a path up by `openat2(2)`, which answers `EAGAIN` for one with `..` where something was renamed meanwhile.
pub(crate) fn resolved<T>(mut look_up: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    let mut outcome = look_up();
    for _ in 1..LOOK_UPS_MAX {
        match outcome {
            Err(Errno::AGAIN) => outcome = look_up(),
            done => return done,
        }
    }
    outcome
}

/// A path of the tree as openat2 takes it: never empty.
fn relative(path: &str) -> &str {
    match path.trim_matches('/') {
        "" => ".",
        trimmed => trimmed,
    }
}

/// Opens the folder `path` of the tree (without reading rights: `O_PATH`), and makes what of it is missing with `mode`.
pub fn make_folder(root: impl AsFd, path: &str, mode: u32) -> Result<OwnedFd> {
    make_folder_below(root.as_fd(), path, mode, LINKS_MAX)
}

fn make_folder_below(root: BorrowedFd<'_>, path: &str, mode: u32, links: u32) -> Result<OwnedFd> {
    let folder = OFlags::PATH | OFlags::DIRECTORY;
    match open(root, path, folder) {
        Err(error) if error.errno == Errno::NOENT => {}
        other => return other,
    }
    let (parent, name) = split(path)?;
    let opened = make_folder_below(root, parent, mode, links)?;
    match rustix::fs::mkdirat(&opened, name, Mode::from_raw_mode(mode)) {
        Ok(()) => open(root, path, folder),
        Err(Errno::EXIST) => match end_of_link(&opened, (parent, name), links)? {
            Some(end) => make_folder_below(root, &end, mode, links - 1),
            None => open(root, path, folder),
        },
        Err(errno) => Err(Error::new("make folder", path, errno)),
    }
}

/// Opens the file `path` of the tree (`O_PATH`), and makes it, and the folders above it, where missing.
pub fn make_file(root: impl AsFd, path: &str) -> Result<OwnedFd> {
    make_file_below(root.as_fd(), path, LINKS_MAX)
}

fn make_file_below(root: BorrowedFd<'_>, path: &str, links: u32) -> Result<OwnedFd> {
    match open(root, path, OFlags::PATH) {
        Err(error) if error.errno == Errno::NOENT => {}
        other => return other,
    }
    let (parent, name) = split(path)?;
    let opened = make_folder_below(root, parent, 0o755, links)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&opened, name, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) => open(root, path, OFlags::PATH),
        Err(Errno::EXIST) => match end_of_link(&opened, (parent, name), links)? {
            Some(end) => make_file_below(root, &end, links - 1),
            None => open(root, path, OFlags::PATH),
        },
        Err(errno) => Err(Error::new("make file", path, errno)),
    }
}

/// Where a symbolic link leads that has nothing at its end, as a path of the tree; `None` where it is no link. Images have
/// such: `/etc/resolv.conf` leads to a file below `/run` that only their init would make.
fn end_of_link(parent: &OwnedFd, (path, name): (&str, &str), links: u32) -> Result<Option<String>> {
    let read = match rustix::fs::readlinkat(parent, name, Vec::new()) {
        Err(Errno::INVAL | Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Error::new("read link", name, errno)),
        Ok(_) if links == 0 => return Err(Error::new("follow", name, Errno::LOOP)),
        Ok(read) => read,
    };
    let end = read.into_string().map_err(|_| Error::new("follow", name, Errno::ILSEQ))?;
    Ok(Some(if end.starts_with('/') { end } else { format!("{path}/{end}") }))
}

fn split(path: &str) -> Result<(&str, &str)> {
    let path = path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    // The callers' paths are checked long before; `..` here would make `name` mean another folder than `path`.
    if matches!(name, "" | "." | "..") { Err(Error::new("make", path, Errno::INVAL)) } else { Ok((parent, name)) }
}

/// What kind of file something open is.
pub fn kind_of(opened: impl AsFd) -> Result<FileType> {
    stat(opened).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

/// What the kernel knows of something open (`O_PATH` will do).
pub fn stat(opened: impl AsFd) -> Result<rustix::fs::Stat> {
    rustix::fs::fstat(opened).context("stat", || "open file".into())
}

/// What an open file is, and no other: file system and number.
pub fn identity(opened: impl AsFd) -> Result<(u64, u64)> {
    stat(opened).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Reads a regular file of the tree, at most `bytes_max`; anything else (a pipe that never answers, a device, `/dev/zero`)
/// is refused with `EINVAL`, a larger file with `EFBIG`.
pub fn read_file(root: impl AsFd, path: &str, bytes_max: u64) -> Result<Vec<u8>> {
    let file = open(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stat = rustix::fs::fstat(&file).context("stat", || path.to_owned())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::new("read", path, Errno::INVAL));
    }
    let mut content = Vec::new();
    std::fs::File::from(file).take(bytes_max + 1).read_to_end(&mut content).context("read", || path.to_owned())?;
    if content.len() as u64 > bytes_max { Err(Error::new("read", path, Errno::FBIG)) } else { Ok(content) }
}

/// Opens a folder of the host as the root of a tree.
pub fn root(path: &std::path::Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).context("open", || path.display().to_string())
}

/// Makes an open folder the root of this process, and enters it. Whoever may call this can leave it again: what is outside
/// stays in the same mount namespace.
pub fn change_root(folder: impl AsFd) -> Result<()> {
    rustix::process::fchdir(&folder).context("enter", || "new root".into())?;
    rustix::process::chroot(".").context("chroot to", || "new root".into())?;
    rustix::process::chdir("/").context("enter", || "/".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_to_the_hosts_root_stays_inside() {
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        symlink(outside.path(), folder.path().join("link")).unwrap();
        symlink("../../../../..", folder.path().join("up")).unwrap();
        let root = root(folder.path()).unwrap();
        for path in ["/link/x", "/up/x", "link/../link/y"] {
            drop(make_folder(&root, path, 0o755));
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "nothing was made outside");
        assert!(folder.path().join("x").is_dir(), "`up` is the tree's own root");
    }

    #[test]
    fn folders_and_files_are_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path()).unwrap();
        for _ in 0..2 {
            make_folder(&root, "/a/b/c", 0o755).unwrap();
            make_file(&root, "/a/d/file").unwrap();
        }
        assert!(folder.path().join("a/b/c").is_dir() && folder.path().join("a/d/file").is_file());
        assert_eq!(make_folder(&root, "/a/d/file", 0o755).map(drop).map_err(|error| error.errno), Err(Errno::NOTDIR));
        assert!(make_folder(&root, "/n/..", 0o755).is_err());
    }

    #[test]
    fn a_link_that_leads_nowhere_yet_is_followed_inside_the_tree() {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        symlink("../run/resolve/stub.conf", folder.path().join("etc/resolv.conf")).unwrap();
        symlink("/var/data", folder.path().join("data")).unwrap();
        make_file(&root, "/etc/resolv.conf").unwrap();
        make_folder(&root, "/data/deep", 0o755).unwrap();
        assert!(folder.path().join("run/resolve/stub.conf").is_file());
        assert!(folder.path().join("var/data/deep").is_dir());
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert_eq!(make_file(&root, "/a").map(drop).map_err(|error| error.errno), Err(Errno::LOOP));
    }

    #[test]
    fn a_path_that_is_renamed_all_the_time_is_given_up() {
        let mut looked = 0;
        let mut until = |last: u32| {
            looked = 0;
            let outcome = resolved(|| {
                looked += 1;
                if looked < last { Err(Errno::AGAIN) } else { Ok(()) }
            });
            (outcome, looked)
        };
        assert_eq!(until(3), (Ok(()), 3));
        assert_eq!(until(LOOK_UPS_MAX), (Ok(()), LOOK_UPS_MAX));
        assert_eq!(until(LOOK_UPS_MAX + 1), (Err(Errno::AGAIN), LOOK_UPS_MAX));
        let refused = resolved(|| Err::<(), _>(Errno::NOENT));
        assert_eq!(refused, Err(Errno::NOENT));
    }

    #[test]
    fn a_link_is_opened_itself_and_only_files_and_folders_are_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "hello").unwrap();
        symlink("file", folder.path().join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let root = root(folder.path()).unwrap();
        let entry = |name: &str| open_entry(&root, name.as_bytes());
        assert_eq!(kind_of(entry("link").unwrap()).unwrap(), FileType::Symlink);
        assert!(reopen(entry("file").unwrap()).is_ok() && reopen(entry(".").unwrap()).is_ok());
        for name in ["link", "pipe"] {
            assert_eq!(reopen(entry(name).unwrap()).map(drop), Err(Errno::INVAL));
        }
        assert_eq!(entry("../x").map(drop), Err(Errno::INVAL));
        assert_eq!(entry("..").map(drop), Err(Errno::XDEV));
        let follow = |path: &str, links| open_bytes(&root, path.as_bytes(), OFlags::PATH, links).map(drop);
        assert_eq!((follow("/link", Links::Followed), follow("/link", Links::Refused)), (Ok(()), Err(Errno::LOOP)));
        for dotted in ["file/", "file/.", "file//", "link/"] {
            assert_eq!(follow(dotted, Links::Followed), Err(Errno::NOTDIR), "{dotted}");
        }
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("small"), "hello").unwrap();
        symlink("/dev/zero", folder.path().join("zero")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let root = root(folder.path()).unwrap();
        assert_eq!(read_file(&root, "/small", 5).unwrap(), b"hello");
        assert_eq!(read_file(&root, "/small", 4).map_err(|error| error.errno), Err(Errno::FBIG));
        assert_eq!(read_file(&root, "/pipe", 9).map_err(|error| error.errno), Err(Errno::INVAL));
        assert_eq!(read_file(&root, "/zero", 9).map_err(|error| error.errno), Err(Errno::NOENT), "the link leads into the tree");
    }
}
