//! The host and this server, on the wire.

use belljar_model::cgroup::Version;
use belljar_model::host;
pub use belljar_model::host::Space;
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
    /// Every limit, and whether this host can enforce it.
    pub limits: Vec<LimitSupport>,
    /// Whether a container can have a user namespace of its own.
    pub user_namespaces: Support,
    /// Whether the file systems below the data folder can be mounted with other owners.
    pub idmapped_mounts: Support,
    /// Whether the data folder can carry containers' own layers.
    pub own_layers: Support,
    /// How full the file system of the data folder is; `null` where it does not say.
    pub space: Option<Space>,
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

/// Whether this host can enforce a limit. Asked anew for each answer: controllers move while a host runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSupport {
    /// The limit's field: `limits.memory_bytes`; behind a comma, for which part of it.
    pub name: String,
    /// Whether it can.
    pub supported: bool,
    /// Why not, as one sentence.
    pub because: Option<String>,
    /// `v1` or `v2`; `null` where none enforces it.
    pub version: Option<Version>,
    /// The kernel's file that it is written to: `memory.max`; `null` where there is none.
    pub file: Option<String>,
}

impl From<host::LimitSupport> for LimitSupport {
    fn from(limit: host::LimitSupport) -> Self {
        let Support { supported, because } = limit.support.into();
        let file = Some(limit.file).filter(|file| !file.is_empty());
        Self { name: limit.name, supported, because, version: limit.version, file }
    }
}

/// Whether the kernel can do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Support {
    /// Whether it can.
    pub supported: bool,
    /// Why not, as one sentence.
    pub because: Option<String>,
}

impl From<host::Support> for Support {
    fn from(support: host::Support) -> Self {
        match support {
            host::Support::Yes => Self { supported: true, because: None },
            host::Support::No(because) => Self { supported: false, because: Some(because) },
        }
    }
}

impl Host {
    /// The host as looked up, and this version of Belljar.
    pub fn with_version(host: host::Host, version: &str) -> Self {
        let controller = |host::HostController { name, version }| HostController { name, version };
        Self {
            hostname: host.hostname,
            kernel: host.kernel,
            memory_bytes: host.memory_bytes,
            cpus: host.cpus,
            pids: host.pids,
            cgroup_mode: host.cgroup_mode,
            controllers: host.controllers.into_iter().map(controller).collect(),
            limits: host.limits.into_iter().map(Into::into).collect(),
            user_namespaces: host.user_namespaces.into(),
            idmapped_mounts: host.idmapped_mounts.into(),
            own_layers: host.own_layers.into(),
            space: host.space,
            data_dir: host.data_dir,
            run_dir: host.run_dir,
            instance: host.instance,
            version: version.to_owned(),
        }
    }
}

/// The answer of `/healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// Version of Belljar.
    pub version: String,
}
