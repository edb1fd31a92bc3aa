//! The body of `POST /containers`. Unknown fields are refused by name.

use std::collections::{BTreeMap, BTreeSet};

use belljar_model::container::{Config, Restart, STOP_GRACE_MS_DEFAULT};
use belljar_model::health::HealthAsked;
use belljar_model::isolation::TimeOffsets;
use belljar_model::setting::{Device, Ulimit};
use belljar_model::{ContainerName, Draft, Hostname, Invalid, Namespaces, PullPolicy, Security, Signal};
use serde::{Deserialize, Serialize};

use crate::container::Limits;
use crate::mount::Mount;

/// A container as it is asked for. Texts that have a form of their own are parsed by [`CreateRequest::into_draft`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// `host`, an image's name in any form (`nginx`, `registry.example/a/b:1`), its id, or a beginning of that.
    pub image: String,
    /// What is done where the image is not here: `never` (it is an error), `missing` (it is pulled), `always` (it is pulled anyway).
    #[serde(default, skip_serializing_if = "is_never")]
    pub pull: PullPolicy,
    /// Unique name; the server makes one up where missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Program and arguments; the image's own where missing or empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// What stands before the command instead of the image's, and takes the image's command away with it; `[""]` for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// `user[:group]`, names or numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Working folder, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Hostname inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// What is put into its tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// `no`, `on-failure`, `always` or `unless-stopped`.
    #[serde(default)]
    pub restart: Restart,
    /// Whether a minimal init is PID 1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// Signal of a stop; `SIGTERM` where missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Milliseconds between the stop signal and the kill; 10 seconds where missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace_ms: Option<u64>,
    /// Free words for people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whose namespaces it lives in: `private`, `host`, `container:NAME` or `path:/…` for each kind.
    #[serde(default, skip_serializing_if = "Namespaces::is_default")]
    pub namespaces: Namespaces,
    /// Seconds that are added to its clocks.
    #[serde(default, skip_serializing_if = "TimeOffsets::is_none")]
    pub time_offsets: TimeOffsets,
    /// What it may do to the kernel; everything is at its safe default where missing.
    #[serde(default, skip_serializing_if = "Security::is_default")]
    pub security: Security,
    /// NIS domain name inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Limits of each process, by name; `null` is unlimited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Settings of the kernel that belong to its namespaces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// How early it is killed where the host is out of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// How much it gives way to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
    /// Groups beside the program's own, names or numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Octal: what no file is created with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<String>,
    /// Whether its root cannot be written to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Size of `/dev/shm`, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_bytes: Option<u64>,
    /// Devices of the host that it may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// What its users see of each other's processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidepid: Option<u8>,
    /// How it is asked whether it does its work; the image's own where missing, field by field, and with an empty command not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthAsked>,
    /// Whether its program is started at once; true where missing.
    #[serde(default = "yes")]
    pub start: bool,
}

fn yes() -> bool {
    true
}

fn is_never(pull: &PullPolicy) -> bool {
    *pull == PullPolicy::Never
}

impl CreateRequest {
    /// The least that can be asked: an image, and a command or none, started at once.
    pub fn new(image: impl Into<String>, command: Vec<String>) -> Self {
        Self {
            image: image.into(),
            pull: PullPolicy::default(),
            name: None,
            command,
            entrypoint: None,
            env: BTreeMap::new(),
            user: None,
            workdir: None,
            hostname: None,
            limits: Limits::default(),
            mounts: Vec::new(),
            restart: Restart::default(),
            init: false,
            stop_signal: None,
            stop_grace_ms: None,
            labels: BTreeMap::new(),
            namespaces: Namespaces::default(),
            time_offsets: TimeOffsets::default(),
            security: Security::default(),
            domainname: None,
            ulimits: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            oom_score_adj: None,
            nice: None,
            groups: Vec::new(),
            umask: None,
            read_only: false,
            shm_bytes: None,
            devices: Vec::new(),
            hidepid: None,
            health: None,
            start: true,
        }
    }

