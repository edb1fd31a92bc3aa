//! The layers of a stack, and what each has at a place: the kernel's rules of overlayfs, followed by hand.
//!
//! The upper layer is written by the container: everything in it is hostile. No file is opened, only folders, always
//! from the layer's root with [`openat2(2)`], which passes no link and leaves no root; the rest is asked of the folder
//! by name, without following. So a link in the place of a folder leads nowhere, and a FIFO hangs nobody.
//!
//! [`openat2(2)`]: https://man7.org/linux/man-pages/man2/openat2.2.html

use std::collections::HashSet;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use belljar_linux::mount;
use belljar_model::overlay::{FileKind, Role, Stack};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{ENTRIES_MAX, Error};

/// How a path below a layer's root is resolved. `NO_XDEV` because overlayfs does not see what is mounted in a layer.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);
/// Marks a folder whose content below is hidden (`y`), or that holds whiteouts which are files with an attribute (`x`).
const OPAQUE: &str = "trusted.overlay.opaque";
/// Marks an empty file as a whiteout (Linux 6.7).
const WHITEOUT: &str = "trusted.overlay.whiteout";
/// Bytes of folder entries that are read at once.
const LISTING_BYTES: usize = 32 << 10;

/// The layers, each with its root open; top first, numbered as in the [`Stack`].
pub(super) struct Layers {
    layers: Vec<Layer>,
    /// Places where an overlay of its own is mounted.
    grafts: Vec<Vec<u8>>,
}

struct Layer {
    /// None where the folder is not there yet: before the first start.
    root: Option<OwnedFd>,
    role: Role,
    at: Vec<u8>,
    path: String,
}

/// A folder of the merged tree: the layers that contribute to it, top first.
pub(super) struct Folder {
    /// Relative to the container's root, `/` between parts; empty for the root.
    pub(super) path: Vec<u8>,
    pub(super) parts: Vec<Part>,
    /// How the upper layer's part stands to those below it.
    pub(super) cover: Cover,
}

/// How the upper layer's part of a folder stands to those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    /// They are merged; or the upper layer has none.
    Merged,
    /// It hides them, but has every name that they have: they are kept to be compared with. So is a folder that was deleted and
    /// made again as it was.
    Whole,
    /// It hides them, and names that it has not: they are left out.
    Hiding,
}

/// What is known of the folder above when one is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Above<'a> {
    /// The layers that contribute to it.
    pub(super) candidates: &'a [usize],
    pub(super) cover: Cover,
}

/// What one layer contributes to a folder.
pub(super) struct Part {
    /// Number of the layer.
    pub(super) layer: usize,
    pub(super) folder: OwnedFd,
    mark: Mark,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Opaque,
    AttributeWhiteouts,
}

/// What a layer has under a name.
pub(super) enum Found {
    Nothing,
    Whiteout,
    Entry(Stat),
}

