//! A container on the wire.

use std::collections::{BTreeMap, BTreeSet};

use belljar_model::container::Restart;
use belljar_model::exit::Cause;
use belljar_model::health::HealthCheck;
use belljar_model::isolation::TimeOffsets;
use belljar_model::setting::{Device, Ulimit};
use belljar_model::{Namespaces, Security, State, Wanted, container as model, exit, warning};
use serde::{Deserialize, Serialize};

use crate::health::Health;
use crate::mount::Mount;
use crate::time;
use crate::usage::Usage;

pub use belljar_model::limits::{IoLimit, Limits};

/// What a container is limited to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnforcedLimits {
    /// As asked.
    pub asked: Limits,
    /// As the kernel has them; `null` while it is not alive.
    pub enforced: Option<Limits>,
}

/// A container as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The first twelve of them.
    pub short_id: String,
    /// Unique name.
    pub name: String,
    /// The image below its own layer.
    pub image: String,
    /// Digest of that image, whatever its name means by now; `null` for `host`.
    pub image_digest: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What is so.
    pub state: State,
    /// What is wanted.
    pub wanted: Wanted,
    /// When it was created.
    #[serde(rename = "created_at", with = "time::millis")]
    pub created_at_ms: i64,
    /// When its program last began.
    #[serde(rename = "started_at", with = "time::millis_option")]
    pub started_at_ms: Option<i64>,
    /// How long it has been alive, in milliseconds; `null` while it is not.
    pub uptime_ms: Option<u64>,
    /// Its first process as the host sees it, while it is alive.
    pub pid: Option<i32>,
    /// Hostname inside.
    pub hostname: String,
    /// User inside, as asked.
    pub user: Option<String>,
    /// Working folder inside, as asked.
    pub workdir: Option<String>,
    /// Environment, as asked.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub limits: Limits,
    /// What is put into its tree.
    pub mounts: Vec<Mount>,
    /// What happens when its program ends by itself.
    pub restart: Restart,
    /// How often its restart policy started it again.
    pub restarts: u32,
    /// Whether a minimal init is PID 1.
    pub init: bool,
    /// Free words for people and tools.
    pub labels: BTreeMap<String, String>,
    /// Signal of a stop.
    pub stop_signal: String,
    /// Milliseconds between the stop signal and the kill.
    pub stop_grace_ms: u64,
    /// First host id of its range of user ids; `null` where it shares somebody else's.
    pub uid_base: Option<u32>,
    /// What of its protection it goes without, one sentence each; empty where everything is at its default.
    pub warnings: Vec<String>,
    /// Whose namespaces it lives in, as asked.
    pub namespaces: Namespaces,
    /// Seconds that are added to its clocks.
    pub time_offsets: TimeOffsets,
    /// What it may do to the kernel, as asked.
    pub security: Security,
    /// NIS domain name inside, as asked.
    pub domainname: Option<String>,
    /// Limits of each process, as asked.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Settings of the kernel that belong to its namespaces, as asked.
    pub sysctls: BTreeMap<String, String>,
    /// How early it is killed where the host is out of memory, as asked.
    pub oom_score_adj: Option<i32>,
    /// How much it gives way to others, as asked.
    pub nice: Option<i32>,
    /// Groups beside the program's own, as asked.
    pub groups: Vec<String>,
    /// What no file is created with, as asked.
    pub umask: Option<String>,
    /// Whether its root cannot be written to.
    pub read_only: bool,
    /// Size of `/dev/shm`, as asked.
    pub shm_bytes: Option<u64>,
    /// Devices of the host that it may use.
    pub devices: Vec<Device>,
    /// What its users see of each other's processes, as asked.
    pub hidepid: Option<u8>,
    /// Ports on which its image says that it listens: `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// How it is asked whether it does its work; `null` where it is not.
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    /// What came of that since its start.
    #[serde(default)]
    pub health: Health,
    /// How it last ended.
    pub exit: Option<Exit>,
    /// What it uses; in lists, for those that are alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The worst that there is to say about it, as one sentence; missing where all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
    /// Bytes on disk of its own layer when that was last measured; missing where it was not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_bytes: Option<u64>,
}

