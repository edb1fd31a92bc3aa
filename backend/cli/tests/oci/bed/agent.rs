//! Whoever a filter asks: an agent at a `listenerPath`, as engines have one, that takes each listener with what is told of
//! its process, and answers every call until the agent goes away (`seccomp_unotify(2)`; config-linux.md, *Seccomp*).
//!
//! It must never know which runtime hands over.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use belljar_linux::seccomp::notify::{self, Answer, Call};
use belljar_testbed::DEADLINE;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use super::Bed;

/// `mkdir` of x86-64, which the agent refuses.
pub(crate) const MKDIR: u32 = 83;
/// `sethostname` of x86-64, which the agent lets the kernel answer, as any other.
pub(crate) const SETHOSTNAME: u32 = 170;
/// What the agent says to `mkdir`; the kernel never does.
const REFUSAL: Errno = Errno::ENOMEDIUM;

/// What came so far.
#[derive(Debug, Default)]
struct Heard {
    /// What was told of each process that has a listener.
    states: Vec<Value>,
    calls: Vec<Call>,
}

/// An agent, until it is dropped; then its socket and its listeners are gone.
pub(crate) struct Agent {
    path: PathBuf,
    heard: Arc<Mutex<Heard>>,
    is_over: Arc<AtomicBool>,
    work: Option<std::thread::JoinHandle<()>>,
}

impl Agent {
    pub(crate) fn path_in(bed: &Bed) -> PathBuf {
        bed.path("agent.sock")
    }

    pub(crate) fn listen(bed: &Bed) -> Self {
        let path = Self::path_in(bed);
        let socket = UnixListener::bind(&path).expect("a socket can be bound");
        socket.set_nonblocking(true).expect("a socket can be made not to block");
        let (heard, is_over) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (hears, ends) = (Arc::clone(&heard), Arc::clone(&is_over));
        let work = std::thread::spawn(move || serve(&socket, &hears, &ends));
        Self { path, heard, is_over, work: Some(work) }
    }

    /// What was told, and the calls that were asked for, since the last look.
    pub(crate) fn take(&self) -> (Vec<Value>, Vec<Call>) {
        let heard = std::mem::take(&mut *self.heard.lock().expect("the agent lives"));
        (heard.states, heard.calls)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.work.take().map(std::thread::JoinHandle::join);
        std::fs::remove_file(&self.path).expect("a socket can be removed");
        if !std::thread::panicking() {
            ended.expect("it worked").expect("the agent got through");
        }
    }
}

fn serve(socket: &UnixListener, heard: &Mutex<Heard>, is_over: &AtomicBool) {
    let mut listeners: Vec<OwnedFd> = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let mut asked: Vec<PollFd> = listeners.iter().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)).collect();
        asked.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        poll(&mut asked, PollTimeout::from(20_u8)).expect("descriptors can be polled");
        let has = |asked: &PollFd, flag: PollFlags| asked.revents().is_some_and(|found| found.contains(flag));
        // One whose last process has ended says nothing but that.
        let (ready, gone): (Vec<bool>, Vec<bool>) =
            asked.iter().map(|asked| (has(asked, PollFlags::POLLIN), has(asked, PollFlags::POLLHUP))).unzip();
        for (listener, _) in listeners.iter().zip(&ready).filter(|(_, is_ready)| **is_ready) {
            answer(listener, heard);
        }
        let mut gone = gone.iter();
        listeners.retain(|_| gone.next() != Some(&true));
        if let Ok((stream, _)) = socket.accept() {
            listeners.push(receive(stream, heard));
        }
    }
}

/// The listener, and everything that is told of its process.
fn receive(mut stream: UnixStream, heard: &Mutex<Heard>) -> OwnedFd {
    stream.set_nonblocking(false).expect("a socket can be made to block");
    stream.set_read_timeout(Some(DEADLINE)).expect("a wait has an end");
    let mut text = vec![0; 1 << 16];
    let (length, mut passed) = belljar_linux::fd::receive(&stream, &mut text).expect("a message comes");
    text.truncate(length);
    assert_eq!(passed.len(), 1, "one descriptor comes with the message");
    // Not every runtime closes its end: the document says itself where it ends.
    let state = loop {
        match serde_json::from_slice(&text) {
            Ok(state) => break state,
            Err(error) => assert!(error.is_eof(), "the process is told of as JSON: {error}"),
        }
        let mut more = [0; 4096];
        let length = stream.read(&mut more).expect("the rest of it comes");
        assert_ne!(length, 0, "it ends with its document");
        text.extend_from_slice(&more[..length]);
    };
    heard.lock().expect("the test lives").states.push(state);
    passed.remove(0)
}

fn answer(listener: &OwnedFd, heard: &Mutex<Heard>) {
    let Some(call) = notify::receive(listener).expect("a call comes") else { return };
    heard.lock().expect("the test lives").calls.push(call);
    let answer = if call.number == MKDIR { Answer::Fail(REFUSAL as u16) } else { Answer::Continue };
    notify::respond(listener, call.id, answer).expect("an answer is taken");
}
