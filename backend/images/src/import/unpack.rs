//! Writing an archive's entries below a folder, so that nothing outside of it is ever reached.
//!
//! Each rule answers an attack that some unpacker fell to. `..` is refused, not resolved. A folder is reached through [`Tree`],
//! which passes no link, so a link that an earlier entry made leads nowhere; in a layer, whose tools write through the links that
//! they wrote before (`bin -> usr/bin`), it is resolved below the root first, by us. A file is made anew (`O_EXCL`), never opened
//! where something lies. Modes, owners, times and attributes are set through the descriptor of what was just made, never by a path
//! (CVE-2026-33056 was a mode set through a link). Folders get mode and time at the end, deepest first, because writing into
//! a folder changes its time, and a set-group-id bit on it would change the group of what is written. Until then they are
//! kept in memory, within a limit, and nothing else is: an archive of extended attributes alone would fill it.
//!
//! A whiteout becomes what overlayfs takes for one, a character device 0:0; one that came as such is passed over, and so is every
//! mark of overlayfs. So whatever is such a device here was made by us, of a whiteout. What an archive both hides and holds is its
//! own, in whatever order they come: a whiteout speaks of the layers below.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{Attributes, Last, make_opaque};
use super::place::{self, Flavour, Place};
use crate::skeleton::{self, Piece};
use crate::tree::{Tree, join, split};
use belljar_archive::limits::{FOLDERS_BYTES_MAX, PATH_BYTES_MAX};
use belljar_archive::{ArchiveError as ImportError, Kind, Member, shown};

/// An archive whose skeleton is written as it is read.
pub(super) type Archive<R> = belljar_archive::Archive<R, skeleton::Writer>;

/// Writes entries below one folder.
pub(super) struct Unpacker {
    tree: Tree,
    flavour: Flavour,
    /// What the folders made so far shall be like at last, by path: set when everything is written.
    folders: BTreeMap<Vec<u8>, Last>,
    /// Paths at which the archive both hides and holds something. A folder that comes to lie there hides what is below it, whatever
    /// lay there in between.
    hidden: BTreeSet<Vec<u8>>,
    /// Bytes that both take.
    folders_bytes: usize,
    /// The folder that the last entry lay in: most entries lie in the same one as the one before.
    last: Option<Parent>,
    /// Bytes of regular files.
    pub(super) size_bytes: u64,
    /// Device nodes that were passed over.
    pub(super) devices_skipped: u64,
    /// Whether the body of every file is on disk: none made room for a later entry.
    pub(super) is_exact: bool,
}

/// A folder in which something is to be made.
struct Parent {
    /// As the archive names it.
    named: Vec<u8>,
    /// Without links.
    path: Vec<u8>,
    folder: OwnedFd,
}

impl Unpacker {
    /// Will write below `tree`, which is empty.
    pub(super) fn new(tree: Tree, flavour: Flavour) -> Self {
        let folders = BTreeMap::from([(Vec::new(), Last::IMPLIED)]);
        Self {
            tree,
            flavour,
            folders,
            hidden: BTreeSet::new(),
            folders_bytes: 0,
            last: None,
            size_bytes: 0,
            devices_skipped: 0,
            is_exact: true,
        }
    }

    /// Writes one entry, with its body from `archive`.
    pub(super) fn unpack<R: Read>(&mut self, member: &Member, archive: &mut Archive<R>) -> Result<(), ImportError> {
        let is_file = matches!(member.kind, Kind::File { .. });
        self.check_kept()?;
        match place::read(&member.name, self.flavour).map_err(|problem| member.refuse(problem))? {
            Place::At(path) => self.entry(member, &path, archive),
            Place::Nowhere => Ok(()),
            Place::Hides(_) | Place::HidesAllIn(_) if !is_file => Err(member.refuse("it is a whiteout that is no file")),
            Place::Hides(path) => self.hide(member, &path),
            Place::HidesAllIn(path) => {
                let parent = self.parent(member, &path)?;
                make_opaque(&parent.folder).map_err(written("mark the folder of", member))?;
                self.keep_hidden(&parent.path)?;
                self.last = Some(parent);
                Ok(())
            }
        }
    }

