//! What is kept of a layer's archive beside its tree: everything but the bodies of files, and where those go. Tree and skeleton
//! together are the archive again, byte for byte.
//!
//! ```text
//! 8 bytes   "BJSKEL01"
//! 8         flags: 1 where the archive can be put together again (no later entry took the place of a file that had a body)
//! 8         bytes of the regular files        8   entries        8   bytes of the archive
//! ```
//!
//! Numbers are little-endian.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: [u8; 8] = *b"BJSKEL01";
/// Bytes of what stands before the records.
pub(crate) const HEADER_BYTES: usize = 40;
const EXACT: u64 = 1;

/// What is known of a layer that is on this disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerFacts {
    /// Bytes of its regular files.
    pub size_bytes: u64,
    /// Entries of its archive, of every kind.
    pub entries: u64,
    /// Bytes of its archive, without compression.
    pub archive_bytes: u64,
    /// Whether its archive can be put together again from what is on disk.
    pub is_exact: bool,
}

impl LayerFacts {
    /// Writes the header; the last thing that happens to a skeleton.
    pub(crate) fn write(&self, file: &File) -> io::Result<()> {
        let flags = if self.is_exact { EXACT } else { 0 };
        let numbers = [flags, self.size_bytes, self.entries, self.archive_bytes];
        let header: Vec<u8> = MAGIC.into_iter().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect();
        file.write_all_at(&header, 0)
    }

    /// Reads the header; `InvalidData` where it is none.
    pub(crate) fn read(file: &File) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        let (magic, numbers) = header.split_at(MAGIC.len());
        let mut numbers = numbers.chunks_exact(8).map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes));
        let mut number = || numbers.next().unwrap_or_default();
        let (flags, size_bytes, entries, archive_bytes) = (number(), number(), number(), number());
        if magic != MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { size_bytes, entries, archive_bytes, is_exact: flags & EXACT != 0 })
    }
}