impl Layers {
    pub(super) fn open(stack: &Stack) -> Result<Self, Error> {
        let open = |layer: &belljar_model::overlay::Layer| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::open(&layer.path, flags, Mode::empty());
            let root = match opened.map(|root| if layer.role == Role::Upper { without_devices(root) } else { root }) {
                // Belljar makes these two itself, at the first start at the latest.
                Err(Errno::NOENT) if matches!(layer.role, Role::Upper | Role::Init) => None,
                Err(errno) => return Err(Error::Layer { path: layer.path.clone(), source: errno.into() }),
                Ok(root) => Some(root),
            };
            Ok(Layer { root, role: layer.role, at: layer.at.clone().into_bytes(), path: layer.path.clone() })
        };
        let layers = stack.layers.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut grafts: Vec<Vec<u8>> = layers.iter().map(|layer| layer.at.clone()).filter(|at| !at.is_empty()).collect();
        grafts.sort();
        grafts.dedup();
        Ok(Self { layers, grafts })
    }

    /// Whether a layer is the container's own.
    pub(super) fn is_upper(&self, layer: usize) -> bool {
        self.layers.get(layer).is_some_and(|layer| layer.role == Role::Upper)
    }

    /// Whether an overlay of its own is mounted at `path`.
    pub(super) fn is_graft(&self, path: &[u8]) -> bool {
        self.grafts.iter().any(|graft| graft == path)
    }

    /// Names that are in a folder because something is grafted there.
    pub(super) fn grafts_in<'a>(&'a self, folder: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.grafts.iter().filter_map(move |graft| {
            let (parent, name) = split(graft);
            (parent == folder).then_some(name)
        })
    }

    /// The root of the merged tree.
    pub(super) fn root(&self) -> Result<Folder, Error> {
        self.folder(b"", Above { candidates: &[], cover: Cover::Merged })
    }

    /// The folder at `path`, in a folder that is known. A folder without parts is none: gone, hidden, or not a folder.
    pub(super) fn folder(&self, path: &[u8], above: Above<'_>) -> Result<Folder, Error> {
        let is_root = path.is_empty() || self.is_graft(path);
        let mut parts = self.parts(path, above.candidates)?;
        let is_covered = |part: &Part| self.is_upper(part.layer) && !is_root && (part.is_opaque() || above.cover != Cover::Merged);
        if !parts.first().is_some_and(is_covered) {
            return Ok(Folder { path: path.to_vec(), parts, cover: Cover::Merged });
        }
        if parts.len() == 1 {
            // An opaque mark ended the list: what is behind it is looked at as well.
            let rest: Vec<usize> = above.candidates.iter().copied().filter(|layer| !self.is_upper(*layer)).collect();
            parts.extend(self.parts(path, &rest)?);
        }
        let cover = if parts.len() > 1 && has_every_name(&parts)? { Cover::Whole } else { Cover::Hiding };
        if cover == Cover::Hiding {
            parts.truncate(1);
        }
        Ok(Folder { path: path.to_vec(), parts, cover })
    }

    fn parts(&self, path: &[u8], candidates: &[usize]) -> Result<Vec<Part>, Error> {
        let is_root = path.is_empty() || self.is_graft(path);
        let all: Vec<usize>;
        let candidates = if is_root {
            all = (0..self.layers.len()).collect();
            &all
        } else {
            candidates
        };
        let mut parts = Vec::new();
        for &index in candidates {
            // What is the root of an overlay can neither be opaque nor hidden: the kernel does not ask there.
            match self.part(index, path)? {
                Verdict::Nothing => {}
                Verdict::Hidden if is_root => {}
                Verdict::Hidden => break,
                Verdict::Folder(part) => {
                    let hides = part.is_opaque() && !is_root;
                    parts.push(part);
                    if hides {
                        break;
                    }
                }
            }
        }
        Ok(parts)
    }

    /// What one layer contributes to the folder at `path`.
    fn part(&self, index: usize, path: &[u8]) -> Result<Verdict, Error> {
        let layer = &self.layers[index];
        let (Some(root), Some(place)) = (&layer.root, self.place(layer, path)) else { return Ok(Verdict::Nothing) };
        let place = if place.is_empty() { b".".as_slice() } else { place };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |errno: Errno| match errno {
            Errno::NAMETOOLONG => Error::TooDeep { path: shown(path) },
            errno => Error::Read { layer: layer.path.clone(), path: shown(path), source: errno.into() },
        };
        match rustix::fs::openat2(root, place, flags, Mode::empty(), BENEATH) {
            Ok(folder) => {
                let mark = mark(&folder).map_err(failed)?;
                Ok(Verdict::Folder(Part { layer: index, folder, mark }))
            }
            // A file, a link or a whiteout: all that is below is hidden.
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(Verdict::Hidden),
            // EAGAIN: something moved while the kernel looked; XDEV: something is mounted there, unseen by overlayfs.
            Err(Errno::NOENT | Errno::XDEV | Errno::AGAIN) => Ok(Verdict::Nothing),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Where a path of the merged tree lies in a layer, if it can lie there.
    fn place<'a>(&self, layer: &Layer, path: &'a [u8]) -> Option<&'a [u8]> {
        if layer.at.is_empty() {
            // The image's own tree is not seen where something is grafted over it.
            let covered = layer.role == Role::Image && self.grafts.iter().any(|graft| below(path, graft).is_some());
            return (!covered).then_some(path);
        }
        below(path, &layer.at)
    }
}

/// What one layer says about a folder.
enum Verdict {
    /// It has nothing there: ask the next.
    Nothing,
    /// It has something else there, or a whiteout: the layers below are not asked.
    Hidden,
    Folder(Part),
}

impl Folder {
    /// The numbers of the layers that contribute.
    pub(super) fn layers(&self) -> Vec<usize> {
        self.parts.iter().map(|part| part.layer).collect()
    }

    /// What is known of it for whoever opens a folder in it.
    pub(super) fn above<'a>(&self, candidates: &'a [usize]) -> Above<'a> {
        Above { candidates, cover: self.cover }
    }

    /// Path of an entry in it.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() { name.to_vec() } else { [&self.path, b"/".as_slice(), name].concat() }
    }
}

impl Part {
    /// Whether it hides what lies below it.
    pub(super) fn is_opaque(&self) -> bool {
        self.mark == Mark::Opaque
    }

    /// What the layer has under `name`. What vanishes while we look is nothing.
    pub(super) fn look(&self, name: &[u8]) -> Result<Found, Errno> {
        let stat = match rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            other => other?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_whiteout = match kind {
            FileType::CharacterDevice => stat.st_rdev == 0,
            FileType::RegularFile if stat.st_size == 0 && self.mark == Mark::AttributeWhiteouts => self.has_whiteout_attribute(name)?,
            _ => false,
        };
        Ok(if is_whiteout { Found::Whiteout } else { Found::Entry(stat) })
    }