    /// The container as asked for, with everything checked that can be without looking at host and image. `made_up` is asked
    /// for a name where the request has none.
    pub fn into_draft(self, made_up: impl FnOnce() -> ContainerName) -> Result<Draft, Invalid> {
        let name = match self.name {
            Some(name) => name.parse()?,
            None => made_up(),
        };
        let stop_signal = self.stop_signal.map(|text| stop_signal(&text)).transpose()?;
        let into_mount = |(index, mount): (usize, Mount)| mount.into_model(&format!("mounts[{index}]"));
        let config = Config {
            name,
            image: self.image.parse()?,
            command: self.command,
            env: self.env,
            hostname: self.hostname.map(|text| text.parse()).transpose()?,
            user: self.user.map(|text| text.parse()).transpose()?,
            workdir: self.workdir,
            limits: self.limits,
            mounts: self.mounts.into_iter().enumerate().map(into_mount).collect::<Result<_, _>>()?,
            restart: self.restart,
            init: self.init,
            stop_signal: stop_signal.unwrap_or(Signal::TERM),
            stop_grace_ms: self.stop_grace_ms.unwrap_or(STOP_GRACE_MS_DEFAULT),
            labels: self.labels,
            namespaces: self.namespaces,
            time_offsets: self.time_offsets,
            security: self.security,
            domainname: self.domainname.map(|text| domainname(&text)).transpose()?,
            ulimits: self.ulimits,
            sysctls: self.sysctls,
            oom_score_adj: self.oom_score_adj,
            nice: self.nice,
            groups: self.groups,
            umask: self.umask.map(|text| text.parse()).transpose()?,
            read_only: self.read_only,
            shm_bytes: self.shm_bytes,
            devices: self.devices,
            hidepid: self.hidepid,
            health: None,
            exposed_ports: BTreeSet::new(),
        };
        let draft = Draft { config, image: self.image, entrypoint: self.entrypoint, stop_signal, health: self.health, pull: self.pull };
        draft.check()?;
        Ok(draft)
    }
}

/// The model names the field `signal`, which is what the kill request calls it.
fn stop_signal(text: &str) -> Result<Signal, Invalid> {
    text.parse().map_err(|invalid: Invalid| Invalid::new("stop_signal", invalid.problem))
}

