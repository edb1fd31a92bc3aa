//! A tree copied with everything that it is: owners, modes, times, attributes, links that are links and names that are one file.
//!
//! Who made the tree may be hostile, and whoever lives where it is copied to may exchange there what was just made, for something of
//! theirs. So it is never descended by calls within calls, no link is followed, nothing is opened but what was seen to be a file or a
//! folder, as that very one, and no hole is filled. Devices and sockets are left out: neither a volume nor an undo makes one.
//!
//! A volume is filled so, and what the layers have is put back so. This module must never know which of the two it is.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use belljar_linux::tree::{self, Links};
use belljar_linux::{Error, Result};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// Most entries of one copy.
pub const COPIED_ENTRIES_MAX: u64 = 2_000_000;
/// Deepest folder that is copied; each level takes two descriptors.
const COPIED_DEPTH_MAX: usize = 256;
/// Most files with several names whose first name is remembered.
const LINKED_FILES_MAX: usize = 200_000;
/// Largest list of attribute names, and largest value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const ATTRIBUTE_BYTES_MAX: usize = 65_536;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Copied {
    /// Files, folders and all else, without the folder at the top.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Devices and sockets that were left out.
    pub left_out: u64,
}

/// Which extended attributes come along, by name.
pub type Keeps = fn(&[u8]) -> bool;

/// Copies what is in `from` into the empty folder `into`, and makes that as `from` is. `shown` is what messages call `from`.
pub fn copy_tree(from: OwnedFd, into: OwnedFd, shown: &str) -> Result<Copied> {
    let mut copy = Copy::begin(&into, shown, is_of_the_file)?;
    let level = copy.level(from, into)?;
    copy.descend(level)?;
    Ok(copy.copied)
}

/// Copies what the folder `from` has under `name` into the folder `into` as `as_name`, which it has not yet; of its attributes those that
/// `keeps` names. What is left out is counted, and nothing else then.
pub fn copy_entry(from: &OwnedFd, name: &[u8], (into, as_name): (&OwnedFd, &[u8]), keeps: Keeps) -> Result<Copied> {
    let mut copy = Copy::begin(into, &String::from_utf8_lossy(name), keeps)?;
    // The first name of a file with several is found again from `into`, below the name that the top has there.
    copy.path.push(as_name.to_vec());
    if let Some((from, into)) = copy.entry((from, name), (into, as_name))? {
        let level = copy.level(from, into)?;
        copy.descend(level)?;
    }
    Ok(copy.copied)
}

/// A folder that is being copied.
struct Level {
    from: OwnedFd,
    into: OwnedFd,
    stat: Stat,
    names: Vec<Vec<u8>>,
}

struct Copy {
    /// Where it is copied to: the first names of files are found again from here.
    top: OwnedFd,
    /// What is being copied, by name; the first is what messages call the top.
    path: Vec<Vec<u8>>,
    /// The first name of each file that has several.
    linked: HashMap<(u64, u64), Vec<u8>>,
    keeps: Keeps,
    copied: Copied,
}

impl Copy {
    fn begin(top: &OwnedFd, shown: &str, keeps: Keeps) -> Result<Self> {
        let top = top.try_clone().map_err(|error| Error::from_io("copy", shown, &error))?;
        Ok(Self { top, path: vec![shown.as_bytes().to_vec()], linked: HashMap::new(), keeps, copied: Copied::default() })
    }

