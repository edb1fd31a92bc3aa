//! Calls that a container's filter refused, counted: *this program asked for `mount` 3 times*.

use serde::{Deserialize, Serialize};

/// What was asked for in vain, or would have been, since the container's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Which start of the container this was.
    pub attempt: u64,
    /// Whether the calls were made all the same.
    pub let_through: bool,
    /// By name, the most frequent first.
    pub calls: Vec<RecordedCall>,
    /// How many calls beyond those that are told apart.
    pub others: u64,
}

/// One system call of one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedCall {
    /// `mount`; `#471` where this release knows no name.
    pub name: String,
    /// `amd64`, `x86`: through which entry of the kernel.
    pub arch: String,
    /// How often.
    pub count: u64,
    /// The errno that the filter has for it, as last answered.
    pub errno: u16,
    /// The first time, in Unix milliseconds.
    pub first_ms: i64,
    /// The last time, in Unix milliseconds.
    pub last_ms: i64,
}
