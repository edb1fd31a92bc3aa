//! Writing an archive's entries below a folder, so that nothing outside of it is ever reached.
//!
//! Each rule answers an attack that some unpacker fell to. A name is taken apart here, never by the kernel from the
//! archive's own bytes; `..` is refused, not resolved. A folder is reached through [`Tree`], which passes no link, so
//! a link that an earlier entry made leads nowhere. A file is made anew (`O_EXCL`), never opened where something lies.
//! Modes, owners, times and attributes are set through the descriptor of what was just made, never by a path
//! (CVE-2026-33056 was a mode set through a link). Folders get mode and time at the end, deepest first, because writing into
//! a folder changes its time, and a set-group-id bit on it would change the group of what is written. Until then they are
//! kept in memory, within a limit, and nothing else is: an archive of extended attributes alone would fill it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use belljar_model::user::ID_MAX;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::tree::{Tree, join, split};
use belljar_archive::limits::{DEPTH_MAX, FOLDERS_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};
use belljar_archive::{Archive, Kind, Member};
use belljar_archive::{ArchiveError as ImportError, keeps_xattr, shown};

/// Mode of a folder that the archive implies but does not hold.
const FOLDER_MODE: u32 = 0o755;
/// Prefix of overlayfs's and OCI's whiteout files.
const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// Writes entries below one folder.
pub(super) struct Unpacker {
    tree: Tree,
    /// What the folders made so far shall be like at last, by path: set when everything is written.
    folders: BTreeMap<Vec<u8>, Last>,
    /// Bytes that `folders` takes.
    folders_bytes: usize,
    /// The folder that the last entry lay in: most entries lie in the same one as the one before.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Bytes of regular files.
    pub(super) size_bytes: u64,
    /// Device nodes that were passed over.
    pub(super) devices_skipped: u64,
}

/// What an entry shall be like beside its content.
#[derive(Debug)]
struct Attributes<'a> {
    owner: (u32, u32),
    xattrs: &'a [(Vec<u8>, Vec<u8>)],
    last: Last,
}

/// Those of the attributes that writing into a folder would change, or that would hinder it.
#[derive(Debug, Clone, Copy)]
struct Last {
    mode: u32,
    mtime: Option<(i64, u32)>,
}

impl Last {
    /// Of a folder that is only implied: it stays ours, which is root's.
    const IMPLIED: Self = Self { mode: FOLDER_MODE, mtime: None };

    fn set(self, file: impl AsFd) -> Result<(), Errno> {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode))?;
        match self.mtime {
            Some(mtime) => rustix::fs::futimens(&file, &timestamps(mtime)),
            None => Ok(()),
        }
    }
}

impl<'a> Attributes<'a> {
    fn of(member: &'a Member) -> Result<Self, ImportError> {
        let id = |number: i128, what| {
            let id = u32::try_from(number).ok().filter(|id| *id <= ID_MAX);
            id.ok_or_else(|| member.refuse(format!("its {what} id {number} is not between 0 and {ID_MAX}, the ids of a container")))
        };
        let owner = (id(member.uid, "user")?, id(member.gid, "group")?);
        Ok(Self { owner, xattrs: &member.xattrs, last: Last { mode: member.mode, mtime: Some(member.mtime) } })
    }

    /// Sets them on an open file.
    fn set(&self, file: impl AsFd) -> Result<(), Errno> {
        self.set_first(&file)?;
        self.last.set(file)
    }

    /// Sets those that nothing later changes. The owner comes first: `chown` takes set-uid bits and capabilities away.
    fn set_first(&self, file: impl AsFd) -> Result<(), Errno> {
        let (uid, gid) = self.owner;
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        self.xattrs.iter().try_for_each(|(name, value)| rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()))
    }

    /// Sets owner and time, and for all but links the mode, of something that cannot be opened, by its name in an open
    /// folder. We made it a moment ago, and nobody else writes here.
    fn set_at(&self, folder: &OwnedFd, name: &[u8], kind: &Kind) -> Result<(), Errno> {
        let (uid, gid) = self.owner;
        rustix::fs::chownat(folder, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
        if !matches!(kind, Kind::Symlink { .. }) {
            rustix::fs::chmodat(folder, name, Mode::from_raw_mode(self.last.mode), AtFlags::empty())?;
        }
        match self.last.mtime {
            Some(mtime) => rustix::fs::utimensat(folder, name, &timestamps(mtime), AtFlags::SYMLINK_NOFOLLOW),
            None => Ok(()),
        }
    }
}

