//! The tar format ([POSIX `ustar` and `pax`], and GNU's long names): blocks in, [`Member`]s out. Nothing is written here.
//!
//! ```text
//! (x | g | L | K)* header [body, padded to 512]  …  zero block, zeros to the end
//! ```
//!
//! This reader is our own because what it must refuse is the point of it: an extension header may not be larger than
//! what we hold in memory, a record may hold newlines, a size is 95 bits wide, and whatever two readers could take
//! differently (a folder with a body, two names for one entry, bytes after the end) fails the import instead of meaning
//! one thing to us and another to the tool that somebody checked the archive with. What is benign reads as GNU tar reads
//! it; a test compares the two.
//!
//! [POSIX `ustar` and `pax`]: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13

mod holes;

use std::io::Read;

use crate::error::{ArchiveError, shown};
use crate::header::{BLOCK_BYTES, GID, Header, MODE, MTIME, UID};
use crate::limits::EXTENSION_BYTES_MAX;
use crate::pax::{self, Records};
use crate::sparse::Holes;
use crate::stream::Stream;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Bytes of its content, which follows the entry.
        size: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink {
        /// Where it points, unchecked.
        target: Vec<u8>,
    },
    /// A second name for another entry.
    Hardlink {
        /// That entry's name, unchecked.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character or block device.
    Device,
}

/// One entry of the archive, as written: its names are not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name: bytes with slashes.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-uid, set-gid and sticky.
    pub mode: u32,
    /// As wide as the format allows: which ids exist is for the unpacker to say.
    pub uid: i128,
    /// Group, as wide.
    pub gid: i128,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Full names and values of the extended attributes that are kept ([`crate::keeps_xattr`]).
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Member {
    /// Refuses this entry.
    pub fn refuse(&self, problem: impl Into<String>) -> ArchiveError {
        refuse(&self.name, problem)
    }
}

pub(crate) fn refuse(name: &[u8], problem: impl Into<String>) -> ArchiveError {
    ArchiveError::Refused { entry: shown(name), problem: problem.into() }
}

/// Hears every byte of an archive that is not content of a file which its reader asked for.
pub trait Sink {
    /// The next such bytes.
    fn raw(&mut self, bytes: &[u8]) -> Result<(), ArchiveError>;
}

/// Nobody hears it.
#[derive(Debug, Default)]
pub struct Unheard;

impl Sink for Unheard {
    fn raw(&mut self, _bytes: &[u8]) -> Result<(), ArchiveError> {
        Ok(())
    }
}

/// Zeros that stand for a hole, at once.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A tar archive that is being read.
pub struct Archive<R: Read, S: Sink = Unheard> {
    stream: Stream<R>,
    sink: S,
    /// Bytes of the current entry's body that were not handed out.
    body: u64,
    /// Zeros between that and the next header.
    padding: u64,
    /// Whether a header was seen: before, a wrong checksum means that this is no archive at all.
    begun: bool,
    /// Whether it may hold nothing: a layer that changes nothing is an archive of zeros.
    may_be_empty: bool,
    /// Where the current file is zeros.
    holes: Option<Holes>,
    /// Zeros of all files so far.
    hole_bytes: u64,
}

/// Extension headers that were collected for the next entry.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: Option<Records>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && self.records.is_none()
    }
}

impl<R: Read> Archive<R> {
    /// Reads the archive that `stream` holds.
    pub fn new(stream: Stream<R>) -> Self {
        Self::heard_by(stream, Unheard)
    }
}

impl<R: Read, S: Sink> Archive<R, S> {
    /// Reads the archive that `stream` holds, and lets `sink` hear what is not content.
    pub fn heard_by(stream: Stream<R>, sink: S) -> Self {
        Self { stream, sink, body: 0, padding: 0, begun: false, may_be_empty: false, holes: None, hole_bytes: 0 }
    }

    /// Takes an archive of nothing for one.
    pub fn may_be_empty(self) -> Self {
        Self { may_be_empty: true, ..self }
    }

