//! The start of a container that waits for it: two FIFOs in its state folder, opened before its root was changed and never to be
//! reached from its tree. Its filter of system calls may stand by then and know nothing of sockets, so what the first process
//! does is to read and to write.
//!
//! ```text
//! start.fifo   starter ──▶ first process   one letter: the word to start; later one for each of its turns
//! told.fifo    first process ──▶ starter   reports
//! ```
//! The first process reads one and keeps it open for writing too, until it was told: so it waits, and nobody else's end ends the
//! wait. From then on the starter is the only writer, and its death is the end, as it is on the socket of a maker. Nobody reads
//! the FIFO where nobody waits, which the kernel says at once (`ENXIO`).

use std::os::fd::OwnedFd;
use std::path::Path;

use belljar_linux::error::Context;
use belljar_linux::{Error, Result};
use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::line::Line;

/// Names of the FIFOs.
const START: &str = "start.fifo";
const TOLD: &str = "told.fifo";
/// The word to start. It is another one than those that follow: of two starters, one that was killed before it could take the
/// FIFO away and one that came after it, the second is no word for a turn.
const WORD: &[u8] = b"s";

/// What the first process waits with.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) words: OwnedFd,
    /// Keeps the reading end from seeing an end.
    pub(super) held: OwnedFd,
    pub(super) reports: OwnedFd,
}

/// Makes the FIFOs.
pub(super) fn prepare(folder: &Path) -> Result<Wait> {
    take_away(folder);
    let (start, told) = (folder.join(START), folder.join(TOLD));
    for path in [&told, &start] {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).context("make", || path.display().to_string())?;
    }
    // With both ends in one descriptor no other opening waits for somebody.
    let held = open(&start, OFlags::RDWR)?;
    let _meanwhile = open(&told, OFlags::RDWR)?;
    Ok(Wait { words: open(&start, OFlags::RDONLY)?, held, reports: open(&told, OFlags::WRONLY)? })
}

/// Waits for the word to start; `None` is any other.
pub(super) fn await_word(wait: Wait) -> Result<Option<Line>> {
    let mut letter = [0; WORD.len()];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&wait.words, &mut letter)).context("await", || "start".into())?;
    drop(wait.held);
    Ok((letter.get(..length) == Some(WORD)).then_some(Line::Pipes { from: wait.words, to: wait.reports }))
}

/// Tells a first process that waits to start. See [`nobody_waits`] for the errors.
pub(super) fn tell(folder: &Path) -> Result<Line> {
    let path = folder.join(START);
    let words = open(&path, OFlags::WRONLY | OFlags::NONBLOCK)?;
    // Of several starters one is listened to, and has taken the FIFO away when the next one gets the lock.
    rustix::fs::flock(&words, FlockOperation::NonBlockingLockExclusive).context("lock", || path.display().to_string())?;
    if rustix::fs::fstat(&words).context("look at", || path.display().to_string())?.st_nlink == 0 {
        return Err(Error::new("open", path.display().to_string(), Errno::NOENT));
    }
    let told = open(&folder.join(TOLD), OFlags::RDONLY | OFlags::NONBLOCK)?;
    for blocking in [&words, &told] {
        rustix::fs::fcntl_setfl(blocking, OFlags::empty()).context("open", || path.display().to_string())?;
    }
    rustix::io::write(&words, WORD).context("tell", || path.display().to_string())?;
    // After the word: were we killed in between, nobody would read the FIFO once the program runs, while a process that waits
    // at one that has no name could never be told.
    take_away(folder);
    Ok(Line::Pipes { from: told, to: words })
}

/// Whether the first process of the container with this state folder waits for its start.
pub fn waits(folder: &Path) -> bool {
    open(&folder.join(START), OFlags::WRONLY | OFlags::NONBLOCK).is_ok()
}

/// Removes the FIFOs, if they are there.
pub(super) fn take_away(folder: &Path) {
    // What is not there need not go; where it cannot go, nobody reads it any more.
    for name in [START, TOLD] {
        let _ = std::fs::remove_file(folder.join(name));
    }
}

/// Whether a failed start means that nobody waits, or that somebody else is starting it.
pub fn nobody_waits(errno: Errno) -> bool {
    matches!(errno, Errno::NXIO | Errno::NOENT | Errno::WOULDBLOCK | Errno::PIPE)
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let opened = || rustix::fs::open(path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty());
    rustix::io::retry_on_intr(opened).context("open", || path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Report, Word};
    use super::*;

    #[test]
    fn one_starter_is_listened_to_and_its_end_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!waits(folder.path()));
        let wait = prepare(folder.path()).unwrap();
        assert!(waits(folder.path()) && waits(folder.path()), "a look does not start it");
        let starter = tell(folder.path()).unwrap();
        assert!(!waits(folder.path()));
        let error = tell(folder.path()).map(drop).unwrap_err();
        assert!(nobody_waits(error.errno), "{error}");
        let line = await_word(wait).unwrap().unwrap();
        let report = Report { index: 3, took_nsec: 4, outcome: Word::Done("x".repeat(900)) };
        line.say(&report).unwrap();
        line.say(&report).unwrap();
        assert_eq!(starter.hear().unwrap().0.as_ref(), Some(&report));
        assert_eq!(starter.hear().unwrap().0, Some(report));
        starter.go(&[]).unwrap();
        assert!(line.await_go().unwrap());
        drop(starter);
        assert!(!line.await_go().unwrap(), "the starter is gone");
    }

    #[test]
    fn a_starter_hears_the_end_of_the_first_process() {
        let folder = tempfile::tempdir().unwrap();
        let wait = prepare(folder.path()).unwrap();
        let starter = tell(folder.path()).unwrap();
        drop(await_word(wait).unwrap());
        assert_eq!(starter.hear().unwrap().0, None);
    }

    #[test]
    fn nobody_waits_where_the_first_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        drop(prepare(folder.path()).unwrap());
        assert!(!waits(folder.path()));
        assert!(nobody_waits(tell(folder.path()).map(drop).unwrap_err().errno));
    }

    #[test]
    fn the_word_of_a_second_starter_is_no_turn() {
        let folder = tempfile::tempdir().unwrap();
        let wait = prepare(folder.path()).unwrap();
        let second = open(&folder.path().join(START), OFlags::WRONLY).unwrap();
        let _first = tell(folder.path()).unwrap();
        let line = await_word(wait).unwrap().unwrap();
        rustix::io::write(&second, WORD).unwrap();
        assert!(!line.await_go().unwrap());
    }
}
