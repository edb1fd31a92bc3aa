//! The processes of a container, as the host's `/proc` shows them.

use serde::{Deserialize, Serialize};

/// One process of a container. A figure that could not be read is `None`: unknown, never 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id as the host sees it.
    pub pid: i32,
    /// Process id as the container sees it: the last of `NSpid` in `/proc/<pid>/status`.
    pub pid_inside: Option<i32>,
    /// Process id of its parent, as the host sees it.
    pub ppid: i32,
    /// User id inside the container.
    pub uid_inside: Option<u32>,
    /// Program and arguments, or the name in brackets where there are none; hostile text.
    pub command: String,
    /// The kernel's letter for its state: `R`, `S`, `D`, `T`, `Z`, … (`proc_pid_stat(5)`).
    pub state: char,
    /// Memory in use that is its own or shared, in bytes.
    pub rss_bytes: Option<u64>,
    /// Processor time, in microseconds.
    pub cpu_usec: Option<u64>,
}
