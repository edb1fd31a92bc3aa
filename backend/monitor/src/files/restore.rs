//! One path of a running container put back to what its layers say: through the tree as its processes see it, since the layer
//! under a live mount must not be touched. What the layers have is made anew beside it and takes its place by one rename, so that
//! whoever looks meanwhile sees the one or the other, whole; a folder that is still a folder is put back in place, name by name,
//! since processes may stand in it.
//!
//! Links are not followed, above the path neither. What is mounted in the tree is not the layers', and is left alone; only the
//! places where a layer itself is mounted (grafts) are passed.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use belljar_archive::limits::DEPTH_MAX;
use belljar_linux::{mount, tree};
use belljar_model::files::Moved;
use rustix::fs::{FileType, OFlags, RenameFlags};
use rustix::io::Errno;

use super::copy;
use super::error::{Error, failed};
use super::pack::has;
use super::unpack::Scratch;

/// overlayfs (`statfs(2)`).
const OVERLAY: u64 = 0x794c_7630;

/// Puts `path` of `tree` back to what `below` has there. `grafts` are the places where layers of the tree are mounted.
pub(super) fn restore(tree: &OwnedFd, below: &OwnedFd, path: &str, grafts: &[String]) -> Result<Moved, Error> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || path.contains('\0') {
        return Err(Error::refused(path, "is no path that can be put back: it holds .. or a NUL byte"));
    }
    let Some((name, above)) = parts.split_last() else {
        return Err(Error::refused(path, "is all of it: stop the container, and reset it"));
    };
    let above = above.join("/");
    let is_graft = |path: &str| grafts.iter().any(|graft| graft == path);
    let parent = open_folder(tree, &above).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {
            Error::refused(path, format!("lies in /{above}, which was deleted or replaced itself: put that back first"))
        }
        errno => failed("open", above.as_bytes())(errno),
    })?;
    let parent = tree::reopen(parent).map_err(failed("open", above.as_bytes()))?;
    let root = mounted_layers(tree, &above, grafts)?;
    if mount::magic_of(&parent)? != OVERLAY || device(&parent)? != root {
        return Err(Error::refused(path, "lies in something that is mounted there, not in the container's layers"));
    }
    let below_parent = match open_folder(below, &above) {
        Ok(folder) => Some(tree::reopen(folder).map_err(failed("open", above.as_bytes()))?),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
        Err(errno) => return Err(failed("open", above.as_bytes())(errno)),
    };
    let restoring = Restoring { is_graft: &is_graft };
    let whole = parts.join("/");
    let there = has(&parent, name.as_bytes())?;
    let Some(below_parent) = below_parent.filter(|folder| has(folder, name.as_bytes()).unwrap_or(false)) else {
        return if there { remove(&parent, name.as_bytes()) } else { Err(Error::NotFound { path: path.to_owned() }) };
    };
    let moved = restoring.name(&below_parent, &parent, &whole, 0)?;
    rustix::fs::syncfs(&parent).map_err(failed("write", path.as_bytes()))?;
    Ok(moved)
}

/// Puts a name of the two roots back, wherever they lie.
#[cfg(test)]
pub(super) fn put_back((tree, below): (&OwnedFd, &OwnedFd), name: &str, grafts: &[String]) -> Result<Moved, Error> {
    let is_graft = |path: &str| grafts.iter().any(|graft| graft == path);
    let [below, tree] = [below, tree].map(|root| tree::reopen(root).map_err(failed("open", name.as_bytes())));
    Restoring { is_graft: &is_graft }.name(&below?, &tree?, name, 0)
}

/// Removes what is at `path`, with all that is in it.
pub(super) fn remove_at(tree: &OwnedFd, path: &str) -> Result<Moved, Error> {
    let trimmed = path.trim_matches('/');
    let (above, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    if matches!(name, "" | "." | "..") || path.contains('\0') {
        return Err(Error::refused(path, "is no path of something that can be removed"));
    }
    let parent = tree::open_bytes(tree, above.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY, tree::Links::Followed);
    let parent = parent.map_err(failed("open", above.as_bytes()))?;
    if has(&parent, name.as_bytes())? { remove(&parent, name.as_bytes()) } else { Err(Error::NotFound { path: path.to_owned() }) }
}

fn open_folder(root: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    tree::open_bytes(root, path.as_bytes(), OFlags::PATH | OFlags::DIRECTORY, tree::Links::Refused)
}

/// The device of the overlay that `path` must lie on: that of the nearest graft above it, or of the root.
fn mounted_layers(tree: &OwnedFd, path: &str, grafts: &[String]) -> Result<u64, Error> {
    let is_above = |graft: &&String| path == graft.as_str() || path.strip_prefix(graft.as_str()).is_some_and(|rest| rest.starts_with('/'));
    let nearest = grafts.iter().filter(is_above).max_by_key(|graft| graft.len());
    match nearest {
        None => device(tree),
        Some(graft) => device(&open_folder(tree, graft).map_err(failed("open", graft.as_bytes()))?),
    }
}

fn device(opened: &OwnedFd) -> Result<u64, Error> {
    Ok(tree::stat(opened)?.st_dev)
}

fn remove(parent: &OwnedFd, name: &[u8]) -> Result<Moved, Error> {
    match belljar_linux::removal::remove_at(parent, std::path::Path::new(std::ffi::OsStr::from_bytes(name))) {
        Err(error) if error.errno == Errno::BUSY => {
            Err(Error::refused(super::error::shown(name), "holds a place where something is mounted, so it cannot be removed"))
        }
        removed => Ok(removed.map(|()| Moved { entries: 1, ..Moved::default() })?),
    }
}

struct Restoring<'a> {
    is_graft: &'a dyn Fn(&str) -> bool,
}

