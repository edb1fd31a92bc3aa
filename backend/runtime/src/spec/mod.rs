//! What is to be made, completely: everything that decides how a container comes out stands here, nothing is looked up
//! later. The supervisor writes it for Belljar's own containers, the OCI face for bundles; [`crate::plan`] turns it into steps.

pub mod hook;
pub mod landlock;
pub mod namespace;
pub mod options;
pub mod process;
pub mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;

use belljar_model::image::ImageLayer;
use belljar_model::mount::names;
use belljar_model::namespace::Kind;
use belljar_model::{Container, Mount};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::cgroup::Resources;

pub use hook::{Hook, HookState, Hooks, Moment};
pub use namespace::{Clock, IdMap, IdMaps, Namespace, Source, TimeOffset};
pub use process::{Capabilities, CpuAffinity, IoPriority, Keyring, Process, Rlimit, Scheduler, Terminal, TerminalSize, User};
pub use tree::{
    Access, Attribute, Content, CopyUp, Depth, Device, DeviceKind, MountAttributes, MountIds, MountPoint, OverlayTree, Propagation, Root,
    Tree,
};

/// A container that is to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Its identifier.
    pub id: String,
    /// Which start of it this is, counted by the supervisor: an exit of an earlier one is never taken for this one's.
    pub attempt: u64,
    /// Its hostname; `None` leaves that of its UTS namespace.
    pub hostname: Option<String>,
    /// Its NIS domain name.
    pub domainname: Option<String>,
    /// What runs in it.
    pub process: Process,
    /// Its namespaces.
    pub namespaces: Vec<Namespace>,
    /// How far its clocks are from the host's.
    pub time_offsets: Vec<TimeOffset>,
    /// Ids of its new user namespace.
    pub ids: Option<IdMaps>,
    /// Its root file system.
    pub root: Root,
    /// What is put into it, in order.
    pub mounts: Vec<MountPoint>,
    /// Devices beside the standard six.
    pub devices: Vec<Device>,
    /// Paths that read as empty.
    pub masked_paths: Vec<String>,
    /// Paths that cannot be written to.
    pub readonly_paths: Vec<String>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Its cgroup.
    pub cgroup: CgroupPlace,
    /// What it may use.
    pub resources: Resources,
    /// Programs that are run at moments of its life.
    pub hooks: Hooks,
    /// SELinux label of its files.
    pub mount_label: Option<String>,
    /// Who is PID 1.
    pub first: First,
    /// When the program begins.
    pub start: Start,
    /// A folder of the host that is this container's own and there already: its root is hung there for a moment, and its
    /// start is told there.
    pub state_dir: PathBuf,
    /// Where Belljar keeps its things; `None` where somebody else does.
    pub folders: Option<Folders>,
}

/// Where a container's cgroup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupPlace {
    /// A folder of this name below each hierarchy's root: `belljar/<id>`.
    Named(String),
    /// A scope that systemd makes.
    Systemd {
        /// The slice that it is in: `system.slice`.
        slice: String,
        /// What its name begins with.
        prefix: String,
        /// What its name ends with.
        name: String,
    },
}

/// Who is PID 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum First {
    /// The program.
    Program,
    /// A minimal init that reaps and forwards signals.
    Init,
}

/// When the program begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// As soon as everything is made.
    AtOnce,
    /// When somebody says so; until then the first process waits.
    WhenTold,
}

/// Where Belljar keeps its things on the host.
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

/// How many ids one of Belljar's containers has.
pub const IDS: u32 = 65_536;

/// Size of `/dev` and of `/dev/shm`, in bytes, as in Docker.
const DEV_SIZE: &str = "65536k";

impl Spec {
    /// The spec of a container, with everything at its safe default. `image` are the layers of its image, top first.
    pub fn for_container(container: &Container, image: &[ImageLayer], instance: &Instance, attempt: u64) -> Self {
        let config = &container.config;
        let bundle = Bundle::new(&instance.folders.data_dir, &instance.folders.run_dir, &container.id);
        let user = container.uid_base.map(|_| Kind::User);
        let kinds = user.into_iter().chain([Kind::Mnt, Kind::Pid, Kind::Net, Kind::Uts, Kind::Ipc, Kind::Cgroup]);
        Self {
            id: container.id.to_string(),
            attempt,
            hostname: Some(container.hostname().to_owned()),
            domainname: None,
            process: process_of(container),
            namespaces: kinds.map(|kind| Namespace { kind, source: Source::New }).collect(),
            time_offsets: Vec::new(),
            ids: container.uid_base.map(|base| IdMaps::of_range(base, IDS)),
            root: root_of(container, image, &bundle),
            mounts: mounts_of(container),
            devices: Vec::new(),
            masked_paths: tree::masked_by_default(),
            readonly_paths: DEFAULT_READONLY_PATHS.map(str::to_owned).to_vec(),
            sysctls: BTreeMap::new(),
            cgroup: CgroupPlace::Named(format!("{}/{}", instance.name, container.id)),
            resources: (&config.limits).into(),
            hooks: Hooks::default(),
            mount_label: None,
            first: if config.init { First::Init } else { First::Program },
            start: Start::AtOnce,
            state_dir: bundle.run().to_owned(),
            folders: Some(instance.folders.clone()),
        }
    }

