//! What loosens or tightens a container's isolation, as `docker run` names it: namespaces, capabilities, system calls,
//! devices, limits of a process.
//!
//! Docker's words that mean something else here are refused with a sentence, never taken for another. Whether a value makes
//! sense on the host is the server's to say.

use std::path::Path;

use belljar_api::{CreateRequest, notation};
use belljar_model::isolation::TimeOffsets;
use belljar_model::security::{NewPrivileges, PROFILE_BYTES_MAX, Seccomp, SystemPaths};
use belljar_model::{Invalid, Namespaces, Security, Whose, size};
use clap::Args;

/// The flags of it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Isolation")]
pub(crate) struct IsolationArguments {
    /// Network: none (only loopback), host, container:NAME, path:/…
    #[arg(long, visible_alias = "net", value_name = "WHOSE")]
    network: Option<String>,
    /// Processes that it sees: private, host, container:NAME, path:/…
    #[arg(long, value_name = "WHOSE")]
    pid: Option<String>,
    /// Shared memory and message queues: private, host, container:NAME, path:/…
    #[arg(long, value_name = "WHOSE")]
    ipc: Option<String>,
    /// Hostname: private, host, container:NAME, path:/…
    #[arg(long, value_name = "WHOSE")]
    uts: Option<String>,
    /// User ids: private (required, instead of where the host can), host, container:NAME, path:/…
    #[arg(long, value_name = "WHOSE")]
    userns: Option<String>,
    /// View of the cgroup tree: private, host, container:NAME, path:/…
    #[arg(long, value_name = "WHOSE")]
    cgroupns: Option<String>,
    /// Clocks: private, host, container:NAME, path:/…
    #[arg(long, value_name = "WHOSE")]
    timens: Option<String>,
    /// Seconds added to a clock of its own: boottime=86400, monotonic=-5 (may be repeated)
    #[arg(long, value_name = "CLOCK=SECONDS")]
    time_offset: Vec<String>,
    /// Add a capability, or ALL (may be repeated)
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability, or ALL (may be repeated)
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// seccomp=default|unconfined|record|FILE, systempaths=unconfined, no-new-privileges=false, apparmor=PROFILE, label=LABEL
    /// (may be repeated)
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Allow this of its files, and nothing else: /usr:rx (may be repeated)
    #[arg(long, value_name = "PATH:rwx")]
    landlock: Vec<String>,
    /// Make its root read-only
    #[arg(long)]
    read_only: bool,
    /// A device of the host (may be repeated)
    #[arg(long, value_name = "SOURCE[:TARGET][:rwm]")]
    device: Vec<String>,
    /// Size of /dev/shm; 64m where not given
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// What users see of each other's processes: 0 all, 1 no details, 2 nothing
    #[arg(long, value_name = "0|1|2")]
    hidepid: Option<u8>,
    /// A setting of the kernel that belongs to its namespaces (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    sysctl: Vec<String>,
    /// A limit of each process: nofile=1024:2048 (may be repeated)
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// How early it is killed where the host is out of memory: -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    oom_score_adj: Option<i32>,
    /// How much it gives way to others: -20 to 19
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    nice: Option<i32>,
    /// A further group of the program (may be repeated)
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// What no file is created with, in octal; 0022 where not given
    #[arg(long, value_name = "MODE")]
    umask: Option<String>,
    /// NIS domain name inside
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
}

impl IsolationArguments {
    /// Writes what was given into the request. A profile's file is taken from `folder`, where the caller stands.
    pub(crate) fn write(self, request: &mut CreateRequest, folder: &Path) -> Result<(), Invalid> {
        request.namespaces = self.namespaces()?;
        request.time_offsets = time_offsets(&self.time_offset)?;
        request.security = self.security(folder)?;
        request.ulimits = self.ulimit.iter().map(|text| notation::ulimit("--ulimit", text)).collect::<Result<_, _>>()?;
        request.sysctls = notation::env("--sysctl", self.sysctl.iter().map(String::as_str))?;
        request.devices = self.device.iter().map(|text| notation::device("--device", text)).collect::<Result<_, _>>()?;
        request.shm_bytes = self.shm_size.as_deref().map(|text| size::parse("--shm-size", text)).transpose()?;
        request.domainname = self.domainname;
        request.oom_score_adj = self.oom_score_adj;
        request.nice = self.nice;
        request.groups = self.group_add;
        request.umask = self.umask;
        request.read_only = self.read_only;
        request.hidepid = self.hidepid;
        Ok(())
    }

