//! Entries in, a tar archive out: POSIX `pax`, so that names, sizes, times and attributes of any kind are said exactly. What
//! every reader understands is in the plain header; a record is added only for what does not fit there.
//!
//! ```text
//! [x header, records] header [body, padded to 512]  …  two zero blocks
//! ```

use std::io::{self, Write};

use crate::reader::Kind;

const BLOCK_BYTES: usize = 512;
/// Longest name, and target of a link, that the plain header holds.
const NAME_FIELD_BYTES: usize = 100;
/// Largest number of an eight-byte field: seven octal digits.
const SHORT_FIELD_HOLDS: u64 = 0o7_777_777;
/// Largest number of a twelve-byte field: eleven octal digits.
const LONG_FIELD_HOLDS: u64 = 0o77_777_777_777;

/// One entry to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name; a folder's gets its slash here.
    pub name: &'a [u8],
    /// What it is. The content of a file follows through [`Writer::body`].
    pub kind: Kind,
    /// Major and minor number of a device: character where `true`.
    pub device: Option<(bool, u32, u32)>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Full names and values.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// An archive that is being written.
#[derive(Debug)]
pub struct Writer<W: Write> {
    to: W,
    /// Bytes of the current body that are still owed.
    owed: u64,
    /// Zeros after it.
    padding: u64,
}

impl<W: Write> Writer<W> {
    /// Writes to `to`, which should be buffered.
    pub fn new(to: W) -> Self {
        Self { to, owed: 0, padding: 0 }
    }

    /// Begins an entry. Of a file that turned out shorter than its entry said, the rest is zeros.
    pub fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.finish_body()?;
        let mut name = entry.name.to_vec();
        let (size, target) = match &entry.kind {
            Kind::File { size } => (*size, &[][..]),
            Kind::Symlink { target } | Kind::Hardlink { target } => (0, target.as_slice()),
            Kind::Folder => {
                if name.last() != Some(&b'/') {
                    name.push(b'/');
                }
                (0, &[][..])
            }
            Kind::Fifo | Kind::Device => (0, &[][..]),
        };
        let records = records(entry, &name, target, size);
        if !records.is_empty() {
            let mut header = Header::new(b"PaxHeaders/entry", b'x', 0o644);
            header.number(124, 12, records.len() as u64);
            self.to.write_all(&header.finish())?;
            self.to.write_all(&records)?;
            self.zeros(padding_of(records.len() as u64))?;
        }
        let mut header = Header::new(&name, flag(entry), entry.mode);
        header.number(108, 8, u64::from(entry.uid).min(SHORT_FIELD_HOLDS));
        header.number(116, 8, u64::from(entry.gid).min(SHORT_FIELD_HOLDS));
        header.number(124, 12, size.min(LONG_FIELD_HOLDS));
        header.number(136, 12, u64::try_from(entry.mtime.0).unwrap_or(0).min(LONG_FIELD_HOLDS));
        header.text(157, target);
        if let Some((_, major, minor)) = entry.device {
            header.number(329, 8, major.into());
            header.number(337, 8, minor.into());
        }
        self.to.write_all(&header.finish())?;
        (self.owed, self.padding) = (size, padding_of(size));
        Ok(())
    }

    /// The next bytes of the current file; what goes beyond its size is left out.
    pub fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = bytes.len().min(usize::try_from(self.owed).unwrap_or(usize::MAX));
        self.to.write_all(&bytes[..count])?;
        self.owed -= count as u64;
        Ok(())
    }

    /// Bytes of the current file that are still owed.
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// Ends the archive, and gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.finish_body()?;
        self.zeros(2 * BLOCK_BYTES as u64)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn finish_body(&mut self) -> io::Result<()> {
        let zeros = self.owed + self.padding;
        (self.owed, self.padding) = (0, 0);
        self.zeros(zeros)
    }

    fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while count > 0 {
            let piece = count.min(ZEROS.len() as u64);
            self.to.write_all(&ZEROS[..piece as usize])?;
            count -= piece;
        }
        Ok(())
    }
}

fn padding_of(size: u64) -> u64 {
    (BLOCK_BYTES as u64 - size % BLOCK_BYTES as u64) % BLOCK_BYTES as u64
}

fn flag(entry: &Entry<'_>) -> u8 {
    match (&entry.kind, entry.device) {
        (Kind::File { .. }, _) => b'0',
        (Kind::Hardlink { .. }, _) => b'1',
        (Kind::Symlink { .. }, _) => b'2',
        (Kind::Device, Some((false, ..))) => b'4',
        (Kind::Device, _) => b'3',
        (Kind::Folder, _) => b'5',
        (Kind::Fifo, _) => b'6',
    }
}

