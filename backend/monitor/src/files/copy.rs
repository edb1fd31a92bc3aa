//! Something of one tree made anew in another, by the core's own copy ([`belljar_runtime::copy`]), and held against it. Both are known
//! by descriptors of folders and one name in each; no link is followed.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use belljar_archive::keeps_xattr;
use belljar_linux::tree;
use belljar_model::files::Moved;
use belljar_runtime::copy::{Copied, copy_entry};
use rustix::fs::{Dir, FileType, Stat};
use rustix::io::Errno;

use super::attributes;
use super::error::{Error, failed};

/// Bytes of a file that are compared at once.
const PIECE_BYTES: usize = 64 << 10;

/// Copies what `from` has under `name` to `to`, under the name `as_name`, which nothing has yet.
pub(super) fn entry(from: &OwnedFd, name: &[u8], to: (&OwnedFd, &[u8])) -> Result<Moved, Error> {
    let Copied { entries, bytes, left_out } = copy_entry(from, name, to, keeps_xattr)?;
    Ok(Moved { entries, size_bytes: bytes, passed_over: left_out })
}

/// Makes a folder like another, but for what is in it.
pub(super) fn alike(from: &OwnedFd, to: &OwnedFd) -> Result<(), Error> {
    let stat = rustix::fs::fstat(from).map_err(failed("stat", b"folder"))?;
    let xattrs = attributes::kept(from).map_err(failed("read the attributes of", b"folder"))?;
    attributes::give(to, &stat, &xattrs).map_err(failed("set the attributes of", b"folder"))
}

/// The names in a folder.
pub(super) fn names(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Error> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(failed("list", b"folder"))? {
        let entry = entry.map_err(failed("list", b"folder"))?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.sort();
    Ok(names)
}

/// Whether two things that are no folders are the same in every respect that is copied.
pub(super) fn same(one: &OwnedFd, other: &OwnedFd) -> Result<bool, Errno> {
    let (left, right) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    let told = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    if told(&left) != told(&right) {
        return Ok(false);
    }
    match FileType::from_raw_mode(left.st_mode) {
        FileType::RegularFile => {
            let (one, other) = (tree::reopen(one)?, tree::reopen(other)?);
            Ok(attributes::kept(&one)? == attributes::kept(&other)? && same_content(one, other)?)
        }
        FileType::Symlink => Ok(rustix::fs::readlinkat(one, "", Vec::new())? == rustix::fs::readlinkat(other, "", Vec::new())?),
        FileType::Fifo => Ok(true),
        _ => Ok(false),
    }
}

fn same_content(one: OwnedFd, other: OwnedFd) -> Result<bool, Errno> {
    let (mut one, mut other) = (File::from(one), File::from(other));
    let (mut left, mut right) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let counts = [fill(&mut one, &mut left), fill(&mut other, &mut right)];
        let [Ok(left_count), Ok(right_count)] = counts else { return Ok(false) };
        if left[..left_count] != right[..right_count] {
            return Ok(false);
        }
        if left_count < PIECE_BYTES {
            return Ok(true);
        }
    }
}

fn fill(file: &mut impl Read, piece: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match file.read(&mut piece[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

pub(super) fn sum(one: Moved, other: Moved) -> Moved {
    Moved {
        entries: one.entries + other.entries,
        size_bytes: one.size_bytes + other.size_bytes,
        passed_over: one.passed_over + other.passed_over,
    }
}
