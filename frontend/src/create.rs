//! The form that makes a container: its fields as they were typed, and the message at the one that is wrong.

use askama::Template;
use belljar_model::container::Restart;
use belljar_model::limits::HostCapacity;
use belljar_model::{Image, Invalid};
use serde::Deserialize;

use crate::frame::{Page, Section};
use crate::images::{brings, program};
use crate::limits::{self, Field, Kind, Supports, Texts};
use crate::{Frame, figure};

/// The fields of the form as text, exactly as the browser sends them. A field that is missing is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Values {
    /// Name; empty: one is made up.
    pub name: String,
    /// Name of the image.
    pub image: String,
    /// What stands before the command instead of the image's entrypoint, in one line.
    pub entrypoint: String,
    /// Program and arguments in one line, quoted as for a shell; empty: the image's own.
    pub command: String,
    /// One `KEY=value` per line.
    pub env: String,
    /// Hostname inside.
    pub hostname: String,
    /// `user[:group]`.
    pub user: String,
    /// Working folder inside.
    pub workdir: String,
    /// Memory, such as `64m`.
    pub memory: String,
    /// Swap on top of it, such as `0` or `64m`.
    pub swap: String,
    /// Processors, such as `0.5`.
    pub cpus: String,
    /// Most processes.
    pub pids: String,
    /// Memory above which it is slowed. The limits from here on read as in [`Texts`].
    pub memory_high: String,
    /// Memory that is left to it.
    pub memory_reservation: String,
    /// 0 to 100.
    pub memory_swappiness: String,
    /// Anything where all of it is killed with one of its processes.
    pub oom_group: String,
    /// Huge pages, one size per line.
    pub hugetlb: String,
    /// 1 to 10000.
    pub cpu_weight: String,
    /// In milliseconds.
    pub cpu_burst: String,
    /// Anything where it runs only while nobody else wants to.
    pub cpu_idle: String,
    /// Processors.
    pub cpuset: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// 1 to 10000.
    pub io_weight: String,
    /// One device per line.
    pub io: String,
    /// What its own layer may take of the disk.
    pub disk: String,
    /// Most files and folders of it.
    pub disk_inodes: String,
    /// One mount per line: `/host:/container[:ro]`, `layer:/path`, `tmpfs:/path[:size]`.
    pub mounts: String,
    /// A shell command that succeeds while it is healthy.
    pub health_cmd: String,
    /// Time between two checks, such as `30s`.
    pub health_interval: String,
    /// Time after which a check has failed.
    pub health_timeout: String,
    /// Failures in a row after which it is unhealthy.
    pub health_retries: String,
    /// Time from the start in which failures do not count.
    pub health_start_period: String,
    /// Time between two checks in that time.
    pub health_start_interval: String,
    /// Anything where there shall be no check, whatever the image says.
    pub no_healthcheck: String,
    /// `no`, `on-failure`, `always` or `unless-stopped`.
    pub restart: String,
    /// Anything where the box is ticked.
    pub start: String,
    /// Whose network: `private`, `host`, `container:NAME`, `path:/…`; empty is the default. So for each kind below.
    pub net: String,
    /// Whose processes.
    pub pid: String,
    /// Whose shared memory.
    pub ipc: String,
    /// Whose hostname.
    pub uts: String,
    /// Whose user ids.
    pub userns: String,
    /// Whose view of the cgroup tree.
    pub cgroupns: String,
    /// Capabilities to add, in one line.
    pub cap_add: String,
    /// Capabilities to drop, in one line.
    pub cap_drop: String,
    /// `default`, `unconfined`, `record`, or a profile as JSON.
    pub seccomp: String,
    /// Anything where set-uid programs shall have their effect.
    pub new_privileges: String,
    /// Anything where the kernel's own files shall not be masked.
    pub system_paths: String,
    /// Anything where its root shall be read-only.
    pub read_only: String,
    /// One rule per line: `/usr:rx`.
    pub landlock: String,
    /// One device per line: `/dev/x[:/dev/y][:rwm]`.
    pub devices: String,
    /// One `name=soft[:hard]` per line.
    pub ulimits: String,
    /// One `name=value` per line.
    pub sysctls: String,
    /// Size of `/dev/shm`.
    pub shm: String,
    /// Further groups, in one line.
    pub groups: String,
    /// Octal.
    pub umask: String,
    /// -1000 to 1000.
    pub oom_score_adj: String,
    /// -20 to 19.
    pub nice: String,
    /// NIS domain name.
    pub domainname: String,
    /// 0, 1 or 2.
    pub hidepid: String,
    /// Whose clocks.
    pub timens: String,
    /// Seconds added to the boot clock.
    pub boottime: String,
    /// Seconds added to the monotonic clock.
    pub monotonic: String,
}

