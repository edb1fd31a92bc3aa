//! The host and this server, on the wire.

use belljar_model::cgroup::Version;
use serde::{Deserialize, Serialize};

/// What containers run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The host's own name.
    pub hostname: String,
    /// Release of its kernel: `6.1.0-28-amd64`.
    pub kernel: String,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processors online.
    pub cpus: u32,
    /// Most processes at one time.
    pub pids: u32,
    /// `v1`, `v2` or `hybrid`.
    pub cgroup_mode: String,
    /// Controllers in use, with the kind of hierarchy that each lives in.
    pub controllers: Vec<HostController>,
    /// Whether user namespaces can be made.
    pub user_namespaces: bool,
    /// Whether mounts can be idmapped.
    pub idmapped_mounts: bool,
    /// Folder of everything that is kept.
    pub data_dir: String,
    /// Folder of what lives until the next boot.
    pub run_dir: String,
    /// Name of this instance.
    pub instance: String,
    /// Version of Belljar.
    pub version: String,
}

/// A controller of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostController {
    /// `memory`, `cpu`, `pids`, ….
    pub name: String,
    /// `v1` or `v2`.
    pub version: Version,
}

/// The answer of `/healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// Version of Belljar.
    pub version: String,
}
