//! The steps of which every container is made. Each prints as one line, *verb object*; a failure names both.

use std::fmt;
use std::path::PathBuf;

use belljar_linux::mount::Attributes;
use belljar_model::UserSpec;
use belljar_model::namespace::Kind;
use belljar_model::plan::Place;

use crate::cgroup::Write;
use crate::stack::OverlayMount;

/// One step. Those that the monitor takes come first, then those that the container's first process takes for itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Fills the layer of what Belljar itself puts into the tree.
    FillInitLayer {
        /// The layer's folder.
        layer: PathBuf,
        /// Hostname for the files of `/etc`.
        hostname: String,
    },
    /// Makes the container's folder in each hierarchy.
    MakeCgroup {
        /// Name from each hierarchy's root.
        name: String,
        /// The folders.
        folders: Vec<PathBuf>,
    },
    /// Sets one limit.
    Limit(Write),
    /// Makes the first process.
    Clone {
        /// Its new namespaces.
        namespaces: Vec<Kind>,
        /// Whether it begins in the v2 cgroup.
        cgroup: Joining,
    },
    /// Gives the user namespace its ids.
    MapIds {
        /// First host id.
        base: u32,
        /// How many.
        count: u32,
    },
    /// Makes an overlay, detached.
    Overlay {
        /// What of.
        mount: OverlayMount,
        /// How owners are shown.
        owners: Owners,
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

    /// Moves itself into the v1 cgroups.
    JoinCgroup {
        /// The `tasks` files.
        files: Vec<PathBuf>,
    },
    /// Makes the cgroup that it is in the root of what it sees.
    UnshareCgroup,
    /// A session and a keyring of its own.
    NewSession,
    /// Nothing of the host's mounts reaches it any more, and nothing of its the host.
    MakeMountsPrivate,
    /// Hangs the root's overlay where it can become the root.
    AttachRoot {
        /// A folder of the host, as seen in the process's own mount namespace.
        staging: PathBuf,
    },
    /// Becomes user 0 of its user namespace.
    BecomeNamespaceRoot,
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
        kind: &'static str,
        /// Where.
        target: String,
        /// Its options.
        options: Vec<(&'static str, String)>,
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
    /// Sets the hostname.
    SetHostname(String),
    /// Brings the loopback device up.
    BringLoopbackUp,
    /// Connects standard input to nothing, output and error to the log.
    ConnectOutputs,
    /// Takes capabilities away for good.
    BoundCapabilities {
        /// Those that stay.
        keep: Vec<String>,
    },
    /// Becomes the user that the program runs as.
    BecomeUser(Option<UserSpec>),
    /// Reduces the capabilities in force to those that stay.
    LimitCapabilities,
    /// Makes the working folder where it is missing, while it may.
    MakeWorkdir(String),
    /// Goes to the working folder.
    EnterWorkdir(String),
    /// No exec can gain privileges.
    ForbidNewPrivileges,
    /// No descriptor of ours reaches the program.
    CloseDescriptors,
    /// Loads the filter of system calls.
    LoadSeccomp {
        /// How many denials it has.
        denials: usize,
    },
    /// Becomes the program.
    Exec {
        /// Its name.
        program: String,
        /// Who is PID 1.
        first: First,
    },
}

/// How a process gets into its cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joining {
    /// It begins in this v2 folder (`CLONE_INTO_CGROUP`).
    AtBirth(PathBuf),
    /// It moves there.
    Later,
}

/// How the owners of files are shown in the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Shifted into its user namespace: 0 on disk is 0 inside, and this id outside.
    Mapped(u32),
    /// As they are.
    AsTheyAre,
}

/// Whether something may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may.
    ReadWrite,
    /// It may not.
    ReadOnly,
}

/// What is made at a mount's target where nothing is yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// A folder.
    Folder,
    /// Whatever the mount is: a file for a file.
    Alike,
}

/// Who is PID 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The program.
    Program,
    /// A minimal init that reaps and forwards signals.
    Init,
}

impl Step {
    /// Who takes it.
    pub fn place(&self) -> Place {
        match self {
            Step::FillInitLayer { .. }
            | Step::MakeCgroup { .. }
            | Step::Limit(_)
            | Step::Clone { .. }
            | Step::MapIds { .. }
            | Step::Overlay { .. }
            | Step::TakeBind { .. }
            | Step::HandOver { .. } => Place::Outside,
            _ => Place::Inside,
        }
    }