fn timestamps((tv_sec, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

impl Unpacker {
    /// Will write below `tree`, which is empty.
    pub(super) fn new(tree: Tree) -> Self {
        let folders = BTreeMap::from([(Vec::new(), Last::IMPLIED)]);
        Self { tree, folders, folders_bytes: 0, last: None, size_bytes: 0, devices_skipped: 0 }
    }

    /// Writes one entry, with its body from `archive`.
    pub(super) fn unpack<R: Read>(&mut self, member: &Member, archive: &mut Archive<R>) -> Result<(), ImportError> {
        let path = path(&member.name).map_err(|problem| member.refuse(problem))?;
        let attributes = Attributes::of(member)?;
        if path.is_empty() {
            if member.kind != Kind::Folder {
                return Err(member.refuse("it would stand in the place of the root"));
            }
            set_on_folder(&self.tree, &attributes).map_err(written("set the attributes of", member))?;
            return self.keep(path, attributes.last);
        }
        if let Kind::Hardlink { target } = &member.kind {
            return self.hardlink(member, &path, target);
        }
        let (parent, name) = split(&path);
        let folder = self.folder(member, parent)?;
        let made = match &member.kind {
            Kind::Folder => self.make_folder(member, &path, &folder, &attributes),
            Kind::File { size } => self.write_file(member, &path, &folder).and_then(|file| {
                self.size_bytes += size;
                copy(member, archive, file, &attributes)
            }),
            Kind::Symlink { .. } | Kind::Fifo => self.make_special(member, &path, &folder, &attributes),
            Kind::Device => {
                // Belljar supplies /dev, and the kernel refuses device nodes of a user namespace anyway. A node 0:0
                // would even be taken for a whiteout.
                self.devices_skipped += 1;
                self.make_room(&path, &folder, name).map_err(written("replace", member))
            }
            Kind::Hardlink { .. } => Ok(()),
        };
        self.remember(parent, folder);
        made
    }

    /// Gives all folders their modes and times, deepest first, and waits until everything is on disk.
    pub(super) fn finish(self) -> Result<(), ImportError> {
        let failed = |path: &[u8], operation| {
            let entry = shown(path);
            move |errno: Errno| ImportError::Write { operation, entry, source: errno.into() }
        };
        for (path, last) in self.folders.iter().rev() {
            let set = self.tree.folder(path).and_then(|folder| last.set(folder));
            set.map_err(failed(path, "set the attributes of"))?;
        }
        rustix::fs::syncfs(&self.tree).map_err(failed(b"", "write everything"))
    }

    /// The folder at `path`, made part by part where it is missing.
    fn folder(&mut self, member: &Member, path: &[u8]) -> Result<OwnedFd, ImportError> {
        if let Some((_, folder)) = self.last.take_if(|(last, _)| last == path) {
            return Ok(folder);
        }
        match self.tree.folder(path) {
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(not_a_folder(member, path, errno)),
            Ok(folder) => return Ok(folder),
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index).chain([path.len()]);
        for end in ends {
            let (parent, name) = split(&path[..end]);
            let folder = self.tree.folder(parent).map_err(|errno| not_a_folder(member, parent, errno))?;
            match rustix::fs::mkdirat(folder, name, Mode::RWXU) {
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(written("make a folder for", member)(errno)),
                Ok(()) => self.keep(path[..end].to_vec(), Last::IMPLIED)?,
            }
        }
        self.tree.folder(path).map_err(|errno| not_a_folder(member, path, errno))
    }

    fn remember(&mut self, path: &[u8], folder: OwnedFd) {
        self.last = Some((path.to_vec(), folder));
    }

    /// Removes what an earlier entry put in this place: the last of two entries wins, whatever either is.
    fn make_room(&mut self, path: &[u8], folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // unlink(2) says EISDIR on Linux; POSIX says EPERM.
            Err(Errno::ISDIR | Errno::PERM) => {
                self.tree.remove_folder(path)?;
                self.forget_folders(path);
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    /// Keeps for the end what a folder shall be like.
    fn keep(&mut self, path: Vec<u8>, last: Last) -> Result<(), ImportError> {
        let bytes = kept_bytes(&path);
        if self.folders.insert(path, last).is_none() {
            self.folders_bytes += bytes;
        }
        if self.folders_bytes > FOLDERS_BYTES_MAX {
            return Err(ImportError::OverLimit { what: "bytes of names of folders", max: FOLDERS_BYTES_MAX as u64 });
        }
        Ok(())
    }

    /// Forgets what a folder that is gone, and all below it, should have been like.
    fn forget_folders(&mut self, path: &[u8]) {
        self.forget(path);
        let below = join(path, b"");
        let gone = self.folders.range(below.clone()..).map(|(folder, _)| folder).take_while(|folder| folder.starts_with(&below));
        let gone: Vec<Vec<u8>> = gone.cloned().collect();
        for folder in gone {
            self.forget(&folder);
        }
    }

    fn forget(&mut self, path: &[u8]) {
        if self.folders.remove(path).is_some() {
            self.folders_bytes -= kept_bytes(path);
        }
    }

    fn make_folder(&mut self, member: &Member, path: &[u8], folder: &OwnedFd, attributes: &Attributes) -> Result<(), ImportError> {
        let (_, name) = split(path);
        let mut made = rustix::fs::mkdirat(folder, name, Mode::RWXU);
        if made == Err(Errno::EXIST) {
            made = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                // A folder over a folder: what is in it stays, and it gets the later attributes.
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(()),
                _ => self.make_room(path, folder, name).and_then(|()| rustix::fs::mkdirat(folder, name, Mode::RWXU)),
            };
        }
        made.map_err(written("make", member))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(folder, name, flags, Mode::empty());
        opened.and_then(|made| set_on_folder(made, attributes)).map_err(written("set the attributes of", member))?;
        self.keep(path.to_vec(), attributes.last)
    }

    /// Makes the file, empty.
    fn write_file(&mut self, member: &Member, path: &[u8], folder: &OwnedFd) -> Result<File, ImportError> {
        let (_, name) = split(path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR);
        let created = match create() {
            Err(Errno::EXIST) => self.make_room(path, folder, name).and_then(|()| create()),
            other => other,
        };
        created.map(File::from).map_err(written("make", member))
    }

    /// Makes a symbolic link, with whatever target it has: nothing here follows it; or a FIFO.
    fn make_special(&mut self, member: &Member, path: &[u8], folder: &OwnedFd, attributes: &Attributes) -> Result<(), ImportError> {
        let (_, name) = split(path);
        if let Kind::Symlink { target } = &member.kind {
            check_target(target).map_err(|problem| member.refuse(problem))?;
        }
        let make = || match &member.kind {
            Kind::Symlink { target } => rustix::fs::symlinkat(target.as_slice(), folder, name),
            _ => rustix::fs::mknodat(folder, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0),
        };
        let made = match make() {
            Err(Errno::EXIST) => self.make_room(path, folder, name).and_then(|()| make()),
            other => other,
        };
        made.and_then(|()| attributes.set_at(folder, name, &member.kind)).map_err(written("make", member))
    }

    /// A second name for a regular file of this archive. The target is a name of the archive, not a path to follow.
    fn hardlink(&mut self, member: &Member, path: &[u8], target: &[u8]) -> Result<(), ImportError> {
        let target = self::path(target).map_err(|problem| member.refuse(format!("the target of this hard link: {problem}")))?;
        if target == path {
            return Err(member.refuse("it is a hard link to itself"));
        }
        let absent = || member.refuse("it is a hard link to something that is not a file of this archive");
        let (target_parent, target_name) = split(&target);
        let target_folder = self.tree.folder(target_parent).map_err(|_| absent())?;
        let stat = rustix::fs::statat(&target_folder, target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| absent())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(absent());
        }
        let (parent, name) = split(path);
        let folder = self.folder(member, parent)?;
        let link = || rustix::fs::linkat(&target_folder, target_name, &folder, name, AtFlags::empty());
        let linked = match link() {
            Err(Errno::EXIST) => self.make_room(path, &folder, name).and_then(|()| link()),
            other => other,
        };
        linked.map_err(|errno| if errno == Errno::NOENT { absent() } else { written("link", member)(errno) })?;
        self.remember(parent, folder);
        Ok(())
    }
}

/// Gives a folder what of its attributes need not wait. An earlier entry of the same name may have given it others,
/// and the last one wins.
fn set_on_folder(folder: impl AsFd, attributes: &Attributes) -> Result<(), Errno> {
    let mut names = vec![0; rustix::fs::flistxattr_query(&folder)?];
    let length = rustix::fs::flistxattr(&folder, &mut names)?;
    for name in names[..length].split(|byte| *byte == 0).filter(|name| keeps_xattr(name)) {
        rustix::fs::fremovexattr(&folder, name)?;
    }
    attributes.set_first(folder)
}

/// Bytes that a folder takes in memory until the end.
fn kept_bytes(path: &[u8]) -> usize {
    path.len() + size_of::<(Vec<u8>, Last)>()
}

/// Copies the current body into a new file, and gives it its attributes.
fn copy<R: Read>(member: &Member, archive: &mut Archive<R>, mut file: File, attributes: &Attributes) -> Result<(), ImportError> {
    loop {
        let chunk = archive.chunk()?;
        if chunk.is_empty() {
            return attributes.set(&file).map_err(written("set the attributes of", member));
        }
        file.write_all(chunk).map_err(|source| ImportError::Write { operation: "write", entry: shown(&member.name), source })?;
    }
}

fn written(operation: &'static str, member: &Member) -> impl FnOnce(Errno) -> ImportError {
    let entry = shown(&member.name);
    move |errno| ImportError::Write { operation, entry, source: errno.into() }
}

fn not_a_folder(member: &Member, path: &[u8], errno: Errno) -> ImportError {
    match errno {
        // Which of the two it is depends on whether the link is the last part: the kernel's word is not worth telling.
        Errno::LOOP | Errno::NOTDIR => member.refuse(format!("its folder {:?} is, or lies behind, a symbolic link or a file", shown(path))),
        errno => written("open the folder of", member)(errno),
    }
}

/// The path of an entry below the root, `/` between its parts; empty for the root itself. Slashes at the beginning are
/// dropped, as every tool does; what could lead elsewhere is refused.
fn path(name: &[u8]) -> Result<Vec<u8>, String> {
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    if name.contains(&0) {
        return Err("its name holds a NUL byte".to_owned());
    }
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    for part in &parts {
        if *part == b".." {
            return Err("its name holds `..`".to_owned());
        }
        if part.starts_with(WHITEOUT_PREFIX) {
            return Err("it is a whiteout, which belongs into a layer and not into a root file system".to_owned());
        }
        if part.len() > NAME_BYTES_MAX {
            return Err(format!("a part of its name is longer than {NAME_BYTES_MAX} bytes"));
        }
    }
    if parts.len() > DEPTH_MAX {
        return Err(format!("it lies more than {DEPTH_MAX} folders deep"));
    }
    let path = parts.join(&b'/');
    if path.len() > PATH_BYTES_MAX { Err(format!("its name is longer than {PATH_BYTES_MAX} bytes")) } else { Ok(path) }
}

fn check_target(target: &[u8]) -> Result<(), String> {
    match target {
        [] => Err("it is a symbolic link to nothing".to_owned()),
        target if target.contains(&0) => Err("the target of this symbolic link holds a NUL byte".to_owned()),
        target if target.len() > PATH_BYTES_MAX => Err(format!("the target of this symbolic link is longer than {PATH_BYTES_MAX} bytes")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_folders_is_counted_and_bounded() {
        let inside = tempfile::tempdir().unwrap();
        let mut unpacker = Unpacker::new(Tree::open(inside.path()).unwrap());
        for name in [&b"a"[..], b"a/b", b"a/b", b"a/c", b"ab"] {
            unpacker.keep(name.to_vec(), Last::IMPLIED).unwrap();
        }
        unpacker.forget_folders(b"a");
        assert_eq!(unpacker.folders_bytes, kept_bytes(b"ab"));
        let mut kept = 0;
        let refused = loop {
            let path = format!("{kept:0PATH_BYTES_MAX$}").into_bytes();
            match unpacker.keep(path, Last::IMPLIED) {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert!(refused.is_invalid() && refused.to_string().contains("names of folders"), "{refused}");
        assert!(kept * PATH_BYTES_MAX <= FOLDERS_BYTES_MAX, "{kept}");
    }

    #[test]
    fn names_are_taken_apart_before_the_kernel_sees_them() {
        for (name, expected) in [
            ("./usr//bin/./sh", "usr/bin/sh"),
            ("/etc/passwd", "etc/passwd"),
            ("./", ""),
            ("/", ""),
            ("///a/", "a"),
            ("a\nb", "a\nb"),
            ("...", "..."),
        ] {
            assert_eq!(path(name.as_bytes()).as_deref(), Ok(expected.as_bytes()), "{name:?}");
        }
        for name in [
            "",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "/..",
            "a\0b",
            ".wh.x",
            "a/.wh..wh..opq",
            ".wh.",
            &"n".repeat(256),
            &"d/".repeat(257),
            &"long/".repeat(1000),
        ] {
            assert!(path(name.as_bytes()).is_err(), "{name:?}");
        }
    }
}
