//! What is to be made, completely: everything that decides how a container comes out stands here, nothing is looked up
//! later. The supervisor writes it for Belljar's own containers, the OCI face for bundles; [`crate::plan`] turns it into steps.

pub mod container;
pub mod exec;
pub mod hook;
pub mod landlock;
pub mod namespace;
pub mod options;
pub mod process;
pub mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;

use belljar_model::namespace::Kind;
pub use belljar_model::security::DEFAULT_CAPABILITIES;
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
pub use crate::cgroup::CgroupPlace;
use crate::cgroup::Resources;

pub use container::{Around, Joined};
pub use exec::{Exec, ExecCgroup};
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

impl Folders {
    /// Compiled filters: in the run folder, since a boot may bring another kernel.
    pub fn filters(&self) -> PathBuf {
        self.run_dir.join("filters")
    }

    /// What is in a volume.
    pub fn volume(&self, name: &belljar_model::VolumeName) -> PathBuf {
        crate::volume::data_of(&self.data_dir.join(crate::volume::FOLDER), name)
    }
}

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
///
/// `/proc/dynamic_debug` decides what the host's kernel logs, for whoever is its root, and asks for no capability.
pub const DEFAULT_READONLY_PATHS: [&str; 6] =
    ["/proc/bus", "/proc/dynamic_debug", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

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

    /// Whether its user namespace is not the maker's.
    pub fn has_own_users(&self) -> bool {
        self.namespace(Kind::User).is_some()
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
        MountPoint { content: Content::Cgroup, ..MountPoint::new("", "/sys/fs/cgroup", &[], MountAttributes::setting([ReadOnly])) },
    ]
}

#[cfg(test)]
mod tests {
    /// The model cannot ask the kernel's crate, and has a list of its own for what people write.
    #[test]
    fn people_and_the_kernel_have_the_same_names_of_capabilities_in_the_same_order() {
        assert_eq!(belljar_model::security::CAPABILITIES, belljar_linux::capability::NAMES);
    }
}
