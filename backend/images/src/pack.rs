//! A folder as a layer: what a container changed, or what lies on this disk of a layer whose archive is gone.
//!
//! ```text
//! upper folder -> entries in order of their names -> a pipe -> unpacked, hashed, with a skeleton: as any layer that arrives
//! ```
//!
//! A container can have made this folder, and may still write to it. So it is walked by descriptor: a name is opened without
//! following a link, and what was opened is asked what it is. A character device 0:0 is a whiteout; other devices and sockets are
//! left out, since nothing could be made of them. Marks of overlayfs are its own: the opaque one becomes the file that says so, one
//! that redirects elsewhere ends the walk. A file whose own name is that of a whiteout would hide another one, and ends it too.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use belljar_archive::limits::{DEPTH_MAX, ENTRIES_MAX, FOLDERS_BYTES_MAX, XATTRS_MAX};
use belljar_archive::{Entry, Kind, Writer, keeps_xattr, shown};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::import::attributes::OPAQUE_XATTR;
use crate::import::place::{OPAQUE, WHITEOUT_PREFIX};
use crate::import::{self, ImportError, ImportLimits, StagedLayer};
use crate::store::Images;
use crate::tree::{Tree, join};

/// Bytes of folder entries that are read at once.
const LISTING_BYTES: usize = 32 << 10;
/// Bytes of a file that are read at once.
const BUFFER_BYTES: usize = 128 << 10;
/// Longest value of an extended attribute: the kernel's own limit.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Full names and values of extended attributes, in order.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Why a folder could not be made a layer.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Something in it could not be read.
    #[error("could not {operation} {path:?}")]
    Read {
        /// What was tried.
        operation: &'static str,
        /// Its path in the folder.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// Something in it cannot be part of a layer.
    #[error("{path:?} cannot be part of a layer: {problem}")]
    Refused {
        /// Its path in the folder.
        path: String,
        /// Why, as a clause.
        problem: &'static str,
    },
    /// It has more of something than a limit allows.
    #[error("the folder has more than {max} {what}, which is the limit")]
    OverLimit {
        /// What is limited.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The archive could not be written on.
    #[error("could not write the layer's archive")]
    Write(#[source] io::Error),
    /// The layer could not be unpacked again.
    #[error("could not put the layer on this disk")]
    Stage(#[source] ImportError),
}

impl From<io::Error> for PackError {
    fn from(source: io::Error) -> Self {
        Self::Write(source)
    }
}

/// Packs the folder `upper`, and unpacks it as a layer.
pub(crate) fn stage(images: &Images, upper: &Path, limits: &ImportLimits) -> Result<StagedLayer, PackError> {
    let (from, to) = io::pipe()?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || write_tree(upper, to));
        let staged = import::stage(images, import::place::Flavour::Layer, from, limits);
        let packed = packing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (packed, staged) {
            // Whoever unpacks had enough: that is the reason.
            (Err(PackError::Write(_)), Err(error)) | (Ok(()), Err(error)) => Err(PackError::Stage(error)),
            (Err(error), _) => Err(error),
            (Ok(()), Ok(staged)) => Ok(staged),
        }
    })
}

/// Writes the folder at `path` as a layer's archive. The same folder is the same bytes.
pub(crate) fn write_tree(path: &Path, to: impl Write) -> Result<(), PackError> {
    let failed = |source| PackError::Read { operation: "open", path: path.display().to_string(), source };
    let root = Tree::open(path).map_err(failed)?.folder(b"").map_err(|errno| failed(errno.into()))?;
    let mut packer = Packer {
        archive: Writer::new(io::BufWriter::with_capacity(BUFFER_BYTES, to)),
        buffer: vec![0; BUFFER_BYTES],
        names: HashMap::new(),
        names_bytes: 0,
        entries: 0,
    };
    packer.walk(root)?;
    packer.archive.finish()?;
    Ok(())
}

struct Packer<W: Write> {
    archive: Writer<W>,
    buffer: Vec<u8>,
    /// First names of files that have several, by device and inode.
    names: HashMap<(u64, u64), Vec<u8>>,
    names_bytes: usize,
    entries: u64,
}

/// A folder on the way down, and what is still to be looked at in it, the last first.
struct Level {
    path: Vec<u8>,
    folder: OwnedFd,
    ahead: Vec<Vec<u8>>,
}

