//! A tar archive into a tree that somebody hostile may own, and may change meanwhile; the archive may be hostile as well.
//!
//! A name is taken apart here, `..` is refused. The folder of an entry is opened by the kernel inside the tree's root each time
//! it changes, and everything else happens on that descriptor: a file is made anew under a name of ours, gets its content,
//! owner and mode through its own descriptor, and takes the entry's name last, by one rename. So nothing that lies in the tree
//! is ever written into, no link is ever written through, and whoever reads the old file meanwhile has the old one whole. What
//! is a folder never makes way for what is none, nor the other way round.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use belljar_archive::limits::{ENTRIES_MAX, FOLDERS_BYTES_MAX, PATH_BYTES_MAX};
use belljar_archive::name::{join, joined, parts, split};
use belljar_archive::{Archive, ArchiveError, ArchiveLimits, Kind, Member, Stream};
use belljar_linux::tree::{self, Links};
use belljar_model::files::Moved;
use belljar_model::user::ID_MAX;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::attributes;
use super::error::{Error, failed, shown};

/// Mode of a folder that the archive implies but does not hold.
const FOLDER_MODE: u32 = 0o755;

/// How entries become files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Whether links of the tree lead on, inside it. Where the tree is the host's own, none is passed.
    pub links: Links,
    /// Whose the files are.
    pub owners: Whose,
}

/// Whose the files are that are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The tree's root user's.
    Root,
    /// Of whom the archive says.
    Archive,
    /// Of whoever runs this. Nothing runs with other rights than theirs: set-uid and set-gid bits are left out, as are
    /// extended attributes.
    Mine,
}

/// Unpacks `archive` (plain, gzip or zstd) into the folder at `path` of the tree; the folder itself stays as it is.
pub fn unpack(root: &OwnedFd, path: &str, archive: impl Read, manner: Manner) -> Result<Moved, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    // The folder itself is the asker's to name: links on the way to it lead on.
    let folder = tree::open_bytes(root, path.as_bytes(), flags, Links::Followed).map_err(|errno| match errno {
        Errno::NOENT => Error::NotFound { path: path.to_owned() },
        Errno::NOTDIR => Error::refused(path, "is not a folder"),
        errno => failed("open", path.as_bytes())(errno),
    })?;
    let (root, base) = match manner.links {
        Links::Followed => (root.as_fd(), path.trim_matches('/').as_bytes().to_vec()),
        Links::Refused => (folder.as_fd(), Vec::new()),
    };
    let mut unpacking = Unpacking { root, base, manner, folders: BTreeMap::new(), folders_bytes: 0, last: None, moved: Moved::default() };
    let mut archive = Archive::new(Stream::open(archive, &ArchiveLimits::default())?);
    while let Some(member) = archive.next_member()? {
        unpacking.moved.entries += 1;
        if unpacking.moved.entries > ENTRIES_MAX {
            return Err(ArchiveError::OverLimit { what: "entries", max: ENTRIES_MAX }.into());
        }
        unpacking.member(&member, &mut archive)?;
    }
    unpacking.finish()?;
    if manner.links == Links::Refused {
        return Ok(unpacking.moved);
    }
    // What a server answers for is on disk.
    let synced = tree::reopen(&folder).and_then(rustix::fs::syncfs);
    synced.map_err(failed("write everything to", path.as_bytes()))?;
    Ok(unpacking.moved)
}

struct Unpacking<'a> {
    root: std::os::fd::BorrowedFd<'a>,
    /// The folder that is unpacked into, as a path of the root.
    base: Vec<u8>,
    manner: Manner,
    /// Mode and time of folders, which writing into them would change: given at the end, deepest first.
    folders: BTreeMap<Vec<u8>, (u32, (i64, u32))>,
    folders_bytes: usize,
    /// The folder of the last entry: most lie in the same one as the one before.
    last: Option<(Vec<u8>, OwnedFd)>,
    moved: Moved,
}

