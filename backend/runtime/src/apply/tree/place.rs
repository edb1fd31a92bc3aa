//! Where in a hostile tree something is mounted: from a path to a descriptor, with what may not be mounted over refused.
//!
//! Links of the tree lead nowhere but inside it. At `/proc`, `/sys` and `/dev` there may be none at all: the kernel's own
//! files lie there, and what is written to them must not go elsewhere (CVE-2019-19921, CVE-2023-27561, CVE-2025-54867,
//! CVE-2026-41579). Over a procfs only a few files may be covered, whichever way led to it (CVE-2019-16884).

use std::os::fd::{AsFd, OwnedFd};

use belljar_linux::mount::{self, magic};
use belljar_linux::{Error, Result, tree};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::plan::COVERABLE;

/// Folders of the root that are the kernel's.
const OF_THE_KERNEL: [&str; 3] = ["proc", "sys", "dev"];

/// Number of the root folder in every procfs.
const PROC_ROOT_INODE: u64 = 1;

/// Opens the target of a mount, and makes it where it is missing: a file for a file, else a folder.
pub(super) fn of(root: impl AsFd, target: &str, covers: impl AsFd) -> Result<OwnedFd> {
    let is_folder = tree::kind_of(&covers)? == FileType::Directory;
    let place = opened(&root, target, if is_folder { Wanted::Folder } else { Wanted::File })?;
    // What lies over the root is nowhere to be seen: the root that is pivoted to stays the one below.
    if tree::identity(&place)? == tree::identity(&root)? {
        return Err(Error::new("mount at", format!("{target}: it is the root itself"), Errno::BUSY));
    }
    refuse_over_proc(&root, target, (&place, &covers))?;
    Ok(place)
}

/// What is made where nothing is yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Folder,
    File,
}

/// Opens a path of the tree, and makes it where it is missing. No part of it may be a link below the kernel's own folders.
pub(super) fn opened(root: impl AsFd, target: &str, wanted: Wanted) -> Result<OwnedFd> {
    let make = |root| match wanted {
        Wanted::Folder => tree::make_folder(root, target, 0o755),
        Wanted::File => tree::make_file(root, target),
    };
    if !is_of_the_kernel(target) {
        return make(root.as_fd());
    }
    let flags = OFlags::PATH | if wanted == Wanted::Folder { OFlags::DIRECTORY } else { OFlags::empty() };
    let found = match tree::open_without_links(&root, target, flags) {
        Err(error) if error.errno == Errno::NOENT => {
            make(root.as_fd())?;
            tree::open_without_links(&root, target, flags)
        }
        found => found,
    };
    found.map_err(|error| match error.errno {
        Errno::LOOP => Error::new("mount at", format!("{target}: there is a symbolic link on the way"), Errno::LOOP),
        Errno::NOTDIR => Error::new("mount at", format!("{target}: it is no folder"), Errno::NOTDIR),
        _ => error,
    })
}

fn is_of_the_kernel(target: &str) -> bool {
    let first = target.split('/').find(|name| !matches!(*name, "" | "."));
    first.is_some_and(|name| OF_THE_KERNEL.contains(&name))
}

/// Whether something open is a procfs as a whole.
fn is_whole_proc(opened: impl AsFd) -> Result<bool> {
    Ok(mount::magic_of(&opened)? == magic::PROC && tree::stat(&opened)?.st_ino == PROC_ROOT_INODE)
}

/// `place` is what the target led to, by whatever links; `covers` is what is to be mounted there.
fn refuse_over_proc(root: impl AsFd, target: &str, (place, covers): (&OwnedFd, impl AsFd)) -> Result<()> {
    let refused = |why: &str| Err(Error::new("mount at", format!("{target}: {why}"), Errno::ACCESS));
    let at_root = target.trim_matches('/') == "proc";
    if at_root || is_whole_proc(place)? {
        return if is_whole_proc(&covers)? { Ok(()) } else { refused("nothing but a whole procfs may be mounted there") };
    }
    if mount::magic_of(place)? != magic::PROC {
        return Ok(());
    }
    for coverable in COVERABLE {
        if let Ok(opened) = tree::open_without_links(&root, coverable, OFlags::PATH)
            && tree::identity(&opened)? == tree::identity(place)?
        {
            return Ok(());
        }
    }
    refused("it is a file of a procfs that may not be mounted over")
}
