//! Sparse files: a map of where data lies in a file that is zeros elsewhere. GNU tar has four ways to write one, and all are read: the
//! old kind `S`, whose map is in its header, and the PAX records of the versions 0.0, 0.1 and 1.0, the last of which has its map before
//! the data.
//!
//! A map is a few bytes that may claim exabytes (CVE-2025-58183): its pieces are counted, must lie in order within the file, and must
//! be the data that is there, to the byte.

use crate::limits::SPARSE_PIECES_MAX;

/// Where a piece of data lies in the file, and how long it is.
pub(crate) type Piece = (u64, u64);

/// What PAX records say of a sparse file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SparseRecords {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
    version: (Option<u64>, Option<u64>),
    /// Offsets and lengths by turns, as 0.0 and 0.1 have them.
    numbers: Vec<u64>,
    pieces: Option<u64>,
}

const MALFORMED: &str = "the map of this sparse file is malformed";
const TOO_MANY: &str = "the map of this sparse file has too many pieces";

impl SparseRecords {
    /// Takes a record whose key, after `GNU.sparse.`, is `key`.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"major" => self.version.0 = Some(number(value)?),
            b"minor" => self.version.1 = Some(number(value)?),
            b"name" if value.is_empty() => return Err(MALFORMED),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" if self.real_size.is_some() => return Err("two records give this sparse file a size"),
            b"size" | b"realsize" => self.real_size = Some(number(value)?),
            b"numblocks" => self.pieces = Some(number(value)?),
            // One of each by turns: 0.0 writes the same key again for every piece.
            b"offset" if self.numbers.len().is_multiple_of(2) => self.push(value)?,
            b"numbytes" if !self.numbers.len().is_multiple_of(2) => self.push(value)?,
            b"map" if self.numbers.is_empty() => value.split(|byte| *byte == b',').try_for_each(|value| self.push(value))?,
            _ => return Err("it is a sparse file of a kind that is not known"),
        }
        Ok(())
    }

    fn push(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if self.numbers.len() >= 2 * SPARSE_PIECES_MAX {
            return Err(TOO_MANY);
        }
        self.numbers.push(number(value)?);
        Ok(())
    }

    /// Whether the map stands before the data: version 1.0.
    pub(crate) fn is_before_data(&self) -> Result<bool, &'static str> {
        match self.version {
            (Some(1), Some(0)) if self.numbers.is_empty() && self.pieces.is_none() => Ok(true),
            (None, None) => Ok(false),
            (Some(0), Some(0 | 1)) => Ok(false),
            _ => Err("it is a sparse file of a version that is not known"),
        }
    }

    /// The map that the records hold.
    pub(crate) fn map(self) -> Result<Vec<Piece>, &'static str> {
        if !self.numbers.len().is_multiple_of(2) || self.pieces.is_some_and(|pieces| pieces * 2 != self.numbers.len() as u64) {
            return Err(MALFORMED);
        }
        Ok(pairs(&self.numbers))
    }
}

fn pairs(numbers: &[u64]) -> Vec<Piece> {
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

fn number(text: &[u8]) -> Result<u64, &'static str> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED);
    }
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
    // A size that no file can have would overflow what is added to it.
    number.filter(|number| i64::try_from(*number).is_ok()).ok_or(MALFORMED)
}

/// The map that stands before the data: lines of one number each, how many pieces first, padded to a block. Fed block by block.
#[derive(Debug, Default)]
pub(crate) struct TextMap {
    digits: Vec<u8>,
    pieces: Option<u64>,
    numbers: Vec<u64>,
}

impl TextMap {
    /// Takes the next block; true once the map is whole.
    pub(crate) fn take(&mut self, block: &[u8]) -> Result<bool, &'static str> {
        /// Digits of the largest number that is taken.
        const DIGITS: usize = 19;
        for byte in block {
            match byte {
                b'\n' => {
                    let value = number(&self.digits)?;
                    self.digits.clear();
                    match self.pieces {
                        None if value > SPARSE_PIECES_MAX as u64 => return Err(TOO_MANY),
                        None => self.pieces = Some(value),
                        Some(_) => self.numbers.push(value),
                    }
                    if self.pieces.is_some_and(|pieces| pieces * 2 == self.numbers.len() as u64) {
                        return Ok(true);
                    }
                }
                _ if self.digits.len() == DIGITS => return Err(MALFORMED),
                byte => self.digits.push(*byte),
            }
        }
        Ok(false)
    }

    pub(crate) fn map(self) -> Vec<Piece> {
        pairs(&self.numbers)
    }
}

