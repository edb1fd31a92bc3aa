//! Why an archive could not be brought in.

use std::io;

/// Why an import failed. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// What arrived is not a tar archive, compressed or not.
    #[error("this is not a tar archive; Belljar reads .tar, .tar.gz and .tar.zst")]
    NotAnArchive,
    /// It is compressed in a way that Belljar does not read.
    #[error("this is compressed with {format}; Belljar reads .tar, .tar.gz and .tar.zst")]
    Compression {
        /// Name of the format.
        format: &'static str,
    },
    /// The archive is cut off or damaged.
    #[error("the archive is damaged near byte {offset}: {problem}")]
    Damaged {
        /// Where, in bytes after decompression.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// An entry asks for something that is refused.
    #[error("the archive's entry {entry:?} is refused: {problem}")]
    Refused {
        /// The entry's name as written; bytes that are not UTF-8 are replaced.
        entry: String,
        /// Why, as a clause.
        problem: String,
    },
    /// The archive is larger than a limit allows.
    #[error("the archive has more than {max} {what}, which is the limit")]
    OverLimit {
        /// What is limited: `entries`, `bytes`.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The decompressor does not take the bytes: they are damaged, cut off, or ask for too much memory.
    #[error("the archive's {format} compression is damaged near byte {offset}")]
    Inflate {
        /// Name of the format.
        format: &'static str,
        /// Where, in bytes after decompression.
        offset: u64,
        /// What the decompressor says.
        #[source]
        source: io::Error,
    },
    /// The bytes could not be read: whoever sends them failed.
    #[error("could not read the archive near byte {offset}")]
    Read {
        /// Where, in bytes after decompression.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry could not be written to this host's disk.
    #[error("could not {operation} {entry:?} of the archive")]
    Write {
        /// What was tried: `write`, `make`.
        operation: &'static str,
        /// The entry's name.
        entry: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The folder for the layer could not be prepared or put in its place.
    #[error("could not {operation} {path}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// The folder.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

impl ArchiveError {
    /// Whether the archive is at fault: another try with the same bytes would end the same.
    pub fn is_invalid(&self) -> bool {
        match self {
            Self::NotAnArchive
            | Self::Compression { .. }
            | Self::Damaged { .. }
            | Self::Refused { .. }
            | Self::OverLimit { .. }
            | Self::Inflate { .. } => true,
            Self::Read { .. } | Self::Write { .. } | Self::Store { .. } => false,
        }
    }
}

/// Bytes of a name that an error shows.
const SHOWN_BYTES_MAX: usize = 200;

/// A hostile name, fit for an error.
pub fn shown(name: &[u8]) -> String {
    match name.get(..SHOWN_BYTES_MAX) {
        Some(start) => format!("{}…", String::from_utf8_lossy(start)),
        None => String::from_utf8_lossy(name).into_owned(),
    }
}
