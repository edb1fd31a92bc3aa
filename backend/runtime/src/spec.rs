//! What is to be made, completely: everything that decides how a container comes out stands here, nothing is looked up
//! later. The supervisor writes it, the monitor reads it, [`crate::plan`] turns it into steps.

use std::path::PathBuf;

use belljar_model::image::ImageLayer;
use belljar_model::{Container, Limits, Mount, UserSpec};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;

/// A container that is to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Its identifier.
    pub id: String,
    /// Which start of it this is, counted by the supervisor: an exit of an earlier one is never taken for this one's.
    pub attempt: u64,
    /// Its hostname.
    pub hostname: String,
    /// What runs in it.
    pub process: Process,
    /// First host id of its 65,536 user and group ids; `None` shares the host's user namespace.
    pub uid_base: Option<u32>,
    /// Its root file system.
    pub root: Root,
    /// What is put into it, in order.
    pub mounts: Vec<Mount>,
    /// Paths that read as empty.
    pub masked_paths: Vec<String>,
    /// Paths that cannot be written to.
    pub readonly_paths: Vec<String>,
    /// Its cgroup, from each hierarchy's root: `belljar/<id>`.
    pub cgroup: String,
    /// What it may use.
    pub limits: Limits,
    /// Whether a minimal init is PID 1.
    pub init: bool,
    /// Where its things are on the host.
    pub folders: Folders,
}

/// The program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// `KEY=value`.
    pub environment: Vec<String>,
    /// Working folder inside.
    pub workdir: String,
    /// Who it runs as; `None` is root of the container.
    pub user: Option<UserSpec>,
    /// Capabilities by name, without `CAP_`: bounding, permitted and effective. Inheritable and ambient are empty.
    pub capabilities: Vec<String>,
    /// Whether no exec may gain privileges.
    pub no_new_privileges: bool,
    /// Whether the default filter of system calls is loaded.
    pub seccomp: bool,
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Read-only layers that span the whole tree, top first: Belljar's own, then those asked for.
    pub spanning: Vec<PathBuf>,
    /// Read-only layers of the image, top first, each with its place in the tree.
    pub image: Vec<ImageLayer>,
    /// The container's own layer.
    pub upper: PathBuf,
    /// overlayfs's own.
    pub work: PathBuf,
}

/// Where a container's things are on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folders {
    /// Belljar's data folder.
    pub data_dir: PathBuf,
    /// Belljar's run folder.
    pub run_dir: PathBuf,
}

/// What the field allows a container by default (Docker's fourteen).
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// What reads as empty by default: it tells of the host, or has been a way out of containers before.
pub const DEFAULT_MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What cannot be written to by default: it changes the host's kernel.
pub const DEFAULT_READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where programs are looked up when the container does not say otherwise.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where an instance of Belljar keeps its things, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name, which everything global carries.
    pub name: String,
    /// Where its things are on the host.
    pub folders: Folders,
}

impl Spec {
    /// The spec of a container, with everything at its safe default. `image` are the layers of its image, top first.
    pub fn for_container(container: &Container, image: &[ImageLayer], instance: &Instance, attempt: u64) -> Self {
        let config = &container.config;
        let bundle = Bundle::new(&instance.folders.data_dir, &instance.folders.run_dir, &container.id);
        let extra = config.mounts.iter().filter_map(|mount| match mount {
            Mount::Layer { source } => Some(PathBuf::from(source)),
            Mount::Bind { .. } | Mount::Tmpfs { .. } => None,
        });
        let root = Root {
            spanning: std::iter::once(bundle.init_layer()).chain(extra).collect(),
            image: image.to_vec(),
            upper: bundle.upper(),
            work: bundle.work(),
        };
        Self {
            id: container.id.to_string(),
            attempt,
            hostname: container.hostname().to_owned(),
            process: Process::of(container),
            uid_base: container.uid_base,
            root,
            mounts: config.mounts.iter().filter(|mount| mount.target().is_some()).cloned().collect(),
            masked_paths: DEFAULT_MASKED_PATHS.map(str::to_owned).to_vec(),
            readonly_paths: DEFAULT_READONLY_PATHS.map(str::to_owned).to_vec(),
            cgroup: format!("{}/{}", instance.name, container.id),
            limits: config.limits,
            init: config.init,
            folders: instance.folders.clone(),
        }
    }

    /// The folders of the container.
    pub fn bundle(&self) -> Result<Bundle, belljar_model::Invalid> {
        Ok(Bundle::new(&self.folders.data_dir, &self.folders.run_dir, &self.id.parse()?))
    }
}

impl Process {
    fn of(container: &Container) -> Self {
        let config = &container.config;
        // Three that every program expects; what the person gave stands over them. HOME is set once the user is known.
        let mut environment = std::collections::BTreeMap::from([
            ("HOSTNAME".to_owned(), container.hostname().to_owned()),
            ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
        ]);
        environment.extend(config.env.clone());
        Self {
            arguments: config.command.clone(),
            environment: environment.into_iter().map(|(key, value)| format!("{key}={value}")).collect(),
            workdir: config.workdir.clone().unwrap_or_else(|| "/".to_owned()),
            user: config.user.clone(),
            capabilities: DEFAULT_CAPABILITIES.map(str::to_owned).to_vec(),
            no_new_privileges: true,
            seccomp: true,
        }
    }

    /// The value of a variable of the environment.
    pub fn variable(&self, key: &str) -> Option<&str> {
        self.environment.iter().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    }
}