/// A file with holes, as it is read: data and zeros by turns.
#[derive(Debug)]
pub(crate) struct Holes {
    ahead: std::vec::IntoIter<Piece>,
    /// Where the current piece goes on, and what is left of it.
    piece: Piece,
    /// Where in the file we are.
    at: u64,
    size: u64,
}

impl Holes {
    /// Checks a map of a file of `size` bytes, of which `data` are there.
    pub(crate) fn new(map: Vec<Piece>, size: u64, data: u64) -> Result<Self, &'static str> {
        if map.len() > SPARSE_PIECES_MAX {
            return Err(TOO_MANY);
        }
        let (mut end, mut sum) = (0_u64, 0_u64);
        for (offset, length) in &map {
            if *offset < end {
                return Err("the map of this sparse file is out of order");
            }
            end = offset.checked_add(*length).ok_or(MALFORMED)?;
            sum += length;
        }
        if end > size || i64::try_from(size).is_err() {
            return Err("the map of this sparse file goes beyond its end");
        }
        if sum != data {
            return Err("the map of this sparse file speaks of other data than there is");
        }
        Ok(Self { ahead: map.into_iter(), piece: (0, 0), at: 0, size })
    }

    /// Zeros before the next data, or before the end of the file.
    pub(crate) fn gap(&mut self) -> u64 {
        while self.piece.1 == 0 {
            match self.ahead.next() {
                Some(piece) => self.piece = piece,
                None => return self.size - self.at,
            }
        }
        self.piece.0 - self.at
    }

    /// Goes on over zeros.
    pub(crate) fn pass(&mut self, zeros: u64) {
        self.at += zeros;
    }

    /// Bytes of data that lie here in one piece.
    pub(crate) fn data(&self) -> u64 {
        self.piece.1
    }

    /// Goes on over data.
    pub(crate) fn read(&mut self, bytes: u64) {
        self.at += bytes;
        self.piece = (self.piece.0 + bytes, self.piece.1 - bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_lies_is_refused() {
        for (map, size, data) in [
            (vec![(0, 5), (4, 5)], 100, 10),
            (vec![(10, 5), (0, 5)], 100, 10),
            (vec![(0, 5)], 4, 5),
            (vec![(0, 5)], 100, 6),
            (vec![(0, 5)], 100, 4),
            (vec![(u64::MAX, 5)], u64::MAX, 5),
            (vec![(i64::MAX as u64, 1)], u64::MAX, 1),
            (vec![(0, 0); SPARSE_PIECES_MAX + 1], 0, 0),
        ] {
            assert!(Holes::new(map, size, data).is_err());
        }
    }

    #[test]
    fn data_and_zeros_come_by_turns() {
        let mut holes = Holes::new(vec![(2, 3), (5, 0), (7, 1), (10, 0)], 10, 4).unwrap();
        assert_eq!((holes.gap(), holes.data()), (2, 3));
        holes.pass(2);
        assert_eq!(holes.gap(), 0);
        holes.read(3);
        assert_eq!(holes.gap(), 2);
        holes.pass(2);
        holes.read(1);
        assert_eq!(holes.gap(), 2);
        holes.pass(2);
        assert_eq!(holes.gap(), 0);
    }

    #[test]
    fn a_map_of_text_ends_with_its_last_number_whatever_follows() {
        let mut map = TextMap::default();
        assert_eq!(map.take(b"2\n0\n"), Ok(false));
        assert_eq!(map.take(b"1\n9\n5\nrubbish"), Ok(true));
        assert_eq!(map.map(), [(0, 1), (9, 5)]);
        assert_eq!(TextMap::default().take(b"0\n"), Ok(true));
        for wrong in ["x\n", "\n", "-1\n", "99999999999999999999\n", "9223372036854775808\n", "100001\n"] {
            assert!(TextMap::default().take(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
