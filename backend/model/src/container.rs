//! A container: what was asked ([`Config`]), what is wanted ([`Wanted`]), and what is so ([`State`], [`Container`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::health::HealthCheck;
use crate::isolation::{Namespaces, TimeOffsets, Whose};
use crate::mount::{MOUNTS_MAX, absolute_path, names};
use crate::namespace::Kind;
use crate::security::Security;
use crate::setting::{self, Device, Ulimit, Umask};
use crate::{ContainerId, ContainerName, Exit, Hostname, ImageName, Invalid, Limits, Mount, Signal, UserSpec};

/// Most arguments of a command, and most variables of an environment.
pub const ARGUMENTS_MAX: usize = 4096;
/// Most bytes of one argument or variable: the kernel's `MAX_ARG_STRLEN` (`execve(2)`), less its NUL.
pub const ARGUMENT_BYTES_MAX: usize = 131_071;
/// Most bytes of all arguments and variables together.
pub const ARGUMENTS_BYTES_MAX: usize = 1 << 20;
/// Most labels, and most bytes of a label's key and of its value.
pub const LABELS_MAX: usize = 256;
/// Longest key or value of a label, in bytes.
pub const LABEL_BYTES_MAX: usize = 4096;
/// Time between the stop signal and the kill, where none is given, in milliseconds (Docker's ten seconds).
pub const STOP_GRACE_MS_DEFAULT: u64 = 10_000;
/// Longest such time, in milliseconds: one hour.
pub const STOP_GRACE_MS_MAX: u64 = 3_600_000;

/// What a person asked for. It never changes by itself; what happens to the container is in [`Container`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Unique among the containers that exist.
    pub name: ContainerName,
    /// The image below the container's own layer.
    pub image: ImageName,
    /// Program and arguments; the program is looked up in the container's `PATH`. Never empty.
    pub command: Vec<String>,
    /// Environment beside what Belljar sets (`PATH`, `HOME`, `HOSTNAME`).
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Hostname inside; the first twelve digits of the id where not given.
    #[serde(default)]
    pub hostname: Option<Hostname>,
    /// User inside; root of the container where not given.
    #[serde(default)]
    pub user: Option<UserSpec>,
    /// Working folder inside, absolute; `/` where not given. Made where missing.
    #[serde(default)]
    pub workdir: Option<String>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// What is put into its tree.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// What happens when its program ends by itself.
    #[serde(default)]
    pub restart: Restart,
    /// Whether a minimal init is PID 1 (reaps, forwards signals) instead of the program itself.
    #[serde(default)]
    pub init: bool,
    /// The signal of a stop.
    #[serde(default = "default_stop_signal")]
    pub stop_signal: Signal,
    /// Milliseconds between the stop signal and the kill.
    #[serde(default = "default_stop_grace_ms")]
    pub stop_grace_ms: u64,
    /// Free words for people and tools.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whose namespaces it lives in.
    #[serde(default, skip_serializing_if = "Namespaces::is_default")]
    pub namespaces: Namespaces,
    /// What is added to its clocks.
    #[serde(default, skip_serializing_if = "TimeOffsets::is_none")]
    pub time_offsets: TimeOffsets,
    /// What it may do to the kernel.
    #[serde(default, skip_serializing_if = "Security::is_default")]
    pub security: Security,
    /// NIS domain name inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domainname: Option<Hostname>,
    /// Limits of each process, by name ([`setting::ULIMITS`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Settings of the kernel that belong to its namespaces, by name (`net.ipv4.ip_forward`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// How early its processes are killed where the host is out of memory: -1000 (never) to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// How much its processes give way to others: -20 to 19.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
    /// Groups beside the program's own, by name or number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What no file is created with; 0022 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<Umask>,
    /// Whether its root cannot be written to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Size of `/dev/shm`, in bytes; 64 MiB where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_bytes: Option<u64>,
    /// Devices of the host that it may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// What its users see of each other's processes (`proc(5)`, *hidepid*): 0 all, 1 no details, 2 nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidepid: Option<u8>,
    /// How it is asked whether it does its work. One with an empty command: not at all, whatever its image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// Ports on which it says that it listens (`80/tcp`): told, and nothing more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
}

fn default_stop_signal() -> Signal {
    Signal::TERM
}

fn default_stop_grace_ms() -> u64 {
    STOP_GRACE_MS_DEFAULT
}