impl Container {
    /// `container` as it is at this moment.
    pub fn at(container: &model::Container, now_ms: i64) -> Self {
        let config = &container.config;
        let alive_since = container.started_at_ms.filter(|_| container.state.is_alive());
        Self {
            id: container.id.as_str().to_owned(),
            short_id: container.id.short().to_owned(),
            name: config.name.as_str().to_owned(),
            image: config.image.as_str().to_owned(),
            image_digest: container.image_digest.clone(),
            command: config.command.clone(),
            state: container.state,
            wanted: container.wanted,
            created_at_ms: container.created_at_ms,
            started_at_ms: container.started_at_ms,
            // A clock that was set back makes a container zero milliseconds old, not 500 million years.
            uptime_ms: alive_since.map(|since| u64::try_from(now_ms.saturating_sub(since)).unwrap_or(0)),
            pid: container.init.map(|init| init.pid),
            hostname: container.hostname().to_owned(),
            user: config.user.as_ref().map(ToString::to_string),
            workdir: config.workdir.clone(),
            env: config.env.clone(),
            limits: config.limits.clone(),
            mounts: config.mounts.iter().map(Mount::from).collect(),
            restart: config.restart,
            restarts: container.restarts,
            init: config.init,
            labels: config.labels.clone(),
            stop_signal: config.stop_signal.to_string(),
            stop_grace_ms: config.stop_grace_ms,
            uid_base: container.ids_in_use(),
            warnings: warning::of(container),
            namespaces: config.namespaces.clone(),
            time_offsets: config.time_offsets,
            security: config.security.clone(),
            domainname: config.domainname.clone().map(String::from),
            ulimits: config.ulimits.clone(),
            sysctls: config.sysctls.clone(),
            oom_score_adj: config.oom_score_adj,
            nice: config.nice,
            groups: config.groups.clone(),
            umask: config.umask.map(String::from),
            read_only: config.read_only,
            shm_bytes: config.shm_bytes,
            devices: config.devices.clone(),
            hidepid: config.hidepid,
            exposed_ports: config.exposed_ports.clone(),
            health_check: config.health.clone(),
            health: Health::default(),
            exit: container.exit.as_ref().map(Exit::from),
            usage: None,
            finding: None,
            upper_bytes: None,
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// `exited`, `signaled`, `out_of_memory`, `never_started` or `lost`.
    pub kind: String,
    /// The whole of it as a clause.
    pub message: String,
    /// When.
    #[serde(rename = "at", with = "time::millis")]
    pub at_ms: i64,
    /// Exit status of its first process.
    pub code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// Where it never started: the step that failed,
    pub step: Option<String>,
    /// what that was done to,
    pub object: Option<String>,
    /// and why. For `lost`: what is known.
    pub cause: Option<String>,
    /// The number that a shell would show; `null` where nobody knows.
    pub shell_code: Option<u8>,
    /// Memory kills on the way or at the end.
    pub out_of_memory: Option<OutOfMemory>,
}

/// Kills by the kernel because a memory limit was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfMemory {
    /// Processes killed.
    pub kills: u64,
    /// The limit at that time, in bytes.
    pub limit_bytes: Option<u64>,
    /// Most memory that it ever had, in bytes.
    pub peak_bytes: Option<u64>,
    /// Name of the last process killed.
    pub process: Option<String>,
    /// Its process id as the host saw it.
    pub pid: Option<i32>,
}

impl From<&exit::Exit> for Exit {
    fn from(exit: &exit::Exit) -> Self {
        let mut wire = Self {
            kind: exit.kind().to_owned(),
            message: exit.to_string(),
            at_ms: exit.at_ms,
            code: None,
            signal: None,
            step: None,
            object: None,
            cause: None,
            shell_code: exit.shell_code(),
            out_of_memory: exit.out_of_memory.as_ref().map(OutOfMemory::from),
        };
        match &exit.cause {
            Cause::Exited { code } => wire.code = Some(*code),
            Cause::Signaled { signal } => wire.signal = Some(signal.to_string()),
            Cause::NeverStarted(failure) => {
                wire.step = Some(failure.step.clone());
                wire.object = Some(failure.object.clone());
                wire.cause = Some(failure.cause.clone());
            }
            Cause::Lost { why } => wire.cause = Some(why.clone()),
        }
        wire
    }
}

impl From<&exit::OutOfMemory> for OutOfMemory {
    fn from(kill: &exit::OutOfMemory) -> Self {
        let victim = kill.victim.as_ref();
        Self {
            kills: kill.kills,
            limit_bytes: kill.limit_bytes,
            peak_bytes: kill.peak_bytes,
            process: victim.map(|victim| victim.command.clone()),
            pid: victim.map(|victim| victim.pid),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use belljar_model::container::ProcessRef;
    use belljar_model::exit::Victim;
    use belljar_model::{ContainerId, Failure, Signal};

    /// A container with every field filled.
    pub(crate) fn full() -> model::Container {
        let config = r#"{"image":"host","name":"db","command":["sleep","1d"],"env":{"A":"b"},"hostname":"db","user":"1:2","workdir":"/srv",
            "limits":{"memory_bytes":4194304,"memory_swap_bytes":0,"cpus":0.5,"pids":9},
            "mounts":[{"type":"tmpfs","target":"/t","size_bytes":5}],"restart":"always","init":true,"labels":{"x":"y"},
            "namespaces":{"net":"host","pid":"private","ipc":"private","uts":"private","cgroup":"private","time":"private","user":"private"},
            "time_offsets":{"monotonic":1,"boottime":2},"security":{"capabilities":{"add":["BPF"],"drop":["MKNOD"]},"new_privileges":"allowed",
            "seccomp":"unconfined","system_paths":"unconfined","apparmor":"a","selinux":"b","landlock":[{"path":"/","access":["read"]}]},
            "domainname":"home","ulimits":{"nofile":{"soft":1,"hard":2}},"oom_score_adj":1,"nice":2,"groups":["3"],"umask":"0022",
            "read_only":true,"shm_bytes":4,"devices":[{"source":"/dev/fuse","path":"/dev/f","access":"r"}],"hidepid":1,
            "health":{"command":["true"],"start_interval_ms":1}}"#;
        model::Container {
            id: ContainerId::from_bytes([7; 32]),
            config: serde_json::from_str(config).expect("a config"),
            state: State::Running,
            wanted: Wanted::Running,
            uid_base: Some(65_536),
            without_ids: None,
            image_digest: None,
            created_at_ms: 1_000,
            started_at_ms: Some(2_000),
            init: Some(ProcessRef { pid: 42, start_ticks: 1 }),
            monitor: None,
            exit: Some(exit::Exit {
                cause: Cause::Signaled { signal: Signal::KILL },
                out_of_memory: Some(exit::OutOfMemory {
                    kills: 1,
                    limit_bytes: Some(4 << 20),
                    peak_bytes: Some(4 << 20),
                    victim: Some(Victim { pid: 7, command: "tail".into() }),
                    went_on: false,
                }),
                at_ms: 1_500,
            }),
            restarts: 3,
        }
    }

    #[test]
    fn a_container_on_the_wire_says_what_it_is_and_reads_back() {
        let wire = Container::at(&full(), 2_250);
        let json = serde_json::to_value(&wire).expect("JSON");
        assert_eq!((&json["uptime_ms"], &json["pid"], &json["created_at"]), (&250.into(), &42.into(), &"1970-01-01T00:00:01.000Z".into()));
        assert_eq!((&json["exit"]["kind"], &json["exit"]["out_of_memory"]["process"]), (&"out_of_memory".into(), &"tail".into()));
        assert_eq!(json["exit"]["message"], "out of memory, limit 4 MiB, peak 4 MiB, process tail (pid 7)");
        assert_eq!(serde_json::from_value::<Container>(json).expect("readable"), wire);
    }

    #[test]
    fn a_container_that_is_not_alive_has_no_uptime_and_one_from_the_future_none_below_zero() {
        let mut container = full();
        assert_eq!(Container::at(&container, 0).uptime_ms, Some(0));
        container.state = State::Stopped;
        assert_eq!(Container::at(&container, 9_000).uptime_ms, None);
    }

    #[test]
    fn a_container_that_never_started_says_step_object_and_cause() {
        let failure = Failure { step: "exec".into(), object: "nope".into(), cause: "ENOENT: no such file or directory".into() };
        let exit = Exit::from(&exit::Exit { cause: Cause::NeverStarted(failure), out_of_memory: None, at_ms: 0 });
        assert_eq!((exit.kind.as_str(), exit.step.as_deref(), exit.object.as_deref()), ("never_started", Some("exec"), Some("nope")));
        assert_eq!((exit.code, exit.shell_code), (None, Some(127)));
    }
}
