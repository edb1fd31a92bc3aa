//! A further program in a running container: what is asked, and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Invalid, Signal, UserSpec};

/// How long an exec may take where nothing is said, in milliseconds.
pub const TIME_MS_DEFAULT: u64 = 60_000;
/// Longest that an exec may take, in milliseconds: one day.
pub const TIME_MS_MAX: u64 = 86_400_000;
/// Most bytes of each output that an answer holds; the rest is read and let go.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// A program that shall be run in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Variables beside the container's own.
    pub env: BTreeMap<String, String>,
    /// Who it runs as; the container's own user where not given.
    pub user: Option<UserSpec>,
    /// Working folder; the container's own where not given.
    pub workdir: Option<String>,
    /// After so many milliseconds it is killed, with what it started.
    pub time_limit_ms: u64,
}

impl Exec {
    /// Refuses a time limit that is none.
    pub fn check(&self) -> Result<(), Invalid> {
        match self.time_limit_ms {
            1..=TIME_MS_MAX => Ok(()),
            other => Err(Invalid::new("time_limit_ms", format!("must be between 1 and {TIME_MS_MAX}, not {other}"))),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    /// Exit code, where it exited.
    pub code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// Whether its time was up.
    pub timed_out: bool,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it wrote on its error output.
    pub stderr: Vec<u8>,
    /// Whether it wrote more than [`OUTPUT_BYTES_MAX`] on either.
    pub truncated: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Ran {
    /// The number that a shell would show.
    pub fn shell_code(&self) -> Option<u8> {
        let signalled = || u8::try_from(128 + self.signal?.number()).ok();
        self.code.or_else(signalled)
    }
}
