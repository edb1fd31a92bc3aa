//! One path of a container that rests put back to what the layers below say: what the upper layer has there goes. The container
//! made that layer, so everything is done on descriptors of folders that were reached without a link.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use belljar_linux::removal;
use belljar_model::overlay::Stack;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::layers::{Above, Cover, Folder, Found, Layers};
use super::{Error, compare, find, graft_stats, look, parts_of, unread};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// The upper layer has nothing at the path any more.
    Removed,
    /// It had nothing: the path is as the layers below say.
    AlreadySo,
    /// Nothing was done: a folder above hides what the layers below have there, so it would have to be made anew.
    HiddenAbove,
}

/// Puts `path` back. Nobody may have the layers mounted. What is at `path` is a clause for an error's sentence where it cannot be.
pub fn undo(stack: &Stack, path: &str) -> Result<Undone, Error> {
    let layers = Layers::open(stack)?;
    let parts = parts_of(path)?;
    let Some((name, above)) = parts.split_last() else {
        return Err(Error::Path { path: path.to_owned(), problem: "it is all of it: a container is put back by a reset" });
    };
    let mut way = vec![layers.root()?];
    for part in above {
        let Some(folder) = way.last() else { continue };
        let next = layers.folder(&folder.path_of(part), folder.above(&folder.layers()))?;
        if next.parts.is_empty() {
            let exists = find(folder, part, 0)?.is_some();
            let path = path.to_owned();
            return Err(if exists { Error::NotADirectory { path } } else { Error::NotFound { path } });
        }
        way.push(next);
    }
    let Some(folder) = way.last() else { return Ok(Undone::AlreadySo) };
    let is_there = folder.parts.first().is_some_and(|part| layers.is_upper(part.layer));
    let upper = if is_there { look(folder, 0, name)? } else { Found::Nothing };
    let below = find(folder, name, usize::from(is_there))?;
    match upper {
        Found::Nothing if folder.cover == Cover::Hiding => return Ok(Undone::HiddenAbove),
        Found::Nothing if below.is_some() || layers.is_graft(&folder.path_of(name)) => return Ok(Undone::AlreadySo),
        Found::Nothing => return Err(Error::NotFound { path: path.to_owned() }),
        Found::Whiteout | Found::Entry(_) if folder.cover != Cover::Merged => return Ok(Undone::HiddenAbove),
        Found::Whiteout | Found::Entry(_) => {}
    }
    if layers.is_graft(&folder.path_of(name)) {
        clear_graft(&layers, folder, name)?;
    } else {
        removal::remove_at(&folder.parts[0].folder, Path::new(OsStr::from_bytes(name))).map_err(|source| removed(path, source))?;
    }
    prune(&layers, &way)?;
    rustix::fs::syncfs(&way[0].parts[0].folder).map_err(|errno| unread(&way[0].parts[0], &way[0], errno))?;
    Ok(Undone::Removed)
}

fn removed(path: &str, source: belljar_linux::Error) -> Error {
    Error::Remove { path: path.to_owned(), source }
}

/// The root of a graft stays, empty and like what it is mounted over: a mount needs it.
fn clear_graft(layers: &Layers, parent: &Folder, name: &[u8]) -> Result<(), Error> {
    let folder = layers.folder(&parent.path_of(name), Above { candidates: &[], cover: Cover::Merged })?;
    let Some(top) = folder.parts.first().filter(|part| layers.is_upper(part.layer)) else { return Ok(()) };
    removal::clear(&top.folder).map_err(|source| removed(&String::from_utf8_lossy(name), source))?;
    if let Some((_, Some((_, below)))) = graft_stats(layers, &folder)? {
        let failed = |errno| unread(top, &folder, errno);
        let (uid, gid) = (rustix::fs::Uid::from_raw(below.st_uid), rustix::fs::Gid::from_raw(below.st_gid));
        rustix::fs::fchown(&top.folder, Some(uid), Some(gid)).map_err(failed)?;
        rustix::fs::fchmod(&top.folder, rustix::fs::Mode::from_raw_mode(below.st_mode & 0o7777)).map_err(failed)?;
    }
    Ok(())
}

/// Folders that were copied up only as the way to what is gone now go too, from the deepest up: what is empty, merged with one
/// below and like it.
fn prune(layers: &Layers, way: &[Folder]) -> Result<(), Error> {
    for pair in way.windows(2).rev() {
        let (parent, folder) = (&pair[0], &pair[1]);
        let [top, next, ..] = folder.parts.as_slice() else { return Ok(()) };
        if folder.cover != Cover::Merged || layers.is_graft(&folder.path) || !layers.is_upper(top.layer) {
            return Ok(());
        }
        let failed = |errno: Errno| unread(top, folder, errno);
        let (upper, below) = (rustix::fs::fstat(&top.folder).map_err(failed)?, rustix::fs::fstat(&next.folder).map_err(failed)?);
        if !compare::same_folder((top, &upper), (next, &below)).map_err(failed)? {
            return Ok(());
        }
        let name = folder.path.rsplit(|byte| *byte == b'/').next().unwrap_or(&folder.path);
        match rustix::fs::unlinkat(&parent.parts[0].folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(()),
            removed => removed.map_err(failed)?,
        }
    }
    Ok(())
}