/// A domain name has a hostname's form, and a field of its own.
fn domainname(text: &str) -> Result<Hostname, Invalid> {
    text.parse().map_err(|invalid: Invalid| Invalid::new("domainname", invalid.problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;

    fn draft(body: &str) -> Result<Draft, Invalid> {
        parse::<CreateRequest>(body.as_bytes()).expect("readable").into_draft(|| "made-up".parse().expect("a name"))
    }

    /// On an image that says nothing.
    fn config(body: &str) -> Result<Config, Invalid> {
        draft(body)?.with(&belljar_model::image::ImageConfig::default())
    }

    #[test]
    fn the_least_request_is_started_under_a_name_that_was_made_up() {
        let body = br#"{"image":"host","command":["sleep","1d"]}"#;
        let request: CreateRequest = parse(body).expect("readable");
        assert!(request.start);
        assert_eq!(request, CreateRequest::new("host", vec!["sleep".into(), "1d".into()]));
        let config = config(r#"{"image":"host","command":["sleep","1d"]}"#).expect("valid");
        assert_eq!((config.name.as_str(), config.stop_grace_ms), ("made-up", STOP_GRACE_MS_DEFAULT));
    }

    #[test]
    fn everything_that_is_asked_arrives() {
        let body = r#"{"image":"alpine","name":"db","command":["sleep","1d"],"env":{"TZ":"Europe/Paris"},"user":"1000:1000",
            "workdir":"/srv","hostname":"db","limits":{"memory_bytes":67108864,"memory_swap_bytes":0,"cpus":0.5,"pids":128},
            "mounts":[{"type":"bind","source":"/srv/db","target":"/data"},{"type":"layer","source":"/srv/conf","readonly":true},
            {"type":"tmpfs","target":"/tmp"}],"restart":"unless-stopped","init":true,"stop_signal":"INT","stop_grace_ms":5,
            "labels":{"a":"b"},"start":false}"#;
        let config = config(body).expect("valid");
        let again: CreateRequest = parse(body.as_bytes()).expect("readable");
        assert!(!again.start);
        assert_eq!((config.hostname.map(String::from), config.user.map(String::from)), (Some("db".into()), Some("1000:1000".into())));
        assert_eq!((config.limits.memory_swap_bytes, config.limits.pids, config.mounts.len()), (Some(0), Some(128), 3));
        assert_eq!((config.stop_signal.to_string(), config.restart), ("SIGINT".into(), Restart::UnlessStopped));
    }

    #[test]
    fn a_value_that_cannot_be_is_named_by_its_field() {
        let long = "x".repeat(300);
        let cases = [
            (r#""name":"a/b""#.to_owned(), "name"),
            (format!(r#""name":"{long}""#), "name"),
            (r#""image":"../x""#.to_owned(), "image"),
            (r#""hostname":"-a""#.to_owned(), "hostname"),
            (r#""user":"4294967296""#.to_owned(), "user"),
            (r#""workdir":"relative""#.to_owned(), "workdir"),
            (r#""stop_signal":"SIGNOPE""#.to_owned(), "stop_signal"),
            (r#""stop_grace_ms":99999999999"#.to_owned(), "stop_grace_ms"),
            (r#""env":{"A=B":"c"}"#.to_owned(), "env"),
            (r#""mounts":[{"type":"tmpfs","target":"/proc"}]"#.to_owned(), "mounts[0].target"),
            (r#""domainname":"-a""#.to_owned(), "domainname"),
            (r#""umask":"999""#.to_owned(), "umask"),
            (r#""sysctls":{"kernel.panic":"1"}"#.to_owned(), "sysctls.kernel.panic"),
            (r#""ulimits":{"files":{"soft":1,"hard":1}}"#.to_owned(), "ulimits.files"),
            (r#""devices":[{"source":"/etc/passwd"}]"#.to_owned(), "devices[0].source"),
            (r#""security":{"capabilities":{"add":["FLY"]}}"#.to_owned(), "security.capabilities.add[0]"),
            (r#""health":{"command":["true"],"timeout_ms":0}"#.to_owned(), "health.timeout_ms"),
            (r#""namespaces":{"pid":"container:web","user":"private"}"#.to_owned(), "namespaces.pid"),
        ];
        for (member, field) in cases {
            let image = if field == "image" { "" } else { r#""image":"host","# };
            let body = format!(r#"{{{image}"command":["a"],{member}}}"#);
            assert_eq!(config(&body).map_err(|invalid| invalid.field), Err(field.to_owned()), "{body}");
        }
    }

    #[test]
    fn what_loosens_and_tightens_arrives() {
        let body = r#"{"image":"host","command":["a"],"namespaces":{"net":"host","ipc":"container:web"},"time_offsets":{"boottime":60},
            "security":{"capabilities":{"add":["NET_ADMIN"],"drop":["MKNOD"]},"seccomp":"record","new_privileges":"allowed",
            "system_paths":"unconfined","landlock":[{"path":"/srv","access":["read","execute"]}]},"domainname":"home","ulimits":
            {"nofile":{"soft":1024,"hard":null}},"sysctls":{"kernel.shmmax":"1"},"oom_score_adj":5,"nice":-1,"groups":["audio","44"],
            "umask":"0077","read_only":true,"shm_bytes":1,"devices":[{"source":"/dev/fuse","access":"rw"}],"hidepid":2}"#;
        let body = body.replace(r#","sysctls":{"kernel.shmmax":"1"}"#, "");
        let config = config(&body).expect("valid");
        assert_eq!(config.namespaces.net, Some(belljar_model::Whose::Host));
        assert_eq!(config.security.landlock[0].access.len(), 2);
        assert_eq!((config.umask.map(|umask| umask.bits()), config.hidepid, config.read_only), (Some(0o77), Some(2), true));
        assert_eq!((config.devices[0].path(), config.devices[0].access.as_str()), ("/dev/fuse", "rw"));
    }

    #[test]
    fn a_command_may_be_left_to_the_image_and_an_entrypoint_be_ones_own() {
        for body in [r#"{"image":"host","command":[]}"#, r#"{"image":"host"}"#] {
            assert_eq!(config(body).map_err(|invalid| invalid.field), Err("command".to_owned()), "this image has none");
            assert!(draft(body).is_ok(), "{body}");
        }
        let body = r#"{"image":"nginx@sha256:0","entrypoint":["/start"],"pull":"missing"}"#;
        assert_eq!(draft(body).map_err(|invalid| invalid.field), Err("image".to_owned()));
        let whole = draft(&body.replace("@sha256:0", "")).expect("valid");
        assert_eq!((whole.image.as_str(), whole.config.image.as_str(), whole.pull), ("nginx", "nginx:latest", PullPolicy::Missing));
        assert_eq!((whole.entrypoint, whole.stop_signal), (Some(vec!["/start".to_owned()]), None));
        let wrong = config(r#"{"image":"host","entrypoint":["a\u0000"]}"#).expect_err("no kernel takes it");
        assert_eq!(wrong.field, "entrypoint");
    }
}
