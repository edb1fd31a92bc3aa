//! Removing a tree that somebody hostile may have made: as deep, as wide and as full of links as they liked.
//!
//! The obvious way, which is also `std::fs::remove_dir_all`'s, calls itself for each level and keeps a descriptor open
//! there: 30,000 folders in each other overflow its stack. A path of that depth is longer than the kernel takes. So this
//! never goes down. A folder that is met inside another one is *moved up* to the root of the tree under a number, and has
//! its turn there:
//!
//! ```text
//! root/a/b/c/d    a is emptied: b moves up      root/moved-up.0/c/d    and so on, one level at a time,
//!                                               root/moved-up.1/d      with one descriptor and one name
//! ```
//!
//! Everything stays in the tree that is to go, so that after a kill half-way the next try finds all that is left.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// Bytes of folder entries that are read at once.
const LISTING_BYTES: usize = 32 << 10;

/// Removes whatever lies at `path`: a folder with everything in it, or a file. A link is removed, never followed. What is
/// gone already is fine.
pub fn remove(path: &Path) -> Result<()> {
    remove_at(CWD, path)
}

/// [`remove`], with a path that begins at an open folder.
pub fn remove_at(folder: impl AsFd, path: &Path) -> Result<()> {
    let subject = || path.display().to_string();
    let stat = match rustix::fs::statat(&folder, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.context("stat", subject)?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return gone(rustix::fs::unlinkat(&folder, path, AtFlags::empty())).context("remove", subject);
    }
    match open_folder(&folder, path) {
        Err(Errno::NOENT) => return Ok(()),
        opened => clear(opened.context("open", subject)?)?,
    }
    gone(rustix::fs::unlinkat(&folder, path, AtFlags::REMOVEDIR)).context("remove", subject)
}

/// Removes everything in an open folder, but not the folder.
pub fn clear(folder: impl AsFd) -> Result<()> {
    // Opened anew: the listing shall begin at the beginning, wherever somebody else's has got to.
    let root = open_folder(&folder, Path::new(".")).context("open", || "a folder to clear".to_owned())?;
    Removal { root, moved: 0, turns: 0 }.run()
}

/// A tree on its way out.
struct Removal {
    root: OwnedFd,
    /// Numbers given to folders that were moved up.
    moved: u64,
    /// How many of those had their turn.
    turns: u64,
}

impl Removal {
    fn run(mut self) -> Result<()> {
        loop {
            let listing = open_folder(&self.root, Path::new(".")).context("open", || "a folder to clear".to_owned())?;
            let seen = for_each(&listing, |name, kind| {
                if kind != FileType::Directory {
                    return unlink(&self.root, name);
                }
                self.remove_folder(name)?;
                self.remove_moved()
            })?;
            // Entries may be passed over where others go meanwhile, so only a listing of nothing is the end.
            if seen == 0 {
                return Ok(());
            }
        }
    }

    fn remove_moved(&mut self) -> Result<()> {
        while self.turns < self.moved {
            let name = number(self.turns);
            self.turns += 1;
            self.remove_folder(name.as_bytes())?;
        }
        Ok(())
    }

    /// Removes a folder of the root, and moves up what folders it has.
    fn remove_folder(&mut self, name: &[u8]) -> Result<()> {
        let mut seen = None;
        loop {
            match rustix::fs::unlinkat(&self.root, name, AtFlags::REMOVEDIR) {
                // A file of the tree's own may have a number's name; the listing of the root comes to it.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) if seen != Some(0) => {}
                Err(errno) => return Err(failed("remove", name, errno)),
            }
            seen = Some(self.empty(name)?);
        }
    }

    /// Removes the files of a folder of the root, and moves its folders up; says how many entries there were.
    fn empty(&mut self, name: &[u8]) -> Result<u64> {
        let folder = open_folder(&self.root, name).map_err(|errno| failed("open", name, errno))?;
        for_each(&folder, |name, kind| {
            if kind != FileType::Directory {
                return unlink(&folder, name);
            }
            match rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) => self.move_up(&folder, name),
                Err(errno) => Err(failed("remove", name, errno)),
            }
        })
    }

    fn move_up(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<()> {
        loop {
            let place = number(self.moved);
            self.moved += 1;
            match rustix::fs::renameat(folder, name, &self.root, place.as_str()) {
                // It may have taken the place of an empty folder of the tree's own: that was to go as well.
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // Something of the tree's own has this name: the next number, then.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(errno) => return Err(failed("move up", name, errno)),
            }
        }
    }
}

fn number(number: u64) -> String {
    format!("moved-up.{number}")
}

