//! What a container uses, as measured. A figure that could not be read is `None`: unknown, never 0.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One reading of a container's usage. Totals count since its start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// When it was read, in Unix milliseconds.
    pub at_ms: i64,
    /// Processor time since the container's start, in microseconds.
    pub cpu_usec_total: Option<u64>,
    /// Of that in its programs, in microseconds.
    pub cpu_user_usec_total: Option<u64>,
    /// Of that in the kernel, in microseconds.
    pub cpu_system_usec_total: Option<u64>,
    /// Share of one processor between this reading and the one before, in percent: 150 is one and a half processors.
    pub cpu_percent: Option<f64>,
    /// The quota as the kernel has it, in processors; `None` where there is none.
    pub cpus_max: Option<f64>,
    /// Periods of its quota in which it wanted to run.
    pub cpu_periods_total: Option<u64>,
    /// Of those in which it used its quota up, and was held back.
    pub cpu_throttled_periods_total: Option<u64>,
    /// How long it was held back, in microseconds.
    pub cpu_throttled_usec_total: Option<u64>,
    /// Memory charged to the container, page cache included, in bytes.
    pub memory_bytes: Option<u64>,
    /// That without inactive file cache: what the kernel could not take back at once. The figure that people expect.
    pub memory_working_set_bytes: Option<u64>,
    /// Most that `memory_bytes` ever was.
    pub memory_bytes_peak: Option<u64>,
    /// The limit as the kernel has it; `None` where there is none.
    pub memory_bytes_max: Option<u64>,
    /// Page cache, in bytes.
    pub memory_cache_bytes: Option<u64>,
    /// What its programs allocated, in bytes.
    pub memory_anonymous_bytes: Option<u64>,
    /// What the kernel allocated on its behalf, in bytes.
    pub memory_kernel_bytes: Option<u64>,
    /// Swap in use, in bytes.
    pub memory_swap_bytes: Option<u64>,
    /// How often its memory came up against the limit.
    pub memory_limit_hits_total: Option<u64>,
    /// Processes that were killed for memory.
    pub oom_kills_total: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Their limit as the kernel has it; `None` where there is none.
    pub pids_max: Option<u64>,
    /// How often a new process was refused because of the limit.
    pub pids_limit_hits_total: Option<u64>,
    /// Bytes read, over all devices.
    pub io_read_bytes_total: Option<u64>,
    /// Bytes written, over all devices.
    pub io_write_bytes_total: Option<u64>,
    /// Reads, over all devices.
    pub io_read_operations_total: Option<u64>,
    /// Writes, over all devices.
    pub io_write_operations_total: Option<u64>,
    /// The same by device; `None` where nothing counts them.
    pub io: Option<Vec<DeviceUsage>>,
    /// Bytes received, over all interfaces but loopback.
    pub network_rx_bytes: Option<u64>,
    /// Bytes sent, over all interfaces but loopback.
    pub network_tx_bytes: Option<u64>,
    /// The same by interface, loopback included.
    pub network: Option<Vec<InterfaceUsage>>,
    /// What its own layer takes of the disk, as its quota counts it: overlayfs's own folders too, in bytes; also while it rests.
    pub disk_bytes: Option<u64>,
    /// What that may reach, as the kernel has it; `None` where there is none.
    pub disk_bytes_max: Option<u64>,
    /// Files, folders and all else of its own layer, counted in the same way.
    pub disk_inodes: Option<u64>,
    /// What they may reach, as the kernel has it; `None` where there is none.
    pub disk_inodes_max: Option<u64>,
    /// How long it waited for what it is short of; `None` where the kernel does not measure it.
    pub pressure: Option<Pressure>,
    /// For each field above by its name: the kernel's file that it was read from.
    /// Readings of one container share it: it changes when a file comes or goes.
    pub sources: Arc<BTreeMap<String, String>>,
}

/// What was read from and written to one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceUsage {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Its name below `/dev`; `None` where the host has it no more.
    pub name: Option<String>,
    /// Bytes read.
    pub read_bytes_total: u64,
    /// Bytes written.
    pub write_bytes_total: u64,
    /// Reads.
    pub read_operations_total: u64,
    /// Writes.
    pub write_operations_total: u64,
}

/// What came and went through one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceUsage {
    /// Its name inside.
    pub name: String,
    /// Bytes received.
    pub rx_bytes_total: u64,
    /// Bytes sent.
    pub tx_bytes_total: u64,
    /// Packets received.
    pub rx_packets_total: u64,
    /// Packets sent.
    pub tx_packets_total: u64,
    /// Packets lost in either direction: errors and drops.
    pub lost_packets_total: u64,
}

/// Pressure stall information (`Documentation/accounting/psi.rst`) of a cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Waiting for a processor.
    pub cpu: Option<Stall>,
    /// Waiting for memory to be freed or read back.
    pub memory: Option<Stall>,
    /// Waiting for disks.
    pub io: Option<Stall>,
}

/// How much of the time was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stall {
    /// At least one of its tasks waited.
    pub some: StallLine,
    /// All of them did, and nothing got on. `None` where the kernel does not say (processors, before Linux 5.13).
    pub full: Option<StallLine>,
}

/// One line of a pressure file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StallLine {
    /// Share of the last 10 s, in percent.
    pub avg10_percent: f64,
    /// Share of the last minute, in percent.
    pub avg60_percent: f64,
    /// Share of the last five minutes, in percent.
    pub avg300_percent: f64,
    /// All of it, in microseconds.
    pub usec_total: u64,
}
