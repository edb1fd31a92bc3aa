//! What a file is like beside its content: read and given by descriptor.

use std::os::fd::AsFd;

use belljar_archive::keeps_xattr;
use rustix::fs::{Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// Full names and values of extended attributes.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Most bytes of the names of a file's extended attributes, and of one value: the kernel's own limits (`xattr(7)`).
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Those extended attributes of an open file that belong to it: what a program may set, and file capabilities.
pub(super) fn kept(file: impl AsFd) -> Result<Xattrs, Errno> {
    // Most files have none.
    match rustix::fs::flistxattr_query(&file) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        length => length?,
    };
    let mut names = vec![0; XATTR_BYTES_MAX];
    let length = rustix::fs::flistxattr(&file, &mut names)?;
    let mut kept = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty() && keeps_xattr(name)) {
        let mut value = vec![0; XATTR_BYTES_MAX];
        match rustix::fs::fgetxattr(&file, name, &mut value) {
            // Gone since the names were read.
            Err(Errno::NODATA) => continue,
            length => value.truncate(length?),
        }
        kept.push((name.to_vec(), value));
    }
    kept.sort();
    Ok(kept)
}

/// Gives an open file exactly these of the extended attributes that belong to it.
pub(super) fn set(file: impl AsFd, wanted: &Xattrs) -> Result<(), Errno> {
    for (name, _) in kept(&file)?.iter().filter(|(name, _)| !wanted.iter().any(|(other, _)| other == name)) {
        rustix::fs::fremovexattr(&file, name.as_slice())?;
    }
    wanted.iter().try_for_each(|(name, value)| rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()))
}

/// Owner first (a change of it takes set-uid bits and capabilities away), then attributes, mode, time.
pub(super) fn give(file: impl AsFd, like: &Stat, xattrs: &Xattrs) -> Result<(), Errno> {
    rustix::fs::fchown(&file, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)))?;
    set(&file, xattrs)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(like.st_mode & 0o7777))?;
    rustix::fs::futimens(&file, &times_of(like))
}

/// The times of a file.
pub(super) fn times_of(like: &Stat) -> Timestamps {
    let time = |tv_sec, nanoseconds: u64| Timespec { tv_sec, tv_nsec: nanoseconds as i64 };
    Timestamps { last_access: time(like.st_atime, like.st_atime_nsec), last_modification: time(like.st_mtime, like.st_mtime_nsec) }
}

/// One time, for both.
pub(super) fn times((tv_sec, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