impl Restoring<'_> {
    /// Puts the last part of `path` back, which `below` has; both are the folder that it lies in.
    fn name(&self, below: &OwnedFd, parent: &OwnedFd, path: &str, depth: usize) -> Result<Moved, Error> {
        if depth > DEPTH_MAX {
            return Err(Error::refused(path, format!("lies more than {DEPTH_MAX} folders deep")));
        }
        let name = path.rsplit('/').next().unwrap_or(path).as_bytes();
        self.bytes(below, parent, (path.as_bytes(), name), depth)
    }

    fn bytes(&self, below: &OwnedFd, parent: &OwnedFd, (path, name): (&[u8], &[u8]), depth: usize) -> Result<Moved, Error> {
        let as_below = tree::open_entry(below, name).map_err(failed("open", path))?;
        let as_is = match tree::open_entry(parent, name) {
            Err(Errno::NOENT) => None,
            opened => Some(opened.map_err(failed("open", path))?),
        };
        let is_folder = |opened: &OwnedFd| tree::kind_of(opened).map(|kind| kind == FileType::Directory);
        match &as_is {
            Some(as_is) if is_folder(as_is)? && is_folder(&as_below)? => return self.folder(&as_below, as_is, (parent, path), depth),
            Some(as_is) if !is_folder(as_is)? && copy::same(&as_below, as_is).map_err(failed("compare", path))? => {
                return Ok(Moved::default());
            }
            _ => {}
        }
        let scratch = Scratch::new(parent)?;
        let moved = copy::entry(below, name, (parent, scratch.name.as_bytes()))?;
        if moved.entries == 0 {
            return Err(Error::refused(super::error::shown(path), "is a device or a socket, which only a new start makes"));
        }
        let is_exchanged = as_is.as_ref().map_or(Ok(false), |as_is| Ok::<_, Error>(is_folder(as_is)? || is_folder(&as_below)?))?;
        let flags = if is_exchanged { RenameFlags::EXCHANGE } else { RenameFlags::empty() };
        // What stood there goes with the name that was ours, when that is dropped.
        rustix::fs::renameat_with(parent, scratch.name.as_str(), parent, name, flags).map_err(failed("put back", path))?;
        Ok(moved)
    }

    /// A folder that is one in both: what is in it, then it itself.
    fn folder(&self, below: &OwnedFd, as_is: &OwnedFd, (parent, path): (&OwnedFd, &[u8]), depth: usize) -> Result<Moved, Error> {
        let is_graft = std::str::from_utf8(path).is_ok_and(|path| (self.is_graft)(path));
        if tree::stat(as_is)?.st_dev != tree::stat(parent)?.st_dev && !is_graft {
            // Something is mounted there: what is in it is not the layers'.
            return Ok(Moved::default());
        }
        if depth > DEPTH_MAX {
            return Err(Error::refused(super::error::shown(path), format!("lies more than {DEPTH_MAX} folders deep")));
        }
        let (below, as_is) = (tree::reopen(below).map_err(failed("open", path))?, tree::reopen(as_is).map_err(failed("open", path))?);
        let mut moved = Moved { entries: 1, ..Moved::default() };
        let wanted = copy::names(&below)?;
        for name in copy::names(&as_is)? {
            if wanted.binary_search(&name).is_err() {
                moved = copy::sum(moved, remove(&as_is, &name)?);
            }
        }
        for name in wanted {
            let path = [path, b"/", &name].concat();
            moved = copy::sum(moved, self.bytes(&below, &as_is, (&path, &name), depth + 1)?);
        }
        copy::alike(&below, &as_is)?;
        Ok(moved)
    }
}
