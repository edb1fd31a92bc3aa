//! The line between the two loops: a socket to the maker, or the FIFOs of whoever starts ([`super::starting`]).
//!
//! The container's filter of system calls may stand while the inside still talks, and without `no_new_privs` it stands long
//! before the exec. So the inside says everything by `write(2)` and hears its turns by `read(2)`, which every program
//! needs; only descriptors go by other calls, before there is a filter. What is made after is taken by its number
//! ([`super::Word::Holds`]).
//!
//! To wake the other side costs more than most steps. So what there is no need to hear at once is written on a [`Board`] that both
//! have: that a step is done, and how long it took. A message goes out where the other side has something to do. Between an inside
//! and whoever starts it there is no such board, and every report is a message.

use std::os::fd::{AsFd, OwnedFd};

use belljar_linux::board::Board;
use belljar_linux::error::Context;
use belljar_linux::{Result, fd};
use rustix::io::Errno;

use super::{Report, Word};

/// Longest report, in bytes.
const REPORT_BYTES: usize = super::CAUSE_BYTES_MAX + 64;
/// It is the inside's turn.
const GO: &[u8] = b"g";
/// Descriptors come along.
const MORE: &[u8] = b"m";

/// One end of the line.
#[derive(Debug)]
pub(super) enum Line {
    /// Keeps messages apart, and can pass descriptors.
    Socket {
        socket: OwnedFd,
        /// A number for each step of the plan: see [`on_board`].
        board: Board,
    },
    /// Two ways of bytes.
    Pipes {
        /// What the other side says.
        from: OwnedFd,
        /// What this one says.
        to: OwnedFd,
    },
}

impl Line {
    /// Inside: one report. An end that nobody hears is an error, or `SIGPIPE`.
    pub(super) fn say(&self, report: &Report) -> Result<()> {
        match self {
            Line::Socket { board, .. } if report.says_nothing_but_its_time() => {
                board.write(report.index, on_board(report.took_nsec));
                Ok(())
            }
            Line::Socket { socket, .. } => write(socket, &report.encode()),
            Line::Pipes { to, .. } => {
                let message = report.encode();
                let mut framed = (message.len() as u16).to_le_bytes().to_vec();
                framed.extend(message);
                write(to, &framed)
            }
        }
    }

    /// Inside: it is the outside's turn, and what is on the board is all there is to hear before.
    pub(super) fn end_turn(&self, index: usize) -> Result<()> {
        match self {
            Line::Socket { socket, .. } => write(socket, &Report { index, took_nsec: 0, outcome: Word::TurnEnds }.encode()),
            Line::Pipes { .. } => Ok(()),
        }
    }

    /// Outside: how long a step took, in nanoseconds, where the board says that it was taken.
    pub(super) fn taken(&self, index: usize) -> Option<u64> {
        match self {
            Line::Socket { board, .. } => board.read(index).checked_sub(1),
            Line::Pipes { .. } => None,
        }
    }

    /// Outside: the next report, and the descriptors that came with it; `None` is the end.
    pub(super) fn hear(&self) -> Result<(Option<Report>, Vec<OwnedFd>)> {
        let mut message = [0; REPORT_BYTES];
        match self {
            Line::Socket { socket, .. } => {
                let (length, passed) = match fd::receive(socket, &mut message) {
                    // It ended before it had read our last word; what it said before that is still to be heard (`unix(7)`).
                    Err(error) if error.errno == Errno::CONNRESET => fd::receive(socket, &mut message)?,
                    received => received?,
                };
                Ok((Report::decode(&message[..length]), passed))
            }
            Line::Pipes { from, .. } => {
                let mut length = [0; 2];
                let whole = read_all(from, &mut length)?;
                let length = usize::from(u16::from_le_bytes(length));
                let Some(message) = message.get_mut(..length).filter(|_| whole) else { return Ok((None, Vec::new())) };
                let report = if read_all(from, message)? { Report::decode(message) } else { None };
                Ok((report, Vec::new()))
            }
        }
    }

