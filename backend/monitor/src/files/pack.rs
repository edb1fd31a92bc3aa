//! A tree out as a tar archive: by descriptors alone, one level at a time, and no link is followed. Whoever owns the tree may
//! change it while it is read: what vanishes is left out, what shrinks is filled with zeros, what is swapped for a device or a
//! FIFO is never opened.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use belljar_archive::limits::{ARCHIVE_BYTES_MAX, DEPTH_MAX, ENTRIES_MAX};
use belljar_archive::{ArchiveError, Entry, Kind, Writer};
use belljar_linux::tree::{self, Links};
use belljar_model::files::{Moved, PathStat};
use belljar_model::overlay::FileKind;
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};
use rustix::io::Errno;

use super::attributes;
use super::error::{Error, failed, shown};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 128 << 10;
/// Most files with several names whose other names are remembered; beyond it, each name is a file of its own.
const HARDLINKS_MAX: usize = 100_000;

/// File systems of the kernel's own, by magic number (`statfs(2)`): their files are no content, some of them wait forever or
/// act on being read. procfs, sysfs, cgroup, cgroup2, devpts, mqueue, debugfs, tracefs, securityfs, bpf.
const KERNELS_OWN: [u64; 10] =
    [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x1cd1, 0x1980_0202, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0xcafe_4a11];

/// Something that is there: opened as `O_PATH`, with its name in an archive.
#[derive(Debug)]
pub struct Found {
    opened: OwnedFd,
    stat: Stat,
    name: Vec<u8>,
}

/// Finds what is at `path` of the tree. Links above it are followed inside the tree; it itself only where the path ends in
/// `/` or `/.`.
pub fn find(root: impl AsFd, path: &str) -> Result<Found, Error> {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if last == ".." || path.contains('\0') {
        return Err(Error::refused(path, "is no path of a file: it ends in .., or holds a NUL byte"));
    }
    let is_content = path.ends_with('/') || matches!(last, "" | ".");
    let looked_up = if is_content { format!("{path}/.") } else { path.to_owned() };
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let opened = tree::open_bytes(&root, looked_up.as_bytes(), flags, Links::Followed).map_err(|errno| match errno {
        Errno::NOENT => Error::NotFound { path: path.to_owned() },
        Errno::NOTDIR => Error::refused(path, "is not a folder, or lies below something that is none"),
        errno => failed("open", path.as_bytes())(errno),
    })?;
    let stat = rustix::fs::fstat(&opened).map_err(failed("stat", path.as_bytes()))?;
    let name = if matches!(last, "" | ".") { b".".to_vec() } else { last.as_bytes().to_vec() };
    Ok(Found { opened, stat, name })
}

impl Found {
    /// What it is, for whoever asked.
    pub fn stat(&self) -> PathStat {
        let kind = match FileType::from_raw_mode(self.stat.st_mode) {
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::CharacterDevice | FileType::BlockDevice => FileKind::Device,
            FileType::RegularFile | FileType::Unknown => FileKind::File,
        };
        let target = (kind == FileKind::Symlink).then(|| rustix::fs::readlinkat(&self.opened, "", Vec::new()).ok()).flatten();
        PathStat {
            name: String::from_utf8_lossy(&self.name).into_owned(),
            kind,
            size_bytes: if kind == FileKind::File { self.stat.st_size.cast_unsigned() } else { 0 },
            mode: self.stat.st_mode & 0o7777,
            modified_at_ms: self.stat.st_mtime.saturating_mul(1000).saturating_add((self.stat.st_mtime_nsec / 1_000_000) as i64),
            link_target: target.map(|target| target.to_string_lossy().into_owned()),
        }
    }

    /// Refuses what lies in a file system of the kernel's own.
    pub fn check_packable(&self) -> Result<(), Error> {
        match is_kernels_own(&self.opened)? {
            true => Err(Error::refused(shown(&self.name), "lies in a file system of the kernel's own, whose files are no content")),
            false => Ok(()),
        }
    }

    /// Another name at the top of the archive.
    pub fn named(self, name: &str) -> Self {
        Self { name: name.as_bytes().to_vec(), ..self }
    }
}

/// Writes what was found, with all that is in it, as an archive to `to`.
pub fn pack(found: Found, to: impl Write) -> Result<Moved, Error> {
    found.check_packable()?;
    let Found { opened, stat, name } = found;
    let writer = Writer::new(std::io::BufWriter::with_capacity(PIECE_BYTES, to));
    let mut packing = Packing { writer, moved: Moved::default(), names: HashMap::new(), piece: vec![0; PIECE_BYTES] };
    packing.one(&opened, &stat, &name, 0)?;
    let Packing { writer, moved, .. } = packing;
    writer.finish().map_err(Error::Output)?;
    Ok(moved)
}

