//! What the container changed: a walk over the upper layer alone, each name held against what lies below it.
//!
//! It holds a folder's layers open for one folder at a time, and keeps the rest of its way as a list: a tree that is as
//! deep as a container can make it costs no descriptors and no stack.

use std::collections::HashSet;

use belljar_model::mount::PATH_BYTES_MAX;
use belljar_model::overlay::{Change, FileKind, Stack, Status};
use rustix::fs::Stat;

use super::compare::Comparer;
use super::layers::{Above, Cover, Folder, Found, Layers, kind, shown};
use super::{
    CHANGES_MAX, Error, Numbered, WALKED_MAX, file_status, find, folder_status, graft_stats, graft_status, look, side_by_side, unread,
};

/// Names of a folder that are held at a time.
const NAMES_AT_ONCE: usize = 4096;

/// What the container's own layer takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes on disk, a file with several names once.
    pub upper_bytes: u64,
    /// Entries of every kind, whiteouts too.
    pub upper_entries: u64,
}

/// A folder of the upper layer that is still to be walked.
struct Ahead {
    path: Vec<u8>,
    /// Layers that contribute to the folder above it, and how the upper one stands to the others there.
    candidates: Vec<usize>,
    cover: Cover,
    /// Itself, and what lies below it with its layer; none for a root.
    pair: Option<(Stat, Option<Numbered>)>,
}

/// Everything that the container added, modified, deleted or replaced, as deep as paths lead, sorted by path. At most
/// [`CHANGES_MAX`], then an error.
pub fn changes(stack: &Stack) -> Result<Vec<Change>, Error> {
    changes_up_to(stack, CHANGES_MAX)
}

pub(super) fn changes_up_to(stack: &Stack, max: usize) -> Result<Vec<Change>, Error> {
    let layers = Layers::open(stack)?;
    let mut changes = Vec::new();
    let mut ahead = vec![Ahead { path: Vec::new(), candidates: Vec::new(), cover: Cover::Merged, pair: None }];
    let comparer = Comparer::default();
    while let Some(next) = ahead.pop() {
        let folder = layers.folder(&next.path, Above { candidates: &next.candidates, cover: next.cover })?;
        // Where the upper layer has no folder any more, it went while we walked.
        let Some(upper) = folder.parts.first().filter(|part| layers.is_upper(part.layer)) else { continue };
        changes.extend(change_of_folder(&layers, &folder, &next)?);
        let walk = Walk { layers: &layers, folder: &folder, comparer: &comparer };
        let mut take = |names: &mut Vec<Vec<u8>>| {
            for told in side_by_side::filter_map(names, |name| walk.name(name))? {
                match told {
                    Told::Change(change) => changes.push(change),
                    Told::Ahead(folder) => ahead.push(*folder),
                }
            }
            names.clear();
            // What is still to be walked counts: else a million folders side by side would be held before the first is one.
            if changes.len() + ahead.len() > max { Err(Error::TooMany { what: "changes", max }) } else { Ok(()) }
        };
        let mut names = Vec::new();
        upper.for_each_name(|name| {
            names.push(name.to_vec());
            if names.len() < NAMES_AT_ONCE { Ok(()) } else { take(&mut names) }
        })?;
        take(&mut names)?;
    }
    changes.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(changes)
}

/// What there is to tell of one name of a folder.
enum Told {
    Change(Change),
    /// It is a folder, and left for later.
    Ahead(Box<Ahead>),
}

/// One folder on the walk.
struct Walk<'a> {
    layers: &'a Layers,
    folder: &'a Folder,
    comparer: &'a Comparer,
}

