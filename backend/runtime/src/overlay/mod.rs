//! What a container's layers hold: the merged tree with the layer that each entry comes from, and what the container
//! changed.
//!
//! The layers themselves are read, never the merged mount: so a stopped container reads as a running one does, and no
//! namespace is entered. overlayfs's rules are few (its [documentation] in the kernel): the topmost layer that has a name
//! decides; folders are merged; a whiteout hides a name of the layers below, an opaque folder all names in it.
//!
//! This module must never know who asks. Start reading at [`entries`] and [`changes`], then [`layers`] for the rules.
//!
//! [documentation]: https://docs.kernel.org/filesystems/overlayfs.html

mod changes;
mod compare;
mod difference;
mod layers;
mod side_by_side;
mod undo;

use std::collections::BTreeMap;
use std::io;

use belljar_model::overlay::{Entry, FileKind, Stack, Status};
use rustix::fs::{FileType, Stat};

pub use changes::{Sizes, changes, sizes};
pub use compare::{COMPARED_BYTES_MAX, COMPARED_TOTAL_MAX};
use compare::{Comparer, Side};
pub use difference::{LINES_MAX, TEXT_BYTES_MAX, difference};
pub(crate) use layers::kind as kind_of;
use layers::{Above, Cover, Folder, Found, Layers, Part, kind, shown};
pub use undo::{Undone, undo};

/// Most entries of one folder that are listed.
pub const ENTRIES_MAX: usize = 100_000;
/// Most names that are read of one folder in all its layers.
pub const LISTED_MAX: usize = 2_000_000;
/// Most changes that are listed.
pub const CHANGES_MAX: usize = 100_000;
/// Most entries of the upper layer that are walked to learn its size.
pub const WALKED_MAX: usize = 2_000_000;