    /// Asks a file for its attribute without opening it: `O_PATH` runs no driver and waits for nobody.
    fn has_whiteout_attribute(&self, name: &[u8]) -> Result<bool, Errno> {
        let file = match rustix::fs::openat(&self.folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(false),
            other => other?,
        };
        // fgetxattr(2) refuses O_PATH descriptors; the link of our own /proc leads to the very same file.
        match rustix::fs::getxattr_query(format!("/proc/self/fd/{}", file.as_raw_fd()), WHITEOUT) {
            Ok(_) => Ok(true),
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Opens a regular file of it for reading: what is none by now is none. Nothing is a device here, and a FIFO waits for nobody.
    pub(super) fn open_file(&self, name: &[u8]) -> Result<Option<File>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat2(&self.folder, name, flags, Mode::empty(), BENEATH) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ACCESS | Errno::AGAIN | Errno::NOTDIR) => Ok(None),
            // What was swapped for a FIFO or a folder meanwhile has nothing to read, and is no file by that.
            opened => opened.map(|file| Some(File::from(file))),
        }
    }

    /// Calls `visit` with each name in it, except `.` and `..`.
    pub(super) fn for_each_name(&self, mut visit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.for_each(|name, _| visit(name))
    }

    /// Whether what is listed under a name as this kind of file may be a whiteout.
    pub(super) fn may_be_whiteout(&self, kind: FileType) -> bool {
        match kind {
            FileType::CharacterDevice | FileType::Unknown => true,
            FileType::RegularFile => self.mark == Mark::AttributeWhiteouts,
            _ => false,
        }
    }

    /// Calls `visit` with each name in it, except `.` and `..`, and the kind of file that the listing says it is.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&[u8], FileType) -> Result<(), Error>) -> Result<(), Error> {
        // It may have been listed before, up to its end.
        let rewound = rustix::fs::seek(&self.folder, rustix::fs::SeekFrom::Start(0));
        rewound.map_err(|errno| Error::List { source: errno.into() })?;
        let mut buffer = vec![MaybeUninit::uninit(); LISTING_BYTES];
        let mut listing = RawDir::new(&self.folder, &mut buffer);
        while let Some(entry) = listing.next() {
            let entry = match entry {
                // The folder was removed while it was read.
                Err(Errno::NOENT) => return Ok(()),
                other => other.map_err(|errno| Error::List { source: errno.into() })?,
            };
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                visit(name, entry.file_type())?;
            }
        }
        Ok(())
    }
}

/// The same folder as a mount of its own on which no device is one: the upper layer is written by the container while we read, and
/// opening a device acts. Whoever may not mount has no container either.
fn without_devices(root: OwnedFd) -> OwnedFd {
    let taken = mount::clone_opened(&root);
    let set = taken.and_then(|taken| mount::set_attributes(&taken, mount::Attributes::MOUNT_ATTR_NODEV, mount::Depth::One).map(|()| taken));
    set.unwrap_or(root)
}

/// Whether the first part has every name that the merged others have.
fn has_every_name(parts: &[Part]) -> Result<bool, Error> {
    let mut own = HashSet::new();
    parts[0].for_each_name(|name| {
        own.insert(name.to_vec());
        if own.len() > ENTRIES_MAX { Err(Error::TooMany { what: "entries in this folder", max: ENTRIES_MAX }) } else { Ok(()) }
    })?;
    let mut has_all = true;
    for (number, part) in parts.iter().enumerate().skip(1) {
        part.for_each(|name, kind| {
            if has_all && !own.contains(name) {
                let failed = |errno: Errno| Error::List { source: errno.into() };
                let is_whiteout = part.may_be_whiteout(kind) && matches!(part.look(name).map_err(failed)?, Found::Whiteout);
                // What one of the layers above it deleted is not hidden by this one.
                let mut above = parts[1..number].iter();
                let is_gone = is_whiteout || above.any(|part| matches!(part.look(name), Ok(Found::Whiteout)));
                has_all = is_gone;
            }
            Ok(())
        })?;
    }
    Ok(has_all)
}

fn mark(folder: &OwnedFd) -> Result<Mark, Errno> {
    let mut value = [0u8; 2];
    match rustix::fs::fgetxattr(folder, OPAQUE, &mut value) {
        Ok(1) if value[0] == b'y' => Ok(Mark::Opaque),
        Ok(1) if value[0] == b'x' => Ok(Mark::AttributeWhiteouts),
        // ERANGE: a value that no kernel writes.
        Ok(_) | Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(Mark::None),
        Err(errno) => Err(errno),
    }
}

/// What a file is.
pub(crate) fn kind(stat: &Stat) -> FileKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::CharacterDevice | FileType::BlockDevice => FileKind::Device,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::RegularFile | FileType::Unknown => FileKind::File,
    }
}

/// A path as people see it: from the container's root, with a leading slash; bytes that are not UTF-8 are replaced.
pub(super) fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

/// The part of `path` below `folder`; empty for the folder itself, none outside of it.
fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    match path.strip_prefix(folder)? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// A path's folder and its last part.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
