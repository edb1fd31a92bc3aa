//! The header of an entry: 512 bytes of fields at fixed places, in one of three dialects. What the fields mean together is not known
//! here.

use crate::error::ArchiveError;
use crate::reader::refuse;

/// Bytes of a block: everything in an archive is a whole number of them.
pub(crate) const BLOCK_BYTES: usize = 512;

/// A field of a header: where it begins, and its width.
pub(crate) type Field = (usize, usize);

const NAME: Field = (0, 100);
pub(crate) const MODE: Field = (100, 8);
pub(crate) const UID: Field = (108, 8);
pub(crate) const GID: Field = (116, 8);
const SIZE: Field = (124, 12);
pub(crate) const MTIME: Field = (136, 12);
const CHECKSUM: Field = (148, 8);
const FLAG: usize = 156;
const LINK: Field = (157, 100);
const MAGIC: Field = (257, 6);
const PREFIX: Field = (345, 155);

/// A header, as written.
pub(crate) struct Header(pub(crate) [u8; BLOCK_BYTES]);

impl Header {
    fn field(&self, (start, width): Field) -> &[u8] {
        &self.0[start..start + width]
    }

    /// A text field, which ends at a NUL or where it is full.
    fn text(&self, field: Field) -> &[u8] {
        let text = self.field(field);
        &text[..text.iter().position(|byte| *byte == 0).unwrap_or(text.len())]
    }

    pub(crate) fn number(&self, field: Field) -> Option<i128> {
        number(self.field(field))
    }

    pub(crate) fn flag(&self) -> u8 {
        self.0[FLAG]
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        self.text(LINK).to_vec()
    }

    /// The name, with the prefix before it that POSIX's format has (GNU's has times in that place).
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = self.text(NAME);
        let prefix = if self.field(MAGIC) == b"ustar\0" { self.text(PREFIX) } else { &[] };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(crate) fn size(&self) -> Result<u64, ArchiveError> {
        let size = self.number(SIZE).and_then(|size| u64::try_from(size).ok());
        // A size that no file can have would overflow what is added to it.
        size.filter(|size| i64::try_from(*size).is_ok()).ok_or_else(|| refuse(&self.name(), "its size is malformed"))
    }

    /// The sum of all bytes, the field itself as spaces. Some old tools summed signed bytes.
    pub(crate) fn checksum_is_right(&self) -> bool {
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
pub(crate) fn number(field: &[u8]) -> Option<i128> {
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