    /// Copies what is in a folder, and what is below that, and makes each as it was once nothing more comes into it.
    fn descend(&mut self, first: Level) -> Result<()> {
        let mut levels = vec![first];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                be_as(&level.from, &level.into, &level.stat, self.keeps).map_err(|errno| self.failed("copy", errno))?;
                levels.pop();
                self.path.pop();
                continue;
            };
            self.path.push(name.clone());
            match self.entry((&level.from, &name), (&level.into, &name))? {
                Some((from, into)) if levels.len() < COPIED_DEPTH_MAX => levels.push(self.level(from, into)?),
                Some(_) => return Err(self.failed("copy what lies deeper than 256 folders:", Errno::NAMETOOLONG)),
                None => drop(self.path.pop()),
            }
        }
        Ok(())
    }

    fn failed(&self, operation: &'static str, errno: Errno) -> Error {
        Error::new(operation, String::from_utf8_lossy(&self.path.join(&b'/')), errno)
    }

    /// Opens a folder's copy, with what is still to be done in it.
    fn level(&mut self, from: OwnedFd, into: OwnedFd) -> Result<Level> {
        let listed = || -> rustix::io::Result<(Stat, Vec<Vec<u8>>)> {
            let mut names = Vec::new();
            for entry in Dir::read_from(&from)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.push(name.to_vec());
                }
                if names.len() as u64 > COPIED_ENTRIES_MAX {
                    return Err(Errno::TOOBIG);
                }
            }
            Ok((rustix::fs::fstat(&from)?, names))
        };
        let (stat, names) = listed().map_err(|errno| self.failed("list", errno))?;
        Ok(Level { from, into, stat, names })
    }

    /// Copies one entry; a folder is returned open, on both sides.
    fn entry(&mut self, from: Named<'_>, into: Named<'_>) -> Result<Option<(OwnedFd, OwnedFd)>> {
        self.copied.entries += 1;
        if self.copied.entries > COPIED_ENTRIES_MAX {
            return Err(self.failed("copy more than 2,000,000 entries:", Errno::TOOBIG));
        }
        let opened = tree::open_entry(from.0, from.1).map_err(|errno| self.failed("open", errno))?;
        let copied = match rustix::fs::fstat(&opened) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => folder(&opened, into).map(Some),
                FileType::RegularFile => self.file(&opened, into, &stat).map(|()| None),
                FileType::Symlink => link(&opened, into, &stat).map(|()| None),
                FileType::Fifo => fifo(into, &stat).map(|()| None),
                _ => {
                    (self.copied.entries, self.copied.left_out) = (self.copied.entries - 1, self.copied.left_out + 1);
                    Ok(None)
                }
            },
            Err(errno) => Err(errno),
        };
        copied.map_err(|errno| self.failed("copy", errno))
    }

    fn file(&mut self, opened: &OwnedFd, (into, name): Named<'_>, stat: &Stat) -> rustix::io::Result<()> {
        if stat.st_nlink > 1 {
            let path = self.path[1..].join(&b'/');
            if let Some(first) = self.linked.get(&(stat.st_dev, stat.st_ino)) {
                let (parent, first) = first.split_at(first.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1));
                // No folder on the way may have become a link.
                let parent = tree::open_bytes(&self.top, parent, OFlags::PATH | OFlags::DIRECTORY, Links::Refused)?;
                return rustix::fs::linkat(&parent, first, into, name, AtFlags::empty());
            }
            if self.linked.len() >= LINKED_FILES_MAX {
                return Err(Errno::MLINK);
            }
            self.linked.insert((stat.st_dev, stat.st_ino), path);
        }
        let from = tree::reopen(opened)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(into, name, flags, Mode::RUSR | Mode::WUSR)?;
        let (from, made) = (File::from(from), File::from(made));
        self.copied.bytes += content(&from, &made, stat).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        be_as(&from, &made, stat, self.keeps)
    }
}

/// A name in an open folder.
type Named<'a> = (&'a OwnedFd, &'a [u8]);

