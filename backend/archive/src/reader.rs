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

use std::io::Read;

use crate::error::{ArchiveError, shown};
use crate::limits::EXTENSION_BYTES_MAX;
use crate::pax::{self, Records};
use crate::stream::Stream;

const BLOCK_BYTES: usize = 512;
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

fn refuse(name: &[u8], problem: impl Into<String>) -> ArchiveError {
    ArchiveError::Refused { entry: shown(name), problem: problem.into() }
}

/// A tar archive that is being read.
pub struct Archive<R: Read> {
    stream: Stream<R>,
    /// Bytes of the current entry's body that were not handed out.
    body: u64,
    /// Zeros between that and the next header.
    padding: u64,
    /// Whether a header was seen: before, a wrong checksum means that this is no archive at all.
    begun: bool,
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
        Self { stream, body: 0, padding: 0, begun: false }
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

    /// The next bytes of the current entry's body; none at its end.
    pub fn chunk(&mut self) -> Result<&[u8], ArchiveError> {
        if self.body == 0 {
            return Ok(&[]);
        }
        let offset = self.stream.offset();
        let chunk = self.stream.chunk(self.body)?;
        if chunk.is_empty() {
            return Err(ArchiveError::Damaged { offset, problem: "it ends in the middle of a file" });
        }
        self.body -= chunk.len() as u64;
        Ok(chunk)
    }

    /// The digest of the whole archive after decompression. To be called after the last entry.
    pub fn finish(self) -> [u8; 32] {
        self.stream.finish()
    }

    /// One extension header of a kind for each entry: `before` is what an earlier one said.
    fn once<T>(&self, before: Option<T>) -> Result<(), ArchiveError> {
        match before {
            Some(_) => Err(self.stream.damaged("two extension headers of one kind describe one entry")),
            None => Ok(()),
        }
    }

    fn pass_over_body(&mut self) -> Result<(), ArchiveError> {
        while !self.chunk()?.is_empty() {}
        while self.padding > 0 {
            let passed = self.stream.chunk(self.padding)?.len() as u64;
            if passed == 0 {
                return Err(self.stream.damaged("it ends in the middle of a block"));
            }
            self.padding -= passed;
        }
        Ok(())
    }

    fn expect_body(&mut self, size: u64) {
        self.body = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    /// The next header with a right checksum, or none at the archive's end, of which everything has then been read.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut block = [0; BLOCK_BYTES];
        if !self.stream.block(&mut block)? {
            // Tools write two zero blocks at the end. Without one, who knows whether this is the end.
            return Err(if self.begun { self.stream.damaged("it is cut off: there is no end marker") } else { ArchiveError::NotAnArchive });
        }
        if block.iter().all(|byte| *byte == 0) {
            if !self.begun {
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
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Ok(bytes);
            }
            bytes.extend_from_slice(chunk);
        }
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
        let records = extensions.records.unwrap_or_default();
        let name = one_of(extensions.long_name, records.path, header)?.unwrap_or_else(|| header.name());
        let link = one_of(extensions.long_link, records.link_path, header)?.unwrap_or_else(|| header.link());
        let size = match records.size {
            // POSIX: the record overrules the field, also where the field says something else.
            Some(size) => size,
            None => header.size().map_err(|_| refuse(&name, "its size is malformed"))?,
        };
        let kind = kind(header, &name, link, size)?;
        self.expect_body(size);
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
        0 | b'0' | b'7' => return Ok(Kind::File { size }),
        b'1' => Kind::Hardlink { target: link },
        b'2' => Kind::Symlink { target: link },
        b'3' | b'4' => Kind::Device,
        b'5' => Kind::Folder,
        b'6' => Kind::Fifo,
        b'S' => return Err(refuse(name, "a sparse file is not supported: make the archive without --sparse")),
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

/// A field of a header: where it begins, and its width.
type Field = (usize, usize);

const NAME: Field = (0, 100);
const MODE: Field = (100, 8);
const UID: Field = (108, 8);
const GID: Field = (116, 8);
const SIZE: Field = (124, 12);
const MTIME: Field = (136, 12);
const CHECKSUM: Field = (148, 8);
const FLAG: usize = 156;
const LINK: Field = (157, 100);
const MAGIC: Field = (257, 6);
const PREFIX: Field = (345, 155);

struct Header([u8; BLOCK_BYTES]);

impl Header {
    fn field(&self, (start, width): Field) -> &[u8] {
        &self.0[start..start + width]
    }

    /// A text field, which ends at a NUL or where it is full.
    fn text(&self, field: Field) -> &[u8] {
        let text = self.field(field);
        &text[..text.iter().position(|byte| *byte == 0).unwrap_or(text.len())]
    }

    fn number(&self, field: Field) -> Option<i128> {
        number(self.field(field))
    }

    fn flag(&self) -> u8 {
        self.0[FLAG]
    }

    fn link(&self) -> Vec<u8> {
        self.text(LINK).to_vec()
    }

    /// The name, with the prefix before it that POSIX's format has (GNU's has times in that place).
    fn name(&self) -> Vec<u8> {
        let name = self.text(NAME);
        let prefix = if self.field(MAGIC) == b"ustar\0" { self.text(PREFIX) } else { &[] };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    fn size(&self) -> Result<u64, ArchiveError> {
        let size = self.number(SIZE).and_then(|size| u64::try_from(size).ok());
        // A size that no file can have would overflow what is added to it.
        size.filter(|size| i64::try_from(*size).is_ok()).ok_or_else(|| refuse(&self.name(), "its size is malformed"))
    }

    /// The sum of all bytes, the field itself as spaces. Some old tools summed signed bytes.
    fn checksum_is_right(&self) -> bool {
        let (start, width) = CHECKSUM;
        let inside = |index: usize| (start..start + width).contains(&index);
        let bytes = || self.0.iter().enumerate().map(|(index, byte)| if inside(index) { b' ' } else { *byte });
        let unsigned: i128 = bytes().map(i128::from).sum();
        let signed: i128 = bytes().map(|byte| i128::from(byte.cast_signed())).sum();
        self.number(CHECKSUM).is_some_and(|sum| sum == unsigned || sum == signed)
    }
}

/// A number: octal digits between spaces, ended by a space, a NUL or the field; or, where the first bit is set, GNU's
/// base 256 in two's complement. An empty field is 0, as GNU tar has it.
fn number(field: &[u8]) -> Option<i128> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // Bit 6 is the sign; the widest field has 12 bytes, 95 bits.
        let start = i128::from(first & 0x7f) - if first & 0x40 == 0 { 0 } else { 0x80 };
        return Some(field[1..].iter().fold(start, |sum, byte| sum * 256 + i128::from(*byte)));
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| !(b'0'..=b'7').contains(byte)).unwrap_or(digits.len());
    if digits.get(end).is_some_and(|byte| *byte != b' ' && *byte != 0) {
        return None;
    }
    Some(digits[..end].iter().fold(0, |sum, digit| sum * 8 + i128::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let cases: [(&[u8], Option<i128>); 10] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some((1 << 88) - 1)),
            (b"\xc0\0\0\0\0\0\0\0", Some(-(1 << 62))),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }
}
