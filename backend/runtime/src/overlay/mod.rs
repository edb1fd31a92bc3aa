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
mod layers;

use std::collections::BTreeSet;
use std::io;

use belljar_model::overlay::{Entry, FileKind, Stack, Status};
use rustix::fs::Stat;

pub use changes::{Sizes, changes, sizes};
use layers::{Folder, Found, Layers, Part, kind, shown};

/// Most entries of one folder that are listed.
pub const ENTRIES_MAX: usize = 100_000;
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
    let mut names: BTreeSet<Vec<u8>> = layers.grafts_in(&folder.path).map(<[u8]>::to_vec).collect();
    for part in &folder.parts {
        part.for_each_name(|name| {
            names.insert(name.to_vec());
            if names.len() > max { Err(Error::TooMany { what: "entries in this folder", max }) } else { Ok(()) }
        })?;
    }
    let described = names.iter().map(|name| describe(&layers, &folder, name));
    described.filter_map(Result::transpose).collect()
}

/// Walks to a folder part by part, since each part may be hidden.
fn descend(layers: &Layers, path: &str) -> Result<Folder, Error> {
    if path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Err(Error::Path { path: path.to_owned(), problem: "it must not hold .. or NUL bytes" });
    }
    let mut folder = layers.root()?;
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let next = layers.folder(&folder.path_of(part.as_bytes()), &folder.layers())?;
        if next.parts.is_empty() {
            let path = path.to_owned();
            let exists = find(&folder, part.as_bytes(), 0)?.is_some();
            return Err(if exists { Error::NotADirectory { path } } else { Error::NotFound { path } });
        }
        folder = next;
    }
    Ok(folder)
}

/// The first that has `name` among the folder's parts from number `from` on, unless a whiteout comes before.
fn find(folder: &Folder, name: &[u8], from: usize) -> Result<Option<(usize, Stat)>, Error> {
    for (number, part) in folder.parts.iter().enumerate().skip(from) {
        match look(folder, number, name)? {
            Found::Nothing => {}
            Found::Whiteout => return Ok(None),
            Found::Entry(stat) => return Ok(Some((part.layer, stat))),
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

/// What stands under a name in the merged tree and what the container did to it; none where nothing does.
fn describe(layers: &Layers, folder: &Folder, name: &[u8]) -> Result<Option<Entry>, Error> {
    let path = folder.path_of(name);
    if layers.is_graft(&path) {
        return describe_graft(layers, folder, name);
    }
    let has_upper = folder.parts.first().is_some_and(|part| layers.is_upper(part.layer));
    let upper = if has_upper { look(folder, 0, name)? } else { Found::Nothing };
    let below = find(folder, name, usize::from(has_upper))?;
    let described = match (upper, below) {
        (Found::Nothing, Some((layer, stat))) => Some((layer, stat, Status::Unchanged)),
        (Found::Nothing | Found::Whiteout, None) => None,
        (Found::Whiteout, Some((layer, stat))) => Some((layer, stat, Status::Deleted)),
        (Found::Entry(stat), below) => {
            let status = match &below {
                Some((_, below)) if kind(&stat) == FileKind::Directory && kind(below) == FileKind::Directory => {
                    let child = layers.folder(&path, &folder.layers())?;
                    folder_status(&stat, below, child.parts.first())
                }
                below => file_status(&stat, below.as_ref().map(|(_, stat)| stat)),
            };
            // A folder that was only copied up as the way to something else still comes from where it came from.
            let layer = below.filter(|_| status == Status::Unchanged).map_or(folder.parts[0].layer, |(layer, _)| layer);
            Some((layer, stat, status))
        }
    };
    described.map(|(layer, stat, status)| entry(folder, name, &Described { layer, stat, status })).transpose()
}

struct Described {
    layer: usize,
    stat: Stat,
    status: Status,
}

/// A place where an overlay of its own is mounted. Its folder in the upper layer is that overlay's upper root: it is
/// there because of the graft, not because the container did something.
fn describe_graft(layers: &Layers, parent: &Folder, name: &[u8]) -> Result<Option<Entry>, Error> {
    let folder = layers.folder(&parent.path_of(name), &[])?;
    let Some((top, below)) = graft_stats(layers, &folder)? else { return Ok(None) };
    let status = below.as_ref().map_or(Status::Unchanged, |(_, below)| folder_status(&top.1, below, None));
    let layer = if status == Status::Unchanged { below.map_or(top.0, |(layer, _)| layer) } else { top.0 };
    entry(parent, name, &Described { layer, stat: top.1, status }).map(Some)
}

type Numbered = (usize, Stat);

/// The top of a graft's own stack; and where that is the upper layer, what is below it.
fn graft_stats(layers: &Layers, folder: &Folder) -> Result<Option<(Numbered, Option<Numbered>)>, Error> {
    let stat = |part: &Part| match rustix::fs::fstat(&part.folder) {
        Ok(stat) => Ok((part.layer, stat)),
        Err(errno) => Err(Error::Read { layer: format!("number {}", part.layer), path: shown(&folder.path), source: errno.into() }),
    };
    let Some(top) = folder.parts.first() else { return Ok(None) };
    // The graft itself is the lowest; init and extra layers between hold a folder there only as the way to something.
    let below = folder.parts.last().filter(|_| layers.is_upper(top.layer) && folder.parts.len() > 1);
    Ok(Some((stat(top)?, below.map(stat).transpose()?)))
}

/// What became of something in the upper layer that is not a folder over a folder.
fn file_status(upper: &Stat, below: Option<&Stat>) -> Status {
    match below {
        None => Status::Added,
        Some(below) if kind(upper) == kind(below) => Status::Modified,
        Some(_) => Status::Replaced,
    }
}

/// What became of a folder in the upper layer that is a folder below, too; `top` is where it may be marked as opaque.
fn folder_status(upper: &Stat, below: &Stat, top: Option<&Part>) -> Status {
    if top.is_some_and(Part::is_opaque) {
        Status::Replaced
    } else if (upper.st_mode, upper.st_uid, upper.st_gid) != (below.st_mode, below.st_uid, below.st_gid) {
        Status::Modified
    } else {
        Status::Unchanged
    }
}

fn entry(folder: &Folder, name: &[u8], described: &Described) -> Result<Entry, Error> {
    const PERMISSION_BITS: u32 = 0o7777;
    let Described { layer, stat, status } = described;
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
    })
}

#[cfg(test)]
mod tests;