impl Config {
    /// Checks everything that can be checked without looking at the host; the first wrong field is named.
    pub fn check(&self) -> Result<(), Invalid> {
        check_command(&self.command)?;
        check_env(&self.env)?;
        if let Some(workdir) = &self.workdir {
            absolute_path("workdir", workdir)?;
        }
        if self.mounts.len() > MOUNTS_MAX {
            return Err(Invalid::new("mounts", format!("must be at most {MOUNTS_MAX}")));
        }
        for (index, mount) in self.mounts.iter().enumerate() {
            mount.check(&format!("mounts[{index}]"))?;
        }
        check_mounts_differ(&self.mounts)?;
        if self.stop_grace_ms > STOP_GRACE_MS_MAX {
            return Err(Invalid::new("stop_grace_ms", format!("must be at most {STOP_GRACE_MS_MAX}")));
        }
        check_labels(&self.labels)?;
        self.health.as_ref().map_or(Ok(()), |health| health.check("health"))?;
        self.check_isolation()?;
        self.check_program()
    }

    fn check_isolation(&self) -> Result<(), Invalid> {
        self.namespaces.check(&self.name)?;
        let mapped = self.mounts.iter().position(|mount| mount.idmap().is_some());
        if let (Some(index), whose @ Whose::Path(_)) = (mapped, self.namespaces.of(Kind::User)) {
            let problem = format!("cannot be told: namespaces.user is {whose}, whose ids are not known here");
            return Err(Invalid::new(format!("mounts[{index}].idmap"), problem));
        }
        self.time_offsets.check(&self.namespaces)?;
        self.security.check()?;
        setting::check_sysctls(&self.sysctls, &self.namespaces)?;
        let said_twice = self.sysctls.keys().find(|name| self.domainname.is_some() && name.replace('/', ".") == "kernel.domainname");
        if let Some(name) = said_twice {
            return Err(Invalid::new(format!("sysctls.{name}"), "is what the field domainname says"));
        }
        if self.shm_bytes.is_some() && self.namespaces.of(Kind::Ipc) == Whose::Host {
            return Err(Invalid::new("shm_bytes", "cannot be set where /dev/shm is the host's: namespaces.ipc is host"));
        }
        // Who has ids of its own cannot mount the proc of others: it gets the host's, as that is.
        if self.hidepid.is_some() && self.namespaces.has_own_ids() && self.namespaces.of(Kind::Pid) != Whose::Private {
            let whose = self.namespaces.of(Kind::Pid);
            return Err(Invalid::new(
                "hidepid",
                format!("cannot be set where /proc is not the container's own: namespaces.pid is {whose}"),
            ));
        }
        let named = [("hostname", self.hostname.is_some()), ("domainname", self.domainname.is_some())];
        match self.namespaces.of(Kind::Uts) {
            Whose::Private => Ok(()),
            whose => named.iter().find(|(_, given)| *given).map_or(Ok(()), |(field, _)| {
                Err(Invalid::new(*field, format!("cannot be set where it is not the container's own: namespaces.uts is {whose}")))
            }),
        }
    }

    fn check_program(&self) -> Result<(), Invalid> {
        setting::check_ulimits(&self.ulimits)?;
        within("oom_score_adj", self.oom_score_adj.map(i64::from), (-1000, 1000))?;
        within("nice", self.nice.map(i64::from), (-20, 19))?;
        within("hidepid", self.hidepid.map(i64::from), (0, 2))?;
        let shm = self.shm_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        within("shm_bytes", shm, (1, setting::SHM_BYTES_MAX as i64))?;
        if self.groups.len() > setting::GROUPS_MAX {
            return Err(Invalid::new("groups", format!("must be at most {}", setting::GROUPS_MAX)));
        }
        for (index, group) in self.groups.iter().enumerate() {
            let wrong = |invalid: Invalid| {
                Invalid::new(
                    format!("groups[{index}]"),
                    invalid.problem.replace("user, user:group, or their numbers", "a name or a number"),
                )
            };
            group.parse::<crate::user::NameOrId>().map_err(wrong)?;
        }
        if self.devices.len() > setting::DEVICES_MAX {
            return Err(Invalid::new("devices", format!("must be at most {}", setting::DEVICES_MAX)));
        }
        self.devices.iter().enumerate().try_for_each(|(index, device)| device.check(&format!("devices[{index}]")))
    }
}

fn within(field: &str, value: Option<i64>, (least, most): (i64, i64)) -> Result<(), Invalid> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(Invalid::new(field, format!("must be between {least} and {most}, not {value}")))
        }
        _ => Ok(()),
    }
}

/// Refuses a command that no kernel would take.
pub fn check_command(command: &[String]) -> Result<(), Invalid> {
    if command.first().is_none_or(String::is_empty) {
        return Err(Invalid::new("command", "is required: the program to run, and its arguments, such as [\"sleep\", \"1d\"]"));
    }
    check_strings("command", command.iter().map(String::as_str))
}