impl Values {
    /// What the empty form begins with.
    pub fn fresh() -> Self {
        Self { image: "host".into(), restart: "no".into(), start: "yes".into(), seccomp: "default".into(), ..Self::default() }
    }
}

/// The page `/containers/new`; also the answer to a form that was wrong.
#[derive(Template)]
#[template(path = "create.html")]
pub struct Form<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What the fields hold.
    pub values: &'a Values,
    /// What is suggested.
    pub images: &'a [Image],
    /// The image that the form was opened for, where it is here.
    pub chosen: Option<&'a Image>,
    /// What this host has, said beside the limits.
    pub host: HostCapacity,
    /// What of the limits it can enforce.
    pub supports: Supports<'a>,
    /// What is wrong, in the model's words; shown at its field.
    pub invalid: Option<&'a Invalid>,
}

impl Page for Form<'_> {
    fn title(&self) -> String {
        "New container".into()
    }

    fn section(&self) -> Section {
        Section::Containers
    }
}

/// The restart policies, by the word that is sent and the words that are read.
pub(crate) const RESTARTS: [(&str, &str); 4] = [
    ("no", "it stays stopped"),
    ("on-failure", "start it again on failure"),
    ("unless-stopped", "start it again, unless I stopped it"),
    ("always", "always start it again"),
];

/// The word of a policy.
pub fn restart_word(policy: Restart) -> &'static str {
    match policy {
        Restart::No => "no",
        Restart::OnFailure => "on-failure",
        Restart::UnlessStopped => "unless-stopped",
        Restart::Always => "always",
    }
}

/// The names of the form's fields, by which templates ask for messages.
const FIELDS: [&str; 42] = [
    "entrypoint",
    "name",
    "image",
    "command",
    "env",
    "hostname",
    "user",
    "workdir",
    "mounts",
    "restart",
    "health_cmd",
    "health_interval",
    "health_timeout",
    "health_retries",
    "health_start_period",
    "health_start_interval",
    "net",
    "pid",
    "ipc",
    "uts",
    "userns",
    "cgroupns",
    "cap_add",
    "cap_drop",
    "seccomp",
    "new_privileges",
    "system_paths",
    "read_only",
    "landlock",
    "devices",
    "ulimits",
    "sysctls",
    "shm",
    "groups",
    "umask",
    "oom_score_adj",
    "nice",
    "domainname",
    "hidepid",
    "boottime",
    "monotonic",
    "timens",
];

/// Those whose names differ from the model's.
const OTHER_NAMES: [(&str, &str); 15] = [
    ("health.command", "health_cmd"),
    ("health.interval_ms", "health_interval"),
    ("health.timeout_ms", "health_timeout"),
    ("health.retries", "health_retries"),
    ("health.start_period_ms", "health_start_period"),
    ("health.start_interval_ms", "health_start_interval"),
    ("namespaces.user", "userns"),
    ("namespaces.cgroup", "cgroupns"),
    ("security.capabilities.add", "cap_add"),
    ("security.capabilities.drop", "cap_drop"),
    ("shm_bytes", "shm"),
    ("time_offsets.boottime", "boottime"),
    ("time_offsets.monotonic", "monotonic"),
    ("time_offsets", "boottime"),
    ("namespaces.time", "timens"),
];

/// The limits that stand in the open; the others are folded away.
const FIRST_LIMITS: [&str; 4] = ["memory", "swap", "cpus", "pids"];

/// What is isolated, by the field's name, its label and what an empty one means.
const NAMESPACES: [(&str, &str, &str); 6] = [
    ("net", "Network", "its own: loopback only"),
    ("pid", "Processes", "its own"),
    ("ipc", "Shared memory", "its own"),
    ("uts", "Hostname", "its own"),
    ("userns", "User ids", "its own where it can"),
    ("cgroupns", "Cgroup tree", "its own"),
];

