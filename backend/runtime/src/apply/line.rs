//! The line between the two loops: a socket to the maker, or the FIFOs of whoever starts ([`super::starting`]).
//!
//! The container's filter of system calls may stand while the inside still talks, and without `no_new_privs` it stands long
//! before the exec. So the inside says everything by `write(2)` and hears its turns by `read(2)`, which every program
//! needs; only descriptors go by other calls, before there is a filter. What is made after is taken by its number
//! ([`super::Word::Holds`]).

use std::os::fd::{AsFd, OwnedFd};

use belljar_linux::error::Context;
use belljar_linux::{Result, fd};
use rustix::io::Errno;

use super::Report;

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
    Socket(OwnedFd),
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
        let message = report.encode();
        match self {
            Line::Socket(socket) => write(socket, &message),
            Line::Pipes { to, .. } => {
                let mut framed = (message.len() as u16).to_le_bytes().to_vec();
                framed.extend(message);
                write(to, &framed)
            }
        }
    }

    /// Outside: the next report, and the descriptors that came with it; `None` is the end.
    pub(super) fn hear(&self) -> Result<(Option<Report>, Vec<OwnedFd>)> {
        let mut message = [0; REPORT_BYTES];
        match self {
            Line::Socket(socket) => {
                let (length, passed) = fd::receive(socket, &mut message)?;
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

    /// Outside: it is the inside's turn.
    pub(super) fn go(&self) -> Result<()> {
        match self {
            Line::Socket(socket) => fd::send(socket, GO, &[]),
            Line::Pipes { to, .. } => write(to, GO),
        }
    }

    /// Inside: waits for its turn; `false` where the outside gave up.
    pub(super) fn await_go(&self) -> Result<bool> {
        let from = match self {
            Line::Socket(socket) => socket,
            Line::Pipes { from, .. } => from,
        };
        let mut word = [0; GO.len()];
        Ok(read_all(from, &mut word)? && word == *GO)
    }

    /// Outside: hands descriptors to the inside.
    pub(super) fn hand_over(&self, passed: &[OwnedFd]) -> Result<()> {
        let Line::Socket(socket) = self else { return Err(no_descriptors("hand over")) };
        for batch in passed.chunks(super::BATCH) {
            let borrowed: Vec<_> = batch.iter().map(AsFd::as_fd).collect();
            fd::send(socket, MORE, &borrowed)?;
        }
        Ok(())
    }

    /// Inside: waits for its turn, and takes the descriptors that are handed over before.
    pub(super) fn await_go_with_descriptors(&self) -> Result<Option<Vec<OwnedFd>>> {
        let Line::Socket(socket) = self else { return Err(no_descriptors("take")) };
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
        let Line::Socket(socket) = self else { return Err(no_descriptors("pass")) };
        fd::send(socket, &report.encode(), &[passed.as_fd()])
    }
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
        let (left, right) = (Line::Socket(left), Line::Socket(right));
        let files: Vec<OwnedFd> = (0..130).map(|_| tempfile::tempfile().unwrap().into()).collect();
        let inode = |file: &OwnedFd| rustix::fs::fstat(file).unwrap().st_ino;
        let expected: Vec<u64> = files.iter().map(inode).collect();
        left.hand_over(&files).unwrap();
        left.go().unwrap();
        let taken = right.await_go_with_descriptors().unwrap().unwrap();
        assert_eq!(taken.iter().map(inode).collect::<Vec<_>>(), expected);
        drop(left);
        assert!(right.await_go_with_descriptors().unwrap().is_none(), "an outside that gave up is the end");
        assert!(!right.await_go().unwrap());
    }
}
