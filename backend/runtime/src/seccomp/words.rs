//! The words of profiles for what a call gets, how an argument is compared, and how a filter is loaded.

use serde::{Deserialize, Serialize};

/// Every [`Action`], as profiles write it.
pub const ACTIONS: [&str; 9] = [
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
];

/// Every [`Op`], as profiles write it.
pub const OPERATORS: [&str; 7] =
    ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"];

/// Every flag of a load, as profiles write it.
pub const FLAGS: [&str; 4] =
    ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"];

/// What a call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum Action {
    /// The thread ends, as the oldest name has it.
    #[serde(rename = "SCMP_ACT_KILL")]
    Kill,
    /// The process ends.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    /// The thread ends.
    #[serde(rename = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    /// `SIGSYS`.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// It fails.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// A tracer decides.
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    /// It is made.
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    /// It is made and logged.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// The listener decides.
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum Op {
    /// Is not.
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    /// Is less.
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    /// Is not greater.
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    /// Is.
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    /// Is not less.
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    /// Is greater.
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    /// Is the second value under a mask, which is the first.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}