    /// The folders of one of Belljar's own containers.
    pub fn bundle(&self) -> Result<Bundle, belljar_model::Invalid> {
        let Some(folders) = &self.folders else {
            return Err(belljar_model::Invalid::new("folders", "are missing: this is no container of Belljar's own"));
        };
        Ok(Bundle::new(&folders.data_dir, &folders.run_dir, &self.id.parse()?))
    }

    /// Its namespace of this kind; `None` where it shares the maker's.
    pub fn namespace(&self, kind: Kind) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.kind == kind)
    }

    /// Name of its cgroup.
    pub fn cgroup_name(&self) -> &str {
        match &self.cgroup {
            CgroupPlace::Named(name) | CgroupPlace::Systemd { name, .. } => name,
        }
    }

    /// Whether its user namespace is not the maker's.
    pub fn has_own_users(&self) -> bool {
        self.namespace(Kind::User).is_some()
    }
}

fn process_of(container: &Container) -> Process {
    let config = &container.config;
    // Three that every program expects; what the person gave stands over them. HOME is set once the user is known.
    let mut environment =
        BTreeMap::from([("HOSTNAME".to_owned(), container.hostname().to_owned()), ("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    environment.extend(config.env.clone());
    Process {
        arguments: config.command.clone(),
        environment: environment.into_iter().map(|(key, value)| format!("{key}={value}")).collect(),
        workdir: config.workdir.clone().unwrap_or_else(|| "/".to_owned()),
        user: User::LookUp(config.user.clone()),
        ..Process::of(&[])
    }
}

fn root_of(container: &Container, image: &[ImageLayer], bundle: &Bundle) -> Root {
    let extra = container.config.mounts.iter().filter_map(|mount| match mount {
        Mount::Layer { source } => Some(PathBuf::from(source)),
        Mount::Bind { .. } | Mount::Tmpfs { .. } => None,
    });
    let tree = Tree::Overlay(OverlayTree {
        spanning: std::iter::once(bundle.init_layer()).chain(extra).collect(),
        image: image.to_vec(),
        upper: bundle.upper(),
        work: bundle.work(),
    });
    Root { tree, access: Access::ReadWrite, propagation: None }
}

/// What was asked for, parents before children whatever the order in which they were named; then what every container has,
/// which comes last: a target may be a link of the image's to `/proc`, and then ours must lie on top.
fn mounts_of(container: &Container) -> Vec<MountPoint> {
    let mut asked: Vec<&Mount> = container.config.mounts.iter().collect();
    asked.sort_by_key(|mount| mount.target().map_or(0, |target| names(target).count()));
    let asked = asked.into_iter().filter_map(asked_mount);
    asked.chain(standard_mounts()).collect()
}

fn asked_mount(mount: &Mount) -> Option<MountPoint> {
    use Attribute::{NoDev, NoSuid, ReadOnly};
    match mount {
        Mount::Bind { source, target, readonly } => {
            let mut set_below = std::collections::BTreeSet::from([NoSuid, NoDev]);
            set_below.extend(readonly.then_some(ReadOnly));
            Some(MountPoint {
                target: target.clone(),
                // What is mounted below it comes along, as people expect of a bind.
                content: Content::Bind { source: source.into(), depth: Depth::All },
                attributes: MountAttributes { set_below, ..MountAttributes::default() },
                propagation: None,
                ids: MountIds::ContainerWherePossible,
                copy_up: CopyUp::No,
            })
        }
        Mount::Tmpfs { target, size_bytes } => {
            let size = size_bytes.unwrap_or(belljar_model::mount::TMPFS_SIZE_BYTES_DEFAULT).to_string();
            let attributes = MountAttributes::setting([NoSuid, NoDev]);
            Some(MountPoint::new("tmpfs", target, &[("mode", "1777"), ("size", &size)], attributes))
        }
        Mount::Layer { .. } => None,
    }
}

/// The file systems that every container has.
pub fn standard_mounts() -> Vec<MountPoint> {
    use Attribute::{NoDev, NoExec, NoSuid, ReadOnly, StrictAtime};
    let none = || MountAttributes::setting([NoSuid, NoExec, NoDev]);
    vec![
        MountPoint::new("proc", "/proc", &[], none()),
        MountPoint::new("sysfs", "/sys", &[], MountAttributes::setting([NoSuid, NoExec, NoDev, ReadOnly])),
        MountPoint::new("tmpfs", "/dev", &[("mode", "755"), ("size", DEV_SIZE)], MountAttributes::setting([NoSuid, StrictAtime])),
        MountPoint::new(
            "devpts",
            "/dev/pts",
            &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")],
            MountAttributes::setting([NoSuid, NoExec]),
        ),
        MountPoint::new("tmpfs", "/dev/shm", &[("mode", "1777"), ("size", DEV_SIZE)], none()),
        MountPoint::new("mqueue", "/dev/mqueue", &[], none()),
    ]
}
