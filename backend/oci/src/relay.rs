//! What a foreground `run` or `exec` does while the program runs: signals go in, its terminal's bytes go both ways, and its
//! end is waited for.
//!
//! ```text
//!  our standard input ──▶ ┌───────┐ ──▶ master of the container's terminal
//!  our standard output ◀── │ relay │ ◀── (nothing of this where the program has our own three)
//!  signals to us      ──▶ └───────┘ ──▶ the program
//! ```
//!
//! One thread and one `poll(2)`. Nothing is ever written that the other side is not ready for, so that a reader who stopped
//! reading does not keep a signal from the program. Our own terminal is put back as it was whatever happens.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::notify::Proxy;
use belljar_linux::error::Context as _;
use belljar_linux::process::{self, Ended};
use belljar_linux::{Error, Result};
use nix::sys::signal::{SigSet, Signal as Known};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{self, OptionalActions, Termios};

/// Bytes that wait for one side, at most: as many as a pipe takes at once without blocking the writer.
const CHUNK_BYTES: usize = 4096;

/// Signals of this process, held back so that they can be handed on.
#[derive(Debug)]
pub(crate) struct Signals {
    waiting: SignalFd,
}

impl Signals {
    /// Holds back every signal that can be, except those that a mistake of our own raises. To be called before the program is
    /// made, or one that comes in between would end this process and leave the program alone.
    pub(crate) fn hold() -> Result<Self> {
        let mut set = SigSet::all();
        for own in [Known::SIGSEGV, Known::SIGBUS, Known::SIGFPE, Known::SIGILL, Known::SIGABRT, Known::SIGTRAP, Known::SIGSYS] {
            set.remove(own);
        }
        set.thread_block().context("hold back", || "signals".into())?;
        let waiting = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        Ok(Self { waiting: waiting.context("open", || "signals".into())? })
    }

    /// The next one, by number.
    fn next(&self) -> Option<i32> {
        self.waiting.read_signal().ok().flatten().map(|signal| signal.ssi_signo as i32)
    }
}

/// Our own terminal in raw mode, until this is dropped.
struct Raw {
    before: Option<Termios>,
}

impl Raw {
    /// Leaves what is no terminal alone.
    fn enter() -> Self {
        let before = termios::tcgetattr(rustix::stdio::stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw);
        }
        Self { before }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Bytes on their way from one side to the other.
#[derive(Default)]
struct Way {
    bytes: Vec<u8>,
    ended: bool,
}

impl Way {
    fn wants_more(&self) -> bool {
        self.bytes.is_empty() && !self.ended
    }

