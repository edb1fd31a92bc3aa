//! Why a container died, and why it is slow: findings, each with what it was found in.

use serde::{Deserialize, Serialize};

/// One thing that a person would want to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// How bad it is.
    pub gravity: Gravity,
    /// One sentence, without a full stop: `held back by its cpu limit 41 % of the last minute`.
    pub text: String,
    /// What could be done, as one sentence; empty where nothing has to be.
    pub advice: String,
    /// The figures that it was found in: files of the kernel, or `history`.
    pub sources: Vec<String>,
}

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// It ended, and how.
    Ended,
    /// It, or a process of it, was killed for memory.
    OutOfMemory,
    /// Its check of health fails.
    Unhealthy,
    /// Its quota of processors holds it back.
    CpuThrottled,
    /// It waits for a processor that others use.
    CpuPressure,
    /// It waits for memory.
    MemoryPressure,
    /// It waits for disks.
    IoPressure,
    /// It is close to its limit of memory.
    MemoryNearLimit,
    /// New processes are refused.
    PidsLimit,
    /// Its own layer takes what it may, or almost.
    LayerFull,
    /// What a limit could be, from its history.
    Suggestion,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gravity {
    /// Good to know.
    Note,
    /// It costs something.
    Warning,
    /// It broke something.
    Error,
}