/// Copies a file's bytes, and leaves its holes holes.
fn content(from: &File, mut into: &File, stat: &Stat) -> std::io::Result<u64> {
    let size = stat.st_size.cast_unsigned();
    into.set_len(size)?;
    let (mut at, mut written, mut reader) = (0, 0, from);
    while at < size {
        let data = match rustix::fs::seek(from, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            // A file system that does not tell its holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(from, rustix::fs::SeekFrom::Hole(data)).unwrap_or(size).min(size);
        reader.seek(SeekFrom::Start(data))?;
        into.seek(SeekFrom::Start(data))?;
        written += std::io::copy(&mut reader.take(end.saturating_sub(data)), &mut into)?;
        if end <= at {
            break;
        }
        at = end;
    }
    Ok(written)
}

fn folder(opened: &OwnedFd, (into, name): Named<'_>) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    rustix::fs::mkdirat(into, name, Mode::RWXU)?;
    let from = tree::reopen(opened)?;
    Ok((from, tree::open_entry(into, name).and_then(tree::reopen)?))
}

fn link(opened: &OwnedFd, (into, name): Named<'_>, stat: &Stat) -> rustix::io::Result<()> {
    let target = rustix::fs::readlinkat(opened, "", Vec::new())?;
    rustix::fs::symlinkat(&target, into, name)?;
    like(into, name, stat)
}

fn fifo((into, name): Named<'_>, stat: &Stat) -> rustix::io::Result<()> {
    rustix::fs::mknodat(into, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    rustix::fs::chownat(into, name, owner(stat).0, owner(stat).1, AtFlags::SYMLINK_NOFOLLOW)?;
    // Opened, and seen to be no link: by its name it may be one by now, and a change of mode would follow it.
    let made = tree::open_entry(into, name)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&made)?.st_mode) == FileType::Fifo {
        rustix::fs::chmod(format!("/proc/self/fd/{}", made.as_raw_fd()), mode(stat))?;
    }
    rustix::fs::utimensat(into, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// Owner and times of something that cannot be opened. Where it was exchanged meanwhile, another thing of theirs has them.
fn like(folder: &OwnedFd, name: &[u8], stat: &Stat) -> rustix::io::Result<()> {
    rustix::fs::chownat(folder, name, owner(stat).0, owner(stat).1, AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(folder, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// Owner, then attributes, then mode (a change of owner takes set-uid bits and capabilities away), and the times last of all.
fn be_as(from: &impl AsFd, into: &impl AsFd, stat: &Stat, keeps: Keeps) -> rustix::io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(into, uid, gid)?;
    attributes(from, into, keeps)?;
    rustix::fs::fchmod(into, mode(stat))?;
    rustix::fs::futimens(into, &times(stat))
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec, nanoseconds: u64| Timespec { tv_sec, tv_nsec: i64::try_from(nanoseconds).unwrap_or_default() };
    Timestamps { last_access: time(stat.st_atime, stat.st_atime_nsec), last_modification: time(stat.st_mtime, stat.st_mtime_nsec) }
}

/// What overlayfs and a host's own label say of a file is said of that place, and stays there.
fn is_of_the_file(name: &[u8]) -> bool {
    ![&b"trusted.overlay."[..], b"user.overlay.", b"security.selinux", b"security.ima", b"security.evm"]
        .iter()
        .any(|own| name.starts_with(own))
}

fn attributes(from: &impl AsFd, into: &impl AsFd, keeps: Keeps) -> rustix::io::Result<()> {
    let mut list = vec![0; ATTRIBUTE_BYTES_MAX];
    let length = match rustix::fs::flistxattr(from, list.as_mut_slice()) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        listed => listed?,
    };
    let mut value = Vec::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty() && keeps(name)) {
        value.resize(ATTRIBUTE_BYTES_MAX, 0);
        let length = match rustix::fs::fgetxattr(from, name, value.as_mut_slice()) {
            // It is not for us, or not a thing that is kept.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            read => read?,
        };
        rustix::fs::fsetxattr(into, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::Path;

    fn open_folder(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    fn copy(from: &Path, into: &Path) -> Result<Copied> {
        std::fs::create_dir(into).unwrap();
        copy_tree(open_folder(from), open_folder(into), "/data")
    }

    #[test]
    fn everything_that_a_file_is_comes_along() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (from, into) = (folder.path().join("from"), folder.path().join("into"));
        std::fs::create_dir_all(from.join("sub")).unwrap();
        std::fs::write(from.join("sub/file"), "hello").unwrap();
        std::fs::hard_link(from.join("sub/file"), from.join("again")).unwrap();
        symlink("/etc/shadow", from.join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, from.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, from.join("null"), FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3)).unwrap();
        for (path, uid, mode) in [("sub/file", 70_000, 0o4751), ("sub", 33, 0o2770), ("", 999, 0o700)] {
            std::os::unix::fs::chown(from.join(path), Some(uid), Some(uid + 1)).unwrap();
            std::fs::set_permissions(from.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let kept = rustix::fs::setxattr(from.join("sub/file"), "user.note", b"a\0b", XattrFlags::empty()).is_ok();
        let old = Timespec { tv_sec: 1_000_000_000, tv_nsec: 123_456_789 };
        for path in ["sub/file", "sub", "link", "pipe"] {
            let times = Timestamps { last_access: old, last_modification: old };
            rustix::fs::utimensat(rustix::fs::CWD, from.join(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
        assert_eq!(copy(&from, &into), Ok(Copied { entries: 5, bytes: 5, left_out: 1 }));
        let facts = |top: &Path, path: &str| {
            let stat = std::fs::symlink_metadata(top.join(path)).unwrap();
            (stat.mode(), stat.uid(), stat.gid(), stat.nlink(), stat.mtime(), stat.mtime_nsec())
        };
        for path in ["sub/file", "sub", "link", "pipe", "again"] {
            assert_eq!(facts(&into, path), facts(&from, path), "{path}");
        }
        assert_eq!(std::fs::metadata(&into).unwrap().uid(), 999);
        assert_eq!(std::fs::metadata(into.join("again")).unwrap().ino(), std::fs::metadata(into.join("sub/file")).unwrap().ino());
        assert_eq!(std::fs::read_link(into.join("link")).unwrap(), Path::new("/etc/shadow"));
        assert!(std::fs::symlink_metadata(into.join("pipe")).unwrap().file_type().is_fifo() && !into.join("null").exists());
        let mut value = [0; 8];
        let read = rustix::fs::getxattr(into.join("sub/file"), "user.note", value.as_mut_slice());
        assert!(!kept || read == Ok(3) && &value[..3] == b"a\0b");
    }

    #[test]
    fn a_hole_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (from, into) = (folder.path().join("from"), folder.path().join("into"));
        std::fs::create_dir(&from).unwrap();
        let file = File::create(from.join("sparse")).unwrap();
        file.set_len(1 << 40).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"in the middle", 1 << 39).unwrap();
        let told = std::fs::metadata(from.join("sparse")).unwrap();
        if told.blocks() > 1 << 20 {
            println!("skipped: needs a file system with holes");
            return;
        }
        let copied = copy(&from, &into).unwrap();
        let found = std::fs::metadata(into.join("sparse")).unwrap();
        assert_eq!((found.len(), copied.entries), (1 << 40, 1));
        assert!(found.blocks() < 1 << 12 && copied.bytes < 1 << 21, "{} blocks, {} bytes", found.blocks(), copied.bytes);
        let mut said = [0; 13];
        std::os::unix::fs::FileExt::read_exact_at(&File::open(into.join("sparse")).unwrap(), &mut said, 1 << 39).unwrap();
        assert_eq!(&said, b"in the middle");
    }

    #[test]
    fn what_is_too_deep_is_named_and_takes_no_more_than_its_descriptors() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        std::fs::create_dir(&from).unwrap();
        let mut dug = open_folder(&from);
        for _ in 0..COPIED_DEPTH_MAX + 1 {
            rustix::fs::mkdirat(&dug, "d", Mode::RWXU).unwrap();
            dug = rustix::fs::openat(&dug, "d", OFlags::RDONLY, Mode::empty()).unwrap();
        }
        let refused = copy(&from, &folder.path().join("into")).map_err(|error| (error.errno, error.operation));
        assert_eq!(refused, Err((Errno::NAMETOOLONG, "copy what lies deeper than 256 folders:")));
    }
}
