//! What a container uses, as measured. A figure that could not be read is `None`: unknown, never 0.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One reading of a container's usage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// When it was read, in Unix milliseconds.
    pub at_ms: i64,
    /// Processor time since the container's start, in microseconds.
    pub cpu_usec_total: Option<u64>,
    /// Share of one processor between this reading and the one before, in percent: 150 is one and a half processors.
    pub cpu_percent: Option<f64>,
    /// Memory charged to the container, page cache included, in bytes.
    pub memory_bytes: Option<u64>,
    /// That without inactive file cache: what the kernel could not take back at once. The figure that people expect.
    pub memory_working_set_bytes: Option<u64>,
    /// Most that `memory_bytes` ever was.
    pub memory_bytes_peak: Option<u64>,
    /// The limit as the kernel has it; `None` where there is none.
    pub memory_bytes_max: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Their limit as the kernel has it; `None` where there is none.
    pub pids_max: Option<u64>,
    /// Bytes received, over all interfaces but loopback.
    pub network_rx_bytes: Option<u64>,
    /// Bytes sent, over all interfaces but loopback.
    pub network_tx_bytes: Option<u64>,
    /// For each field above by its name: the kernel's file that it was read from.
    pub sources: BTreeMap<String, String>,
}
