//! Inflating and hashing in a thread of its own, so that it goes on while what was inflated before is written to disk: the two take
//! about as long as each other.
//!
//! ```text
//! bytes -> [ inflate, count, hash ] -- pieces, a few ahead --> [ entries, files ]
//!                  ^------------------- empty pieces --------------------'
//! ```

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use belljar_archive::{ArchiveError as ImportError, ArchiveLimits as ImportLimits, Stream};

use crate::digest::Digest;

/// Bytes of a piece: one call to the disk.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that are inflated ahead of what is written.
const AHEAD: usize = 4;

/// What was inflated, as it comes.
pub(super) struct Inflated {
    full: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    piece: Vec<u8>,
    taken: usize,
}

impl Read for Inflated {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            // Nothing more comes: the end, or a failure, which the other thread tells.
            let Ok(piece) = self.full.recv() else { return Ok(0) };
            // It may be over by now, and need none.
            let _nobody = self.empty.send(std::mem::replace(&mut self.piece, piece));
            self.taken = 0;
        }
        let count = into.len().min(self.piece.len() - self.taken);
        into[..count].copy_from_slice(&self.piece[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

/// How much was inflated, and its digest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
}

/// Lets `work` read what is inflated of `archive`. What could not be inflated is told rather than what came of it.
pub(super) fn inflated<T>(
    archive: impl Read + Send,
    limits: &ImportLimits,
    work: impl FnOnce(Inflated) -> Result<T, ImportError>,
) -> Result<(T, Whole), ImportError> {
    let (full_to, full) = sync_channel(AHEAD);
    let (empty, empty_from) = channel();
    std::thread::scope(|scope| {
        let inflating = scope.spawn(move || inflate(archive, limits, (&full_to, &empty_from)));
        let worked = work(Inflated { full, empty, piece: Vec::new(), taken: 0 });
        let whole = inflating.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (whole, worked) {
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(whole), Ok(worked)) => Ok((worked, whole)),
        }
    })
}

/// Inflates up to the end, or until nobody reads it any more.
fn inflate(
    archive: impl Read,
    limits: &ImportLimits,
    (full, empty): (&SyncSender<Vec<u8>>, &Receiver<Vec<u8>>),
) -> Result<Whole, ImportError> {
    let mut stream = Stream::open(archive, limits)?;
    loop {
        let chunk = stream.chunk(PIECE_BYTES as u64)?;
        if chunk.is_empty() {
            let bytes = stream.offset();
            return Ok(Whole { digest: Digest::new(stream.finish()), bytes });
        }
        let mut piece: Vec<u8> = empty.try_recv().unwrap_or_default();
        piece.clear();
        piece.extend_from_slice(chunk);
        if full.send(piece).is_err() {
            // Whoever read it had enough; what is said then of the whole is not looked at.
            return Ok(Whole { digest: Digest::new([0; 32]), bytes: 0 });
        }
    }
}