/// Lists of one entry a line: name, label, example, hint.
const LISTS: [(&str, &str, &str, &str); 4] = [
    ("devices", "Devices of the host", "/dev/ttyUSB0:rw", "One per line: /dev/x[:/dev/y][:rwm]"),
    ("ulimits", "Limits of each process", "nofile=1024:2048", "One per line: name=soft[:hard]"),
    ("sysctls", "Sysctls", "kernel.shmmax=67108864", "One per line. Only those of its own namespaces."),
    ("landlock", "Landlock", "/usr:rx", "One per line. With one or more, all other files are out of reach."),
];

/// Settings of one word: name, label, example.
const SETTINGS: [(&str, &str, &str); 12] = [
    ("cap_add", "Capabilities to add", "NET_ADMIN"),
    ("cap_drop", "Capabilities to drop", "ALL"),
    ("shm", "/dev/shm", "64m"),
    ("groups", "Further groups", "audio video"),
    ("umask", "Umask", "0022"),
    ("oom_score_adj", "Killed early (-1000 to 1000)", "0"),
    ("nice", "Niceness (-20 to 19)", "0"),
    ("domainname", "Domain name", "none"),
    ("hidepid", "Hide processes of others (0 to 2)", "0"),
    ("timens", "Clocks", "the host's"),
    ("boottime", "Boot clock, seconds added", "0"),
    ("monotonic", "Monotonic clock, seconds added", "0"),
];

/// The times of a check of its health: name, label, example.
const CHECKS: [(&str, &str, &str); 5] = [
    ("health_interval", "Every", "30s"),
    ("health_timeout", "Killed after", "30s"),
    ("health_retries", "Unhealthy after failures", "3"),
    ("health_start_period", "Failures do not count for", "0s"),
    ("health_start_interval", "In that time every", "5s"),
];

/// What may be ticked: name, and the words beside the box. The last one tightens, the others loosen.
const TICKS: [(&str, &str); 3] = [
    ("new_privileges", "Set-uid programs have their effect"),
    ("system_paths", "The kernel's own files are not masked"),
    ("read_only", "Its root is read-only"),
];

/// The filters of system calls that have a name.
const FILTERS: [(&str, &str); 3] = [
    ("default", "the default profile"),
    ("record", "the default profile, and what it denies is recorded"),
    ("unconfined", "none: every system call is answered"),
];

impl Values {
    /// Those of the fields that are limits.
    pub fn limits(&self) -> Texts {
        Texts {
            memory: self.memory.clone(),
            swap: self.swap.clone(),
            memory_high: self.memory_high.clone(),
            memory_reservation: self.memory_reservation.clone(),
            memory_swappiness: self.memory_swappiness.clone(),
            oom_group: self.oom_group.clone(),
            cpus: self.cpus.clone(),
            cpu_weight: self.cpu_weight.clone(),
            cpu_burst: self.cpu_burst.clone(),
            cpu_idle: self.cpu_idle.clone(),
            cpuset: self.cpuset.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids: self.pids.clone(),
            io_weight: self.io_weight.clone(),
            io: self.io.clone(),
            hugetlb: self.hugetlb.clone(),
            disk: self.disk.clone(),
            disk_inodes: self.disk_inodes.clone(),
            restart: String::new(),
        }
    }

    /// What the field of this name holds.
    fn text(&self, name: &str) -> &str {
        let fields = [
            ("health_interval", &self.health_interval),
            ("health_timeout", &self.health_timeout),
            ("health_retries", &self.health_retries),
            ("health_start_period", &self.health_start_period),
            ("health_start_interval", &self.health_start_interval),
            ("net", &self.net),
            ("pid", &self.pid),
            ("ipc", &self.ipc),
            ("uts", &self.uts),
            ("userns", &self.userns),
            ("cgroupns", &self.cgroupns),
            ("cap_add", &self.cap_add),
            ("cap_drop", &self.cap_drop),
            ("new_privileges", &self.new_privileges),
            ("system_paths", &self.system_paths),
            ("read_only", &self.read_only),
            ("landlock", &self.landlock),
            ("devices", &self.devices),
            ("ulimits", &self.ulimits),
            ("sysctls", &self.sysctls),
            ("shm", &self.shm),
            ("groups", &self.groups),
            ("umask", &self.umask),
            ("oom_score_adj", &self.oom_score_adj),
            ("nice", &self.nice),
            ("domainname", &self.domainname),
            ("hidepid", &self.hidepid),
            ("timens", &self.timens),
            ("boottime", &self.boottime),
            ("monotonic", &self.monotonic),
        ];
        fields.into_iter().find(|(field, _)| *field == name).map_or("", |(_, text)| text)
    }
}

