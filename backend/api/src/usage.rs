//! What a container uses, and its processes, on the wire. A figure that could not be read is `null`, never 0.

use std::collections::BTreeMap;

use belljar_model::{process, usage as model};
use serde::{Deserialize, Serialize};

use crate::time;

/// One reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// When it was read.
    #[serde(rename = "at", with = "time::millis")]
    pub at_ms: i64,
    /// Processor time since the start, in microseconds.
    pub cpu_usec_total: Option<u64>,
    /// Share of one processor since the reading before, in percent.
    pub cpu_percent: Option<f64>,
    /// Memory charged to it, page cache included, in bytes.
    pub memory_bytes: Option<u64>,
    /// That without inactive file cache.
    pub memory_working_set_bytes: Option<u64>,
    /// Most that `memory_bytes` ever was.
    pub memory_bytes_peak: Option<u64>,
    /// The limit as the kernel has it; `null` where there is none.
    pub memory_bytes_max: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Their limit as the kernel has it; `null` where there is none.
    pub pids_max: Option<u64>,
    /// Bytes received, over all interfaces but loopback.
    pub network_rx_bytes: Option<u64>,
    /// Bytes sent, over all interfaces but loopback.
    pub network_tx_bytes: Option<u64>,
    /// For each field above by its name: the kernel's file that it was read from.
    pub sources: BTreeMap<String, String>,
}

impl From<model::Usage> for Usage {
    fn from(usage: model::Usage) -> Self {
        Self {
            at_ms: usage.at_ms,
            cpu_usec_total: usage.cpu_usec_total,
            cpu_percent: usage.cpu_percent,
            memory_bytes: usage.memory_bytes,
            memory_working_set_bytes: usage.memory_working_set_bytes,
            memory_bytes_peak: usage.memory_bytes_peak,
            memory_bytes_max: usage.memory_bytes_max,
            pids: usage.pids,
            pids_max: usage.pids_max,
            network_rx_bytes: usage.network_rx_bytes,
            network_tx_bytes: usage.network_tx_bytes,
            sources: usage.sources,
        }
    }
}

/// A process of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id as the host sees it.
    pub pid: i32,
    /// Process id as the container sees it.
    pub pid_inside: Option<i32>,
    /// Process id of its parent, as the host sees it.
    pub ppid: i32,
    /// User id inside the container.
    pub uid_inside: Option<u32>,
    /// Program and arguments, or its name in brackets.
    pub command: String,
    /// The kernel's letter for what it does: `R` runs, `S` sleeps, … (`proc_pid_stat(5)`).
    pub state: String,
    /// Memory that it has in RAM, in bytes.
    pub rss_bytes: Option<u64>,
    /// Processor time, in microseconds.
    pub cpu_usec: Option<u64>,
}

impl From<process::Process> for Process {
    fn from(process: process::Process) -> Self {
        let process::Process { pid, pid_inside, ppid, uid_inside, command, state, rss_bytes, cpu_usec } = process;
        Self { pid, pid_inside, ppid, uid_inside, command, state: state.to_string(), rss_bytes, cpu_usec }
    }
}