    fn entry<R: Read>(&mut self, member: &Member, path: &[u8], archive: &mut Archive<R>) -> Result<(), ImportError> {
        let attributes = Attributes::of(member)?;
        if path.is_empty() {
            if member.kind != Kind::Folder {
                return Err(member.refuse("it would stand in the place of the root"));
            }
            attributes.set_on_folder(&self.tree).map_err(written("set the attributes of", member))?;
            return self.keep(Vec::new(), attributes.last);
        }
        let (parent, name) = split(path);
        let parent = self.parent(member, parent)?;
        let (path, folder) = (join(&parent.path, name), &parent.folder);
        let made = match &member.kind {
            Kind::Folder => self.make_folder(member, &path, folder, &attributes),
            Kind::File { size } => self.write_file(member, &path, folder).and_then(|file| {
                self.size_bytes += size;
                copy((member, &path), archive, &file)?;
                attributes.set(&file).map_err(written("set the attributes of", member))
            }),
            Kind::Symlink { .. } | Kind::Fifo => self.make_special(member, &path, folder, &attributes),
            Kind::Device => {
                // Belljar supplies /dev, and the kernel refuses device nodes of a user namespace anyway. A node 0:0
                // would even be taken for a whiteout.
                self.devices_skipped += 1;
                self.make_room_for_none(&path, folder).map_err(written("replace", member))
            }
            Kind::Hardlink { target } => self.hardlink(member, &path, folder, target),
        };
        self.last = Some(parent);
        made
    }

    /// Gives all folders their modes and times, deepest first.
    pub(super) fn finish(self) -> Result<(), ImportError> {
        for (path, last) in self.folders.iter().rev() {
            let set = self.tree.folder(path).and_then(|folder| last.set(folder));
            let entry = || shown(path);
            set.map_err(|errno| ImportError::Write { operation: "set the attributes of", entry: entry(), source: errno.into() })?;
        }
        Ok(())
    }

