//! What a container uses, and its processes, on the wire. A figure that could not be read is `null`, never 0.

use std::collections::BTreeMap;
use std::sync::Arc;

use belljar_model::usage::{DeviceUsage, InterfaceUsage, Pressure};
use belljar_model::{process, usage as model};
use serde::{Deserialize, Serialize};

use crate::time;

/// One reading. Devices, interfaces and pressure are written as the model has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// When it was read.
    #[serde(rename = "at", with = "time::millis")]
    pub at_ms: i64,
    /// Processor time since the container's start, in microseconds.
    pub cpu_usec_total: Option<u64>,
    /// Of that in its programs, in microseconds.
    pub cpu_user_usec_total: Option<u64>,
    /// Of that in the kernel, in microseconds.
    pub cpu_system_usec_total: Option<u64>,
    /// Share of one processor between this reading and the one before, in percent: 150 is one and a half processors.
    pub cpu_percent: Option<f64>,
    /// The quota as the kernel has it, in processors; `null` where there is none.
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
    /// The limit as the kernel has it; `null` where there is none.
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
    /// Their limit as the kernel has it; `null` where there is none.
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
    /// The same by device; `null` where nothing counts them.
    pub io: Option<Vec<DeviceUsage>>,
    /// Bytes received, over all interfaces but loopback.
    pub network_rx_bytes: Option<u64>,
    /// Bytes sent, over all interfaces but loopback.
    pub network_tx_bytes: Option<u64>,
    /// The same by interface, loopback included.
    pub network: Option<Vec<InterfaceUsage>>,
    /// What its own layer takes of the disk, as its quota counts it: overlayfs's own folders too, in bytes; also while it rests.
    pub disk_bytes: Option<u64>,
    /// What that may reach, as the kernel has it; `null` where there is none.
    pub disk_bytes_max: Option<u64>,
    /// Files, folders and all else of its own layer, counted in the same way.
    pub disk_inodes: Option<u64>,
    /// What they may reach, as the kernel has it; `null` where there is none.
    pub disk_inodes_max: Option<u64>,
    /// How long it waited for what it is short of; `null` where the kernel does not measure it.
    pub pressure: Option<Pressure>,
    /// For each field above by its name: the kernel's file that it was read from.
    pub sources: BTreeMap<String, String>,
}

impl From<model::Usage> for Usage {
    fn from(usage: model::Usage) -> Self {
        Self {
            at_ms: usage.at_ms,
            cpu_usec_total: usage.cpu_usec_total,
            cpu_user_usec_total: usage.cpu_user_usec_total,
            cpu_system_usec_total: usage.cpu_system_usec_total,
            cpu_percent: usage.cpu_percent,
            cpus_max: usage.cpus_max,
            cpu_periods_total: usage.cpu_periods_total,
            cpu_throttled_periods_total: usage.cpu_throttled_periods_total,
            cpu_throttled_usec_total: usage.cpu_throttled_usec_total,
            memory_bytes: usage.memory_bytes,
            memory_working_set_bytes: usage.memory_working_set_bytes,
            memory_bytes_peak: usage.memory_bytes_peak,
            memory_bytes_max: usage.memory_bytes_max,
            memory_cache_bytes: usage.memory_cache_bytes,
            memory_anonymous_bytes: usage.memory_anonymous_bytes,
            memory_kernel_bytes: usage.memory_kernel_bytes,
            memory_swap_bytes: usage.memory_swap_bytes,
            memory_limit_hits_total: usage.memory_limit_hits_total,
            oom_kills_total: usage.oom_kills_total,
            pids: usage.pids,
            pids_max: usage.pids_max,
            pids_limit_hits_total: usage.pids_limit_hits_total,
            io_read_bytes_total: usage.io_read_bytes_total,
            io_write_bytes_total: usage.io_write_bytes_total,
            io_read_operations_total: usage.io_read_operations_total,
            io_write_operations_total: usage.io_write_operations_total,
            io: usage.io,
            network_rx_bytes: usage.network_rx_bytes,
            network_tx_bytes: usage.network_tx_bytes,
            network: usage.network,
            disk_bytes: usage.disk_bytes,
            disk_bytes_max: usage.disk_bytes_max,
            disk_inodes: usage.disk_inodes,
            disk_inodes_max: usage.disk_inodes_max,
            pressure: usage.pressure,
            sources: Arc::unwrap_or_clone(usage.sources),
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
