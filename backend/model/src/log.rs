//! A line that a container wrote.

use serde::{Deserialize, Serialize};

/// Which of its two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The word in the log file and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// One line, or part of one that was longer than 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When the monitor read it, in Unix microseconds.
    pub at_usec: i64,
    /// Where it was written to.
    pub stream: Stream,
    /// Without its line end; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Whether the line goes on in the next one.
    pub partial: bool,
}