    fn namespaces(&self) -> Result<Namespaces, Invalid> {
        let whose = |flag: &str, text: &Option<String>| text.as_deref().map(|text| whose(flag, text)).transpose();
        Ok(Namespaces {
            net: self.network.as_deref().map(network).transpose()?,
            pid: whose("--pid", &self.pid)?,
            // Docker's two words for its own that others may join: here others always may.
            ipc: whose("--ipc", &self.ipc.clone().map(|text| if text == "shareable" { "private".into() } else { text }))?,
            uts: whose("--uts", &self.uts)?,
            cgroup: whose("--cgroupns", &self.cgroupns)?,
            time: whose("--timens", &self.timens)?,
            user: whose("--userns", &self.userns)?,
        })
    }

    fn security(&self, folder: &Path) -> Result<Security, Invalid> {
        let mut security = Security::default();
        security.capabilities.add.clone_from(&self.cap_add);
        security.capabilities.drop.clone_from(&self.cap_drop);
        security.landlock = self.landlock.iter().map(|text| notation::landlock("--landlock", text)).collect::<Result<_, _>>()?;
        for option in &self.security_opt {
            // Docker takes both signs.
            let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
            match (name, value) {
                ("seccomp", "default" | "builtin") => security.seccomp = Seccomp::Default,
                ("seccomp", "unconfined") => security.seccomp = Seccomp::Unconfined,
                ("seccomp", "record") => security.seccomp = Seccomp::Record,
                ("seccomp", file) => security.seccomp = Seccomp::Profile(profile(&folder.join(file))?),
                ("systempaths", "unconfined") => security.system_paths = SystemPaths::Unconfined,
                ("no-new-privileges", "" | "true") => security.new_privileges = NewPrivileges::Forbidden,
                ("no-new-privileges", "false") => security.new_privileges = NewPrivileges::Allowed,
                ("apparmor", profile) if !profile.is_empty() => security.apparmor = Some(profile.to_owned()),
                ("label", label) if !label.is_empty() => security.selinux = Some(label.to_owned()),
                _ => return Err(Invalid::new("--security-opt", format!("{option:?} is not an option that Belljar knows"))),
            }
        }
        Ok(security)
    }
}

fn whose(flag: &str, text: &str) -> Result<Whose, Invalid> {
    text.parse().map_err(|invalid: Invalid| Invalid::new(flag, invalid.problem))
}

fn network(text: &str) -> Result<Whose, Invalid> {
    match text {
        "none" => Ok(Whose::Private),
        "bridge" | "default" => Err(Invalid::new("--network", "a container has no network but loopback yet: leave it out, or give host")),
        text => whose("--network", text),
    }
}

fn time_offsets(entries: &[String]) -> Result<TimeOffsets, Invalid> {
    let mut offsets = TimeOffsets::default();
    for entry in entries {
        let refuse = || Invalid::new("--time-offset", format!("{entry:?} is not boottime=SECONDS or monotonic=SECONDS"));
        let (clock, seconds) = entry.split_once('=').ok_or_else(refuse)?;
        let seconds = seconds.parse().map_err(|_| refuse())?;
        match clock {
            "boottime" => offsets.boottime = seconds,
            "monotonic" => offsets.monotonic = seconds,
            _ => return Err(refuse()),
        }
    }
    Ok(offsets)
}

fn profile(path: &Path) -> Result<serde_json::Map<String, serde_json::Value>, Invalid> {
    let refuse = |problem: String| Invalid::new("--security-opt", format!("the seccomp profile {} {problem}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| refuse(format!("cannot be read: {error}")))?.len();
    if length > PROFILE_BYTES_MAX as u64 {
        return Err(refuse(format!("has more than {PROFILE_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    serde_json::from_slice(&bytes).map_err(|error| refuse(format!("is not a JSON object: {error}")))
}
