//! Where a sparse file has its map, in each of the ways to write one, and what is made of it ([`crate::sparse`]).

use std::io::Read;

use super::{Archive, BLOCK, Kind, Sink, refuse};
use crate::error::ArchiveError;
use crate::header::{BLOCK_BYTES, Field, Header, number};
use crate::limits::SPARSE_PIECES_MAX;
use crate::sparse::{Holes, Piece, SparseRecords, TextMap};

/// What is wrong with the map of a sparse file: with the archive, or with what it says.
pub(super) enum MapError {
    Archive(ArchiveError),
    Map(&'static str),
}

impl MapError {
    pub(super) fn of(self, name: &[u8]) -> ArchiveError {
        match self {
            Self::Archive(error) => error,
            Self::Map(problem) => refuse(name, problem),
        }
    }
}

impl From<ArchiveError> for MapError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<&'static str> for MapError {
    fn from(problem: &'static str) -> Self {
        Self::Map(problem)
    }
}

impl<R: Read, S: Sink> Archive<R, S> {
    /// Reads the map of a sparse file, and says how long it is with its holes; none where it is no sparse file.
    pub(super) fn expect_holes(&mut self, header: &Header, kind: &Kind, records: Option<SparseRecords>) -> Result<Option<u64>, MapError> {
        let (map, size) = match (header.flag(), records) {
            (b'S', None) => self.old_map(header)?,
            (_, None) => return Ok(None),
            (b'S', Some(_)) => return Err("two things describe this sparse file".into()),
            (_, Some(_)) if !matches!(kind, Kind::File { .. }) => return Err("it is not a file, and yet sparse".into()),
            (_, Some(records)) => {
                let size = records.real_size.ok_or("the map of this sparse file does not say its size")?;
                let map = if records.is_before_data()? { self.text_map()? } else { records.map()? };
                (map, size)
            }
        };
        let holes = Holes::new(map, size, self.body)?;
        let max = self.stream.limits().archive_bytes_max;
        self.hole_bytes = self.hole_bytes.saturating_add(size - self.body);
        if self.hole_bytes > max {
            return Err(ArchiveError::OverLimit { what: "bytes", max }.into());
        }
        self.holes = Some(holes);
        Ok(Some(size))
    }

    /// The map of GNU tar's old kind, and the file's size: four pieces in the header, 21 in each block that follows.
    fn old_map(&mut self, header: &Header) -> Result<(Vec<Piece>, u64), MapError> {
        const IN_HEADER: (usize, usize) = (386, 4);
        const IN_BLOCK: (usize, usize) = (0, 21);
        const MORE_IN_HEADER: usize = 482;
        const MORE_IN_BLOCK: usize = 504;
        const REAL_SIZE: Field = (483, 12);
        let mut map = Vec::new();
        old_pieces(&header.0, IN_HEADER, &mut map)?;
        let mut more = header.0[MORE_IN_HEADER] != 0;
        while more {
            let mut block = [0; BLOCK_BYTES];
            if !self.block(&mut block)? {
                return Err(self.stream.damaged("it ends in the map of a sparse file").into());
            }
            old_pieces(&block, IN_BLOCK, &mut map)?;
            more = block[MORE_IN_BLOCK] != 0;
        }
        let size = header.number(REAL_SIZE).and_then(|size| u64::try_from(size).ok());
        Ok((map, size.ok_or("the size of this sparse file is malformed")?))
    }

    /// The map that stands before the data.
    fn text_map(&mut self) -> Result<Vec<Piece>, MapError> {
        let mut map = TextMap::default();
        loop {
            let mut block = [0; BLOCK_BYTES];
            if self.body < BLOCK {
                return Err("the map of this sparse file is longer than what there is".into());
            }
            if !self.block(&mut block)? {
                return Err(self.stream.damaged("it ends in the map of a sparse file").into());
            }
            self.body -= BLOCK;
            if map.take(&block)? {
                return Ok(map.map());
            }
        }
    }
}

/// The pieces of a block: an offset and a length of twelve bytes each, up to an empty one.
fn old_pieces(block: &[u8; BLOCK_BYTES], (start, count): (usize, usize), map: &mut Vec<Piece>) -> Result<(), &'static str> {
    const WIDTH: usize = 12;
    for piece in block[start..].chunks_exact(2 * WIDTH).take(count).take_while(|piece| piece[0] != 0) {
        let field =
            |field: &[u8]| number(field).and_then(|number| u64::try_from(number).ok()).filter(|number| i64::try_from(*number).is_ok());
        let (offset, length) = piece.split_at(WIDTH);
        map.push(field(offset).zip(field(length)).ok_or("the map of this sparse file is malformed")?);
        if map.len() > SPARSE_PIECES_MAX {
            return Err("the map of this sparse file has too many pieces");
        }
    }
    Ok(())
}