    /// The folder at `path`, made part by part where it is missing.
    fn parent(&mut self, member: &Member, named: &[u8]) -> Result<Parent, ImportError> {
        if let Some(parent) = self.last.take_if(|last| last.named == named) {
            return Ok(parent);
        }
        let parent = |path: Vec<u8>, folder| Parent { named: named.to_vec(), path, folder };
        let path = match self.tree.folder(named) {
            Ok(folder) => return Ok(parent(named.to_vec(), folder)),
            Err(Errno::NOENT) => named.to_vec(),
            Err(Errno::LOOP | Errno::NOTDIR) if self.flavour == Flavour::Layer => self.resolved(member, named)?,
            Err(errno) => return Err(not_a_folder(member, named, errno)),
        };
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index).chain([path.len()]);
        for end in ends {
            self.implied(member, &path[..end])?;
        }
        let folder = self.tree.folder(&path).map_err(|errno| not_a_folder(member, named, errno))?;
        Ok(parent(path, folder))
    }

    /// The path of a folder without the links on its way.
    fn resolved(&self, member: &Member, named: &[u8]) -> Result<Vec<u8>, ImportError> {
        let path = self.tree.resolve(named).map_err(|errno| not_a_folder(member, named, errno))?;
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        match place::read(&parts.join(&b'/'), self.flavour) {
            Ok(Place::At(path)) => Ok(path),
            _ if path.is_empty() => Ok(path),
            _ => Err(member.refuse(format!("its folder {:?} leads through a link to what can have no name", shown(named)))),
        }
    }

    /// Makes a folder that is only implied, where there is none; a link or a file that is there stays.
    fn implied(&mut self, member: &Member, path: &[u8]) -> Result<(), ImportError> {
        let (parent, name) = split(path);
        let folder = self.tree.folder(parent).map_err(|errno| not_a_folder(member, parent, errno))?;
        let failed = written("make a folder for", member);
        match rustix::fs::mkdirat(&folder, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) if is_whiteout(&folder, name) => {
                self.keep_hidden(path)?;
                self.remake_folder(path, &folder).map_err(failed)?;
            }
            Err(Errno::EXIST) => return Ok(()),
            Err(errno) => return Err(failed(errno)),
        }
        if self.hidden.contains(path) {
            open_folder(&folder, name).and_then(make_opaque).map_err(written("mark the folder of", member))?;
        }
        self.keep(path.to_vec(), Last::IMPLIED)
    }

    /// Makes room, then a folder.
    fn remake_folder(&mut self, path: &[u8], folder: &OwnedFd) -> Result<(), Errno> {
        self.make_room(path, folder)?;
        rustix::fs::mkdirat(folder, split(path).1, Mode::RWXU)
    }

    /// Removes what an earlier entry put in this place: the last of two entries wins, whatever either is.
    fn make_room(&mut self, path: &[u8], folder: &OwnedFd) -> Result<(), Errno> {
        let (_, name) = split(path);
        let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.forget_folders(path);
                if rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR).is_ok() {
                    return Ok(());
                }
                // A body may be in it, somewhere.
                self.is_exact = false;
                return self.tree.remove_folder(path);
            }
            FileType::CharacterDevice if self.hidden.insert(path.to_vec()) => self.folders_bytes += kept_bytes(path),
            FileType::RegularFile if stat.st_size > 0 => self.is_exact = false,
            _ => {}
        }
        rustix::fs::unlinkat(folder, name, AtFlags::empty())
    }

    /// As [`Unpacker::make_room`] for what is then not made: a whiteout that is there still hides what is below.
    fn make_room_for_none(&mut self, path: &[u8], folder: &OwnedFd) -> Result<(), Errno> {
        if is_whiteout(folder, split(path).1) {
            return Ok(());
        }
        self.make_room(path, folder)?;
        if self.hidden.contains(path) { make_whiteout(folder, split(path).1) } else { Ok(()) }
    }

    /// Hides what the layers below have at `path`. What this layer has there itself stays, and hides it in any case; a folder must
    /// be told to.
    fn hide(&mut self, member: &Member, path: &[u8]) -> Result<(), ImportError> {
        let (parent, name) = split(path);
        let parent = self.parent(member, parent)?;
        let folder = &parent.folder;
        let made = make_whiteout(folder, name);
        if made == Err(Errno::EXIST) {
            self.keep_hidden(&join(&parent.path, name))?;
        }
        let made = match made {
            Err(Errno::EXIST) => match open_folder(folder, name) {
                Ok(own) => make_opaque(own),
                Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(errno) => Err(errno),
            },
            other => other,
        };
        self.last = Some(parent);
        made.map_err(written("make", member))
    }

    /// Keeps for the end what a folder shall be like.
    fn keep(&mut self, path: Vec<u8>, last: Last) -> Result<(), ImportError> {
        let bytes = kept_bytes(&path);
        if self.folders.insert(path, last).is_none() {
            self.folders_bytes += bytes;
        }
        self.check_kept()
    }

    fn check_kept(&self) -> Result<(), ImportError> {
        let over = || ImportError::OverLimit { what: "bytes of names of folders", max: FOLDERS_BYTES_MAX as u64 };
        if self.folders_bytes > FOLDERS_BYTES_MAX { Err(over()) } else { Ok(()) }
    }

    /// Remembers that something is hidden at a path at which this layer has something of its own.
    fn keep_hidden(&mut self, path: &[u8]) -> Result<(), ImportError> {
        if self.hidden.insert(path.to_vec()) {
            self.folders_bytes += kept_bytes(path);
        }
        self.check_kept()
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
        let made = match rustix::fs::mkdirat(folder, name, Mode::RWXU) {
            Err(Errno::EXIST) => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                // A folder over a folder: what is in it stays, and it gets the later attributes.
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(()),
                _ => self.remake_folder(path, folder),
            },
            other => other,
        };
        made.map_err(written("make", member))?;
        let set = open_folder(folder, name).and_then(|made| {
            attributes.set_on_folder(&made)?;
            if self.hidden.contains(path) { make_opaque(made) } else { Ok(()) }
        });
        set.map_err(written("set the attributes of", member))?;
        self.keep(path.to_vec(), attributes.last)
    }

    /// Makes the file, empty.
    fn write_file(&mut self, member: &Member, path: &[u8], folder: &OwnedFd) -> Result<File, ImportError> {
        let (_, name) = split(path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = self.make(path, folder, || rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR));
        created.map(File::from).map_err(written("make", member))
    }

    /// Makes something, in the place of whatever an earlier entry made there.
    fn make<T>(&mut self, path: &[u8], folder: &OwnedFd, make: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        match make() {
            Err(Errno::EXIST) => self.make_room(path, folder).and_then(|()| make()),
            other => other,
        }
    }

    /// Makes a symbolic link, with whatever target it has: nothing here follows it; or a FIFO.
    fn make_special(&mut self, member: &Member, path: &[u8], folder: &OwnedFd, attributes: &Attributes) -> Result<(), ImportError> {
        let (_, name) = split(path);
        if let Kind::Symlink { target } = &member.kind {
            check_target(target).map_err(|problem| member.refuse(problem))?;
        }
        let made = self.make(path, folder, || match &member.kind {
            Kind::Symlink { target } => rustix::fs::symlinkat(target.as_slice(), folder, name),
            _ => rustix::fs::mknodat(folder, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0),
        });
        made.and_then(|()| attributes.set_at(folder, name, &member.kind)).map_err(written("make", member))
    }

    /// A second name for a file of this archive; in a layer also for a link or a FIFO, but never for a whiteout. The target is a
    /// name of the archive, not a path to follow.
    fn hardlink(&mut self, member: &Member, path: &[u8], folder: &OwnedFd, target: &[u8]) -> Result<(), ImportError> {
        let target = match place::read(target, self.flavour) {
            Ok(Place::At(target)) => target,
            Ok(_) => return Err(member.refuse("it is a hard link to a whiteout")),
            Err(problem) => return Err(member.refuse(format!("the target of this hard link: {problem}"))),
        };
        let absent = || member.refuse("it is a hard link to something that is not a file of this archive");
        let (named, target_name) = split(&target);
        let opened = match self.tree.folder(named) {
            Err(Errno::LOOP | Errno::NOTDIR) if self.flavour == Flavour::Layer => {
                let real = self.resolved(member, named)?;
                self.tree.folder(&real).map(|folder| (real, folder))
            }
            other => other.map(|folder| (named.to_vec(), folder)),
        };
        let (target_parent, target_folder) = opened.map_err(|_| absent())?;
        if join(&target_parent, target_name) == path {
            return Err(member.refuse("it is a hard link to itself"));
        }
        let stat = rustix::fs::statat(&target_folder, target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| absent())?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink | FileType::Fifo if self.flavour == Flavour::Layer => {}
            _ => return Err(absent()),
        }
        let (_, name) = split(path);
        let linked = self.make(path, folder, || rustix::fs::linkat(&target_folder, target_name, folder, name, AtFlags::empty()));
        linked.map_err(|errno| if errno == Errno::NOENT { absent() } else { written("link", member)(errno) })
    }
}