impl Unpacking<'_> {
    fn member<R: Read>(&mut self, member: &Member, archive: &mut Archive<R>) -> Result<(), Error> {
        let path = path(&member.name).map_err(|problem| member.refuse(problem))?;
        if path.is_empty() {
            // The folder that is unpacked into is not the archive's to change.
            return if member.kind == Kind::Folder {
                Ok(())
            } else {
                Err(member.refuse("it would stand in the folder's own place").into())
            };
        }
        let owner = self.owner(member)?;
        let (parent, name) = split(&path);
        let folder = self.folder_of(member, parent)?;
        match &member.kind {
            Kind::Folder => self.make_folder(member, &path, &folder, owner)?,
            Kind::File { size } => {
                self.moved.size_bytes += size;
                self.make_file(member, &folder, name, (owner, archive))?;
            }
            Kind::Symlink { .. } | Kind::Fifo => self.make_special(member, &folder, name, owner)?,
            Kind::Hardlink { target } => self.make_link(member, &folder, name, target)?,
            // What a device may do is for the container's limits to say, never for an archive.
            Kind::Device => self.moved.passed_over += 1,
        }
        self.last = Some((parent.to_vec(), folder));
        Ok(())
    }

    fn owner(&self, member: &Member) -> Result<Option<(u32, u32)>, Error> {
        let id = |number: i128, what| {
            let id = u32::try_from(number).ok().filter(|id| *id <= ID_MAX);
            id.ok_or_else(|| member.refuse(format!("its {what} id {number} is not between 0 and {ID_MAX}")))
        };
        Ok(match self.manner.owners {
            Whose::Root => Some((0, 0)),
            Whose::Archive => Some((id(member.uid, "user")?, id(member.gid, "group")?)),
            Whose::Mine => None,
        })
    }

    fn mode(&self, member: &Member) -> u32 {
        if self.manner.owners == Whose::Mine { member.mode & 0o1777 } else { member.mode }
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = join(&self.base, path);
        tree::open_bytes(self.root, &path, OFlags::RDONLY | OFlags::DIRECTORY, self.manner.links)
    }

    /// The folder at `path`, made part by part where it is missing.
    fn folder_of(&mut self, member: &Member, path: &[u8]) -> Result<OwnedFd, Error> {
        if let Some((_, folder)) = self.last.take_if(|(last, _)| last == path) {
            return Ok(folder);
        }
        match self.open(path) {
            Err(Errno::NOENT) => {}
            opened => return opened.map_err(|errno| no_folder(member, path, errno)),
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index).chain([path.len()]);
        for end in ends {
            let (parent, name) = split(&path[..end]);
            let folder = self.open(parent).map_err(|errno| no_folder(member, parent, errno))?;
            match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(FOLDER_MODE)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("make the folder", &path[..end])(errno)),
            }
        }
        self.open(path).map_err(|errno| no_folder(member, path, errno))
    }

    fn make_folder(&mut self, member: &Member, path: &[u8], folder: &OwnedFd, owner: Option<(u32, u32)>) -> Result<(), Error> {
        let (_, name) = split(path);
        match rustix::fs::mkdirat(folder, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => match kind_of(folder, name)? {
                Some(FileType::Directory) => {}
                // `lib` may be a link to `usr/lib`: what was copied goes there, and the link stays as it is.
                Some(FileType::Symlink) if self.manner.links == Links::Followed && self.open(path).is_ok() => return Ok(()),
                _ => return Err(member.refuse("it is a folder, and something that is none is in its place").into()),
            },
            Err(errno) => return Err(failed("make the folder", path)(errno)),
        }
        let opened = tree::open_entry(folder, name).and_then(tree::reopen).map_err(failed("open", path))?;
        self.own(&opened, member, owner).map_err(failed("set the attributes of", path))?;
        self.folders_bytes += path.len() + size_of::<(Vec<u8>, (u32, (i64, u32)))>();
        if self.folders_bytes > FOLDERS_BYTES_MAX {
            return Err(ArchiveError::OverLimit { what: "bytes of names of folders", max: FOLDERS_BYTES_MAX as u64 }.into());
        }
        self.folders.insert(path.to_vec(), (self.mode(member), member.mtime));
        Ok(())
    }

    /// Owner and extended attributes.
    fn own(&self, file: impl AsFd, member: &Member, owner: Option<(u32, u32)>) -> Result<(), Errno> {
        let Some((uid, gid)) = owner else { return Ok(()) };
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        attributes::set(file, &member.xattrs)
    }

    fn make_file<R: Read>(
        &self,
        member: &Member,
        folder: &OwnedFd,
        name: &[u8],
        (owner, archive): (Option<(u32, u32)>, &mut Archive<R>),
    ) -> Result<(), Error> {
        let scratch = Scratch::new(folder)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(folder, scratch.name.as_str(), flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(made.map_err(failed("make", name))?);
        loop {
            let chunk = archive.chunk()?;
            if chunk.is_empty() {
                break;
            }
            file.write_all(chunk).map_err(|error| belljar_linux::Error::from_io("write", shown(name), &error))?;
        }
        let set = self.own(&file, member, owner).and_then(|()| {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode(member)))?;
            rustix::fs::futimens(&file, &attributes::times(member.mtime))
        });
        set.map_err(failed("set the attributes of", name))?;
        scratch.take_the_place_of(name)
    }

    fn make_special(&self, member: &Member, folder: &OwnedFd, name: &[u8], owner: Option<(u32, u32)>) -> Result<(), Error> {
        let scratch = Scratch::new(folder)?;
        let made = match &member.kind {
            Kind::Symlink { target } if target.is_empty() || target.contains(&0) || target.len() > PATH_BYTES_MAX => {
                return Err(member.refuse("it is a symbolic link to what cannot be a path").into());
            }
            Kind::Symlink { target } => rustix::fs::symlinkat(target.as_slice(), folder, scratch.name.as_str()),
            _ => {
                let mode = Mode::from_raw_mode(self.mode(member));
                rustix::fs::mknodat(folder, scratch.name.as_str(), FileType::Fifo, mode, 0)
            }
        };
        made.map_err(failed("make", name))?;
        let owned = owner.map_or(Ok(()), |(uid, gid)| {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(folder, scratch.name.as_str(), uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        });
        owned.map_err(failed("set the owner of", name))?;
        scratch.take_the_place_of(name)
    }

    /// A second name for a regular file that lies where the archive's name for it says.
    fn make_link(&mut self, member: &Member, folder: &OwnedFd, name: &[u8], target: &[u8]) -> Result<(), Error> {
        let absent = || Error::from(member.refuse("it is a hard link to something that is no file of this archive"));
        let target = path(target).map_err(|problem| member.refuse(format!("the target of this hard link: {problem}")))?;
        let (target_parent, target_name) = split(&target);
        let target_folder = self.open(target_parent).map_err(|_| absent())?;
        if kind_of(&target_folder, target_name)? != Some(FileType::RegularFile) {
            return Err(absent());
        }
        let scratch = Scratch::new(folder)?;
        let linked = rustix::fs::linkat(&target_folder, target_name, folder, scratch.name.as_str(), AtFlags::empty());
        linked.map_err(failed("link", name))?;
        // Swapped in between, it may be anything but somewhere else.
        if kind_of(folder, scratch.name.as_bytes())? != Some(FileType::RegularFile) {
            return Err(absent());
        }
        scratch.take_the_place_of(name)
    }

    fn finish(&mut self) -> Result<(), Error> {
        for (path, (mode, mtime)) in std::mem::take(&mut self.folders).iter().rev() {
            let set = self.open(path).and_then(|folder| {
                rustix::fs::fchmod(&folder, Mode::from_raw_mode(*mode))?;
                rustix::fs::futimens(&folder, &attributes::times(*mtime))
            });
            match set {
                // Removed or replaced by its owner meanwhile.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(failed("set the attributes of", path)(errno)),
            }
        }
        Ok(())
    }
}

