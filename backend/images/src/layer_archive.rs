//! A layer's archive, put together again from its skeleton and its tree as it is read. Whether it is still what it was, its digest
//! says. Who reads it to be used gets an error where something is missing; who checks it gets zeros there, and is told which files
//! are not what they were.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use belljar_archive::shown;

use crate::skeleton::{LayerFacts, Piece, Reader, Record};
use crate::tree::Tree;

/// Damaged files that are told of one layer.
const DAMAGED_MAX: usize = 1000;

/// The uncompressed archive of a layer, as a stream of bytes.
pub struct LayerArchive {
    facts: LayerFacts,
    skeleton: Reader,
    tree: Tree,
    now: Now,
    /// Files that are not what they were; none where a missing one is an error.
    damaged: Option<BTreeSet<Vec<u8>>>,
}

/// What is being handed out.
enum Now {
    Nothing,
    Raw { bytes: Vec<u8>, taken: usize },
    Body(Body),
}

/// What for it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// To be used: what is missing is an error.
    Use,
    /// To be checked: what is missing is zeros.
    Check,
}

struct Body {
    path: Vec<u8>,
    /// None where it is missing.
    file: Option<File>,
    /// What was handed out of it.
    piece: Piece,
    length: u64,
    sum: u32,
}

impl LayerArchive {
    pub(crate) fn open(skeleton: &Path, tree: &Path) -> io::Result<Self> {
        let archive = Self::open_any(skeleton, tree)?;
        if !archive.facts.is_exact {
            let problem = "a later entry of the layer's archive took the place of a file, whose content is gone";
            return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        }
        Ok(archive)
    }

    /// As [`LayerArchive::open`], also of a layer that is not exact, with zeros for what is missing.
    pub(crate) fn open_for_check(skeleton: &Path, tree: &Path) -> io::Result<Self> {
        Ok(Self { damaged: Some(BTreeSet::new()), ..Self::open_any(skeleton, tree)? })
    }

    fn open_any(skeleton: &Path, tree: &Path) -> io::Result<Self> {
        let (facts, skeleton) = Reader::open(File::open(skeleton)?)?;
        Ok(Self { facts, skeleton, tree: Tree::open(tree)?, now: Now::Nothing, damaged: None })
    }

    /// What is known of the layer.
    pub fn facts(&self) -> &LayerFacts {
        &self.facts
    }

    /// Files that were read and are not what they were.
    pub(crate) fn damaged(&self) -> Vec<Vec<u8>> {
        self.damaged.iter().flatten().cloned().collect()
    }

    /// Whether something comes after what was handed out.
    fn begin_next(&mut self) -> io::Result<bool> {
        if let Now::Body(body) = std::mem::replace(&mut self.now, Now::Nothing)
            && let Some(damaged) = &mut self.damaged
            && body.piece.sum() != body.sum
            && damaged.len() < DAMAGED_MAX
        {
            damaged.insert(body.path);
        }
        self.now = match self.skeleton.next()? {
            None => return Ok(false),
            Some(Record::Raw(bytes)) => Now::Raw { bytes, taken: 0 },
            Some(Record::Body { path, offset, length, sum }) => {
                let file = match self.tree.file(&path) {
                    Err(errno) if self.damaged.is_none() => return Err(lost(&path, errno.into())),
                    other => other.ok(),
                };
                Now::Body(Body { path, file, piece: Piece::at(offset), length, sum })
            }
        };
        Ok(true)
    }
}

impl Body {
    /// The next bytes; none at the end.
    fn read(&mut self, into: &mut [u8], reading: Reading) -> io::Result<usize> {
        let wanted = into.len().min(usize::try_from(self.length - self.piece.length).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let into = &mut into[..wanted];
        let read = self.file.as_ref().map_or(Ok(0), |file| file.read_at(into, self.piece.end()));
        let count = match read {
            Ok(0) | Err(_) if reading == Reading::Check => {
                into.fill(0);
                wanted
            }
            Ok(0) => return Err(lost(&self.path, io::ErrorKind::UnexpectedEof.into())),
            other => other?,
        };
        self.piece.push(&into[..count]);
        Ok(count)
    }
}

/// A file of the tree is not what it was.
fn lost(path: &[u8], error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", shown(path)))
}

impl Read for LayerArchive {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let reading = if self.damaged.is_some() { Reading::Check } else { Reading::Use };
        while !into.is_empty() {
            let count = match &mut self.now {
                Now::Nothing => 0,
                Now::Raw { bytes, taken } => {
                    let count = into.len().min(bytes.len() - *taken);
                    into[..count].copy_from_slice(&bytes[*taken..*taken + count]);
                    *taken += count;
                    count
                }
                Now::Body(body) => body.read(into, reading)?,
            };
            if count > 0 {
                return Ok(count);
            }
            if !self.begin_next()? {
                return Ok(0);
            }
        }
        Ok(0)
    }
}
