//! What is mounted in a container: as the kernel tells it, beside what was asked for.

use serde::{Deserialize, Serialize};

/// Everything that is mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// The kernel's table that this was read from, `/proc/<pid>/mountinfo` of its first process; `None` where it is not alive, and
    /// only what will be mounted is known.
    pub source: Option<String>,
    /// Whether the table was read to its end: a program that may mount can make it longer than is shown.
    pub complete: bool,
    /// In the kernel's order, a mount before those upon it; then what was asked for and is not there.
    pub mounts: Vec<Mounted>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// Where in the container.
    pub target: String,
    /// Whose idea it was.
    pub origin: Origin,
    /// What was asked for, as a clause; empty where nobody asked.
    pub asked: String,
    /// What the kernel has there; `None` where it has nothing.
    pub kernel: Option<Mount>,
}

/// Whose idea a mount was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The root, or a part of it: layers over each other.
    Overlay,
    /// A file or folder of the host that was asked for.
    Bind,
    /// A volume that was asked for.
    Volume,
    /// A file system in memory that was asked for.
    Tmpfs,
    /// The container's cgroups.
    Cgroup,
    /// What every container has: `/proc`, `/dev`, ….
    Standard,
    /// A device.
    Device,
    /// What reads as empty, for protection.
    Masked,
    /// What cannot be written to, for protection.
    Readonly,
    /// Nobody asked: it lies below a bind, or a program of the container mounted it.
    Other,
}

impl Origin {
    /// The word on the wire and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Overlay => "overlay",
            Origin::Bind => "bind",
            Origin::Volume => "volume",
            Origin::Tmpfs => "tmpfs",
            Origin::Cgroup => "cgroup",
            Origin::Standard => "standard",
            Origin::Device => "device",
            Origin::Masked => "masked",
            Origin::Readonly => "readonly",
            Origin::Other => "other",
        }
    }
}

/// A line of the kernel's table (`proc_pid_mountinfo(5)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Its number, which no other mount of the host has now.
    pub id: u64,
    /// `ext4`, `overlay`, `tmpfs`, ….
    pub filesystem: String,
    /// What is mounted: a device, or the word that its maker chose.
    pub device: String,
    /// The folder or file of that file system that can be seen here.
    pub root: String,
    /// Options of this mount: `ro`, `nosuid`, ….
    pub options: Vec<String>,
    /// Options of the file system: the size of a tmpfs, the layers of an overlay.
    pub filesystem_options: Vec<String>,
    /// `private`, or `shared:9 master:2`: what of later mounts goes where.
    pub propagation: String,
}