fn open_folder(folder: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn unlink(folder: &OwnedFd, name: &[u8]) -> Result<()> {
    gone(rustix::fs::unlinkat(folder, name, AtFlags::empty())).map_err(|errno| failed("remove", name, errno))
}

/// What was gone already is as good.
fn gone(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    if result == Err(Errno::NOENT) { Ok(()) } else { result }
}

fn failed(operation: &'static str, name: &[u8], errno: Errno) -> Error {
    Error::new(operation, String::from_utf8_lossy(name), errno)
}

/// Calls `visit` with the name and kind of each entry, except `.` and `..`; says how many there were.
fn for_each(folder: &OwnedFd, mut visit: impl FnMut(&[u8], FileType) -> Result<()>) -> Result<u64> {
    let mut buffer = Box::new([MaybeUninit::uninit(); LISTING_BYTES]);
    let mut listing = RawDir::new(folder, buffer.as_mut_slice());
    let mut seen = 0;
    while let Some(entry) = listing.next() {
        let entry = entry.context("list", || "a folder to clear".to_owned())?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        seen += 1;
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => FileType::from_raw_mode(stat.map_err(|errno| failed("stat", name, errno))?.st_mode),
            },
            known => known,
        };
        visit(name, kind)?;
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// More levels than the kernel takes in a path, or a process may have descriptors of, or a stack has room for.
    const LEVELS: usize = 30_000;
    /// Room for a few frames, not for one per level.
    const STACK_BYTES: usize = 256 << 10;

    fn dig(top: &Path, levels: usize) {
        std::fs::create_dir(top).unwrap();
        let mut folder = open_folder(CWD, top).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&folder, "d", Mode::RWXU).unwrap();
            folder = open_folder(&folder, "d").unwrap();
        }
        rustix::fs::mkdirat(&folder, "e", Mode::RWXU).unwrap();
    }

    #[test]
    fn a_tree_that_is_deeper_than_any_path_is_removed_on_a_small_stack() {
        let inside = tempfile::tempdir().unwrap();
        let doomed = inside.path().join("doomed");
        dig(&doomed, LEVELS);
        let path = doomed.clone();
        let small = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || remove(&path)).unwrap();
        assert_eq!(small.join().unwrap(), Ok(()));
        assert!(!doomed.exists());
        assert_eq!(remove(&doomed), Ok(()), "gone already");
    }

    #[test]
    fn a_wide_tree_goes_with_files_of_every_name() {
        let inside = tempfile::tempdir().unwrap();
        let doomed = inside.path().join("doomed");
        for folder in 0..300 {
            std::fs::create_dir_all(doomed.join(format!("wide/{folder}/deeper/still"))).unwrap();
            std::fs::write(doomed.join(format!("wide/{folder}/file")), "").unwrap();
        }
        // The numbers of this very module, taken by a file, an empty folder and a full one.
        std::fs::write(doomed.join(number(0)), "").unwrap();
        std::fs::create_dir(doomed.join(number(1))).unwrap();
        std::fs::create_dir_all(doomed.join(number(2)).join("full/to/the/brim")).unwrap();
        remove(&doomed).unwrap();
        assert!(!doomed.exists());
    }

    #[test]
    fn nothing_goes_that_a_link_points_to() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("canary"), "alive").unwrap();
        let inside = tempfile::tempdir().unwrap();
        let doomed = inside.path().join("doomed");
        std::fs::create_dir_all(doomed.join("a/b/c")).unwrap();
        for place in ["link", "a/link", "a/b/link", "a/b/c/link"] {
            symlink(outside.path(), doomed.join(place)).unwrap();
        }
        remove(&doomed).unwrap();
        let link = inside.path().join("link");
        symlink(outside.path(), &link).unwrap();
        remove(&link).unwrap();
        assert_eq!(std::fs::read(outside.path().join("canary")).unwrap(), b"alive");
        assert_eq!(std::fs::read_dir(inside.path()).unwrap().count(), 0);
    }

    #[test]
    fn folders_that_their_owner_may_not_open_go_as_well() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let inside = tempfile::tempdir().unwrap();
        let doomed = inside.path().join("doomed");
        std::fs::create_dir_all(doomed.join("a/b/c")).unwrap();
        for place in ["a/b/c", "a/b", "a", ""] {
            std::fs::set_permissions(doomed.join(place), std::fs::Permissions::from_mode(0o0)).unwrap();
        }
        remove(&doomed).unwrap();
        assert!(!doomed.exists());
    }

    #[test]
    fn what_cannot_go_is_named() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let inside = tempfile::tempdir().unwrap();
        let doomed = inside.path().join("doomed");
        std::fs::create_dir_all(doomed.join("a/b")).unwrap();
        let fixed = std::fs::File::create(doomed.join("a/b/fixed")).unwrap();
        if rustix::fs::ioctl_setflags(&fixed, rustix::fs::IFlags::IMMUTABLE).is_err() {
            println!("skipped: needs a file system with immutable files");
            return;
        }
        let error = remove(&doomed).unwrap_err();
        rustix::fs::ioctl_setflags(&fixed, rustix::fs::IFlags::empty()).unwrap();
        assert_eq!((error.operation, error.subject.as_str(), error.errno), ("remove", "fixed", Errno::PERM));
        remove(&doomed).unwrap();
        assert!(!doomed.exists(), "the next try finds what the first one moved");
    }

    #[test]
    fn a_folder_that_is_cleared_stays() {
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(inside.path().join("a/b")).unwrap();
        clear(open_folder(CWD, inside.path()).unwrap()).unwrap();
        assert_eq!(std::fs::read_dir(inside.path()).unwrap().count(), 0);
    }
}
