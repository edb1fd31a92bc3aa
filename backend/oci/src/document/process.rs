//! The program of a document: also what `exec --process` reads.

use serde::{Deserialize, Serialize};

use super::absent;
use super::words::{IoClass, RlimitKind, SchedulerFlag, SchedulerPolicy};

/// A program and all that it runs with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Whether it has a terminal of its own.
    #[serde(default, deserialize_with = "absent")]
    pub terminal: bool,
    /// Size of that terminal at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Who it runs as.
    #[serde(default, deserialize_with = "absent")]
    pub user: User,
    /// Program and arguments.
    #[serde(default, deserialize_with = "absent")]
    pub args: Vec<String>,
    /// `KEY=value`.
    #[serde(default, deserialize_with = "absent")]
    pub env: Vec<String>,
    /// Working folder, absolute.
    pub cwd: String,
    /// Its capabilities; none of any kind where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Limits of the process.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// Whether no exec may gain privileges.
    #[serde(default, deserialize_with = "absent")]
    pub no_new_privileges: bool,
    /// AppArmor's profile.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub apparmor_profile: String,
    /// How willingly the kernel kills it for memory, -1000 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// SELinux's label.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub selinux_label: String,
    /// How it is scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// Its turn at disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<IoPriority>,
    /// Processors on which a process that joins later runs.
    #[serde(default, rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Lines.
    #[serde(default, deserialize_with = "absent")]
    pub height: u16,
    /// Columns.
    #[serde(default, deserialize_with = "absent")]
    pub width: u16,
}

/// Ids inside the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// User.
    #[serde(default, deserialize_with = "absent")]
    pub uid: u32,
    /// Group.
    #[serde(default, deserialize_with = "absent")]
    pub gid: u32,
    /// Which permissions new files lack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// The five sets, by name with `CAP_`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What it can ever have.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub bounding: Vec<String>,
    /// What is in force.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub effective: Vec<String>,
    /// What files may hand down.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub inheritable: Vec<String>,
    /// What can be put in force.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<String>,
    /// What programs without any of their own begin with.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub ambient: Vec<String>,
}

/// One limit of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Of what.
    #[serde(rename = "type")]
    pub kind: RlimitKind,
    /// What it can raise the soft one to.
    pub hard: u64,
    /// What is enforced.
    pub soft: u64,
}

/// How it is scheduled (`sched_setattr(2)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// The policy.
    pub policy: SchedulerPolicy,
    /// Niceness.
    #[serde(default, deserialize_with = "absent")]
    pub nice: i32,
    /// Priority of the real-time policies.
    #[serde(default, deserialize_with = "absent")]
    pub priority: i32,
    /// Flags.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<SchedulerFlag>,
    /// Time of a period, in nanoseconds.
    #[serde(default, deserialize_with = "absent")]
    pub runtime: u64,
    /// By when, in nanoseconds.
    #[serde(default, deserialize_with = "absent")]
    pub deadline: u64,
    /// How often, in nanoseconds.
    #[serde(default, deserialize_with = "absent")]
    pub period: u64,
}

/// Its turn at disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoPriority {
    /// The class.
    pub class: IoClass,
    /// 0 (first) to 7.
    #[serde(default, deserialize_with = "absent")]
    pub priority: i32,
}

/// Processors of a process that joins, as lists: `0-3,7`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuAffinity {
    /// Before it moves into the cgroup.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub initial: String,
    /// From then on.
    #[serde(default, rename = "final", deserialize_with = "absent", skip_serializing_if = "String::is_empty")]
    pub last: String,
}