    /// What is done.
    pub fn verb(&self) -> &'static str {
        match self {
            Step::FillInitLayer { .. } => "fill",
            Step::MakeCgroup { .. } | Step::MakeWorkdir(_) => "make",
            Step::Limit(_) | Step::SetHostname(_) => "set",
            Step::Clone { .. } => "clone",
            Step::MapIds { .. } => "map",
            Step::Overlay { .. } | Step::Mount { .. } => "mount",
            Step::TakeBind { .. } => "take",
            Step::HandOver { .. } => "hand over",
            Step::JoinCgroup { .. } => "join",
            Step::UnshareCgroup => "unshare",
            Step::NewSession => "begin",
            Step::MakeMountsPrivate | Step::MakeReadOnly(_) => "protect",
            Step::AttachRoot { .. } | Step::Attach { .. } => "attach",
            Step::BecomeNamespaceRoot | Step::BecomeUser(_) => "become",
            Step::BindDevice { .. } => "bind",
            Step::LinkDevices => "link",
            Step::Mask(_) => "mask",
            Step::Pivot => "pivot",
            Step::BringLoopbackUp => "bring up",
            Step::ConnectOutputs => "connect",
            Step::BoundCapabilities { .. } => "drop",
            Step::LimitCapabilities => "limit",
            Step::EnterWorkdir(_) => "enter",
            Step::ForbidNewPrivileges => "forbid",
            Step::CloseDescriptors => "close",
            Step::LoadSeccomp { .. } => "load",
            Step::Exec { .. } => "exec",
        }
    }

    /// What it is done to.
    pub fn object(&self) -> String {
        match self {
            Step::FillInitLayer { .. } => "init layer (mount points, /etc/hostname, /etc/hosts, /etc/resolv.conf)".into(),
            Step::MakeCgroup { name, folders } => format!("cgroup {name} in {} hierarchies", folders.len()),
            Step::Limit(write) => format!("{} to {}", write.file, write.value),
            Step::Clone { namespaces, cgroup: Joining::AtBirth(_) } => {
                format!("first process into new {}, and its cgroup", words(namespaces))
            }
            Step::Clone { namespaces, cgroup: Joining::Later } => format!("first process into new {}", words(namespaces)),
            Step::MapIds { base, count } => format!("user and group ids 0-{} to {base}-{}", count - 1, base + count - 1),
            Step::Overlay { mount, owners } => {
                let layers = mount.lower.len();
                format!("overlay for /{} ({layers} lower layers{})", mount.at, note(*owners))
            }
            Step::TakeBind { source, target, access, owners } => {
                let access = if *access == Access::ReadOnly { ", read-only" } else { "" };
                format!("{} for {target}{access}{}", source.display(), note(*owners))
            }
            Step::HandOver { mounts } => format!("{mounts} mounts"),
            Step::JoinCgroup { files } => format!("{} cgroups", files.len()),
            Step::UnshareCgroup => "cgroup namespace".into(),
            Step::NewSession => "session and keyring".into(),
            Step::MakeMountsPrivate => "mounts of the host from propagation".into(),
            Step::AttachRoot { .. } => "overlay as new root".into(),
            Step::BecomeNamespaceRoot => "root of the user namespace".into(),
            Step::Attach { target, .. } => target.clone(),
            Step::Mount { kind, target, .. } => format!("{kind} at {target}"),
            Step::BindDevice { name, .. } => format!("/dev/{name}"),
            Step::LinkDevices => "ptmx, fd, stdin, stdout, stderr in /dev".into(),
            Step::MakeWorkdir(path) => format!("working folder {path}"),
            Step::Mask(path) | Step::MakeReadOnly(path) | Step::EnterWorkdir(path) => path.clone(),
            Step::Pivot => "root to merged".into(),
            Step::SetHostname(name) => format!("hostname {name}"),
            Step::BringLoopbackUp => "lo".into(),
            Step::ConnectOutputs => "standard input to nothing, output and error to the log".into(),
            Step::BoundCapabilities { keep } => format!("all capabilities but {}", keep.len()),
            Step::BecomeUser(None) => "user 0:0".into(),
            Step::BecomeUser(Some(user)) => format!("user {user}"),
            Step::LimitCapabilities => "capabilities in force, inheritable and ambient".into(),
            Step::ForbidNewPrivileges => "new privileges".into(),
            Step::CloseDescriptors => "every descriptor but 0, 1, 2 on exec".into(),
            Step::LoadSeccomp { denials } => format!("seccomp filter ({denials} denials)"),
            Step::Exec { program, first: First::Program } => program.clone(),
            Step::Exec { program, first: First::Init } => format!("{program} below a minimal init"),
        }
    }
}

fn words(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

fn note(owners: Owners) -> &'static str {
    match owners {
        Owners::Mapped(_) => ", owners mapped",
        Owners::AsTheyAre => "",
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb(), self.object())
    }
}