impl<W: Write> Packer<W> {
    fn walk(&mut self, root: OwnedFd) -> Result<(), PackError> {
        let mut levels = vec![self.folder(Vec::new(), root)?];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.ahead.pop() else {
                levels.pop();
                continue;
            };
            let path = join(&level.path, &name);
            let Some(below) = self.entry(&path, &level.folder, &name)? else { continue };
            if levels.len() > DEPTH_MAX {
                return Err(refused(&path, "it lies too deep"));
            }
            let below = self.folder(path, below)?;
            levels.push(below);
        }
        Ok(())
    }

    /// Writes a folder, and its mark, and lists it.
    fn folder(&mut self, path: Vec<u8>, folder: OwnedFd) -> Result<Level, PackError> {
        let stat = rustix::fs::fstat(&folder).map_err(|errno| read("look at", &path, errno))?;
        let xattrs = xattrs(&path, &folder)?;
        let name = if path.is_empty() { b"./".to_vec() } else { path.clone() };
        self.write(&name, Kind::Folder, &stat, &xattrs)?;
        if mark(&path, &folder, OPAQUE_XATTR)?.as_deref() == Some(b"y") {
            self.write(&join(&path, OPAQUE), Kind::File { size: 0 }, &hidden(&stat), &[])?;
        }
        let ahead = names(&folder, self.entries).map_err(|problem| problem.of(&path))?;
        Ok(Level { path, folder, ahead })
    }

    /// Writes what is no folder; of a folder, its descriptor.
    fn entry(&mut self, path: &[u8], folder: &OwnedFd, name: &[u8]) -> Result<Option<OwnedFd>, PackError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            // Gone since it was listed.
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|errno| read("open", path, errno))?,
        };
        let stat = rustix::fs::fstat(&opened).map_err(|errno| read("look at", path, errno))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            let (parent, name) = crate::tree::split(path);
            return self
                .write(&join(parent, &[WHITEOUT_PREFIX, name].concat()), Kind::File { size: 0 }, &hidden(&stat), &[])
                .map(|()| None);
        }
        if name.starts_with(WHITEOUT_PREFIX) {
            return Err(refused(path, "by its name it would hide another file"));
        }
        match kind {
            FileType::Directory => reopened(folder, name, &stat).map(Some).map_err(|errno| read("open", path, errno)),
            FileType::RegularFile => self.file(path, (folder, name), &stat).map(|()| None),
            FileType::Symlink => {
                if self.linked(path, &stat)? {
                    return Ok(None);
                }
                let target = rustix::fs::readlinkat(&opened, "", Vec::new()).map_err(|errno| read("read", path, errno))?;
                self.write(path, Kind::Symlink { target: target.into_bytes() }, &stat, &[]).map(|()| None)
            }
            FileType::Fifo if self.linked(path, &stat)? => Ok(None),
            FileType::Fifo => self.write(path, Kind::Fifo, &stat, &[]).map(|()| None),
            _ => Ok(None),
        }
    }

    /// Writes a second name of what has been written already; whether that was so.
    fn linked(&mut self, path: &[u8], stat: &Stat) -> Result<bool, PackError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        if let Some(first) = self.names.get(&(stat.st_dev, stat.st_ino)).cloned() {
            return self.write(path, Kind::Hardlink { target: first }, stat, &[]).map(|()| true);
        }
        self.names_bytes += path.len() + size_of::<((u64, u64), Vec<u8>)>();
        if self.names_bytes > FOLDERS_BYTES_MAX {
            return Err(PackError::OverLimit { what: "bytes of names of hard links", max: FOLDERS_BYTES_MAX as u64 });
        }
        self.names.insert((stat.st_dev, stat.st_ino), path.to_vec());
        Ok(false)
    }

    fn file(&mut self, path: &[u8], (folder, name): (&OwnedFd, &[u8]), stat: &Stat) -> Result<(), PackError> {
        if self.linked(path, stat)? {
            return Ok(());
        }
        let failed = |errno| read("open", path, errno);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(failed)?;
        let now = rustix::fs::fstat(&file).map_err(failed)?;
        if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(refused(path, "it was exchanged while it was read"));
        }
        let xattrs = xattrs(path, &file)?;
        self.write(path, Kind::File { size: u64::try_from(now.st_size).unwrap_or(0) }, &now, &xattrs)?;
        let mut file = File::from(file);
        // What was added since is left out, and what was cut off is zeros: the writer sees to both.
        while self.archive.owed() > 0 {
            let count = file.read(&mut self.buffer).map_err(|source| PackError::Read { operation: "read", path: shown(path), source })?;
            if count == 0 {
                break;
            }
            self.archive.body(&self.buffer[..count])?;
        }
        Ok(())
    }

    fn write(&mut self, name: &[u8], kind: Kind, stat: &Stat, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), PackError> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(PackError::OverLimit { what: "entries", max: ENTRIES_MAX });
        }
        let mtime = (stat.st_mtime, stat.st_mtime_nsec as u32);
        let (mode, uid, gid) = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        self.archive.entry(&Entry { name, kind, device: None, mode, uid, gid, mtime, xattrs })?;
        Ok(())
    }
}

