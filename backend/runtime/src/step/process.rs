//! Steps of a container's first process: how it is made, what it gives up, and what it becomes.

use std::path::PathBuf;

use belljar_model::namespace::Kind;
use belljar_model::plan::Place;

use crate::seccomp;
pub use crate::spec::First;
use crate::spec::{IdMaps, Keyring, User};

/// One step of the process.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessStep {
    /// Makes the first process.
    Clone {
        /// Its new namespaces.
        namespaces: Vec<Kind>,
        /// Whether it begins in the v2 cgroup.
        cgroup: Joining,
    },
    /// Gives the user namespace its ids.
    MapIds(IdMaps),

    /// A session of its own, with the file mode mask, and a keyring.
    NewSession {
        /// Whose keyring.
        keyring: Keyring,
        /// File mode creation mask.
        umask: u32,
    },
    /// Becomes user 0 of its user namespace.
    BecomeNamespaceRoot,
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
    BecomeUser(User),
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
    LoadSeccomp(std::sync::Arc<seccomp::Prepared>),
    /// Becomes the program.
    Exec {
        /// Its arguments, its name first.
        arguments: Vec<String>,
        /// Its environment.
        environment: Vec<String>,
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

impl ProcessStep {
    /// Who takes it.
    pub fn place(&self) -> Place {
        match self {
            ProcessStep::Clone { .. } | ProcessStep::MapIds(_) => Place::Outside,
            _ => Place::Inside,
        }
    }

    /// What is done.
    pub fn verb(&self) -> &'static str {
        match self {
            ProcessStep::Clone { .. } => "clone",
            ProcessStep::MapIds(_) => "map",
            ProcessStep::NewSession { .. } => "begin",
            ProcessStep::BecomeNamespaceRoot | ProcessStep::BecomeUser(_) => "become",
            ProcessStep::SetHostname(_) => "set",
            ProcessStep::BringLoopbackUp => "bring up",
            ProcessStep::ConnectOutputs => "connect",
            ProcessStep::BoundCapabilities { .. } => "drop",
            ProcessStep::LimitCapabilities => "limit",
            ProcessStep::MakeWorkdir(_) => "make",
            ProcessStep::EnterWorkdir(_) => "enter",
            ProcessStep::ForbidNewPrivileges => "forbid",
            ProcessStep::CloseDescriptors => "close",
            ProcessStep::LoadSeccomp(_) => "load",
            ProcessStep::Exec { .. } => "exec",
        }
    }

    /// What it is done to.
    pub fn object(&self) -> String {
        match self {
            ProcessStep::Clone { namespaces, cgroup: Joining::AtBirth(_) } => {
                format!("first process into new {}, and its cgroup", words(namespaces))
            }
            ProcessStep::Clone { namespaces, cgroup: Joining::Later } => format!("first process into new {}", words(namespaces)),
            ProcessStep::MapIds(ids) => mapped(ids),
            ProcessStep::NewSession { keyring: Keyring::New, .. } => "session and keyring".into(),
            ProcessStep::NewSession { keyring: Keyring::Inherited, .. } => "session".into(),
            ProcessStep::BecomeNamespaceRoot => "root of the user namespace".into(),
            ProcessStep::SetHostname(name) => format!("hostname {name}"),
            ProcessStep::BringLoopbackUp => "lo".into(),
            ProcessStep::ConnectOutputs => "standard input to nothing, output and error to the log".into(),
            ProcessStep::BoundCapabilities { keep } => format!("all capabilities but {}", keep.len()),
            ProcessStep::BecomeUser(user) => named(user),
            ProcessStep::LimitCapabilities => "capabilities in force, inheritable and ambient".into(),
            ProcessStep::MakeWorkdir(path) => format!("working folder {path}"),
            ProcessStep::EnterWorkdir(path) => path.clone(),
            ProcessStep::ForbidNewPrivileges => "new privileges".into(),
            ProcessStep::CloseDescriptors => "every descriptor but 0, 1, 2 on exec".into(),
            ProcessStep::LoadSeccomp(filter) => format!("seccomp filter ({filter})"),
            ProcessStep::Exec { arguments, first: First::Program, .. } => program(arguments).to_owned(),
            ProcessStep::Exec { arguments, first: First::Init, .. } => format!("{} below a minimal init", program(arguments)),
        }
    }
}

fn program(arguments: &[String]) -> &str {
    arguments.first().map_or("nothing", String::as_str)
}

fn words(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

fn named(user: &User) -> String {
    match user {
        User::LookUp(None) => "user 0:0".to_owned(),
        User::LookUp(Some(user)) => format!("user {user}"),
        User::Ids { uid, gid, groups } if groups.is_empty() => format!("user {uid}:{gid}"),
        User::Ids { uid, gid, groups } => format!("user {uid}:{gid} with {} more groups", groups.len()),
    }
}

/// `user and group ids 0-65535 to 536870912-536936447`, one range after the other.
fn mapped(ids: &IdMaps) -> String {
    let ranges = |maps: &[crate::spec::IdMap]| {
        let last = |first: u32, count: u32| u64::from(first) + u64::from(count.max(1)) - 1;
        let range = |map: &crate::spec::IdMap| {
            format!("{}-{} to {}-{}", map.inside, last(map.inside, map.count), map.outside, last(map.outside, map.count))
        };
        maps.iter().map(range).collect::<Vec<_>>().join(", ")
    };
    if ids.uids == ids.gids {
        format!("user and group ids {}", ranges(&ids.uids))
    } else {
        format!("user ids {}; group ids {}", ranges(&ids.uids), ranges(&ids.gids))
    }
}
