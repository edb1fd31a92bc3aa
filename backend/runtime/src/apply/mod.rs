//! Carries a plan out: two loops walk the same list of steps, one outside ([`outside`]), one inside ([`inside`]), with a
//! line between them ([`line`]). Each takes the steps of its own place, and waits where the list changes to the other's; only
//! what a process makes around itself does the outside not wait for, as nothing of it is needed out there.
//!
//! ```text
//! outside ──▶ inside   `go` where steps of the outside are followed by steps of the inside, with what is handed over: at most
//!                      60 descriptors a message
//! inside ──▶ outside   one report a step: number, time, and where it failed the cause; the terminal that it made, or the
//!                      number of a listener, which the outside takes by itself before it says `go`
//!                      one report `begun` right before the exec; then the line's end says that it succeeded
//! ```
//! A report that says only that a step was taken, and how long that took, is a number in memory that both share; one message then
//! says that the turn ends. So nobody is woken for nothing, and of an inside that was killed the last step is known all the same.

mod birth;
mod cgroup;
mod exec;
mod hooks;
mod identity;
mod init;
mod inside;
mod landlock;
mod line;
mod outside;
mod starting;
mod streams;
mod tree;

pub use outside::{Started, Streams, apply, apply_meanwhile, finish, start, undo};
pub use starting::{nobody_waits, waits};
pub(crate) use tree::overlay;

use belljar_linux::Error;
use rustix::io::Errno;

/// Most descriptors in one message, below the limit of [`belljar_linux::fd::PASSED_MAX`].
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
    /// Done, and the process has a descriptor of this number, which it keeps until its next turn.
    Holds(i32),
    /// Done, and the process goes on as the one of this pid, a child of the maker's too.
    GoesOnAs(i32),
    /// Nothing follows before the outside has taken this step.
    TurnEnds,
}

impl Report {
    fn says_nothing_but_its_time(&self) -> bool {
        match &self.outcome {
            Word::Done(note) => note.is_empty(),
            Word::Begun => true,
            _ => false,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let number;
        let (word, cause) = match &self.outcome {
            Word::Done(note) => (0u8, note.as_bytes()),
            Word::Failed(cause) => (1, cause.as_bytes()),
            Word::Begun => (2, &[][..]),
            Word::Waits => (3, &[][..]),
            Word::TurnEnds => (6, &[][..]),
            Word::Holds(it) | Word::GoesOnAs(it) => {
                number = it.to_le_bytes();
                (if matches!(self.outcome, Word::Holds(_)) { 4 } else { 5 }, &number[..])
            }
        };
        let mut message = Vec::with_capacity(13 + cause.len());
        message.extend((self.index as u32).to_le_bytes());
        message.extend(self.took_nsec.to_le_bytes());
        message.push(word);
        message.extend(cause.iter().take(CAUSE_BYTES_MAX));
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
            4 => Word::Holds(i32::from_le_bytes(cause.try_into().ok()?)),
            6 => Word::TurnEnds,
            5 => Word::GoesOnAs(i32::from_le_bytes(cause.try_into().ok()?)),
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
            Word::TurnEnds,
            Word::Holds(17),
            Word::GoesOnAs(4_000_000),
            Word::Failed("EPERM: operation not permitted".into()),
        ] {
            let report = Report { index: 7, took_nsec: 1_234_567, outcome };
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(b"short"), None);
    }
}
