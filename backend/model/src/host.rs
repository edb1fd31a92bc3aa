//! The machine that Belljar runs on, as far as containers depend on it.

use serde::{Deserialize, Serialize};

use crate::cgroup::Version;

/// Facts about the host, looked up by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its hostname.
    pub hostname: String,
    /// The kernel's release: `6.1.0-28-amd64`.
    pub kernel: String,
    /// `MemTotal` of `/proc/meminfo`, in bytes.
    pub memory_bytes: u64,
    /// Processors online.
    pub cpus: u32,
    /// `/proc/sys/kernel/pid_max`.
    pub pids: u32,
    /// `v1`, `v2` or `hybrid`.
    pub cgroup_mode: String,
    /// Controllers that can be used, and the hierarchy of each.
    pub controllers: Vec<HostController>,
    /// Every limit, and whether it can be enforced here.
    pub limits: Vec<LimitSupport>,
    /// Whether a container can have a user namespace of its own.
    pub user_namespaces: Support,
    /// Whether the file systems below the data folder can be mounted with other owners (`MOUNT_ATTR_IDMAP`).
    pub idmapped_mounts: Support,
    /// Whether the data folder can carry containers' own layers.
    pub own_layers: Support,
    /// How full the file system of the data folder is; `None` where it does not say.
    pub space: Option<Space>,
    /// Folder of the data.
    pub data_dir: String,
    /// Folder of the socket and of what lives only as long as the machine runs.
    pub run_dir: String,
    /// Name of this instance of Belljar.
    pub instance: String,
}

/// From so many percent on it is told that the disk is full.
pub const SPACE_USED_PERCENT_MAX: u64 = 95;

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Its size.
    pub total_bytes: u64,
    /// What is used of it.
    pub used_bytes: u64,
    /// What can still be used: less than the rest, where some is kept for root.
    pub free_bytes: u64,
    /// Files that it can have; 0 where it does not count them.
    pub inodes_total: u64,
    /// How many more can be made.
    pub inodes_free: u64,
}

impl Space {
    /// Whether so little is left that it is told.
    pub fn is_full(&self) -> bool {
        self.used_percent().max(self.inodes_used_percent()) >= SPACE_USED_PERCENT_MAX
    }

    /// Percent of what can be used that is, rounded up, as `df(1)` has it.
    pub fn used_percent(&self) -> u64 {
        percent(self.used_bytes, self.used_bytes.saturating_add(self.free_bytes))
    }

    /// The same of files.
    pub fn inodes_used_percent(&self) -> u64 {
        percent(self.inodes_total.saturating_sub(self.inodes_free), self.inodes_total)
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { u64::try_from((u128::from(part) * 100).div_ceil(u128::from(whole))).unwrap_or(100) }
}

/// One cgroup controller of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostController {
    /// `memory`, `cpu`, `pids`, ….
    pub name: String,
    /// Which hierarchy it lives in.
    pub version: Version,
}

/// Whether this host can enforce a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSupport {
    /// The limit's field: `limits.memory_bytes`; behind a comma, for which part of it.
    pub name: String,
    /// Whether it can, or why not.
    pub support: Support,
    /// Which hierarchy enforces it; `None` where none does.
    pub version: Option<Version>,
    /// The kernel's file that it is written to: `memory.max`, or its call: `quotactl(PRJQUOTA)`; empty where there is none.
    pub file: String,
}

/// Whether the kernel can do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Support {
    /// It can.
    Yes,
    /// It cannot, and why, as one sentence.
    No(String),
}
