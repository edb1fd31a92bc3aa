//! The program of a container, and everything that is true of its process: who it is, what it may do, how it is treated.

use belljar_model::UserSpec;
use serde::{Deserialize, Serialize};

use crate::seccomp;

/// The program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// `KEY=value`. `HOME` is added where it is missing.
    pub environment: Vec<String>,
    /// Working folder inside.
    pub workdir: String,
    /// Whether it has a terminal.
    pub terminal: Terminal,
    /// Who it runs as.
    pub user: User,
    /// File mode creation mask; `None` is 022.
    pub umask: Option<u32>,
    /// What it may do of what root may.
    pub capabilities: Capabilities,
    /// Whether no exec may gain privileges.
    pub no_new_privileges: bool,
    /// Which filter of system calls is loaded.
    pub seccomp: Option<seccomp::Choice>,
    /// Its resource limits.
    pub rlimits: Vec<Rlimit>,
    /// How soon it is killed when memory is short, -1000 to 1000; `None` leaves it as its maker's.
    pub oom_score_adj: Option<i32>,
    /// How it is scheduled; `None` leaves it as its maker is.
    pub scheduler: Option<Scheduler>,
    /// How its input and output is scheduled.
    pub io_priority: Option<IoPriority>,
    /// Execution domain (`personality(2)`).
    pub personality: Option<u32>,
    /// AppArmor profile that the program runs under.
    pub apparmor: Option<String>,
    /// Files that it can reach at all; `None` is all that their modes allow.
    #[serde(default)]
    pub landlock: Option<super::landlock::Landlock>,
    /// SELinux label that the program runs under.
    pub selinux_label: Option<String>,
    /// Processors that it may run on.
    pub cpu_affinity: CpuAffinity,
    /// Whose session keyring it has.
    pub keyring: Keyring,
    /// How many descriptors from 3 on reach the program beside the standard three.
    pub preserved_descriptors: u32,
}

/// Whether a process has a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// It has not.
    None,
    /// A new one of the container's own, whose other end is handed outside.
    Pty {
        /// Its size; `None` leaves it to whoever holds the other end.
        size: Option<TerminalSize>,
    },
}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum User {
    /// To be looked up in the container's own files.
    LookUp {
        /// Who; `None` is its root.
        user: Option<UserSpec>,
        /// Groups beside those that it is in, by name or number.
        groups: Vec<String>,
    },
    /// These, whatever any file says.
    Ids {
        /// User id inside.
        uid: u32,
        /// Group id inside.
        gid: u32,
        /// Supplementary groups.
        groups: Vec<u32>,
    },
}

/// Capabilities by name, without `CAP_`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// What can ever be gained.
    pub bounding: Vec<String>,
    /// What is in force.
    pub effective: Vec<String>,
    /// What can be put in force.
    pub permitted: Vec<String>,
    /// What files may give on.
    pub inheritable: Vec<String>,
    /// What survives an exec by a user other than root.
    pub ambient: Vec<String>,
}

impl Capabilities {
    /// These in the bounding, permitted and effective sets; the other two empty (CVE-2022-24769).
    pub fn only(names: &[&str]) -> Self {
        let list: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Self { bounding: list.clone(), effective: list.clone(), permitted: list, ..Self::default() }
    }
}

/// One resource limit (`setrlimit(2)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Its name: `NOFILE`.
    pub resource: String,
    /// What applies, in the resource's own unit (`getrlimit(2)`): bytes for `AS`, `CORE`, `DATA`, `FSIZE`, `MEMLOCK`, `MSGQUEUE`, `RSS`
    /// and `STACK`, seconds for `CPU`, microseconds for `RTTIME`, a count for `LOCKS`, `NOFILE`, `NPROC` and `SIGPENDING`, a level for
    /// `NICE` (20 less the nice value) and `RTPRIO`. 2^64 - 1 is no limit.
    pub soft: u64,
    /// How far the process may raise it itself, in the same unit.
    pub hard: u64,
}

/// How a process is scheduled (`sched_setattr(2)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_*`, by number: 0 other, 1 FIFO, 2 RR, 3 batch, 5 idle, 6 deadline.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value, for the ordinary policies.
    pub nice: i32,
    /// Priority, for FIFO and RR.
    pub priority: u32,
    /// Nanoseconds of processor, for deadline.
    pub runtime_nsec: u64,
    /// Nanoseconds until they must have been given, for deadline.
    pub deadline_nsec: u64,
    /// Nanoseconds of a period, for deadline.
    pub period_nsec: u64,
}

/// How input and output are scheduled (`ioprio_set(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoPriority {
    /// 1 real-time, 2 best effort, 3 idle.
    pub class: u8,
    /// 0, the highest, to 7.
    pub level: u8,
}

/// Processors that a process may run on, by number; `None` leaves them as its cgroup says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuAffinity {
    /// Before it joins its cgroup.
    pub initial: Option<Vec<u32>>,
    /// From the program on.
    pub last: Option<Vec<u32>>,
}

/// Whose session keyring a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keyring {
    /// A new, empty one.
    New,
    /// Its maker's.
    Inherited,
}

impl Process {
    /// `arguments` as root of the container with nothing but the safe defaults: for tests, and as a beginning.
    pub fn of(arguments: &[&str]) -> Self {
        Self {
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            environment: vec![format!("PATH={}", super::DEFAULT_PATH)],
            workdir: "/".to_owned(),
            terminal: Terminal::None,
            user: User::Ids { uid: 0, gid: 0, groups: Vec::new() },
            umask: None,
            capabilities: Capabilities::only(&super::DEFAULT_CAPABILITIES),
            no_new_privileges: true,
            seccomp: Some(seccomp::Choice::default()),
            rlimits: Vec::new(),
            oom_score_adj: None,
            scheduler: None,
            io_priority: None,
            personality: None,
            apparmor: None,
            landlock: None,
            selinux_label: None,
            cpu_affinity: CpuAffinity::default(),
            keyring: Keyring::New,
            preserved_descriptors: 0,
        }
    }

    /// The value of a variable of the environment.
    pub fn variable(&self, key: &str) -> Option<&str> {
        self.environment.iter().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    }
}