fn open_folder(folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn make_whiteout(folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0)
}

fn is_whiteout(folder: &OwnedFd, name: &[u8]) -> bool {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice)
}

/// Bytes that a folder takes in memory until the end.
fn kept_bytes(path: &[u8]) -> usize {
    path.len() + size_of::<(Vec<u8>, Last)>()
}

/// Copies the current body into the new file at `path`, with a hole wherever the archive has one, and notes in the skeleton where it
/// is.
fn copy<R: Read>((member, path): (&Member, &[u8]), archive: &mut Archive<R>, file: &File) -> Result<(), ImportError> {
    let failed = |source| ImportError::Write { operation: "write", entry: shown(&member.name), source };
    let mut piece = Piece::at(0);
    loop {
        let zeros = archive.pass_over_zeros();
        if zeros > 0 {
            archive.sink().body(path, &piece).map_err(skeleton::failed)?;
            piece = Piece::at(piece.end() + zeros);
        }
        let chunk = archive.chunk()?;
        if chunk.is_empty() {
            break;
        }
        file.write_all_at(chunk, piece.end()).map_err(failed)?;
        piece.push(chunk);
    }
    archive.sink().body(path, &piece).map_err(skeleton::failed)?;
    // A hole at the end is no data that would make the file so long.
    if piece.length == 0 && piece.offset > 0 { file.set_len(piece.offset).map_err(failed) } else { Ok(()) }
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
        let mut unpacker = Unpacker::new(Tree::open(inside.path()).unwrap(), Flavour::Rootfs);
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
}
