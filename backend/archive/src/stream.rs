//! The archive's bytes: found out how they are compressed, inflated, counted against the limits and hashed, in one pass.
//!
//! ```text
//! reader -> Source (counts what arrives) -> gzip | zstd | plain -> Stream (counts, hashes, hands out) -> archive
//! ```

use std::cell::Cell;
use std::io::{self, Chain, Cursor, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use crate::error::ArchiveError;
use crate::limits::{ArchiveLimits, ZSTD_WINDOW_LOG_MAX};

/// Bytes that are inflated and hashed at once: large enough that a call costs nothing, small enough for the cache.
const BUFFER_BYTES: usize = 128 << 10;
/// Bytes that tell one format from another.
const MAGIC_BYTES: usize = 6;

/// What arrives, before it is inflated.
struct Source<R> {
    inner: R,
    state: Rc<SourceState>,
}

/// What the far end of the pipe needs to know of this one.
#[derive(Default)]
struct SourceState {
    bytes: Cell<u64>,
    /// Whether the reader itself failed: then a failure to inflate is not the archive's fault.
    failed: Cell<bool>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into);
        match &read {
            Ok(count) => self.state.bytes.set(self.state.bytes.get() + *count as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.state.failed.set(true),
        }
        read
    }
}

/// Prefix that was read to look at it, then the rest.
type Rewound<R> = Chain<Cursor<Vec<u8>>, Source<R>>;

enum Inflated<R: Read> {
    Plain(Rewound<R>),
    // Boxed because its state is large and the variants' sizes should not differ much.
    Gzip(Box<MultiGzDecoder<Rewound<R>>>),
    Zstd(zstd::stream::read::Decoder<'static, io::BufReader<Rewound<R>>>),
}

impl<R: Read> Inflated<R> {
    /// Name of the format, for errors.
    fn format(&self) -> Option<&'static str> {
        match self {
            Self::Plain(_) => None,
            Self::Gzip(_) => Some("gzip"),
            Self::Zstd(_) => Some("zstd"),
        }
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(into),
            Self::Gzip(reader) => reader.read(into),
            Self::Zstd(reader) => reader.read(into),
        }
    }
}

/// The archive after decompression.
pub struct Stream<R: Read> {
    inflated: Inflated<R>,
    source: Rc<SourceState>,
    limits: ArchiveLimits,
    /// None where somebody else hashes.
    hasher: Option<Sha256>,
    buffer: Box<[u8]>,
    /// What of the buffer is still to be handed out.
    pending: std::ops::Range<usize>,
    /// Bytes inflated so far.
    inflated_bytes: u64,
}

impl<R: Read> Stream<R> {
    /// Looks at the first bytes and sets up what they ask for.
    pub fn open(reader: R, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let state = Rc::new(SourceState::default());
        let mut source = Source { inner: reader, state: state.clone() };
        let read_error = |source| ArchiveError::Read { offset: 0, source };
        let mut magic = Vec::with_capacity(MAGIC_BYTES);
        (&mut source).take(MAGIC_BYTES as u64).read_to_end(&mut magic).map_err(read_error)?;
        let format = Format::of(&magic)?;
        let rewound = Cursor::new(magic).chain(source);
        let inflated = match format {
            Format::Plain => Inflated::Plain(rewound),
            Format::Gzip => Inflated::Gzip(Box::new(MultiGzDecoder::new(rewound))),
            Format::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(rewound).map_err(read_error)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(read_error)?;
                Inflated::Zstd(decoder)
            }
        };
        let hasher = Some(Sha256::new());
        Ok(Self { inflated, source: state, limits: *limits, hasher, buffer: buffer(), pending: 0..0, inflated_bytes: 0 })
    }

    /// A stream of bytes that somebody has inflated and hashed already; whatever they look like, they are taken as they are.
    pub fn inflated(reader: R, limits: &ArchiveLimits) -> Self {
        let state = Rc::new(SourceState::default());
        let source = Source { inner: reader, state: state.clone() };
        let inflated = Inflated::Plain(Cursor::new(Vec::new()).chain(source));
        Self { inflated, source: state, limits: *limits, hasher: None, buffer: buffer(), pending: 0..0, inflated_bytes: 0 }
    }

    /// Bytes that were handed out so far.
    pub fn offset(&self) -> u64 {
        self.inflated_bytes - self.pending.len() as u64
    }

    /// The archive is damaged here.
    pub fn damaged(&self, problem: &'static str) -> ArchiveError {
        ArchiveError::Damaged { offset: self.offset(), problem }
    }

    /// The next bytes, at least one and at most `max`; none at the end of the stream.
    pub fn chunk(&mut self, max: u64) -> Result<&[u8], ArchiveError> {
        if self.pending.is_empty() {
            self.fill()?;
        }
        let count = self.pending.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        let start = self.pending.start;
        self.pending.start += count;
        Ok(&self.buffer[start..start + count])
    }

    /// Fills `block` whole, or not at all at the end of the stream; `Ok(false)` then.
    pub fn block(&mut self, block: &mut [u8]) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < block.len() {
            let chunk = self.chunk((block.len() - filled) as u64)?;
            let count = chunk.len();
            block[filled..filled + count].copy_from_slice(chunk);
            filled += count;
            if count == 0 {
                return if filled == 0 { Ok(false) } else { Err(self.damaged("it ends in the middle of a block")) };
            }
        }
        Ok(true)
    }

    /// The limits that it is held to.
    pub(crate) fn limits(&self) -> &ArchiveLimits {
        &self.limits
    }

    /// The digest of everything that was inflated; zeros where somebody else has it. To be called at the end of the stream.
    pub fn finish(self) -> [u8; 32] {
        self.hasher.map_or([0; 32], |hasher| hasher.finalize().into())
    }

    fn fill(&mut self) -> Result<(), ArchiveError> {
        let count = loop {
            match self.inflated.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.read_error(source)),
                Ok(count) => break count,
            }
        };
        self.inflated_bytes += count as u64;
        self.check_limits()?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.buffer[..count]);
        }
        self.pending = 0..count;
        Ok(())
    }

    fn check_limits(&self) -> Result<(), ArchiveError> {
        let limits = &self.limits;
        if self.inflated_bytes > limits.archive_bytes_max {
            return Err(ArchiveError::OverLimit { what: "bytes", max: limits.archive_bytes_max });
        }
        let allowed = self.source.bytes.get().saturating_mul(limits.ratio_max).max(limits.ratio_free_bytes);
        if self.inflated.format().is_some() && self.inflated_bytes > allowed {
            return Err(ArchiveError::OverLimit { what: "bytes for each compressed byte", max: limits.ratio_max });
        }
        Ok(())
    }

    fn read_error(&self, source: io::Error) -> ArchiveError {
        match self.inflated.format() {
            Some(format) if !self.source.failed.get() => ArchiveError::Inflate { format, offset: self.inflated_bytes, source },
            _ => ArchiveError::Read { offset: self.inflated_bytes, source },
        }
    }
}

fn buffer() -> Box<[u8]> {
    vec![0; BUFFER_BYTES].into_boxed_slice()
}

enum Format {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    fn of(magic: &[u8]) -> Result<Self, ArchiveError> {
        let refused = |format| Err(ArchiveError::Compression { format });
        match magic {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or a skippable frame before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => refused("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => refused("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => refused("lz4"),
            [b'P', b'K', 0x03, 0x04, ..] => refused("zip"),
            [b'7', b'z', 0xbc, 0xaf, ..] => refused("7z"),
            _ => Ok(Self::Plain),
        }
    }
}
