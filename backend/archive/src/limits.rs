//! The limits of an import, in one place. What goes over one of them fails the whole import, and the error names it.

/// Most entries of an archive. Debian's full desktop has 300,000.
pub const ENTRIES_MAX: u64 = 2_000_000;
/// Most bytes of an archive after decompression: 64 GiB.
pub const ARCHIVE_BYTES_MAX: u64 = 64 << 30;
/// Most bytes that one byte of a compressed archive may become. Real archives stay below 20; deflate can reach 1032.
pub const RATIO_MAX: u64 = 200;
/// Bytes after decompression from which [`RATIO_MAX`] holds: a small archive of zeros is no bomb. 64 MiB.
pub const RATIO_FREE_BYTES: u64 = 64 << 20;
/// Longest path of an entry or target of a link, in bytes: the kernel's `PATH_MAX` less its NUL.
pub const PATH_BYTES_MAX: usize = 4095;
/// Longest part of a path between slashes, in bytes: the kernel's `NAME_MAX`.
pub const NAME_BYTES_MAX: usize = 255;
/// Most folders above an entry.
pub const DEPTH_MAX: usize = 256;
/// Most bytes of one extension header: a long name, or a block of PAX records. They are held in memory. 1 MiB.
pub const EXTENSION_BYTES_MAX: u64 = 1 << 20;
/// Most extended attributes of an entry that are kept.
pub const XATTRS_MAX: usize = 64;
/// Most pieces of data of a sparse file.
pub const SPARSE_PIECES_MAX: usize = 100_000;
/// Most bytes that the folders of an archive take in memory until their modes and times are set: 64 MiB. Half a million folders
/// with usual names.
pub const FOLDERS_BYTES_MAX: usize = 64 << 20;
/// Largest window that a zstd stream may ask for, as a power of two: 128 MiB, what `zstd` itself takes without `--long`.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Those of the limits that depend on whose archive it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Most entries.
    pub entries_max: u64,
    /// Most bytes of the archive after decompression.
    pub archive_bytes_max: u64,
    /// Most bytes that one compressed byte may become, once past [`ArchiveLimits::ratio_free_bytes`].
    pub ratio_max: u64,
    /// Bytes after decompression that are not measured against the ratio.
    pub ratio_free_bytes: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self { entries_max: ENTRIES_MAX, archive_bytes_max: ARCHIVE_BYTES_MAX, ratio_max: RATIO_MAX, ratio_free_bytes: RATIO_FREE_BYTES }
    }
}
