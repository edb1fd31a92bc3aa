//! Why the server does not start: one sentence each, that says what to do.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A reason not to start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Namespaces, mounts and cgroups are root's.
    #[error("must run as root, which makes namespaces, mounts and cgroups: start it with sudo")]
    NotRoot,
    /// Something of the kernel is missing.
    #[error("this kernel lacks {what}: {remedy}")]
    Kernel {
        /// What.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// What the kernel has could not be found out.
    #[error("cannot find out what this kernel has; is /proc mounted?")]
    Unknown {
        /// Why not.
        #[source]
        source: belljar_linux::Error,
    },
    /// Another server has these folders.
    #[error(
        "another server{} already uses {}: stop it, or give this one its own --instance, --data-dir, --run-dir and --listen",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        folder.display()
    )]
    AlreadyRunning {
        /// The folder that is locked.
        folder: PathBuf,
        /// Who locked it, where that can be read.
        pid: Option<u32>,
    },
    /// Another server, with other folders, has the cgroup of this instance.
    #[error("another Belljar serves instance {instance}; give this one --instance NAME")]
    InstanceTaken {
        /// The instance.
        instance: String,
    },
    /// A folder cannot be made or written.
    #[error("cannot write to {}: choose another folder with {flag}", folder.display())]
    NotWritable {
        /// The folder.
        folder: PathBuf,
        /// The flag that names it.
        flag: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The data folder cannot hold the upper layer of an overlay.
    #[error("{} lies on {filesystem}, on which overlayfs cannot keep what containers change: choose a folder on ext4, xfs or btrfs with --data-dir", folder.display())]
    NoUpperLayers {
        /// The folder.
        folder: PathBuf,
        /// What it lies on.
        filesystem: String,
    },
    /// Somebody else listens there.
    #[error("{address} is in use: end who listens there (`ss -ltnp sport = :{}` names it), or choose another port with --listen", address.port())]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: choose an address of this host with --listen")]
    NoListening {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A part of the server could not begin.
    #[error("cannot {what}")]
    Part {
        /// What, as a clause that follows *cannot*.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Refusal {
    /// For `map_err`: `what` could not be done.
    pub(crate) fn part<E: Into<Box<dyn std::error::Error + Send + Sync>>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Refusal::Part { what, source: source.into() }
    }
}
