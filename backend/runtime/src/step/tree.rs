//! Steps of a container's file system: what needs the host's rights is made outside and handed over, detached; the tree is
//! put together inside.

use std::path::PathBuf;

use belljar_linux::mount::Attributes;
use belljar_model::plan::Place;

pub use crate::spec::Access;
use crate::stack::OverlayMount;

/// One step of the file system.
#[derive(Debug, Clone, PartialEq)]
pub enum TreeStep {
    /// Fills the layer of what Belljar itself puts into the tree.
    FillInitLayer {
        /// The layer's folder.
        layer: PathBuf,
        /// Hostname for the files of `/etc`.
        hostname: String,
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
        /// Whether it may be written to.
        access: Access,
    },
    /// Takes a folder or file of the host, detached.
    TakeBind {
        /// Path on the host.
        source: PathBuf,
        /// Path in the container.
        target: String,
        /// Whether it may be written to.
        access: Access,
        /// How owners are shown.
        owners: Owners,
    },
    /// Gives the first process what was made for it.
    HandOver {
        /// How many mounts.
        mounts: usize,
    },

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
    /// Makes a file system and hangs it into the new root.
    Mount {
        /// `proc`, `tmpfs`, ….
        kind: String,
        /// Where.
        target: String,
        /// Its options.
        options: Vec<(String, String)>,
        /// `nosuid` and the like.
        attributes: Attributes,
    },
    /// Puts one of the host's harmless devices into `/dev`.
    BindDevice {
        /// Its name.
        name: &'static str,
        /// Its device number, checked: somebody may have put something else there.
        device: (u32, u32),
    },
    /// Makes the links in `/dev` that programs expect.
    LinkDevices,
    /// Makes a path read as empty.
    Mask(String),
    /// Makes a path read-only.
    MakeReadOnly(String),
    /// Makes the new root the only one.
    Pivot,
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

impl TreeStep {
    /// Who takes it.
    pub fn place(&self) -> Place {
        match self {
            TreeStep::FillInitLayer { .. }
            | TreeStep::Overlay { .. }
            | TreeStep::TakeRoot { .. }
            | TreeStep::TakeBind { .. }
            | TreeStep::HandOver { .. } => Place::Outside,
            _ => Place::Inside,
        }
    }

    /// What is done.
    pub fn verb(&self) -> &'static str {
        match self {
            TreeStep::FillInitLayer { .. } => "fill",
            TreeStep::Overlay { .. } | TreeStep::Mount { .. } => "mount",
            TreeStep::TakeRoot { .. } | TreeStep::TakeBind { .. } => "take",
            TreeStep::HandOver { .. } => "hand over",
            TreeStep::MakeMountsPrivate | TreeStep::MakeReadOnly(_) => "protect",
            TreeStep::AttachRoot { .. } | TreeStep::Attach { .. } => "attach",
            TreeStep::BindDevice { .. } => "bind",
            TreeStep::LinkDevices => "link",
            TreeStep::Mask(_) => "mask",
            TreeStep::Pivot => "pivot",
        }
    }

    /// What it is done to.
    pub fn object(&self) -> String {
        let limited = |access: &Access| if *access == Access::ReadOnly { ", read-only" } else { "" };
        match self {
            TreeStep::FillInitLayer { .. } => "init layer (mount points, /etc/hostname, /etc/hosts, /etc/resolv.conf)".into(),
            TreeStep::Overlay { mount, owners } => {
                let layers = mount.lower.len();
                format!("overlay for /{} ({layers} lower layers{})", mount.at, note(*owners))
            }
            TreeStep::TakeRoot { folder, access } => format!("{} as root{}", folder.display(), limited(access)),
            TreeStep::TakeBind { source, target, access, owners } => {
                format!("{} for {target}{}{}", source.display(), limited(access), note(*owners))
            }
            TreeStep::HandOver { mounts } => format!("{mounts} mounts"),
            TreeStep::MakeMountsPrivate => "mounts of the host from propagation".into(),
            TreeStep::AttachRoot { .. } => "new root".into(),
            TreeStep::Attach { target, .. } => target.clone(),
            TreeStep::Mount { kind, target, .. } => format!("{kind} at {target}"),
            TreeStep::BindDevice { name, .. } => format!("/dev/{name}"),
            TreeStep::LinkDevices => "ptmx, fd, stdin, stdout, stderr in /dev".into(),
            TreeStep::Mask(path) | TreeStep::MakeReadOnly(path) => path.clone(),
            TreeStep::Pivot => "root to merged".into(),
        }
    }
}

fn note(owners: Owners) -> &'static str {
    match owners {
        Owners::Mapped(_) => ", owners mapped",
        Owners::AsTheyAre => "",
    }
}
