//! Folders that are written from hostile input: reached from a root by descriptor, never by following a link.
//!
//! Every path below a [`Tree`] is resolved by the kernel with [`openat2(2)`] so that it cannot leave the root, cannot
//! pass a symbolic link and cannot pass a magic link, whatever was written there before. This module must never know
//! what an archive or an image is.
//!
//! [`openat2(2)`]: https://man7.org/linux/man-pages/man2/openat2.2.html

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

pub(crate) use belljar_archive::name::{join, split};
use belljar_linux::removal;
use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

/// How a path below a root is resolved.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// Bytes of folder entries that are read at once.
const LISTING_BYTES: usize = 32 << 10;
/// Tries at a fresh random name; 128 bits do not collide twice.
const NAME_TRIES: usize = 4;
/// Symbolic links on the way to one folder: what the kernel follows.
const LINKS_MAX: usize = 40;
/// Longest path, less its NUL.
const PATH_BYTES_MAX: usize = 4095;

/// A folder that paths are resolved below.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// The tree whose root is the folder at `path` (ours, hence trusted up to its last part, which must not be a link).
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Opens the folder at `path` (relative, `/` between parts; empty for the root itself) for reading and for naming
    /// what is in it. `ELOOP` where a part is a symbolic link, `ENOTDIR` where one is not a folder.
    pub(crate) fn folder(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), BENEATH)
    }

    /// Opens the regular file at `path` for reading; anything else is `EINVAL`, and no FIFO is waited for.
    pub(crate) fn file(&self, path: &[u8]) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), BENEATH)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        if kind == FileType::RegularFile { Ok(file.into()) } else { Err(Errno::INVAL) }
    }

    /// The path of the same folder without symbolic links on its way ([`resolve`]).
    pub(crate) fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        resolve(path, |path| {
            let (parent, name) = split(path);
            match self.folder(parent).and_then(|folder| rustix::fs::readlinkat(folder, name, Vec::new())) {
                Ok(target) => Ok(Some(target.into_bytes())),
                // It is no link, or nothing, or there is none because what it would lie in is no folder.
                Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Ok(None),
                Err(errno) => Err(errno),
            }
        })
    }

    /// Removes the folder at `path` (not the root) with everything in it.
    pub(crate) fn remove_folder(&self, path: &[u8]) -> Result<(), Errno> {
        let (parent, name) = split(path);
        let removed = removal::remove_at(self.folder(parent)?, Path::new(OsStr::from_bytes(name)));
        removed.map_err(|error| error.errno)
    }
}

/// The path of a folder without symbolic links on its way, as it is for somebody whose root the tree's is: an absolute link begins at
/// the root, and `..` never leaves it. What is missing stays as it is written. `ELOOP` after [`LINKS_MAX`] links. `target_of` says where
/// a path leads that is a link.
pub(crate) fn resolve(path: &[u8], target_of: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, Errno>) -> Result<Vec<u8>, Errno> {
    let parts = |path: &[u8]| path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (mut real, mut ahead, mut links) = (Vec::new(), parts(path), 0);
    while let Some(part) = ahead.pop() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                real = split(&real).0.to_vec();
                continue;
            }
            _ => {}
        }
        let next = join(&real, &part);
        match target_of(&next)? {
            Some(_) if links == LINKS_MAX => return Err(Errno::LOOP),
            Some(target) => {
                links += 1;
                if target.starts_with(b"/") {
                    real.clear();
                }
                ahead.extend(parts(&target));
            }
            None => real = next,
        }
        if real.len() > PATH_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
    }
    Ok(real)
}

impl AsFd for Tree {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// The names in a folder of ours.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let tree = Tree::open(folder)?;
    let mut buffer = Box::new([MaybeUninit::uninit(); LISTING_BYTES]);
    let mut listing = RawDir::new(&tree.root, buffer.as_mut_slice());
    let mut names = Vec::new();
    while let Some(entry) = listing.next() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// Removes whatever lies at `path`: a folder with everything in it, or a file. Links are removed, never followed. What
/// is already gone is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    removal::remove(path).map_err(|error| io::Error::new(io::Error::from(error.errno).kind(), error))
}

/// Moves whatever lies at `path` into `tmp` and says where it is now, to be removed there: if we are killed in between, a sweep
/// finds it, and nothing half-removed is ever found at `path`. None where nothing lies there.
pub(crate) fn move_aside(path: &Path, tmp: &Path) -> io::Result<Option<std::path::PathBuf>> {
    let aside = tmp.join(random_name()?);
    match std::fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(Some(aside)),
    }
}

/// A new folder or file with a random name in `tmp`, removed when dropped unless it was moved to its place.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: std::path::PathBuf,
    moved: bool,
}