fn no_folder(member: &Member, path: &[u8], errno: Errno) -> Error {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
            member.refuse(format!("its folder {:?} is, or lies behind, a symbolic link or a file", shown(path))).into()
        }
        errno => failed("open the folder", path)(errno),
    }
}

fn kind_of(folder: &OwnedFd, name: &[u8]) -> Result<Option<FileType>, Error> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        looked => looked.map(|stat| Some(FileType::from_raw_mode(stat.st_mode))).map_err(failed("stat", name)),
    }
}

/// A name in a folder that nobody else uses, under which something is made until it is whole. Removed when dropped.
pub(super) struct Scratch<'a> {
    folder: &'a OwnedFd,
    pub(super) name: String,
}

impl<'a> Scratch<'a> {
    pub(super) fn new(folder: &'a OwnedFd) -> Result<Self, Error> {
        let mut bytes = [0; 12];
        getrandom::fill(&mut bytes).map_err(|_| belljar_linux::Error::new("make", "a random name", Errno::IO))?;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { folder, name: format!(".belljar-{digits}") })
    }

    /// Gives what was made its own name, in place of what has it, which is no folder.
    pub(super) fn take_the_place_of(self, name: &[u8]) -> Result<(), Error> {
        match rustix::fs::renameat(self.folder, self.name.as_str(), self.folder, name) {
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                Err(Error::refused(shown(name), "is a folder, and what would take its place is none"))
            }
            Err(Errno::BUSY) => {
                Err(Error::refused(shown(name), "is a place where something is mounted: it can be written to, but not replaced"))
            }
            renamed => renamed.map_err(failed("put in its place", name)),
        }
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // Gone where it has taken its place.
        let _ = belljar_linux::removal::remove_at(self.folder, std::path::Path::new(&self.name));
    }
}

/// The path of an entry, `/` between its parts; empty for the folder itself.
fn path(name: &[u8]) -> Result<Vec<u8>, String> {
    joined(&parts(name)?)
}
