//! Which namespaces a container lives in, by inode, and with whom it shares them.

use serde::{Deserialize, Serialize};

/// A kind of namespace (`namespaces(7)`), by the name of its file in `/proc/<pid>/ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Mount points.
    Mnt,
    /// Process ids.
    Pid,
    /// Network devices, addresses, ports.
    Net,
    /// Hostname and domain name.
    Uts,
    /// System V and POSIX message queues, shared memory.
    Ipc,
    /// User and group ids, capabilities.
    User,
    /// Root of the cgroup tree as seen.
    Cgroup,
    /// Boot and monotonic clocks.
    Time,
}

impl Kind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Kind; 8] = [Kind::Mnt, Kind::Pid, Kind::Net, Kind::Uts, Kind::Ipc, Kind::User, Kind::Cgroup, Kind::Time];

    /// Name of its file in `/proc/<pid>/ns`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Mnt => "mnt",
            Kind::Pid => "pid",
            Kind::Net => "net",
            Kind::Uts => "uts",
            Kind::Ipc => "ipc",
            Kind::User => "user",
            Kind::Cgroup => "cgroup",
            Kind::Time => "time",
        }
    }
}

/// One namespace of a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Its inode, the kernel's identifier; `None` where this kernel has no such namespace.
    pub inode: Option<u64>,
    /// The inode of the server's own, for comparison.
    pub host_inode: Option<u64>,
    /// Whose it is.
    pub sharing: Sharing,
    /// The file that it was read from: `/proc/4242/ns/uts`.
    pub source: String,
}

/// Whose a namespace is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// The container's alone.
    Own,
    /// The host's.
    Host,
    /// Shared with these containers, by name.
    Containers(Vec<String>),
}
