//! What is kept of a layer's archive beside its tree: everything but the bodies of files, and where those go. Tree and skeleton
//! together are the archive again, byte for byte.
//!
//! ```text
//! 8 bytes   "BJSKEL01"
//! 8         flags: 1 where the archive can be put together again (no later entry took the place of a file that had a body)
//! 8         bytes of the regular files        8   entries        8   bytes of the archive
//! zstd      records, with a checksum:
//!   1       u32 length, bytes                             bytes of the archive as they are
//!   2       u64 offset, u64 length, u32 CRC-32, u16 length, path
//!                                                         bytes of the archive that are content of that file of the tree, from there
//!   0                                                     the end
//! ```
//!
//! Numbers are little-endian. It is written as the archive arrives, in the same pass. Start reading at [`Writer`], then [`Reader`].

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use belljar_archive::{ArchiveError, Sink};
use flate2::Crc;

const MAGIC: [u8; 8] = *b"BJSKEL01";
/// Bytes of what stands before the records.
const HEADER_BYTES: usize = 40;
const EXACT: u64 = 1;
const END: u8 = 0;
const RAW: u8 = 1;
const BODY: u8 = 2;
/// Bytes that are gathered for one record.
const RAW_BYTES: usize = 64 << 10;
/// Longest path of a record: what the kernel takes.
const PATH_BYTES_MAX: usize = 4095;
/// How hard headers are squeezed: they are so alike that more effort gains nothing.
const LEVEL: i32 = 1;

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
    fn write(&self, file: &File) -> io::Result<()> {
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

/// A piece of a file's content. Its sum tells a damaged file from a whole one; whether it is the right one, the archive's digest says.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) length: u64,
    sum: Crc,
}

impl Piece {
    /// An empty one.
    pub(crate) fn at(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// Goes on with `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.sum.update(bytes);
    }

    /// Where it ends in the file.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.length
    }

    /// CRC-32 of its bytes.
    pub(crate) fn sum(&self) -> u32 {
        self.sum.sum()
    }
}

/// A skeleton that is being written.
pub(crate) struct Writer {
    to: zstd::stream::write::Encoder<'static, BufWriter<File>>,
    raw: Vec<u8>,
}

impl Writer {
    /// Writes to an empty file.
    pub(crate) fn new(mut file: File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
        let mut to = zstd::stream::write::Encoder::new(BufWriter::new(file), LEVEL)?;
        to.include_checksum(true)?;
        Ok(Self { to, raw: Vec::with_capacity(RAW_BYTES) })
    }

    /// What comes next in the archive is this piece of the file at `path`.
    pub(crate) fn body(&mut self, path: &[u8], piece: &Piece) -> io::Result<()> {
        let Piece { offset, length, sum } = piece;
        if *length == 0 {
            return Ok(());
        }
        self.write_raw()?;
        let path_length = u16::try_from(path.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.to.write_all(&[BODY])?;
        self.to.write_all(&offset.to_le_bytes())?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(&sum.sum().to_le_bytes())?;
        self.to.write_all(&path_length.to_le_bytes())?;
        self.to.write_all(path)
    }

    /// Ends it.
    pub(crate) fn finish(mut self, facts: &LayerFacts) -> io::Result<()> {
        self.write_raw()?;
        self.to.write_all(&[END])?;
        let file = self.to.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        facts.write(&file)
    }

    fn gather(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(RAW_BYTES - self.raw.len()));
            self.raw.extend_from_slice(now);
            bytes = later;
            if self.raw.len() == RAW_BYTES {
                self.write_raw()?;
            }
        }
        Ok(())
    }

    fn write_raw(&mut self) -> io::Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        self.to.write_all(&[RAW])?;
        self.to.write_all(&(self.raw.len() as u32).to_le_bytes())?;
        self.to.write_all(&self.raw)?;
        self.raw.clear();
        Ok(())
    }
}

impl Sink for Writer {
    fn raw(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.gather(bytes).map_err(failed)
    }
}

