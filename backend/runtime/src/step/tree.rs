//! Steps of a container's file system: what needs the host's rights is made outside and handed over, detached; the tree is
//! put together inside.

use std::fmt::Write;
use std::path::PathBuf;

use belljar_model::plan::Place;
use belljar_model::size;

use crate::quota::LayerLimit;
pub use crate::spec::Access;
use crate::spec::{CopyUp, Depth, Device, MountAttributes, MountIds, Propagation};
use crate::stack::OverlayMount;

/// One step of the file system.
#[derive(Debug, Clone, PartialEq)]
pub enum TreeStep {
    /// Says what the container's own layer may take of its disk. What was said when it was made or changed is said once more, so there
    /// is nothing to take back: the limit is the container's, not the start's, and holds while it rests.
    LimitLayer {
        /// The container's own layer.
        upper: PathBuf,
        /// overlayfs's own.
        work: PathBuf,
        /// How much.
        limit: LayerLimit,
    },
    /// Fills the layer of what Belljar itself puts into the tree.
    FillInitLayer {
        /// The layer's folder.
        layer: PathBuf,
        /// Hostname for the files of `/etc`; `None` is that of the UTS namespace of whoever takes the step.
        hostname: Option<String>,
    },
    /// Makes an overlay, detached.
    Overlay {
        /// What of.
        mount: OverlayMount,
        /// How owners are shown.
        owners: Owners,
    },
    /// Takes a folder as the root, detached.
    TakeRoot {
        /// The folder.
        folder: PathBuf,
        /// What of the host's later mounts reaches it; `None` is nothing.
        propagation: Option<Propagation>,
    },
    /// Takes a folder or file of the host, detached.
    TakeBind(Bind),
    /// Takes the container's own folder of each cgroup hierarchy, detached.
    TakeCgroups {
        /// The folders.
        folders: Vec<PathBuf>,
        /// Whether they may be written to.
        access: Access,
    },
    /// Gives the first process what was made for it.
    HandOver {
        /// How many mounts.
        mounts: usize,
    },

    /// What was asked to be shared with the host is so from here on, and was private before: what the setup mounts is the container's
    /// alone, whatever of its tree is shared.
    ShareWithHost,

    /// Nothing of the host's mounts reaches it any more, and nothing of its the host.
    MakeMountsPrivate,
    /// Hangs the root where it can become the root.
    AttachRoot {
        /// A folder of the host, as seen in the process's own mount namespace.
        staging: PathBuf,
    },
    /// Hangs a handed-over mount into the new root.
    Attach {
        /// Where.
        target: String,
        /// Number of the mount, in the order in which they were handed over.
        mount: usize,
        /// What is made where nothing is yet.
        missing: Missing,
    },
    /// Hangs the cgroups into the new root.
    AttachCgroups {
        /// Where.
        target: String,
        /// Number of the first mount; the others follow.
        mount: usize,
        /// How they lie.
        layout: CgroupLayout,
        /// Attributes of the folder that holds them.
        attributes: MountAttributes,
    },
    /// Makes a file system and hangs it into the new root.
    Mount(NewMount),
    /// Changes a mount that the tree already has.
    ChangeMount {
        /// Where.
        target: String,
        /// What its file system is told.
        options: Vec<(String, String)>,
        /// What becomes of its attributes.
        attributes: MountAttributes,
        /// What becomes of its propagation.
        propagation: Option<Propagation>,
    },
    /// Puts a device into the tree.
    PlaceDevice {
        /// Which.
        device: Device,
        /// How.
        way: Way,
    },
    /// Makes the links in `/dev` that programs expect.
    LinkDevices,
    /// Makes a `/proc` that hangs nowhere, through which alone kernel parameters are set.
    OpenProc,
    /// Sets a kernel parameter of the container's namespaces.
    SetSysctl {
        /// Its name, as it was asked for.
        name: String,
        /// Its file below `/proc/sys`.
        path: String,
        /// Its value.
        value: String,
    },
    /// Makes a path read as empty.
    Mask(String),
    /// Makes a path read-only.
    MakeReadOnly(String),
    /// Makes a mount read-only that had to be filled first.
    SealMount(String),
    /// Makes the new root the only one.
    Pivot,
    /// Takes a folder of the tree that the process is in as the container's root, without a mount.
    OpenRoot {
        /// The folder: `/` where the tree was joined and is the container's as it is.
        folder: PathBuf,
    },
    /// Makes that folder the root of the process. This is no wall: the host's tree stays in its mount namespace, and whoever has
    /// `CAP_SYS_CHROOT`, or a descriptor of a folder outside, walks out of it (`chroot(2)`). It says where names begin, no more.
    Chroot,
    /// Sets what of mounts made later goes into and out of the root.
    PropagateRoot(Propagation),
    /// Makes the root read-only.
    SealRoot,
    /// Makes a layer of the root that has a place of its own read-only.
    SealGraft(String),
}

