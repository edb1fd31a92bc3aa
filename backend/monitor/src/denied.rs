//! What the container's filter refuses, where that is counted: answers the calls that wait, and keeps `denied.json` up to date.
//!
//! It must never let a caller wait for a disk: answers first, then at most one write a second.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use belljar_linux::Result;
use belljar_runtime::Bundle;
use belljar_runtime::bundle::{Durable, write_whole};
use belljar_runtime::seccomp::record::{Recorder, Served};

/// Pause between two writes of the file while calls keep coming.
const PAUSE_MS: i64 = 1000;

/// The listener of one start of a container.
pub(crate) struct Denied {
    listener: Option<OwnedFd>,
    recorder: Recorder,
    path: PathBuf,
    attempt: u64,
    /// Counts that the file does not have yet.
    is_behind: bool,
    written_ms: i64,
}

impl Denied {
    /// Begins with an empty file: that nothing was refused so far is worth knowing, too.
    pub(crate) fn begin(bundle: &Bundle, attempt: u64, listener: OwnedFd, recorder: Recorder) -> Self {
        let mut denied = Self { listener: Some(listener), recorder, path: bundle.denied(), attempt, is_behind: true, written_ms: 0 };
        denied.write(crate::run::now_ms());
        denied
    }

    /// What a poll loop waits for, while there is anything.
    pub(crate) fn listener(&self) -> Option<&OwnedFd> {
        self.listener.as_ref()
    }

    /// How long the loop may wait before the file is to be written; `None`: it is up to date.
    pub(crate) fn wait_ms(&self) -> Option<i64> {
        self.is_behind.then(|| (self.written_ms + PAUSE_MS - crate::run::now_ms()).clamp(0, PAUSE_MS))
    }

    /// Answers whoever waits, and writes when it is time. A listener that fails is let go: callers get `ENOSYS`, nobody hangs.
    pub(crate) fn serve(&mut self) {
        let now_ms = crate::run::now_ms();
        let served: Option<Result<Served>> = self.listener.as_ref().map(|listener| self.recorder.serve(listener, now_ms));
        match served {
            Some(Ok(Served::Answered(calls))) => self.is_behind |= calls > 0,
            // Calls that came before it were answered in the same breath, and counted.
            Some(Ok(Served::Over) | Err(_)) => (self.listener, self.is_behind) = (None, true),
            None => {}
        }
        if self.wait_ms() == Some(0) {
            self.write(now_ms);
        }
    }

    /// The last word.
    pub(crate) fn finish(&mut self) {
        if self.is_behind {
            self.write(crate::run::now_ms());
        }
    }

    fn write(&mut self, now_ms: i64) {
        // Strings and numbers only: serde_json refuses nothing of it. A full disk costs the counts, not the container.
        let content = serde_json::to_vec(&self.recorder.recorded(self.attempt)).unwrap_or_default();
        let _ = write_whole(&self.path, &content, Durable::No);
        self.is_behind = false;
        self.written_ms = now_ms;
    }
}