    /// Who hears what is not content.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// The next entry, or none at the archive's end. What was not read of the body before is passed over.
    pub fn next_member(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.pass_over_body()?;
            let Some(header) = self.header()? else {
                if !extensions.is_empty() {
                    return Err(self.stream.damaged("it ends after an extension header"));
                }
                return Ok(None);
            };
            match header.flag() {
                b'x' => {
                    let block = self.extension(&header)?;
                    let records = pax::parse(&block).map_err(|problem| refuse(&header.name(), problem))?;
                    self.once(extensions.records.replace(records))?;
                }
                b'g' => self.global(&header)?,
                b'L' => {
                    let name = self.extension(&header)?;
                    self.once(extensions.long_name.replace(until_nul(name, &header)?))?;
                }
                b'K' => {
                    let target = self.extension(&header)?;
                    self.once(extensions.long_link.replace(until_nul(target, &header)?))?;
                }
                _ => return self.member(&header, extensions).map(Some),
            }
        }
    }

    /// The next bytes of the current entry's body, zeros of a sparse file among them; none at its end.
    pub fn chunk(&mut self) -> Result<&[u8], ArchiveError> {
        let mut max = self.body;
        if let Some(holes) = &mut self.holes {
            let zeros = holes.gap().min(ZEROS.len() as u64);
            if zeros > 0 {
                holes.pass(zeros);
                return Ok(&ZEROS[..zeros as usize]);
            }
            max = max.min(holes.data());
        }
        if max == 0 {
            return Ok(&[]);
        }
        let offset = self.stream.offset();
        let chunk = self.stream.chunk(max)?;
        if chunk.is_empty() {
            return Err(ArchiveError::Damaged { offset, problem: "it ends in the middle of a file" });
        }
        self.body -= chunk.len() as u64;
        if let Some(holes) = &mut self.holes {
            holes.read(chunk.len() as u64);
        }
        Ok(chunk)
    }

    /// Passes over the zeros that come next in the current file, and says how many: for who can leave a hole there.
    pub fn pass_over_zeros(&mut self) -> u64 {
        let Some(holes) = &mut self.holes else { return 0 };
        let zeros = holes.gap();
        holes.pass(zeros);
        zeros
    }

    /// The digest of the whole archive after decompression. To be called after the last entry.
    pub fn finish(self) -> [u8; 32] {
        self.stream.finish()
    }

    /// Gives back who heard what was not content. To be called after the last entry.
    pub fn into_sink(self) -> S {
        self.sink
    }

    /// One extension header of a kind for each entry: `before` is what an earlier one said.
    fn once<T>(&self, before: Option<T>) -> Result<(), ArchiveError> {
        match before {
            Some(_) => Err(self.stream.damaged("two extension headers of one kind describe one entry")),
            None => Ok(()),
        }
    }

    /// Passes over what of the body nobody asked for, and what follows it up to the next header.
    fn pass_over_body(&mut self) -> Result<(), ArchiveError> {
        self.holes = None;
        while self.body > 0 {
            let passed = self.heard(self.body)?;
            if passed == 0 {
                return Err(self.stream.damaged("it ends in the middle of a file"));
            }
            self.body -= passed;
        }
        while self.padding > 0 {
            let passed = self.heard(self.padding)?;
            if passed == 0 {
                return Err(self.stream.damaged("it ends in the middle of a block"));
            }
            self.padding -= passed;
        }
        Ok(())
    }

    /// Lets the sink hear the next bytes, at most `max`, and says how many they were.
    fn heard(&mut self, max: u64) -> Result<u64, ArchiveError> {
        let chunk = self.stream.chunk(max)?;
        if !chunk.is_empty() {
            self.sink.raw(chunk)?;
        }
        Ok(chunk.len() as u64)
    }

    fn expect_body(&mut self, size: u64) {
        self.body = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    /// The next header with a right checksum, or none at the archive's end, of which everything has then been read.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut block = [0; BLOCK_BYTES];
        if !self.block(&mut block)? {
            // Tools write two zero blocks at the end. Without one, who knows whether this is the end.
            return Err(if self.begun { self.stream.damaged("it is cut off: there is no end marker") } else { ArchiveError::NotAnArchive });
        }
        if block.iter().all(|byte| *byte == 0) {
            if !self.begun && !self.may_be_empty {
                // An archive of nothing is of no use, and /dev/zero would be one without an end.
                return Err(ArchiveError::NotAnArchive);
            }
            self.expect_zeros()?;
            return Ok(None);
        }
        let header = Header(block);
        if !header.checksum_is_right() {
            return Err(if self.begun { self.stream.damaged("a header's checksum is wrong") } else { ArchiveError::NotAnArchive });
        }
        self.begun = true;
        Ok(Some(header))
    }

    fn block(&mut self, block: &mut [u8; BLOCK_BYTES]) -> Result<bool, ArchiveError> {
        let is_there = self.stream.block(block)?;
        if is_there {
            self.sink.raw(block)?;
        }
        Ok(is_there)
    }

    /// After the end marker come zeros, up to whatever size a tape's record had. Anything else would be seen by some
    /// readers and not by others.
    fn expect_zeros(&mut self) -> Result<(), ArchiveError> {
        loop {
            let chunk = self.stream.chunk(u64::MAX)?;
            if chunk.is_empty() {
                return Ok(());
            }
            if chunk.iter().any(|byte| *byte != 0) {
                return Err(self.stream.damaged("there is something after its end marker"));
            }
            self.sink.raw(chunk)?;
        }
    }

    /// The body of an extension header, in memory.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let size = header.size()?;
        if size > EXTENSION_BYTES_MAX {
            return Err(ArchiveError::OverLimit { what: "bytes in an extension header", max: EXTENSION_BYTES_MAX });
        }
        self.expect_body(size);
        let mut bytes = Vec::new();
        while self.body > 0 {
            let chunk = self.stream.chunk(self.body)?;
            if chunk.is_empty() {
                return Err(self.stream.damaged("it ends in the middle of an extension header"));
            }
            self.body -= chunk.len() as u64;
            bytes.extend_from_slice(chunk);
        }
        self.sink.raw(&bytes)?;
        Ok(bytes)
    }

    /// A global header holds for all entries that follow. `git archive` puts a comment into one; anything that would
    /// change what entries mean is refused, since few readers agree on it.
    fn global(&mut self, header: &Header) -> Result<(), ArchiveError> {
        let block = self.extension(header)?;
        let records = pax::parse(&block).map_err(|problem| refuse(&header.name(), problem))?;
        if records != Records::default() {
            return Err(refuse(&header.name(), "it is a global header that changes the entries after it"));
        }
        Ok(())
    }

    fn member(&mut self, header: &Header, extensions: Extensions) -> Result<Member, ArchiveError> {
        let mut records = extensions.records.unwrap_or_default();
        // What stands in the name's place of a sparse file is for readers that do not know of maps.
        let sparse_name = records.sparse.as_mut().and_then(|sparse| sparse.name.take());
        let path = sparse_name.or(records.path);
        let name = one_of(extensions.long_name, path, header)?.unwrap_or_else(|| header.name());
        let link = one_of(extensions.long_link, records.link_path, header)?.unwrap_or_else(|| header.link());
        let size = match records.size {
            // POSIX: the record overrules the field, also where the field says something else.
            Some(size) => size,
            None => header.size().map_err(|_| refuse(&name, "its size is malformed"))?,
        };
        let mut kind = kind(header, &name, link, size)?;
        self.expect_body(size);
        if let Some(size) = self.expect_holes(header, &kind, records.sparse).map_err(|error| error.of(&name))? {
            kind = Kind::File { size };
        }
        let malformed = |field: &str| refuse(&name, format!("its {field} is malformed"));
        let id = |record: Option<i128>, field, what| record.or_else(|| header.number(field)).ok_or_else(|| malformed(what));
        let uid = id(records.uid, UID, "user id")?;
        let gid = id(records.gid, GID, "group id")?;
        let mode = header.number(MODE).ok_or_else(|| malformed("mode"))?;
        let mtime = match records.mtime {
            Some(time) => time,
            None => (clamp(header.number(MTIME).ok_or_else(|| malformed("time"))?), 0),
        };
        // The field may hold the bits of the file's kind above the twelve of its permissions; old tools write them.
        let mode = (mode & 0o7777) as u32;
        Ok(Member { kind, mode, uid, gid, mtime, xattrs: records.xattrs, name })
    }
}