/// Something of the host's that is put into the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Path on the host.
    pub source: PathBuf,
    /// A path in it that is taken instead.
    pub within: Option<String>,
    /// Path in the container.
    pub target: String,
    /// Whether what is mounted below it comes along.
    pub depth: Depth,
    /// Attributes.
    pub attributes: MountAttributes,
    /// What of the host's later mounts reaches it; `None` is nothing.
    pub propagation: Option<Propagation>,
    /// With whom it shares, where that is its propagation.
    pub peers: Peers,
    /// How owners are shown.
    pub ids: MountIds,
}

/// Who sees what is mounted below something that is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// The host too ([`TreeStep::ShareWithHost`]).
    Hosts,
    /// Only what the container makes of it. What the host mounts there reaches it all the same.
    Own,
}

/// A file system that is made for the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMount {
    /// `proc`, `tmpfs`, ….
    pub kind: String,
    /// What tables of mounts call its device; `None` is its kind.
    pub source: Option<String>,
    /// Where.
    pub target: String,
    /// Its options; one with an empty value stands alone.
    pub options: Vec<(String, String)>,
    /// `nosuid` and the like.
    pub attributes: MountAttributes,
    /// Its propagation, where that was asked for.
    pub propagation: Option<Propagation>,
    /// Whether what the tree has at the target is copied in.
    pub copy_up: CopyUp,
    /// What if the container may not mount it.
    pub otherwise: Otherwise,
}

/// What is done where a file system may not be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// The container is not made.
    Fail,
    /// What it shows is the host's, which the container shares: so the host's own is bound.
    BindHosts,
}

/// How the owners of files are shown in the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Shifted into its user namespace: 0 on disk is 0 inside, and this id outside.
    Mapped(u32),
    /// As they are.
    AsTheyAre,
}

/// What is made at a mount's target where nothing is yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// A folder.
    Folder,
    /// Whatever the mount is: a file for a file.
    Alike,
}

/// How a device comes into the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A node is made; where that is not permitted, the host's is bound.
    Made,
    /// The host's is bound: no user namespace but the host's may make one.
    Bound,
}

/// How cgroups lie in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupLayout {
    /// There is one hierarchy, right at the target.
    Single,
    /// A folder for each hierarchy, in the order of the mounts, and links from the names of controllers that share one.
    Several {
        /// Names of the folders.
        names: Vec<String>,
        /// Name and folder of each link.
        links: Vec<(String, String)>,
    },
}

impl TreeStep {
    /// Who takes it.
    pub fn place(&self) -> Place {
        match self {
            TreeStep::LimitLayer { .. }
            | TreeStep::FillInitLayer { .. }
            | TreeStep::Overlay { .. }
            | TreeStep::TakeRoot { .. }
            | TreeStep::TakeBind(_)
            | TreeStep::TakeCgroups { .. }
            | TreeStep::HandOver { .. }
            | TreeStep::ShareWithHost => Place::Outside,
            _ => Place::Inside,
        }
    }