impl Walk<'_> {
    /// What the container did to one name of the folder, if anything.
    fn name(&self, name: &[u8]) -> Result<Option<Told>, Error> {
        let Self { layers, folder, comparer } = *self;
        let path = folder.path_of(name);
        let is_graft = layers.is_graft(&path);
        let upper = look(folder, 0, name)?;
        let below = if is_graft { None } else { find(folder, name, 1)? };
        let numbered = below.map(|(number, stat)| (folder.parts[number].layer, stat));
        let change = |status, kind, size_bytes| {
            Some(Told::Change(Change { path: shown(&path), status, kind, size_bytes, below: numbered.map(|(layer, _)| layer) }))
        };
        Ok(match upper {
            Found::Nothing => None,
            Found::Whiteout => below.and_then(|(_, below)| change(Status::Deleted, kind(&below), 0)),
            // What lies in it has no path that could be asked for, and a chain of such folders would fill memory with its names.
            Found::Entry(stat) if kind(&stat) == FileKind::Directory && path.len() > PATH_BYTES_MAX => {
                let status = match &below {
                    None => Status::Added,
                    Some((_, below)) if kind(below) == FileKind::Directory => Status::Metadata,
                    Some(_) => Status::Replaced,
                };
                change(status, FileKind::Directory, 0)
            }
            Found::Entry(stat) if kind(&stat) == FileKind::Directory => {
                let pair = (!is_graft).then_some((stat, numbered));
                Some(Told::Ahead(Box::new(Ahead { path, candidates: folder.layers(), cover: folder.cover, pair })))
            }
            // An overlay is mounted over it: nobody can have put it there from inside, or see it.
            Found::Entry(_) if is_graft => None,
            Found::Entry(stat) => {
                let status = match &below {
                    None => Status::Added,
                    Some((number, below)) => {
                        let compared = file_status(comparer, name, (&folder.parts[0], &stat), (&folder.parts[*number], below));
                        compared.map_err(|errno| unread(&folder.parts[0], folder, errno))?
                    }
                };
                if status == Status::Unchanged { None } else { change(status, kind(&stat), bytes_taken(&stat)) }
            }
        })
    }
}

/// What the container did to a folder itself.
fn change_of_folder(layers: &Layers, folder: &Folder, ahead: &Ahead) -> Result<Option<Change>, Error> {
    let (status, below) = match &ahead.pair {
        Some((_, Some((layer, below)))) if kind(below) == FileKind::Directory => (folder_status(layers, folder, below)?, Some(*layer)),
        Some((_, Some((layer, _)))) => (Status::Replaced, Some(*layer)),
        Some((_, None)) => (Status::Added, None),
        // The root, and the roots of grafts.
        None => match graft_stats(layers, folder)? {
            Some(((_, upper), Some((number, below)))) => {
                (graft_status(folder, &upper, (number, &below))?, Some(folder.parts[number].layer))
            }
            _ => (Status::Unchanged, None),
        },
    };
    let changed = status != Status::Unchanged && !folder.path.is_empty();
    Ok(changed.then(|| Change { path: shown(&folder.path), status, kind: FileKind::Directory, size_bytes: 0, below }))
}

/// Bytes of a regular file, without its holes.
fn bytes_taken(stat: &Stat) -> u64 {
    if kind(stat) == FileKind::File { stat.st_size.cast_unsigned().min(bytes_on_disk(stat)) } else { 0 }
}

fn bytes_on_disk(stat: &Stat) -> u64 {
    /// Unit of `st_blocks` (`stat(2)`), whatever the file system's own block is.
    const BLOCK_BYTES: u64 = 512;
    stat.st_blocks.cast_unsigned().saturating_mul(BLOCK_BYTES)
}

/// What the container's own layer takes on disk, as deep as paths lead. At most [`WALKED_MAX`] entries, then an error.
pub fn sizes(stack: &Stack) -> Result<Sizes, Error> {
    let upper = Stack { layers: stack.layers.iter().take(1).cloned().collect(), work: String::new(), merged: None, quota: None };
    let layers = Layers::open(&upper)?;
    let mut sizes = Sizes::default();
    let mut seen = HashSet::new();
    let mut ahead = vec![Vec::new()];
    while let Some(path) = ahead.pop() {
        let folder = layers.folder(&path, Above { candidates: &[0], cover: Cover::Merged })?;
        let Some(part) = folder.parts.first() else { continue };
        part.for_each_name(|name| {
            sizes.upper_entries += 1;
            if sizes.upper_entries > WALKED_MAX as u64 {
                return Err(Error::TooMany { what: "entries in the upper layer", max: WALKED_MAX });
            }
            if let Found::Entry(stat) = look(&folder, 0, name)? {
                let is_folder = kind(&stat) == FileKind::Directory;
                let path = is_folder.then(|| folder.path_of(name));
                ahead.extend(path.filter(|path| path.len() <= PATH_BYTES_MAX));
                if is_folder || stat.st_nlink <= 1 || seen.insert((stat.st_dev, stat.st_ino)) {
                    sizes.upper_bytes += bytes_on_disk(&stat);
                }
            }
            Ok(())
        })?;
    }
    Ok(sizes)
}