impl Scratch {
    /// Makes the folder, for its owner alone.
    pub(crate) fn make(tmp: &Path) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let path = tmp.join(random_name()?);
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Err(Errno::EXIST) if tries < NAME_TRIES => tries += 1,
                Err(errno) => return Err(errno.into()),
                Ok(()) => return Ok(Self { path, moved: false }),
            }
        }
    }

    /// Makes a file instead, for its owner alone, open for reading and writing.
    pub(crate) fn make_file(tmp: &Path) -> io::Result<(Self, File)> {
        let path = tmp.join(random_name()?);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
        Ok((Self { path, moved: false }, file.into()))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place by one rename, and waits until that is on disk. Where something lies there already, it is
    /// the same by its digest: this one is dropped.
    pub(crate) fn move_to(mut self, place: &Path) -> io::Result<()> {
        self.rename_to(place)?;
        sync_folder_of(place)
    }

    /// As [`Scratch::move_to`], for who waits for the disk ([`sync_folder_of`]) once for several.
    pub(crate) fn rename_to(&mut self, place: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(rustix::fs::CWD, &self.path, rustix::fs::CWD, place, rustix::fs::RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => return Ok(()),
            other => other?,
        }
        self.moved = true;
        Ok(())
    }
}

impl Scratch {
    /// As [`Scratch::rename_to`], in the place of a file that lies there: it is the same, or damaged.
    pub(crate) fn rename_over(&mut self, place: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, place)?;
        self.moved = true;
        Ok(())
    }
}

/// Waits until what was renamed to `place` lies there also after a power cut.
pub(crate) fn sync_folder_of(place: &Path) -> io::Result<()> {
    File::open(place.parent().unwrap_or(Path::new("/")))?.sync_all()
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.moved {
            // What cannot be removed now stays in `tmp`, where the next sweep tries again and reports.
            let _left_for_the_sweep = remove(&self.path);
        }
    }
}

/// 128 random bits as hexadecimal digits.
fn random_name() -> io::Result<String> {
    let number = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?))).map_err(io::Error::other)?;
    Ok(format!("{:016x}{:016x}", number.0, number.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_removed_tree_takes_nothing_with_it_that_links_point_to() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("canary"), "alive").unwrap();
        let inside = tempfile::tempdir().unwrap();
        let doomed = inside.path().join("doomed");
        std::fs::create_dir_all(doomed.join("a/b/c")).unwrap();
        symlink(outside.path(), doomed.join("a/b/link")).unwrap();
        symlink(outside.path().join("canary"), doomed.join("a/file")).unwrap();
        remove(&doomed).unwrap();
        assert!(!doomed.exists());
        assert_eq!(std::fs::read_to_string(outside.path().join("canary")).unwrap(), "alive");
    }

    #[test]
    fn a_link_at_the_place_itself_is_removed_and_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        let link = inside.path().join("link");
        symlink(outside.path(), &link).unwrap();
        remove(&link).unwrap();
        assert!(outside.path().exists() && link.symlink_metadata().is_err());
        assert!(remove(&link).is_ok(), "gone already");
    }

    #[test]
    fn a_tree_that_is_deeper_than_any_path_is_removed() {
        let inside = tempfile::tempdir().unwrap();
        let doomed = inside.path().join("doomed");
        std::fs::create_dir(&doomed).unwrap();
        let mut folder = Tree::open(&doomed).unwrap();
        for _ in 0..10_000 {
            rustix::fs::mkdirat(&folder, "d", Mode::RWXU).unwrap();
            folder = Tree { root: folder.folder(b"d").unwrap() };
        }
        remove(&doomed).unwrap();
        assert!(!doomed.exists());
    }

    #[test]
    fn no_path_passes_a_link_or_leaves_the_root() {
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(inside.path().join("real/deep")).unwrap();
        symlink("real", inside.path().join("link")).unwrap();
        symlink("/", inside.path().join("slash")).unwrap();
        let tree = Tree::open(inside.path()).unwrap();
        assert!(tree.folder(b"real/deep").is_ok());
        for path in [&b"link"[..], b"link/deep", b"slash/etc", b"../", b"real/../..", b"/etc", b"link/", b"link/."] {
            assert!(tree.folder(path).is_err(), "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn links_are_resolved_below_the_root_whatever_they_say() {
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(inside.path().join("usr/bin/deep")).unwrap();
        for (link, target) in [("bin", "usr/bin"), ("up", "../../../usr"), ("slash", "/"), ("absent", "/no/such"), ("usr/back", "../bin")] {
            symlink(target, inside.path().join(link)).unwrap();
        }
        symlink("loop", inside.path().join("loop")).unwrap();
        let tree = Tree::open(inside.path()).unwrap();
        for (path, real) in [
            ("bin", "usr/bin"),
            ("bin/deep", "usr/bin/deep"),
            ("up/bin", "usr/bin"),
            ("slash/slash/bin/x/y", "usr/bin/x/y"),
            ("absent/x", "no/such/x"),
            ("usr/back/deep", "usr/bin/deep"),
            ("slash", ""),
        ] {
            assert_eq!(tree.resolve(path.as_bytes()).map(|real| String::from_utf8(real).unwrap()), Ok(real.to_owned()), "{path}");
        }
        assert_eq!(tree.resolve(b"loop/x"), Err(Errno::LOOP));
    }

    #[test]
    fn a_scratch_folder_goes_unless_it_is_moved_to_its_place() {
        let inside = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(inside.path()).unwrap();
        let first = scratch.path().to_owned();
        drop(scratch);
        assert!(!first.exists());
        let place = inside.path().join("place");
        for _twice_is_once in 0..2 {
            Scratch::make(inside.path()).unwrap().move_to(&place).unwrap();
        }
        assert_eq!(names(inside.path()).unwrap(), [place.file_name().unwrap()]);
    }
}
