//! A layer's archive, put together again from its skeleton and its tree as it is read. Whether it is still what it was, its digest
//! says: nothing is checked here but that everything is there.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use belljar_archive::shown;

use crate::skeleton::{LayerFacts, Reader, Record};
use crate::tree::Tree;

/// The uncompressed archive of a layer, as a stream of bytes.
pub struct LayerArchive {
    facts: LayerFacts,
    skeleton: Reader,
    tree: Tree,
    now: Now,
}

/// What is being handed out.
enum Now {
    Nothing,
    Raw { bytes: Vec<u8>, taken: usize },
    Body { file: File, offset: u64, left: u64, path: Vec<u8> },
}

impl LayerArchive {
    pub(crate) fn open(skeleton: &Path, tree: &Path) -> io::Result<Self> {
        let (facts, skeleton) = Reader::open(File::open(skeleton)?)?;
        if !facts.is_exact {
            let problem = "a later entry of the layer's archive took the place of a file, whose content is gone";
            return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        }
        Ok(Self { facts, skeleton, tree: Tree::open(tree)?, now: Now::Nothing })
    }

    /// What is known of the layer.
    pub fn facts(&self) -> &LayerFacts {
        &self.facts
    }

    /// Whether something comes after what is being handed out.
    fn begin_next(&mut self) -> io::Result<bool> {
        self.now = match self.skeleton.next()? {
            None => return Ok(false),
            Some(Record::Raw(bytes)) => Now::Raw { bytes, taken: 0 },
            Some(Record::Body { path, offset, length }) => {
                let file = self.tree.file(&path).map_err(|errno| lost(&path, errno.into()))?;
                Now::Body { file, offset, left: length, path }
            }
        };
        Ok(true)
    }
}

/// A file of the tree is not what it was.
fn lost(path: &[u8], error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", shown(path)))
}

impl Read for LayerArchive {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !into.is_empty() {
            let count = match &mut self.now {
                Now::Nothing => 0,
                Now::Raw { bytes, taken } => {
                    let count = into.len().min(bytes.len() - *taken);
                    into[..count].copy_from_slice(&bytes[*taken..*taken + count]);
                    *taken += count;
                    count
                }
                Now::Body { left: 0, .. } => 0,
                Now::Body { file, offset, left, path } => {
                    let wanted = into.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let count = file.read_at(&mut into[..wanted], *offset)?;
                    if count == 0 {
                        return Err(lost(path, io::ErrorKind::UnexpectedEof.into()));
                    }
                    (*offset, *left) = (*offset + count as u64, *left - count as u64);
                    count
                }
            };
            if count > 0 {
                return Ok(count);
            }
            if !self.begin_next()? {
                self.now = Now::Nothing;
                return Ok(0);
            }
        }
        Ok(0)
    }
}
