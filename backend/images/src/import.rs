//! Bringing in a rootfs archive: one pass from the bytes that arrive to files on disk, and nothing left after a failure.
//!
//! ```text
//! bytes -> belljar_archive (inflate, count, hash; entries) -> unpack (below tmp/<random>) -> rename to layers/<digest>
//! ```
//!
//! The digest is that of the uncompressed archive, so the same tree compressed twice differently is one layer. The
//! table of limits is [`limits`]. What an archive may not do, and what becomes of it if it tries, is the table in
//! `tests/hostile_archives.rs`. Start reading at [`run`].

mod unpack;

use std::io::Read;
use std::path::{Path, PathBuf};

pub use belljar_archive::{ArchiveError as ImportError, ArchiveLimits as ImportLimits, limits};

use belljar_archive::{Archive, Stream};

use crate::digest::Digest;
use crate::tree::{Scratch, Tree};
use unpack::Unpacker;

/// What was brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Of the archive after decompression.
    pub digest: Digest,
    /// Bytes of all regular files as the archive has them.
    pub size_bytes: u64,
    /// Entries of the archive, of every kind.
    pub entries: u64,
    /// Device nodes among them, which were not made: Belljar supplies `/dev`.
    pub devices_skipped: u64,
}

/// An archive that is unpacked, but not in its place. It is gone when dropped.
#[derive(Debug)]
pub struct Unpacked {
    scratch: Scratch,
    place: PathBuf,
    imported: Imported,
}

impl Unpacked {
    /// Puts it in its digest's place, by one rename. Where the same lies there already, that one stays.
    pub fn put_in_place(self) -> Result<Imported, ImportError> {
        self.scratch.move_to(&self.place).map_err(stored("put in its place", &self.place))?;
        Ok(self.imported)
    }
}

/// Unpacks `archive` in `tmp`; its digest's place is in `layers`.
pub(crate) fn run(archive: impl Read, limits: &ImportLimits, tmp: &Path, layers: &Path) -> Result<Unpacked, ImportError> {
    let mut archive = Archive::new(Stream::open(archive, limits)?);
    // The first entry is read before anything is made: most mistakes are a file of the wrong kind.
    let mut next = archive.next_member()?;
    let scratch = Scratch::make(tmp).map_err(stored("make a folder in", tmp))?;
    let mut unpacker = Unpacker::new(Tree::open(scratch.path()).map_err(stored("open", scratch.path()))?);
    let mut entries = 0;
    while let Some(member) = next {
        entries += 1;
        if entries > limits.entries_max {
            return Err(ImportError::OverLimit { what: "entries", max: limits.entries_max });
        }
        unpacker.unpack(&member, &mut archive)?;
        next = archive.next_member()?;
    }
    let digest = Digest::new(archive.finish());
    let imported = Imported { digest, size_bytes: unpacker.size_bytes, entries, devices_skipped: unpacker.devices_skipped };
    unpacker.finish()?;
    Ok(Unpacked { scratch, place: layers.join(digest.hex()), imported })
}

fn stored(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ImportError {
    let path = path.display().to_string();
    move |source| ImportError::Store { operation, path, source }
}
