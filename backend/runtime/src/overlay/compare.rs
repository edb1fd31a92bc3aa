//! What is other about something that was copied up: its content, only what it is like, or nothing at all.
//!
//! Contents are read only where the sizes are the same. A time that is the same proves nothing: whoever wrote the upper layer
//! can set it.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use belljar_model::overlay::{FileKind, Status};
use rustix::fs::Stat;
use rustix::io::Errno;

use super::layers::{Part, kind};

/// Most bytes of a file whose content is compared; a larger one of the same size counts as modified.
pub const COMPARED_BYTES_MAX: u64 = 64 << 20;
/// Most bytes that are compared for one answer; from there on files of the same size count as modified.
pub const COMPARED_TOTAL_MAX: u64 = 512 << 20;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 << 10;
/// Extended attributes of overlayfs's own, which say nothing of the file.
const OVERLAYS_OWN: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// Most bytes of the names, and of one value, of extended attributes: the kernel's own limits (`xattr(7)`).
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Compares for one answer, in any number of threads.
#[derive(Default)]
pub(super) struct Comparer {
    compared_bytes: AtomicU64,
}

/// One side of a comparison: the part of a folder that has it, and what it is.
pub(super) type Side<'a> = (&'a Part, &'a Stat);

impl Comparer {
    /// What became of `name`, of which neither side is a folder and both are of one kind.
    pub(super) fn status(&self, name: &[u8], upper: Side<'_>, below: Side<'_>) -> Result<Status, Errno> {
        let is_alike = told(upper.1) == told(below.1);
        let is_same = match kind(upper.1) {
            FileKind::File => return self.file_status(name, upper, below),
            FileKind::Symlink => {
                let target = |(part, _): Side<'_>| rustix::fs::readlinkat(&part.folder, name, Vec::new());
                target(upper)? == target(below)?
            }
            FileKind::Device => upper.1.st_rdev == below.1.st_rdev,
            _ => true,
        };
        Ok(match (is_same, is_alike) {
            (false, _) => Status::Modified,
            (true, false) => Status::Metadata,
            (true, true) => Status::Unchanged,
        })
    }

    fn file_status(&self, name: &[u8], (upper, upper_stat): Side<'_>, (below, below_stat): Side<'_>) -> Result<Status, Errno> {
        let size = upper_stat.st_size.cast_unsigned();
        if upper_stat.st_size != below_stat.st_size || size > COMPARED_BYTES_MAX || !self.takes(size) {
            return Ok(Status::Modified);
        }
        let (Some(one), Some(other)) = (upper.open_file(name)?, below.open_file(name)?) else { return Ok(Status::Modified) };
        if !same_content(&one, &other, size)? {
            return Ok(Status::Modified);
        }
        // Attributes are asked for only where nothing else tells the two apart: two calls for each of very many files.
        let is_alike = told(upper_stat) == told(below_stat) && same_attributes(&one, &other)?;
        Ok(if is_alike { Status::Unchanged } else { Status::Metadata })
    }

    fn takes(&self, bytes: u64) -> bool {
        let with = |sum: u64| sum.checked_add(bytes).filter(|sum| *sum <= COMPARED_TOTAL_MAX);
        // It guards nothing but itself.
        self.compared_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok()
    }
}

/// What is seen of a file beside its content and its extended attributes.
fn told(stat: &Stat) -> (u32, u32, u32, i64, u64) {
    (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec)
}

/// Whether a folder is the same in mode, owner and extended attributes.
pub(super) fn same_folder(upper: Side<'_>, below: Side<'_>) -> Result<bool, Errno> {
    let told = |(_, stat): Side<'_>| (stat.st_mode, stat.st_uid, stat.st_gid);
    Ok(told(upper) == told(below) && same_attributes(&upper.0.folder, &below.0.folder)?)
}

fn same_content(mut one: &File, mut other: &File, size: u64) -> Result<bool, Errno> {
    let piece = PIECE_BYTES.min(usize::try_from(size).unwrap_or(PIECE_BYTES)).max(1);
    let (mut left, mut right) = (vec![0; piece], vec![0; piece]);
    let mut ahead = size;
    while ahead > 0 {
        let length = piece.min(usize::try_from(ahead).unwrap_or(piece));
        // What became shorter while it was read is not what it was.
        let read = one.read_exact(&mut left[..length]).is_ok() && other.read_exact(&mut right[..length]).is_ok();
        if !read || left[..length] != right[..length] {
            return Ok(false);
        }
        ahead -= length as u64;
    }
    Ok(true)
}

fn same_attributes(one: impl std::os::fd::AsFd, other: impl std::os::fd::AsFd) -> Result<bool, Errno> {
    Ok(attributes(one)? == attributes(other)?)
}

/// Names and values of extended attributes, sorted.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Those of a file, without overlayfs's own.
pub(super) fn attributes(file: impl std::os::fd::AsFd) -> Result<Attributes, Errno> {
    // Most files have none, and no room is made for them.
    let mut names = match rustix::fs::flistxattr_query(&file) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(length) => vec![0; length.max(XATTR_BYTES_MAX)],
        Err(errno) => return Err(errno),
    };
    let length = rustix::fs::flistxattr(&file, &mut names)?;
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if OVERLAYS_OWN.iter().any(|own| name.starts_with(own)) {
            continue;
        }
        let mut value = vec![0; XATTR_BYTES_MAX];
        match rustix::fs::fgetxattr(&file, name, &mut value) {
            Err(Errno::NODATA) => continue,
            length => value.truncate(length?),
        }
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}
