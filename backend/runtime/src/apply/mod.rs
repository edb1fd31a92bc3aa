//! Carries a plan out: two loops walk the same list of steps, one outside ([`outside`]), one inside ([`inside`]), with a
//! socket between them. Each takes the steps of its own place, and waits where the list changes to the other's.
//!
//! ```text
//! outside ──▶ inside   descriptors, at most 60 a message
//!                      `go` where steps of the outside are followed by steps of the inside
//! inside ──▶ outside   one report a step: number, time, and where it failed the cause; descriptors that the step made
//!                      one report `begun` right before the exec; then the socket's end says that it succeeded
//! ```

mod birth;
mod cgroup;
mod exec;
mod hooks;
mod identity;
mod init;
mod inside;
mod landlock;
mod outside;
mod starting;
mod streams;
mod tree;

pub use outside::{Started, Streams, apply, finish, start, undo};
pub use starting::nobody_waits;

use belljar_linux::Result;
use belljar_linux::{Error, fd};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Most descriptors in one message, below the limit of [`fd::PASSED_MAX`].
const BATCH: usize = 60;
/// Longest cause that is reported, in bytes.
const CAUSE_BYTES_MAX: usize = 1024;

/// What the first process says about one step.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    /// Number of the step in the plan.
    index: usize,
    /// How long it took, in nanoseconds.
    took_nsec: u64,
    /// What became of it.
    outcome: Word,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// Done, and what there is to say about it beside its time.
    Done(String),
    /// Failed, and why.
    Failed(String),
    /// The exec begins: if nothing follows, it succeeded.
    Begun,
    /// It waits for its start; whoever listens now need not any more.
    Waits,
}

impl Report {
    fn encode(&self) -> Vec<u8> {
        let (word, cause) = match &self.outcome {
            Word::Done(note) => (0u8, note.as_str()),
            Word::Failed(cause) => (1, cause.as_str()),
            Word::Begun => (2, ""),
            Word::Waits => (3, ""),
        };
        let mut message = Vec::with_capacity(13 + cause.len());
        message.extend((self.index as u32).to_le_bytes());
        message.extend(self.took_nsec.to_le_bytes());
        message.push(word);
        message.extend(cause.bytes().take(CAUSE_BYTES_MAX));
        message
    }

    fn decode(message: &[u8]) -> Option<Self> {
        let (index, rest) = message.split_first_chunk::<4>()?;
        let (took, rest) = rest.split_first_chunk::<8>()?;
        let (word, cause) = rest.split_first()?;
        let outcome = match word {
            0 => Word::Done(String::from_utf8_lossy(cause).into_owned()),
            1 => Word::Failed(String::from_utf8_lossy(cause).into_owned()),
            2 => Word::Begun,
            3 => Word::Waits,
            _ => return None,
        };
        Some(Self { index: u32::from_le_bytes(*index) as usize, took_nsec: u64::from_le_bytes(*took), outcome })
    }
}

/// A step in the loop of the other place: our own mistake, told and not made.
fn misplaced(verb: &str, object: &str) -> Error {
    Error::new("take", format!("{verb} {object}: in the wrong place"), Errno::NOSYS)
}

/// The cause alone where the subject is the step's own; with the subject where it says more.
fn told(error: &Error) -> String {
    if error.subject.is_empty() { error.cause() } else { format!("{} ({} {})", error.cause(), error.operation, error.subject) }
}

/// Hands descriptors to the inside.
fn hand_over(socket: impl AsFd, passed: &[OwnedFd]) -> Result<()> {
    for batch in passed.chunks(BATCH) {
        let borrowed: Vec<BorrowedFd<'_>> = batch.iter().map(AsFd::as_fd).collect();
        fd::send(&socket, b"more", &borrowed)?;
    }
    Ok(())
}

/// It is the inside's turn.
fn go(socket: impl AsFd) -> Result<()> {
    fd::send(&socket, b"go", &[])
}

/// Waits for its turn, and takes what is handed over meanwhile; `None` where the outside gave up.
fn await_turn(socket: impl AsFd) -> Result<Option<Vec<OwnedFd>>> {
    let mut taken = Vec::new();
    let mut word = [0; 8];
    loop {
        let (length, passed) = fd::receive(&socket, &mut word)?;
        taken.extend(passed);
        match &word[..length] {
            b"more" => {}
            b"go" => return Ok(Some(taken)),
            _ => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_way() {
        for outcome in [
            Word::Done(String::new()),
            Word::Done(": bound".into()),
            Word::Begun,
            Word::Waits,
            Word::Failed("EPERM: operation not permitted".into()),
        ] {
            let report = Report { index: 7, took_nsec: 1_234_567, outcome };
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(b"short"), None);
    }

    #[test]
    fn more_mounts_than_fit_a_message_arrive_in_order() {
        let (left, right) = fd::message_pair().unwrap();
        let files: Vec<OwnedFd> = (0..130).map(|_| tempfile::tempfile().unwrap().into()).collect();
        let inode = |file: &OwnedFd| rustix::fs::fstat(file).unwrap().st_ino;
        let expected: Vec<u64> = files.iter().map(inode).collect();
        hand_over(&left, &files).unwrap();
        go(&left).unwrap();
        let taken = await_turn(&right).unwrap().unwrap();
        assert_eq!(taken.iter().map(inode).collect::<Vec<_>>(), expected);
        drop(left);
        assert!(await_turn(&right).unwrap().is_none(), "an outside that gave up is the end");
    }
}