/// What the plain header cannot say of an entry.
fn records(entry: &Entry<'_>, name: &[u8], target: &[u8], size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| records.extend(record(key, value));
    // What is not ASCII means what it means only in a record, and a header that is full to the brim has no NUL.
    let fits = |text: &[u8]| text.len() < NAME_FIELD_BYTES && text.is_ascii();
    if !fits(name) {
        add(b"path", name);
    }
    if !fits(target) {
        add(b"linkpath", target);
    }
    if size > LONG_FIELD_HOLDS {
        add(b"size", size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if u64::from(id) > SHORT_FIELD_HOLDS {
            add(key, id.to_string().as_bytes());
        }
    }
    let (seconds, nanoseconds) = entry.mtime;
    if nanoseconds != 0 || u64::try_from(seconds).is_ok_and(|seconds| seconds > LONG_FIELD_HOLDS) || seconds < 0 {
        add(b"mtime", time(seconds, nanoseconds).as_bytes());
    }
    for (name, value) in entry.xattrs {
        add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

/// Seconds with a fraction: counted on from whole seconds, also before 1970, where text counts down.
fn time(seconds: i64, nanoseconds: u32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let sign = if total < 0 { "-" } else { "" };
    let (whole, fraction) = (total.unsigned_abs() / 1_000_000_000, total.unsigned_abs() % 1_000_000_000);
    if fraction == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction:09}") }
}

/// `length key=value\n`, where the length counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

struct Header([u8; BLOCK_BYTES]);

impl Header {
    fn new(name: &[u8], flag: u8, mode: u32) -> Self {
        let mut header = Self([0; BLOCK_BYTES]);
        header.text(0, name);
        header.number(100, 8, u64::from(mode & 0o7777));
        header.number(108, 8, 0);
        header.number(116, 8, 0);
        header.number(136, 12, 0);
        header.0[156] = flag;
        header.0[257..265].copy_from_slice(b"ustar\x0000");
        header
    }

    /// As much of a text as its field holds: where that is not all, a record says it.
    fn text(&mut self, start: usize, text: &[u8]) {
        let count = text.len().min(NAME_FIELD_BYTES);
        self.0[start..start + count].copy_from_slice(&text[..count]);
    }

    fn number(&mut self, start: usize, width: usize, number: u64) {
        let digits = format!("{number:0digits$o}", digits = width - 1);
        self.0[start..start + width - 1].copy_from_slice(digits.as_bytes());
    }

    fn finish(mut self) -> [u8; BLOCK_BYTES] {
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().copied().map(u64::from).sum();
        self.number(148, 7, sum);
        self.0[154] = 0;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Archive, ArchiveLimits, Stream};

    fn entry<'a>(name: &'a [u8], kind: Kind) -> Entry<'a> {
        Entry { name, kind, device: None, mode: 0o640, uid: 1, gid: 2, mtime: (1_700_000_000, 0), xattrs: &[] }
    }

    #[test]
    fn what_is_written_is_read_back_to_the_letter() {
        let long = [b"folder/".repeat(40), "größe".as_bytes().to_vec()].concat();
        let xattrs = [(b"user.note".to_vec(), b"a\nb=c\0d".to_vec())];
        let entries = [
            entry(b"plain", Kind::File { size: 700 }),
            Entry { xattrs: &xattrs, mtime: (-5, 250_000_000), uid: 70_000_000, ..entry(&long, Kind::File { size: 3 }) },
            entry(b"folder/", Kind::Folder),
            entry(b"link", Kind::Symlink { target: long.clone() }),
            entry(b"again", Kind::Hardlink { target: b"plain".to_vec() }),
            entry(b"pipe", Kind::Fifo),
            Entry { device: Some((true, 1, 3)), ..entry(b"null", Kind::Device) },
        ];
        let mut writer = Writer::new(Vec::new());
        for entry in &entries {
            writer.entry(entry).unwrap();
            if matches!(entry.kind, Kind::File { .. }) {
                // Too much for one, too little for the other.
                writer.body(&[7; 500]).unwrap();
            }
        }
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() % BLOCK_BYTES, 0);
        let mut archive = Archive::new(Stream::open(&bytes[..], &ArchiveLimits::default()).unwrap());
        for expected in &entries {
            let member = archive.next_member().unwrap().unwrap();
            assert_eq!((member.name.as_slice(), &member.kind), (expected.name, &expected.kind));
            assert_eq!((member.mode, member.uid, member.gid), (expected.mode, expected.uid.into(), expected.gid.into()));
            assert_eq!((member.mtime, member.xattrs.as_slice()), (expected.mtime, expected.xattrs));
            let mut body = Vec::new();
            while let chunk @ [_, ..] = archive.chunk().unwrap() {
                body.extend_from_slice(chunk);
            }
            match expected.kind {
                Kind::File { size: 3 } => assert_eq!(body, [7; 3]),
                Kind::File { .. } => assert_eq!(body, [vec![7; 500], vec![0; 200]].concat()),
                _ => assert!(body.is_empty()),
            }
        }
        assert_eq!(archive.next_member().unwrap(), None);
    }
}