/// Why the layers could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path asked for is not one.
    #[error("{path:?} is not a path: {problem}")]
    Path {
        /// As it was asked for.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is nothing at the path.
    #[error("there is no {path} in this container")]
    NotFound {
        /// As it was asked for.
        path: String,
    },
    /// What is at the path is not a folder. Links are not followed.
    #[error("{path} is not a folder")]
    NotADirectory {
        /// As it was asked for.
        path: String,
    },
    /// There is more than is shown.
    #[error("there are more than {max} {what}, which is the limit")]
    TooMany {
        /// What there is too much of: `changes`.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A folder lies deeper than a path can say (4095 bytes).
    #[error("{path} lies too deep to be read")]
    TooDeep {
        /// The folder.
        path: String,
    },
    /// A layer could not be opened.
    #[error("could not open the layer {path}")]
    Layer {
        /// The layer's folder on the host.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// Something in a layer could not be read.
    #[error("could not read {path} in the layer {layer}")]
    Read {
        /// The layer's folder on the host.
        layer: String,
        /// Path in the container's tree.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// Something in the upper layer could not be removed.
    #[error("could not put {path} back")]
    Remove {
        /// The path.
        path: String,
        /// What the kernel answered.
        #[source]
        source: belljar_linux::Error,
    },
    /// A folder could not be listed to its end.
    #[error("could not list a folder of a layer")]
    List {
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

/// The entries of the folder at `path` of the merged tree, sorted by name; what the container deleted is listed too.
/// `path` is absolute or relative to the container's root, without `..`; links are not followed. At most
/// [`ENTRIES_MAX`], then an error.
pub fn entries(stack: &Stack, path: &str) -> Result<Vec<Entry>, Error> {
    entries_up_to(stack, path, ENTRIES_MAX)
}

fn entries_up_to(stack: &Stack, path: &str, max: usize) -> Result<Vec<Entry>, Error> {
    let layers = Layers::open(stack)?;
    let folder = descend(&layers, path)?;
    let mut names: BTreeMap<Vec<u8>, Vec<Seen>> = layers.grafts_in(&folder.path).map(|name| (name.to_vec(), Vec::new())).collect();
    let mut listed = 0;
    for (number, part) in folder.parts.iter().enumerate() {
        part.for_each(|name, kind| {
            listed += 1;
            // One look-up for a name that is there already: most names of a wide folder are in several layers, or in one.
            match names.get_mut(name) {
                Some(seen) => seen.push(Seen { number, kind }),
                None => drop(names.insert(name.to_vec(), vec![Seen { number, kind }])),
            }
            let over = |max| Err(Error::TooMany { what: "entries in this folder", max });
            if names.len() > max {
                over(max)
            } else if listed > LISTED_MAX {
                over(LISTED_MAX)
            } else {
                Ok(())
            }
        })?;
    }
    let reading = Reading { layers: &layers, folder: &folder, comparer: Comparer::default() };
    let names: Vec<_> = names.into_iter().collect();
    side_by_side::filter_map(&names, |(name, seen)| reading.describe(name, seen))
}

/// Where a name was listed: the number of the folder's part, and the kind of file that the listing says it is.
#[derive(Debug, Clone, Copy)]
struct Seen {
    number: usize,
    kind: FileType,
}

/// The names of a path, from the root on.
fn parts_of(path: &str) -> Result<Vec<&[u8]>, Error> {
    if path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Err(Error::Path { path: path.to_owned(), problem: "it must not hold .. or NUL bytes" });
    }
    Ok(path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::as_bytes).collect())
}

/// Walks to a folder part by part, since each part may be hidden.
fn descend(layers: &Layers, path: &str) -> Result<Folder, Error> {
    walk_down(layers, path, &parts_of(path)?)
}

fn walk_down(layers: &Layers, path: &str, parts: &[&[u8]]) -> Result<Folder, Error> {
    let mut folder = layers.root()?;
    for part in parts {
        let next = layers.folder(&folder.path_of(part), folder.above(&folder.layers()))?;
        if next.parts.is_empty() {
            let path = path.to_owned();
            let exists = find(&folder, part, 0)?.is_some();
            return Err(if exists { Error::NotADirectory { path } } else { Error::NotFound { path } });
        }
        folder = next;
    }
    Ok(folder)
}

/// The number of the first part that has `name` from number `from` on, unless a whiteout comes before.
fn find(folder: &Folder, name: &[u8], from: usize) -> Result<Option<(usize, Stat)>, Error> {
    for number in from..folder.parts.len() {
        match look(folder, number, name)? {
            Found::Nothing => {}
            Found::Whiteout => return Ok(None),
            Found::Entry(stat) => return Ok(Some((number, stat))),
        }
    }
    Ok(None)
}

fn look(folder: &Folder, number: usize, name: &[u8]) -> Result<Found, Error> {
    let failed = |errno: rustix::io::Errno| Error::Read {
        layer: format!("number {}", folder.parts[number].layer),
        path: shown(&folder.path_of(name)),
        source: errno.into(),
    };
    folder.parts[number].look(name).map_err(failed)
}

/// One folder that is being read.
struct Reading<'a> {
    layers: &'a Layers,
    folder: &'a Folder,
    comparer: Comparer,
}

impl Reading<'_> {
    /// What stands under a name in the merged tree and what the container did to it; none where nothing does.
    fn describe(&self, name: &[u8], seen: &[Seen]) -> Result<Option<Entry>, Error> {
        let Self { layers, folder, .. } = self;
        let path = folder.path_of(name);
        if layers.is_graft(&path) {
            return describe_graft(layers, folder, name);
        }
        let mut seen = seen.iter();
        let has_upper = |part: &Part| layers.is_upper(part.layer);
        let mut upper = Found::Nothing;
        if let Some(first) = seen.as_slice().first().filter(|first| has_upper(&folder.parts[first.number])) {
            upper = look(folder, first.number, name)?;
            seen.next();
        }
        let below = self.first_below(name, &mut seen)?;
        let described = match (upper, below) {
            (Found::Nothing, Some((number, stat))) => self.found(&path, (number, stat), Status::Unchanged)?,
            (Found::Nothing | Found::Whiteout, None) => return Ok(None),
            (Found::Whiteout, Some((number, stat))) => {
                let described = self.found(&path, (number, stat), Status::Deleted)?;
                // What is deleted is hidden by the upper layer, in the layer that it comes from and in all below it.
                return self.entry(name, Described { hidden: Some(number), ..described }, seen.as_slice()).map(Some);
            }
            (Found::Entry(stat), below) => self.over(name, &path, &stat, below)?,
        };
        self.entry(name, described, seen.as_slice()).map(Some)
    }

    /// The first part below the upper layer that has the name, unless a whiteout comes before; what is left of `seen` is below that.
    fn first_below(&self, name: &[u8], seen: &mut std::slice::Iter<'_, Seen>) -> Result<Option<(usize, Stat)>, Error> {
        for Seen { number, .. } in seen.by_ref() {
            match look(self.folder, *number, name)? {
                Found::Nothing => {}
                Found::Whiteout => return Ok(None),
                Found::Entry(stat) => return Ok(Some((*number, stat))),
            }
        }
        Ok(None)
    }

    fn found(&self, path: &[u8], (number, stat): (usize, Stat), status: Status) -> Result<Described, Error> {
        let is_shown = kind(&stat) == FileKind::Directory && status != Status::Deleted;
        let merged = if is_shown { self.merged(path)? } else { Vec::new() };
        Ok(Described { layer: self.folder.parts[number].layer, stat, status, copied_up: false, opaque: false, hidden: None, merged })
    }

    /// The layers whose folders of this name are seen as one, where there are several.
    fn merged(&self, path: &[u8]) -> Result<Vec<usize>, Error> {
        if self.folder.parts.len() < 2 {
            return Ok(Vec::new());
        }
        Ok(self.layers.folder(path, self.folder.above(&self.folder.layers()))?.layers())
    }

    /// What the upper layer has.
    fn over(&self, name: &[u8], path: &[u8], stat: &Stat, below: Option<(usize, Stat)>) -> Result<Described, Error> {
        let top = &self.folder.parts[0];
        let mut described = Described {
            layer: top.layer,
            stat: *stat,
            status: Status::Added,
            copied_up: false,
            opaque: false,
            hidden: None,
            merged: Vec::new(),
        };
        let Some((number, below_stat)) = below else { return Ok(described) };
        let is_folder = kind(stat) == FileKind::Directory;
        described.copied_up = kind(stat) == kind(&below_stat);
        if is_folder && described.copied_up {
            let child = self.layers.folder(path, self.folder.above(&self.folder.layers()))?;
            described.opaque = child.cover != Cover::Merged;
            described.status = folder_status(self.layers, &child, &below_stat)?;
            described.merged = if child.cover == Cover::Merged { child.layers() } else { Vec::new() };
        } else {
            let compared = file_status(&self.comparer, name, (top, stat), (&self.folder.parts[number], &below_stat));
            described.status = compared.map_err(|errno| self.failed(path, errno))?;
        }
        if described.status == Status::Unchanged {
            // What was copied up and is as before still comes from where it came from.
            described.layer = self.folder.parts[number].layer;
        }
        if !(is_folder && described.copied_up && described.merged.contains(&self.folder.parts[number].layer)) {
            described.hidden = Some(number);
        }
        Ok(described)
    }

    fn failed(&self, path: &[u8], errno: rustix::io::Errno) -> Error {
        Error::Read { layer: "number 0".to_owned(), path: shown(path), source: errno.into() }
    }

    /// The entry, with the layers that it hides: `rest` is where else, further below, the name was listed.
    fn entry(&self, name: &[u8], described: Described, rest: &[Seen]) -> Result<Entry, Error> {
        let parts = &self.folder.parts;
        let mut hides: Vec<usize> = described.hidden.iter().map(|number| parts[*number].layer).collect();
        for Seen { number, kind } in rest {
            let part = &parts[*number];
            if part.may_be_whiteout(*kind) && !matches!(look(self.folder, *number, name)?, Found::Entry(_)) {
                break;
            }
            if !described.merged.contains(&part.layer) {
                hides.push(part.layer);
            }
        }
        entry(self.folder, name, &described, hides)
    }
}

struct Described {
    layer: usize,
    stat: Stat,
    status: Status,
    copied_up: bool,
    opaque: bool,
    /// The first part whose entry it hides.
    hidden: Option<usize>,
    /// Layers whose folders of this name are merged.
    merged: Vec<usize>,
}

/// A place where an overlay of its own is mounted. Its folder in the upper layer is that overlay's upper root: it is
/// there because of the graft, not because the container did something.
fn describe_graft(layers: &Layers, parent: &Folder, name: &[u8]) -> Result<Option<Entry>, Error> {
    let folder = layers.folder(&parent.path_of(name), Above { candidates: &[], cover: Cover::Merged })?;
    let Some((top, below)) = graft_stats(layers, &folder)? else { return Ok(None) };
    let status = below.as_ref().map_or(Ok(Status::Unchanged), |(part, stat)| graft_status(&folder, &top.1, (*part, stat)))?;
    let layer = if status == Status::Unchanged { below.map_or(top.0, |(part, _)| folder.parts[part].layer) } else { top.0 };
    let copied_up = status != Status::Unchanged;
    let described = Described { layer, stat: top.1, status, copied_up, opaque: false, hidden: None, merged: Vec::new() };
    entry(parent, name, &described, Vec::new()).map(Some)
}

type Numbered = (usize, Stat);

/// The layer and the top of a graft's own stack; and where that is the upper layer, the number of the part below it, which it is
/// held against.
fn graft_stats(layers: &Layers, folder: &Folder) -> Result<Option<(Numbered, Option<Numbered>)>, Error> {
    let stat = |part: &Part| rustix::fs::fstat(&part.folder).map_err(|errno| unread(part, folder, errno));
    let Some(top) = folder.parts.first() else { return Ok(None) };
    // The graft itself is the lowest; init and extra layers between hold a folder there only as the way to something.
    let lowest = folder.parts.len() - 1;
    let below = folder.parts.last().filter(|_| layers.is_upper(top.layer) && lowest > 0);
    let below = below.map(|below| stat(below).map(|stat| (lowest, stat))).transpose()?;
    Ok(Some(((top.layer, stat(top)?), below)))
}

fn unread(part: &Part, folder: &Folder, errno: rustix::io::Errno) -> Error {
    Error::Read { layer: format!("number {}", part.layer), path: shown(&folder.path), source: errno.into() }
}

/// What became of a graft's own root.
fn graft_status(folder: &Folder, upper: &Stat, (number, below): (usize, &Stat)) -> Result<Status, Error> {
    let (top, below) = ((&folder.parts[0], upper), (&folder.parts[number], below));
    let same = compare::same_folder(top, below).map_err(|errno| unread(top.0, folder, errno))?;
    Ok(if same { Status::Unchanged } else { Status::Metadata })
}

/// What became of something in the upper layer that is not a folder over a folder.
fn file_status(comparer: &Comparer, name: &[u8], upper: Side<'_>, below: Side<'_>) -> Result<Status, rustix::io::Errno> {
    if kind(upper.1) == kind(below.1) { comparer.status(name, upper, below) } else { Ok(Status::Replaced) }
}

/// What became of a folder in the upper layer that is a folder below, too.
fn folder_status(layers: &Layers, folder: &Folder, below: &Stat) -> Result<Status, Error> {
    if folder.cover == Cover::Hiding {
        return Ok(Status::Replaced);
    }
    let [top, next, ..] = folder.parts.as_slice() else { return Ok(Status::Unchanged) };
    if !layers.is_upper(top.layer) {
        return Ok(Status::Unchanged);
    }
    let stat = rustix::fs::fstat(&top.folder).map_err(|errno| unread(top, folder, errno))?;
    // Not by its time, which changes with what is made and removed in it: that is told by itself.
    let same = compare::same_folder((top, &stat), (next, below)).map_err(|errno| unread(top, folder, errno))?;
    Ok(if same { Status::Unchanged } else { Status::Metadata })
}

fn entry(folder: &Folder, name: &[u8], described: &Described, hides: Vec<usize>) -> Result<Entry, Error> {
    const PERMISSION_BITS: u32 = 0o7777;
    let Described { layer, stat, status, copied_up, opaque, .. } = described;
    let kind = kind(stat);
    let link_target = match (kind, folder.parts.iter().find(|part| part.layer == *layer)) {
        // A link that changed while we looked has no target to show.
        (FileKind::Symlink, Some(part)) => {
            rustix::fs::readlinkat(&part.folder, name, Vec::new()).ok().map(|target| target.to_string_lossy().into_owned())
        }
        _ => None,
    };
    Ok(Entry {
        name: String::from_utf8_lossy(name).into_owned(),
        path: shown(&folder.path_of(name)),
        kind,
        size_bytes: if kind == FileKind::File { stat.st_size.cast_unsigned() } else { 0 },
        mode: stat.st_mode & PERMISSION_BITS,
        uid: stat.st_uid,
        gid: stat.st_gid,
        // A hostile time may be any number.
        modified_at_ms: stat.st_mtime.saturating_mul(1000).saturating_add((stat.st_mtime_nsec / 1_000_000) as i64),
        link_target,
        layer: *layer,
        status: *status,
        hides,
        copied_up: *copied_up,
        opaque: *opaque,
    })
}

#[cfg(test)]
mod tests;