impl Form<'_> {
    /// The field of the form that holds the model's field: `mounts[2].source` is typed in `mounts`.
    fn wrong_field(&self) -> Option<&'static str> {
        let path = self.invalid?.field.as_str();
        if let Some(limit) = limits::field_of(path) {
            return Some(limit);
        }
        let other = OTHER_NAMES
            .into_iter()
            .find(|(model, _)| path.strip_prefix(model).is_some_and(|rest| rest.is_empty() || rest.starts_with('[')));
        let name = other.map_or_else(
            || {
                let bare = ["namespaces.", "security."].into_iter().find_map(|group| path.strip_prefix(group)).unwrap_or(path);
                bare.split(['.', '[']).next().unwrap_or(bare)
            },
            |(_, form)| form,
        );
        FIELDS.into_iter().find(|field| *field == name)
    }

    /// The message at `field`, where that is the wrong one.
    fn problem(&self, field: &str) -> Option<&str> {
        self.invalid.filter(|_| self.wrong_field() == Some(field)).map(|invalid| invalid.problem.as_str())
    }

    /// The message at the top, where no field of the form is to blame.
    fn other_problem(&self) -> Option<String> {
        self.invalid.filter(|_| self.wrong_field().is_none()).map(ToString::to_string)
    }

    /// What an image runs by itself, as one line; empty where it says nothing.
    fn runs(&self, image: &Image) -> String {
        program(&image.contents.config)
    }

    /// What the chosen image brings, in words.
    fn brings(&self) -> Vec<(&'static str, String)> {
        self.chosen.map(|image| brings(&image.contents.config)).unwrap_or_default()
    }

    /// Whether the part that is folded away must be seen.
    fn shows_more(&self) -> bool {
        let values = self.values;
        let filled = [&values.entrypoint, &values.env, &values.hostname, &values.user, &values.workdir, &values.mounts]
            .iter()
            .any(|text| !text.is_empty());
        filled || matches!(self.wrong_field(), Some("entrypoint" | "env" | "hostname" | "user" | "workdir" | "mounts"))
    }

    /// Whether the check of its health must be seen.
    fn shows_health(&self) -> bool {
        let values = self.values;
        let names = CHECKS.map(|(name, ..)| name);
        let is_wrong = |field: &&str| field.starts_with("health_");
        !values.health_cmd.is_empty()
            || !values.no_healthcheck.is_empty()
            || names.into_iter().any(|name| !values.text(name).is_empty())
            || self.wrong_field().as_ref().is_some_and(is_wrong)
    }

    /// The limits that few people want, as they are drawn.
    fn more_limits(&self) -> impl Iterator<Item = &'static Field> {
        limits::all().filter(|field| !FIRST_LIMITS.contains(&field.name))
    }

    /// Whether these must be seen.
    fn shows_more_limits(&self) -> bool {
        let texts = self.values.limits();
        self.more_limits().any(|field| !texts.text(field.name).is_empty() || self.wrong_field() == Some(field.name))
    }

    /// The same for isolation and settings.
    fn shows_isolation(&self) -> bool {
        let names = NAMESPACES.map(|(name, ..)| name).into_iter().chain(LISTS.map(|(name, ..)| name));
        let mut names = names.chain(SETTINGS.map(|(name, ..)| name)).chain(TICKS.map(|(name, _)| name));
        let own_filter = !matches!(self.values.seccomp.as_str(), "" | "default");
        own_filter
            || names.any(|name| !self.values.text(name).is_empty() || self.wrong_field() == Some(name))
            || self.wrong_field() == Some("seccomp")
    }

    /// Whether the filter is a profile of one's own, which no choice of the list is.
    fn has_own_filter(&self) -> bool {
        let chosen = self.values.seccomp.as_str();
        !chosen.is_empty() && FILTERS.into_iter().all(|(word, _)| word != chosen)
    }
}