struct Packing<W: Write> {
    writer: Writer<W>,
    moved: Moved,
    /// First name of each file that has several.
    names: HashMap<(u64, u64), Vec<u8>>,
    piece: Vec<u8>,
}

impl<W: Write> Packing<W> {
    fn one(&mut self, opened: &OwnedFd, stat: &Stat, name: &[u8], depth: usize) -> Result<(), Error> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(opened, stat, name, depth),
            FileType::RegularFile => self.file(opened, name),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(opened, "", Vec::new()).map_err(failed("read the link", name))?;
                self.entry(name, Kind::Symlink { target: target.into_bytes() }, stat, &[])
            }
            FileType::Fifo => self.entry(name, Kind::Fifo, stat, &[]),
            FileType::CharacterDevice | FileType::BlockDevice => self.entry(name, Kind::Device, stat, &[]),
            FileType::Socket | FileType::Unknown => {
                self.moved.passed_over += 1;
                Ok(())
            }
        }
    }

    fn entry(&mut self, name: &[u8], kind: Kind, stat: &Stat, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Error> {
        self.moved.entries += 1;
        if self.moved.entries > ENTRIES_MAX {
            return Err(ArchiveError::OverLimit { what: "entries", max: ENTRIES_MAX }.into());
        }
        if let Kind::File { size } = kind {
            self.moved.size_bytes = self.moved.size_bytes.saturating_add(size);
            if self.moved.size_bytes > ARCHIVE_BYTES_MAX {
                return Err(ArchiveError::OverLimit { what: "bytes", max: ARCHIVE_BYTES_MAX }.into());
            }
        }
        let is_character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        let device = (kind == Kind::Device).then(|| (is_character, rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)));
        let mtime = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
        let entry = Entry { name, kind, device, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime, xattrs };
        self.writer.entry(&entry).map_err(Error::Output)
    }

    fn file(&mut self, opened: &OwnedFd, name: &[u8]) -> Result<(), Error> {
        let mut file = File::from(tree::reopen(opened).map_err(failed("open", name))?);
        let stat = rustix::fs::fstat(&file).map_err(failed("stat", name))?;
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.names.get(&key) {
                let kind = Kind::Hardlink { target: first.clone() };
                return self.entry(name, kind, &stat, &[]);
            }
            if self.names.len() < HARDLINKS_MAX {
                self.names.insert(key, name.to_vec());
            }
        }
        let xattrs = attributes::kept(&file).map_err(failed("read the attributes of", name))?;
        self.entry(name, Kind::File { size: stat.st_size.cast_unsigned() }, &stat, &xattrs)?;
        while self.writer.owed() > 0 {
            let read = file.read(&mut self.piece).map_err(|error| belljar_linux::Error::from_io("read", shown(name), &error))?;
            if read == 0 {
                break;
            }
            self.writer.body(&self.piece[..read]).map_err(Error::Output)?;
        }
        Ok(())
    }

    fn folder(&mut self, opened: &OwnedFd, stat: &Stat, name: &[u8], depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::refused(shown(name), format!("lies more than {DEPTH_MAX} folders deep")));
        }
        let folder = tree::reopen(opened).map_err(failed("open", name))?;
        let xattrs = attributes::kept(&folder).map_err(failed("read the attributes of", name))?;
        self.entry(name, Kind::Folder, stat, &xattrs)?;
        for entry in Dir::read_from(&folder).map_err(failed("list", name))? {
            let entry = entry.map_err(failed("list", name))?;
            let child_name = entry.file_name().to_bytes();
            if matches!(child_name, b"." | b"..") {
                continue;
            }
            let child = match tree::open_entry(&folder, child_name) {
                // Gone since the folder was listed.
                Err(Errno::NOENT) => continue,
                child => child.map_err(failed("open", child_name))?,
            };
            let path = [name, b"/", child_name].concat();
            let child_stat = rustix::fs::fstat(&child).map_err(failed("stat", &path))?;
            if child_stat.st_dev != stat.st_dev && is_kernels_own(&child)? {
                // Of what shows the kernel itself, the place is kept.
                self.moved.passed_over += 1;
                if FileType::from_raw_mode(child_stat.st_mode) == FileType::Directory {
                    self.entry(&path, Kind::Folder, &child_stat, &[])?;
                }
                continue;
            }
            self.one(&child, &child_stat, &path, depth + 1)?;
        }
        Ok(())
    }
}

fn is_kernels_own(opened: &OwnedFd) -> Result<bool, Error> {
    Ok(KERNELS_OWN.contains(&belljar_linux::mount::magic_of(opened)?))
}

/// Whether a folder has a name, whatever is under it.
pub(super) fn has(folder: impl AsFd, name: &[u8]) -> Result<bool, Error> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(false),
        looked => looked.map(|_| true).map_err(failed("stat", name)),
    }
}