/// A whiteout says nothing beside its name: root's, of no moment.
fn hidden(stat: &Stat) -> Stat {
    let mut hidden = *stat;
    (hidden.st_mode, hidden.st_uid, hidden.st_gid) = (0o644, 0, 0);
    (hidden.st_mtime, hidden.st_mtime_nsec) = (0, 0);
    hidden
}

/// The folder that was looked at, to be listed; `ESTALE` where another is in its place by now.
fn reopened(folder: &OwnedFd, name: &[u8], stat: &Stat) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let now = rustix::fs::fstat(&opened)?;
    if (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino) { Ok(opened) } else { Err(Errno::STALE) }
}

/// Why a folder could not be listed.
enum Listing {
    Read(Errno),
    TooMany,
}

impl Listing {
    fn of(self, path: &[u8]) -> PackError {
        match self {
            Self::Read(errno) => read("list", path, errno),
            Self::TooMany => PackError::OverLimit { what: "entries", max: ENTRIES_MAX },
        }
    }
}

/// The names in a folder, the last first.
fn names(folder: &OwnedFd, entries: u64) -> Result<Vec<Vec<u8>>, Listing> {
    let listed = listed(folder).map_err(Listing::Read)?;
    if entries + listed.len() as u64 > ENTRIES_MAX {
        return Err(Listing::TooMany);
    }
    let mut names: Vec<Vec<u8>> = listed.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable_by(|one, other| other.cmp(one));
    Ok(names)
}

/// What lies in a folder, by name and kind. Of more than any archive may hold, no more than is too many.
pub(crate) fn listed(folder: &OwnedFd) -> Result<Vec<(Vec<u8>, FileType)>, Errno> {
    let mut buffer = Box::new([MaybeUninit::uninit(); LISTING_BYTES]);
    let mut listing = RawDir::new(folder, buffer.as_mut_slice());
    let mut listed = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if listed.len() as u64 > ENTRIES_MAX {
            break;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say it here.
            FileType::Unknown => FileType::from_raw_mode(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            kind => kind,
        };
        listed.push((name.to_vec(), kind));
    }
    Ok(listed)
}

/// The attributes that a layer keeps, in order. One of overlayfs that leads elsewhere cannot be kept, and must not be lost.
pub(crate) fn xattrs(path: &[u8], file: impl AsFd) -> Result<Xattrs, PackError> {
    let failed = |errno| read("read the attributes of", path, errno);
    let mut list = vec![0; XATTR_BYTES_MAX];
    let length = match rustix::fs::flistxattr(&file, &mut list) {
        Err(Errno::NOTSUP) => 0,
        other => other.map_err(failed)?,
    };
    let mut names: Vec<&[u8]> = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    if names.iter().any(|name| matches!(*name, b"trusted.overlay.redirect" | b"trusted.overlay.metacopy")) {
        return Err(refused(path, "overlayfs has only a reference to its content here"));
    }
    names.retain(|name| keeps_xattr(name));
    names.sort_unstable();
    if names.len() > XATTRS_MAX {
        return Err(refused(path, "it has too many extended attributes"));
    }
    let mut xattrs = Vec::new();
    for name in names {
        // One that is gone since it was listed is none.
        if let Some(value) = mark(path, &file, name)? {
            xattrs.push((name.to_vec(), value));
        }
    }
    Ok(xattrs)
}

/// The value of an attribute, where there is one.
pub(crate) fn mark(path: &[u8], file: impl AsFd, name: impl rustix::path::Arg) -> Result<Option<Vec<u8>>, PackError> {
    let mut value = vec![0; XATTR_BYTES_MAX];
    match rustix::fs::fgetxattr(file, name, &mut value) {
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(read("read the attributes of", path, errno)),
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
    }
}

fn read(operation: &'static str, path: &[u8], errno: Errno) -> PackError {
    PackError::Read { operation, path: shown(path), source: errno.into() }
}

fn refused(path: &[u8], problem: &'static str) -> PackError {
    PackError::Refused { path: shown(path), problem }
}