    /// What is done.
    pub fn verb(&self) -> &'static str {
        match self {
            TreeStep::LimitLayer { .. } => "limit",
            TreeStep::FillInitLayer { .. } => "fill",
            TreeStep::Overlay { .. } | TreeStep::Mount(_) => "mount",
            TreeStep::TakeRoot { .. } | TreeStep::TakeBind(_) | TreeStep::TakeCgroups { .. } => "take",
            TreeStep::HandOver { .. } => "hand over",
            TreeStep::ShareWithHost => "share",
            TreeStep::MakeMountsPrivate
            | TreeStep::MakeReadOnly(_)
            | TreeStep::SealMount(_)
            | TreeStep::SealRoot
            | TreeStep::SealGraft(_) => "protect",
            TreeStep::AttachRoot { .. } | TreeStep::Attach { .. } | TreeStep::AttachCgroups { .. } => "attach",
            TreeStep::ChangeMount { .. } => "remount",
            TreeStep::PlaceDevice { way: Way::Made, .. } => "make",
            TreeStep::PlaceDevice { way: Way::Bound, .. } => "bind",
            TreeStep::LinkDevices => "link",
            TreeStep::Mask(_) => "mask",
            TreeStep::OpenProc | TreeStep::OpenRoot { .. } => "open",
            TreeStep::Chroot => "chroot",
            TreeStep::SetSysctl { .. } => "set",
            TreeStep::Pivot => "pivot",
            TreeStep::PropagateRoot(_) => "propagate",
        }
    }

    /// What it is done to.
    pub fn object(&self) -> String {
        match self {
            TreeStep::LimitLayer { limit, .. } => {
                let bytes = limit.bytes.map(size::display);
                let inodes = limit.inodes.map(|inodes| format!("{inodes} files"));
                let words: Vec<String> = bytes.into_iter().chain(inodes).collect();
                format!("own layer to {} (project {})", words.join(" and "), limit.project)
            }
            TreeStep::FillInitLayer { .. } => "init layer (mount points, /etc/hostname, /etc/hosts, /etc/resolv.conf)".into(),
            TreeStep::Overlay { mount, owners } => {
                let layers = mount.lower.len();
                format!("overlay for /{} ({layers} lower layers{})", mount.at, note(*owners))
            }
            TreeStep::TakeRoot { folder, .. } => format!("{} as root", folder.display()),
            TreeStep::TakeBind(bind) => bind.to_string(),
            TreeStep::TakeCgroups { folders, access } => format!("{}{}", super::cgroup::counted(folders.len()), limited(*access)),
            TreeStep::HandOver { mounts } => format!("{mounts} mounts"),
            TreeStep::ShareWithHost => "mounts with the host, where that was asked".into(),
            TreeStep::MakeMountsPrivate => "mounts of the host from propagation".into(),
            TreeStep::AttachRoot { .. } => "new root".into(),
            TreeStep::Attach { target, .. } => target.clone(),
            TreeStep::AttachCgroups { target, .. } => format!("cgroups at {target}"),
            TreeStep::Mount(new) => format!("{} at {}", new.kind, new.target),
            TreeStep::PlaceDevice { device, .. } => device.path.clone(),
            TreeStep::LinkDevices => "ptmx, fd, stdin, stdout, stderr, core in /dev".into(),
            TreeStep::Mask(path) | TreeStep::MakeReadOnly(path) => path.clone(),
            TreeStep::OpenProc => "a proc of its own".into(),
            TreeStep::SetSysctl { name, value, .. } => format!("{name} to {value}"),
            TreeStep::ChangeMount { target, .. } => target.clone(),
            TreeStep::SealMount(target) => format!("{target}, now that it is filled"),
            TreeStep::Pivot => "root to merged".into(),
            TreeStep::OpenRoot { folder } => format!("{} as root, as it is", folder.display()),
            TreeStep::Chroot => "to rootfs".into(),
            TreeStep::PropagateRoot(propagation) => format!("root: {}", propagation.as_str()),
            TreeStep::SealRoot => "root, now that it is complete".into(),
            TreeStep::SealGraft(place) => format!("{place}, now that it is complete"),
        }
    }
}

impl std::fmt::Display for Bind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut more = String::new();
        if self.attributes.is_read_only() {
            more.push_str(limited(Access::ReadOnly));
        }
        match &self.ids {
            MountIds::AsTheyAre => {}
            MountIds::Maps { maps, .. } => write!(more, ", owners mapped: {maps}")?,
            MountIds::Container(_) | MountIds::ContainerWherePossible => more.push_str(", owners mapped"),
        }
        if let Some(propagation) = self.propagation {
            write!(more, ", {}", propagation.as_str())?;
        }
        let within = self.within.as_ref().map(|path| format!("/{path}")).unwrap_or_default();
        write!(formatter, "{}{within} for {}{more}", self.source.display(), self.target)
    }
}

fn limited(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => ", read-only",
        Access::ReadWrite => "",
    }
}

fn note(owners: Owners) -> &'static str {
    match owners {
        Owners::Mapped(_) => ", owners mapped",
        Owners::AsTheyAre => "",
    }
}