/// Refuses variables that no kernel would take.
pub fn check_env(env: &BTreeMap<String, String>) -> Result<(), Invalid> {
    for key in env.keys() {
        if key.is_empty() || key.contains('=') {
            return Err(Invalid::new("env", format!("{key:?} is not a name of a variable")));
        }
    }
    check_strings("env", env.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]))
}

fn check_strings<'a>(field: &str, strings: impl Iterator<Item = &'a str>) -> Result<(), Invalid> {
    let (mut count, mut bytes) = (0, 0);
    for text in strings {
        if text.contains('\0') {
            return Err(Invalid::new(field, "must not contain NUL bytes"));
        }
        if text.len() > ARGUMENT_BYTES_MAX {
            return Err(Invalid::new(field, format!("has an element of more than {ARGUMENT_BYTES_MAX} bytes")));
        }
        count += 1;
        bytes += text.len() + 1;
    }
    if count > ARGUMENTS_MAX * 2 || bytes > ARGUMENTS_BYTES_MAX {
        return Err(Invalid::new(field, format!("must have at most {ARGUMENTS_MAX} elements and {ARGUMENTS_BYTES_MAX} bytes together")));
    }
    Ok(())
}

/// No two mounts at one place, and no layer twice: the kernel refuses to stack a folder on itself.
fn check_mounts_differ(mounts: &[Mount]) -> Result<(), Invalid> {
    let (mut targets, mut layers, mut images) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, mount) in mounts.iter().enumerate() {
        if let Some(target) = mount.target()
            && !targets.insert(names(target).collect::<Vec<_>>())
        {
            return Err(Invalid::new(format!("mounts[{index}].target"), format!("{target} is already the target of another mount")));
        }
        if let Mount::Layer { source } = mount
            && !layers.insert(names(source).collect::<Vec<_>>())
        {
            return Err(Invalid::new(format!("mounts[{index}].source"), format!("{source} is already a layer of this container")));
        }
        if let Mount::Image { image, .. } = mount
            && !images.insert(image)
        {
            return Err(Invalid::new(format!("mounts[{index}].image"), format!("{image} is already a layer of this container")));
        }
    }
    Ok(())
}

/// Refuses labels that are too many or too long.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Invalid> {
    if labels.len() > LABELS_MAX {
        return Err(Invalid::new("labels", format!("must be at most {LABELS_MAX}")));
    }
    let too_long = |(key, value): (&String, &String)| key.is_empty() || key.len() > LABEL_BYTES_MAX || value.len() > LABEL_BYTES_MAX;
    if labels.iter().any(too_long) {
        return Err(Invalid::new("labels", format!("must have keys of 1 to {LABEL_BYTES_MAX} bytes and values of at most as many")));
    }
    Ok(())
}

/// What happens when the program ends by itself. Docker's four words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It stays stopped.
    #[default]
    No,
    /// It is started again unless it ended with exit code 0.
    OnFailure,
    /// It is started again, also when Belljar starts.
    Always,
    /// As `always`, except that a stop by a person holds over a start of Belljar.
    UnlessStopped,
}

impl Restart {
    /// The word of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Restart::No => "no",
            Restart::OnFailure => "on-failure",
            Restart::Always => "always",
            Restart::UnlessStopped => "unless-stopped",
        }
    }
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being put together; no program has run yet.
    Creating,
    /// Put together, never started.
    Created,
    /// Its program runs: the kernel says so.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its program ended, or could not start: see [`Container::exit`].
    Stopped,
}

impl State {
    /// Every state, for tables and tests.
    pub const ALL: [State; 5] = [State::Creating, State::Created, State::Running, State::Paused, State::Stopped];

    /// The word on the wire, in the database and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Creating => "creating",
            State::Created => "created",
            State::Running => "running",
            State::Paused => "paused",
            State::Stopped => "stopped",
        }
    }

    /// Whether processes of it exist.
    pub fn is_alive(self) -> bool {
        matches!(self, State::Running | State::Paused)
    }
}

/// What a person last asked a container to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Its program should run.
    Running,
    /// It should rest.
    Stopped,
    /// It should be gone, with everything of it.
    Deleted,
}

impl Wanted {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Wanted::Running => "running",
            Wanted::Stopped => "stopped",
            Wanted::Deleted => "deleted",
        }
    }
}

