//! What is in a volume, folder by folder, and file by file.
//!
//! Containers wrote it, and may be writing now. So every path is resolved by the kernel with `openat2(RESOLVE_BENEATH |
//! RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)`: no link is followed, nothing outside is reached. No pipe is ever
//! opened, since that could wait for ever.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use belljar_model::overlay::FileKind;
use belljar_model::volume::VolumeFile;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Most entries of one folder that are listed.
pub const LISTED_ENTRIES_MAX: usize = 100_000;

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

/// Why something in a volume cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing, or a link is on the way.
    #[error("there is no {path} in this volume")]
    NotFound {
        /// As it was asked for.
        path: String,
    },
    /// It is something else than what was asked for.
    #[error("{path} is not a {wanted}")]
    NotA {
        /// As it was asked for.
        path: String,
        /// `folder` or `file`.
        wanted: &'static str,
    },
    /// There is more than is shown.
    #[error("{path} has more than {LISTED_ENTRIES_MAX} entries, which is the limit")]
    TooMany {
        /// As it was asked for.
        path: String,
    },
    /// The kernel did not let it be read.
    #[error("could not read {path}")]
    Read {
        /// As it was asked for.
        path: String,
        /// What it answered.
        #[source]
        source: std::io::Error,
    },
}

/// What is in a folder of a volume, by name.
pub fn list(volume: &Path, path: &str) -> Result<Vec<VolumeFile>, Error> {
    let failed = |errno: Errno| Error::Read { path: path.to_owned(), source: errno.into() };
    let folder = open(volume, path, OFlags::RDONLY | OFlags::DIRECTORY, "folder")?;
    let mut files = Vec::new();
    for entry in Dir::read_from(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if files.len() >= LISTED_ENTRIES_MAX {
            return Err(Error::TooMany { path: path.to_owned() });
        }
        match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => files.push(described(&folder, name, &stat)),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    files.sort_by(|left, right| (left.kind != FileKind::Directory, &left.name).cmp(&(right.kind != FileKind::Directory, &right.name)));
    Ok(files)
}

/// Opens a regular file of a volume to read it, and says how long it is.
pub fn read(volume: &Path, path: &str) -> Result<(File, u64), Error> {
    let failed = |errno: Errno| Error::Read { path: path.to_owned(), source: errno.into() };
    let not_a_file = || Error::NotA { path: path.to_owned(), wanted: "file" };
    // Looked at before it is opened: to open a device can do something, and a pipe waits for somebody.
    let found = open(volume, path, OFlags::PATH, "file")?;
    let stat = rustix::fs::fstat(&found).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_a_file());
    }
    let opened = open(volume, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, "file")?;
    let again = rustix::fs::fstat(&opened).map_err(failed)?;
    if (again.st_dev, again.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(not_a_file());
    }
    Ok((File::from(opened), again.st_size.cast_unsigned()))
}

fn open(volume: &Path, path: &str, flags: OFlags, wanted: &'static str) -> Result<OwnedFd, Error> {
    let failed = |errno: Errno| Error::Read { path: path.to_owned(), source: errno.into() };
    let top = rustix::fs::open(volume, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let relative = path.trim_matches('/');
    let relative = if relative.is_empty() { "." } else { relative };
    match rustix::fs::openat2(&top, relative, flags | OFlags::CLOEXEC, Mode::empty(), BENEATH) {
        Ok(opened) => Ok(opened),
        Err(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::INVAL | Errno::NAMETOOLONG) => Err(Error::NotFound { path: path.to_owned() }),
        Err(Errno::NOTDIR | Errno::NXIO) => Err(Error::NotA { path: path.to_owned(), wanted }),
        Err(errno) => Err(failed(errno)),
    }
}

fn described(folder: &OwnedFd, name: &[u8], stat: &Stat) -> VolumeFile {
    let kind = crate::overlay::kind_of(stat);
    // A link that changed while we looked has no target to show.
    let target = || rustix::fs::readlinkat(folder, name, Vec::new()).ok();
    VolumeFile {
        name: String::from_utf8_lossy(name).into_owned(),
        kind,
        size_bytes: if kind == FileKind::File { stat.st_size.cast_unsigned() } else { 0 },
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        // A hostile time may be any number.
        modified_at_ms: stat.st_mtime.saturating_mul(1000).saturating_add((stat.st_mtime_nsec / 1_000_000).cast_signed()),
        link_target: if kind == FileKind::Symlink { target().map(|target| target.to_string_lossy().into_owned()) } else { None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    #[test]
    fn folders_come_first_and_nothing_outside_is_reached() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        let volume = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(volume.path().join("z/deep")).unwrap();
        std::fs::write(volume.path().join("a"), "hello").unwrap();
        symlink(outside.path(), volume.path().join("out")).unwrap();
        symlink(outside.path().join("secret"), volume.path().join("z/secret")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, volume.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let names: Vec<_> = list(volume.path(), "").unwrap().into_iter().map(|file| (file.name, file.kind, file.size_bytes)).collect();
        let entry = |name: &str, kind, size| (name.to_owned(), kind, size);
        let expected = [entry("z", FileKind::Directory, 0), entry("a", FileKind::File, 5), entry("out", FileKind::Symlink, 0)];
        assert_eq!(names[..3], expected);
        for path in ["out", "z/secret", "../x", "z/../../..", "/etc", "none", "out/secret", "a\0b"] {
            assert!(matches!(list(volume.path(), path), Err(Error::NotFound { .. } | Error::NotA { .. })), "{path}");
            assert!(read(volume.path(), path).is_err(), "{path}");
        }
        assert!(matches!(list(volume.path(), "a"), Err(Error::NotA { .. })));
        assert!(matches!(read(volume.path(), "/z/"), Err(Error::NotA { .. })));
        assert!(matches!(read(volume.path(), "pipe"), Err(Error::NotA { .. })), "and nobody waits");
        let (mut file, size) = read(volume.path(), "/a").unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), size), ("hello", 5));
    }
}
