//! Something of one tree made anew in another: content, owner, mode, times and extended attributes. Both are known by
//! descriptors of folders and one name in each; no link is followed.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use belljar_archive::limits::DEPTH_MAX;
use belljar_linux::tree;
use belljar_model::files::Moved;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::attributes;
use super::error::{Error, failed, shown};

/// Bytes of a file that are compared at once.
const PIECE_BYTES: usize = 64 << 10;

/// Copies what `from` has under `name` to `to`, under the name `as_name`, which nothing has yet.
pub(super) fn entry(from: &OwnedFd, name: &[u8], (to, as_name): (&OwnedFd, &[u8]), depth: usize) -> Result<Moved, Error> {
    let opened = tree::open_entry(from, name).map_err(failed("open", name))?;
    let stat = rustix::fs::fstat(&opened).map_err(failed("stat", name))?;
    let mut moved = Moved { entries: 1, ..Moved::default() };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, as_name, Mode::RWXU).map_err(failed("make the folder", name))?;
            let source = tree::reopen(&opened).map_err(failed("open", name))?;
            let made = tree::open_entry(to, as_name).and_then(tree::reopen).map_err(failed("open", name))?;
            moved = sum(moved, folder(&source, &made, depth + 1)?);
        }
        FileType::RegularFile => {
            let source = File::from(tree::reopen(&opened).map_err(failed("open", name))?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = rustix::fs::openat(to, as_name, flags, Mode::RUSR | Mode::WUSR);
            let mut made = File::from(made.map_err(failed("make", name))?);
            let copied = std::io::copy(&mut &source, &mut made);
            moved.size_bytes = copied.map_err(|error| belljar_linux::Error::from_io("copy", shown(name), &error))?;
            let xattrs = attributes::kept(&source).map_err(failed("read the attributes of", name))?;
            attributes::give(&made, &stat, &xattrs).map_err(failed("set the attributes of", name))?;
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&opened, "", Vec::new()).map_err(failed("read the link", name))?;
            rustix::fs::symlinkat(target.as_c_str(), to, as_name).map_err(failed("make", name))?;
            like(to, as_name, &stat).map_err(failed("set the attributes of", name))?;
        }
        FileType::Fifo => {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            rustix::fs::mknodat(to, as_name, FileType::Fifo, mode, 0).map_err(failed("make", name))?;
            like(to, as_name, &stat).map_err(failed("set the attributes of", name))?;
        }
        // A whiteout is one, too: nothing of the kind is copied.
        _ => moved = Moved { passed_over: 1, ..Moved::default() },
    }
    Ok(moved)
}

/// Copies all that is in folder `from` into folder `to`, and makes `to` like it.
pub(super) fn folder(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<Moved, Error> {
    if depth > DEPTH_MAX {
        return Err(Error::refused("it", format!("holds folders more than {DEPTH_MAX} deep")));
    }
    let mut moved = Moved::default();
    for name in names(from)? {
        moved = sum(moved, entry(from, &name, (to, &name), depth)?);
    }
    alike(from, to)?;
    Ok(moved)
}

/// Makes a folder like another, but for what is in it.
pub(super) fn alike(from: &OwnedFd, to: &OwnedFd) -> Result<(), Error> {
    let stat = rustix::fs::fstat(from).map_err(failed("stat", b"folder"))?;
    let xattrs = attributes::kept(from).map_err(failed("read the attributes of", b"folder"))?;
    attributes::give(to, &stat, &xattrs).map_err(failed("set the attributes of", b"folder"))
}

/// Owner and times of something that cannot be opened. We made it a moment ago; where its owner swapped it meanwhile, another
/// thing of theirs has them.
fn like(folder: &OwnedFd, name: &[u8], stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(folder, name, &attributes::times_of(stat), AtFlags::SYMLINK_NOFOLLOW)
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