/// A running container's anchor in the kernel. A pid alone may be reused; pid and start time together are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// Process id as the host sees it.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks between boot and start of the process (`proc_pid_stat(5)`).
    pub start_ticks: u64,
}

/// A container as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its identifier.
    pub id: ContainerId,
    /// What was asked.
    pub config: Config,
    /// What is so.
    pub state: State,
    /// What is wanted.
    pub wanted: Wanted,
    /// Digest of the image that it was made of. A name may go to another image; what a container stands on does not. `None` for
    /// `host`, which is always as the host is.
    #[serde(default)]
    pub image_digest: Option<String>,
    /// First host id of the range of 65,536 user and group ids that is kept for it. `None`: it asked for none of its own.
    pub uid_base: Option<u32>,
    /// Why its last start went without them, where this host could not give them.
    #[serde(default)]
    pub without_ids: Option<String>,
    /// When it was created, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When its program last began, in Unix milliseconds; kept after it ended.
    pub started_at_ms: Option<i64>,
    /// The container's first process, while it is alive.
    pub init: Option<ProcessRef>,
    /// The process that watches over it, while it is alive.
    pub monitor: Option<ProcessRef>,
    /// How it last ended; kept while it runs again, until it ends again.
    pub exit: Option<Exit>,
    /// How often it was started again by its restart policy since a person last started it.
    pub restarts: u32,
}

impl Config {
    /// The check of its health; `None` where there is none.
    pub fn health_check(&self) -> Option<&HealthCheck> {
        self.health.as_ref().filter(|check| !check.command.is_empty())
    }
}

impl Container {
    /// Hostname inside.
    pub fn hostname(&self) -> &str {
        self.config.hostname.as_ref().map_or(self.id.short(), Hostname::as_str)
    }

    /// First host id of the range that it uses: what is kept for it, unless its last start had to go without.
    pub fn ids_in_use(&self) -> Option<u32> {
        self.uid_base.filter(|_| self.without_ids.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        serde_json::from_str(r#"{"name":"web","image":"host","command":["sleep","1d"]}"#).expect("a minimal config")
    }

    #[test]
    fn a_minimal_config_is_valid_and_has_dockers_defaults() {
        let config = config();
        assert_eq!(config.check(), Ok(()));
        assert_eq!((config.stop_signal, config.stop_grace_ms, config.restart), (Signal::TERM, 10_000, Restart::No));
    }

    #[test]
    fn wrong_fields_are_named() {
        type Breaks = fn(&mut Config);
        let broken: [(&str, Breaks); 19] = [
            ("health.retries", |config| config.health = Some(HealthCheck { retries: 0, ..HealthCheck::of(vec!["true".into()]) })),
            ("sysctls.kernel.domainname", |config| {
                config.domainname = "a".parse().ok();
                config.sysctls.insert("kernel.domainname".into(), "b".into());
            }),
            ("command", |config| config.command.clear()),
            ("command", |config| config.command.push("a\0b".into())),
            ("env", |config| drop(config.env.insert("A=B".into(), String::new()))),
            ("workdir", |config| config.workdir = Some("relative".into())),
            ("stop_grace_ms", |config| config.stop_grace_ms = u64::MAX),
            ("namespaces.net", |config| config.namespaces.net = Some(Whose::Container("web".into()))),
            ("hostname", |config| (config.namespaces.uts, config.hostname) = (Some(Whose::Host), "a".parse().ok())),
            ("shm_bytes", |config| (config.namespaces.ipc, config.shm_bytes) = (Some(Whose::Host), Some(4096))),
            ("hidepid", |config| (config.namespaces.pid, config.hidepid) = (Some(Whose::Host), Some(2))),
            ("sysctls.kernel.panic", |config| drop(config.sysctls.insert("kernel.panic".into(), "1".into()))),
            ("security.capabilities.add[0]", |config| config.security.capabilities.add.push("FLY".into())),
            ("oom_score_adj", |config| config.oom_score_adj = Some(1001)),
            ("nice", |config| config.nice = Some(20)),
            ("hidepid", |config| config.hidepid = Some(3)),
            ("shm_bytes", |config| config.shm_bytes = Some(0)),
            ("groups[0]", |config| config.groups.push("a:b".into())),
            ("mounts[1].target", |config| {
                config.mounts =
                    vec![Mount::Tmpfs { target: "/t".into(), size_bytes: None }, Mount::Tmpfs { target: "//t/".into(), size_bytes: None }]
            }),
        ];
        for (field, breaks) in broken {
            let mut config = config();
            breaks(&mut config);
            assert_eq!(config.check().map_err(|invalid| invalid.field), Err(field.to_owned()));
        }
    }
}