/// The disk did not take it.
pub(crate) fn failed(source: io::Error) -> ArchiveError {
    ArchiveError::Store { operation: "write", path: "the skeleton of a layer".to_owned(), source }
}

/// What comes next in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// These bytes.
    Raw(Vec<u8>),
    /// So many bytes of a file, from an offset on.
    Body {
        /// Its path below the root of the layer.
        path: Vec<u8>,
        /// Where the bytes begin in it.
        offset: u64,
        /// How many they are.
        length: u64,
        /// Their CRC-32.
        sum: u32,
    },
}

/// A skeleton that is being read. It is on our disk, and yet may be damaged: every length is checked.
pub(crate) struct Reader {
    from: zstd::stream::read::Decoder<'static, BufReader<File>>,
    is_over: bool,
}

impl Reader {
    /// Reads a skeleton; what its header says comes with it.
    pub(crate) fn open(mut file: File) -> io::Result<(LayerFacts, Self)> {
        let facts = LayerFacts::read(&file)?;
        file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
        let from = zstd::stream::read::Decoder::with_buffer(BufReader::new(file))?.single_frame();
        Ok((facts, Self { from, is_over: false }))
    }

    /// The next record; none at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        if self.is_over {
            return Ok(None);
        }
        match self.bytes::<1>()? {
            [RAW] => {
                let length = u32::from_le_bytes(self.bytes()?) as usize;
                if length > RAW_BYTES {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.vector(length).map(Record::Raw).map(Some)
            }
            [BODY] => {
                let (offset, length) = (u64::from_le_bytes(self.bytes()?), u64::from_le_bytes(self.bytes()?));
                let sum = u32::from_le_bytes(self.bytes()?);
                let path_length = usize::from(u16::from_le_bytes(self.bytes()?));
                if path_length > PATH_BYTES_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Ok(Some(Record::Body { path: self.vector(path_length)?, offset, length, sum }))
            }
            [END] => {
                // The frame's checksum is only looked at by who reads its end.
                if self.from.read(&mut [0])? != 0 {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.is_over = true;
                Ok(None)
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn bytes<const COUNT: usize>(&mut self) -> io::Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn vector(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> File {
        let file = tempfile::tempfile().unwrap();
        let mut writer = Writer::new(file.try_clone().unwrap()).unwrap();
        writer.gather(&[1; 100_000]).unwrap();
        let mut piece = Piece::at(512);
        piece.push(b"content");
        writer.body(b"a/b", &piece).unwrap();
        writer.body(b"nothing", &Piece::at(0)).unwrap();
        writer.gather(&[2; 3]).unwrap();
        writer.finish(&LayerFacts { size_bytes: 7, entries: 1, archive_bytes: 100_010, is_exact: true }).unwrap();
        file
    }

    fn all(file: File) -> io::Result<(LayerFacts, Vec<Record>)> {
        let (facts, mut reader) = Reader::open(file)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next()? {
            records.push(record);
        }
        Ok((facts, records))
    }

    #[test]
    fn what_was_written_is_read() {
        let (facts, records) = all(written()).unwrap();
        assert_eq!((facts.size_bytes, facts.entries, facts.archive_bytes, facts.is_exact), (7, 1, 100_010, true));
        let body = Record::Body { path: b"a/b".to_vec(), offset: 512, length: 7, sum: 0xfec530a9 };
        assert_eq!(records, [Record::Raw(vec![1; RAW_BYTES]), Record::Raw(vec![1; 100_000 - RAW_BYTES]), body, Record::Raw(vec![2; 3])]);
    }

    #[test]
    fn one_that_is_cut_off_or_changed_anywhere_is_an_error() {
        let length = written().metadata().unwrap().len();
        for end in 0..length {
            let file = written();
            file.set_len(end).unwrap();
            assert!(all(file).is_err(), "cut at {end} of {length}");
        }
        for at in (0..8).chain(HEADER_BYTES as u64..length) {
            let file = written();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
            // A bit of a frame's own header may be of no meaning; then everything is as it was.
            assert!(all(file).map_or(true, |read| read == all(written()).unwrap()), "changed at {at} of {length}");
        }
    }
}