    fn fill(&mut self, from: impl AsFd) {
        let mut chunk = [0; CHUNK_BYTES];
        match rustix::io::read(from, &mut chunk) {
            Ok(0) => self.ended = true,
            Ok(length) => self.bytes.extend(&chunk[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal whose last user is gone answers EIO: that is its end.
            Err(_) => self.ended = true,
        }
    }

    fn drain(&mut self, to: impl AsFd) {
        match rustix::io::write(to, &self.bytes) {
            Ok(length) => _ = self.bytes.drain(..length),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody is on the other side any more.
            Err(_) => {
                self.bytes.clear();
                self.ended = true;
            }
        }
    }
}

/// Where the program says that it is ready, and its pid, for whoever waits for that on the host.
pub(crate) type Notice = Option<(Proxy, i32)>;

/// Stays with the program until it has ended, and says how. `master` is the other end of its terminal, where it has one.
pub(crate) fn stay(pidfd: &OwnedFd, signals: &Signals, master: Option<OwnedFd>, mut notice: Notice) -> Result<Ended> {
    match master {
        None => loop {
            let waited = [(pidfd.as_fd(), PollFlags::IN), (signals.waiting.as_fd(), PollFlags::IN), wish(&notice, pidfd)];
            let [ended, _, told] = ready(&waited)?;
            if told {
                pass_on(&mut notice);
            }
            if ended {
                return process::wait(pidfd);
            }
            hand_on(signals, pidfd, None);
        },
        Some(master) => {
            rustix::io::ioctl_fionbio(&master, true).context("prepare", || "terminal".into())?;
            copy_size(&master);
            let _raw = Raw::enter();
            converse(pidfd, signals, &master, notice)
        }
    }
}

fn wish<'a>(notice: &'a Notice, pidfd: &'a OwnedFd) -> (BorrowedFd<'a>, PollFlags) {
    notice.as_ref().map_or((pidfd.as_fd(), PollFlags::empty()), |(proxy, _)| (proxy.socket(), PollFlags::IN))
}

/// Once is enough: what a program says after it is ready is its own.
fn pass_on(notice: &mut Notice) {
    if notice.as_ref().is_some_and(|(proxy, pid)| proxy.hand_on(*pid).unwrap_or(true)) {
        *notice = None;
    }
}

fn converse(pidfd: &OwnedFd, signals: &Signals, master: &OwnedFd, mut notice: Notice) -> Result<Ended> {
    let (mut inward, mut outward) = (Way::default(), Way::default());
    loop {
        let when = |condition: bool, flags: PollFlags| if condition { flags } else { PollFlags::empty() };
        let of_master = when(outward.wants_more(), PollFlags::IN) | when(!inward.bytes.is_empty(), PollFlags::OUT);
        let waited = [
            (pidfd.as_fd(), PollFlags::IN),
            (signals.waiting.as_fd(), PollFlags::IN),
            (rustix::stdio::stdin(), when(inward.wants_more(), PollFlags::IN)),
            (rustix::stdio::stdout(), when(!outward.bytes.is_empty(), PollFlags::OUT)),
            (master.as_fd(), of_master),
            wish(&notice, pidfd),
        ];
        let [ended, signalled, typed, printable, terminal, told] = ready(&waited)?;
        if told {
            pass_on(&mut notice);
        }
        if signalled {
            hand_on(signals, pidfd, Some(master));
        }
        if typed && inward.wants_more() {
            inward.fill(rustix::stdio::stdin());
        }
        if printable && !outward.bytes.is_empty() {
            outward.drain(rustix::stdio::stdout());
        }
        if terminal {
            if !inward.bytes.is_empty() {
                inward.drain(master);
            }
            if outward.wants_more() {
                outward.fill(master);
            }
        }
        if ended {
            flush(&mut outward, (master.as_fd(), rustix::stdio::stdout()))?;
            return process::wait(pidfd);
        }
    }
}

/// What the program had still said when it ended.
fn flush(outward: &mut Way, (from, to): (BorrowedFd<'_>, BorrowedFd<'_>)) -> Result<()> {
    loop {
        while !outward.bytes.is_empty() {
            // Where it does not block, a reader who stands still would keep us writing all the time.
            ready(&[(to, PollFlags::OUT)])?;
            outward.drain(to);
        }
        if outward.ended {
            return Ok(());
        }
        outward.fill(from);
        if outward.bytes.is_empty() {
            return Ok(());
        }
    }
}

/// Which of these are ready; one without a wish is never.
fn ready<const N: usize>(waited: &[(BorrowedFd<'_>, PollFlags); N]) -> Result<[bool; N]> {
    let mut list: Vec<PollFd<'_>> = Vec::with_capacity(N);
    let mut places = Vec::with_capacity(N);
    for (place, (descriptor, flags)) in waited.iter().enumerate().filter(|(_, (_, flags))| !flags.is_empty()) {
        list.push(PollFd::from_borrowed_fd(*descriptor, *flags));
        places.push(place);
    }
    match poll(&mut list, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(Error::new("wait for", "program", errno)),
    }
    let mut which = [false; N];
    for (polled, place) in list.iter().zip(places) {
        which[place] = !polled.revents().is_empty();
    }
    Ok(which)
}

/// Signals to us are meant for the program; only its terminal's size is ours to tell.
fn hand_on(signals: &Signals, pidfd: &OwnedFd, master: Option<&OwnedFd>) {
    while let Some(number) = signals.next() {
        match number {
            number if number == Known::SIGCHLD as i32 || number == Known::SIGPIPE as i32 || number == Known::SIGURG as i32 => {}
            number if number == Known::SIGWINCH as i32 => {
                if let Some(master) = master {
                    copy_size(master);
                }
            }
            // It may have ended just now.
            number => _ = process::signal(pidfd, number),
        }
    }
}

/// The program's terminal is as large as ours, where ours is one.
fn copy_size(master: &OwnedFd) {
    if let Ok(size) = termios::tcgetwinsize(rustix::stdio::stdin()) {
        let _ = termios::tcsetwinsize(master, size);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn last_words_wait_for_a_reader_who_stands_still() {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK).expect("a pipe");
        let ((said, says), (read, written)) = (pipe(), pipe());
        let said_last = [7; 3 * CHUNK_BYTES];
        std::fs::File::from(says).write_all(&said_last).expect("it fits");
        // Full, until somebody reads.
        let mut filled = 0;
        while let Ok(length) = rustix::io::write(&written, &[0; CHUNK_BYTES]) {
            filled += length;
        }
        let own = std::fs::read_link("/proc/thread-self").expect("/proc is there");
        let (begin, begun) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            begun.recv().expect("it begins");
            // Sleeping is what a thread that writes again and again never does.
            let sleeps = || {
                let stat = std::fs::read_to_string(std::path::Path::new("/proc").join(&own).join("stat")).expect("a thread");
                process::parse_stat(&stat).expect("its line").state == 'S'
            };
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while !sleeps() {
                assert!(std::time::Instant::now() < deadline, "it never waits");
                std::thread::yield_now();
            }
            let flags = rustix::fs::fcntl_getfl(&read).expect("flags");
            rustix::fs::fcntl_setfl(&read, flags - rustix::fs::OFlags::NONBLOCK).expect("it blocks now");
            let mut all = Vec::new();
            std::fs::File::from(read).read_to_end(&mut all).expect("it is read");
            all
        });
        begin.send(()).expect("it listens");
        flush(&mut Way::default(), (said.as_fd(), written.as_fd())).expect("it is written");
        drop(written);
        let all = reader.join().expect("it reads");
        assert_eq!((all.len(), &all[filled..]), (filled + said_last.len(), &said_last[..]));
    }
}