    /// Outside: it is the inside's turn, which gets these.
    pub(super) fn go(&self, passed: &[OwnedFd]) -> Result<()> {
        match self {
            Line::Socket { socket, .. } => {
                let mut batches = passed.chunks(super::BATCH).peekable();
                while let Some(batch) = batches.next() {
                    let borrowed: Vec<_> = batch.iter().map(AsFd::as_fd).collect();
                    // The last ones come with the word itself: that is one waking less.
                    fd::send(socket, if batches.peek().is_some() { MORE } else { GO }, &borrowed)?;
                }
                if passed.is_empty() { fd::send(socket, GO, &[]) } else { Ok(()) }
            }
            Line::Pipes { .. } if !passed.is_empty() => Err(no_descriptors("hand over")),
            Line::Pipes { to, .. } => write(to, GO),
        }
    }

    /// Inside: waits for its turn; `false` where the outside gave up.
    pub(super) fn await_go(&self) -> Result<bool> {
        let from = match self {
            Line::Socket { socket, .. } => socket,
            Line::Pipes { from, .. } => from,
        };
        let mut word = [0; GO.len()];
        Ok(read_all(from, &mut word)? && word == *GO)
    }

    /// Inside: waits for its turn, and takes the descriptors that are handed over with it.
    pub(super) fn await_go_with_descriptors(&self) -> Result<Option<Vec<OwnedFd>>> {
        let Line::Socket { socket, .. } = self else { return Err(no_descriptors("take")) };
        let mut taken = Vec::new();
        let mut word = [0; GO.len()];
        loop {
            let (length, passed) = fd::receive(socket, &mut word)?;
            taken.extend(passed);
            match &word[..length] {
                MORE => {}
                GO => return Ok(Some(taken)),
                _ => return Ok(None),
            }
        }
    }

    /// Inside, while there is no filter: a step is done, and made these.
    pub(super) fn pass(&self, report: &Report, passed: &OwnedFd) -> Result<()> {
        let Line::Socket { socket, .. } = self else { return Err(no_descriptors("pass")) };
        fd::send(socket, &report.encode(), &[passed.as_fd()])
    }
}

/// What the board says of a step that was taken: never 0, which says that it was not.
fn on_board(took_nsec: u64) -> u64 {
    took_nsec.saturating_add(1)
}

fn no_descriptors(verb: &'static str) -> belljar_linux::Error {
    belljar_linux::Error::new(verb, "descriptors by a FIFO", Errno::OPNOTSUPP)
}

fn write(to: &OwnedFd, message: &[u8]) -> Result<()> {
    // Whole or not at all: it is a message, or shorter than what a FIFO takes at once.
    rustix::io::retry_on_intr(|| rustix::io::write(to, message)).context("send", || "message".into()).map(drop)
}

/// Whether there was as much before the end.
fn read_all(from: &OwnedFd, buffer: &mut [u8]) -> Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::retry_on_intr(|| rustix::io::read(from, &mut buffer[filled..])).context("receive", || "message".into())? {
            0 => return Ok(false),
            length => filled += length,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_mounts_than_fit_a_message_arrive_in_order() {
        let (left, right) = fd::message_pair().unwrap();
        let line = |socket| Line::Socket { socket, board: Board::new(0).unwrap() };
        let (left, right) = (line(left), line(right));
        let files: Vec<OwnedFd> = (0..130).map(|_| tempfile::tempfile().unwrap().into()).collect();
        let inode = |file: &OwnedFd| rustix::fs::fstat(file).unwrap().st_ino;
        let expected: Vec<u64> = files.iter().map(inode).collect();
        left.go(&files).unwrap();
        let taken = right.await_go_with_descriptors().unwrap().unwrap();
        assert_eq!(taken.iter().map(inode).collect::<Vec<_>>(), expected);
        drop(left);
        assert!(right.await_go_with_descriptors().unwrap().is_none(), "an outside that gave up is the end");
        assert!(!right.await_go().unwrap());
    }
}