fn clamp(number: i128) -> i64 {
    number.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// GNU's way and POSIX's way to give a long name; they must not disagree.
fn one_of(gnu: Option<Vec<u8>>, posix: Option<Vec<u8>>, header: &Header) -> Result<Option<Vec<u8>>, ArchiveError> {
    match (gnu, posix) {
        (Some(gnu), Some(posix)) if gnu != posix => Err(refuse(&header.name(), "two extension headers give it different names")),
        (gnu, posix) => Ok(posix.or(gnu)),
    }
}

fn kind(header: &Header, name: &[u8], link: Vec<u8>, size: u64) -> Result<Kind, ArchiveError> {
    let kind = match header.flag() {
        // Before POSIX a folder was a file whose name ends in a slash.
        0 | b'0' if name.ends_with(b"/") => Kind::Folder,
        0 | b'0' | b'7' | b'S' => return Ok(Kind::File { size }),
        b'1' => Kind::Hardlink { target: link },
        b'2' => Kind::Symlink { target: link },
        b'3' | b'4' => Kind::Device,
        b'5' => Kind::Folder,
        b'6' => Kind::Fifo,
        other => return Err(refuse(name, format!("its kind {:?} is not known", char::from(other)))),
    };
    // Some readers pass over a body here and some do not: what follows would be a header to some of them.
    if size == 0 { Ok(kind) } else { Err(refuse(name, "it is not a file, and yet has a body")) }
}

/// A long name of GNU's: up to the NUL that ends it.
fn until_nul(mut name: Vec<u8>, header: &Header) -> Result<Vec<u8>, ArchiveError> {
    if name.last() == Some(&0) {
        name.pop();
    }
    if name.is_empty() { Err(refuse(&header.name(), "it gives an empty name")) } else { Ok(name) }
}
