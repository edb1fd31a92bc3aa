//! What of its protection a container goes without, in words: one sentence for each thing that was loosened, and for what
//! this host could not give.

use crate::Container;
use crate::container::Config;
use crate::isolation::Whose;
use crate::namespace::Kind;
use crate::security::{NewPrivileges, Seccomp, SystemPaths};

/// Every warning about a container, the gravest first. Empty where everything stands at its default.
pub fn of(container: &Container) -> Vec<String> {
    let config = &container.config;
    let mut warnings = Vec::new();
    if let Some(because) = &container.without_ids {
        warnings.push(format!("runs without user ids of its own, so its root is the host's root: {because}"));
    }
    warnings.extend(sharing(config));
    warnings.extend(security(config));
    warnings.extend(config.devices.iter().map(|device| format!("may use the host's device {}", device.source)));
    let is_limited = config.limits.disk_bytes.is_some() || config.limits.disk_inodes.is_some();
    // The kernel lets the first user namespace alone move files between projects.
    if is_limited && (container.without_ids.is_some() || config.namespaces.of(Kind::User) == Whose::Host) {
        warnings.push("could take its files out of its quota of the disk, since its root is the host's root".to_owned());
    }
    if config.oom_score_adj.is_some_and(|adjustment| adjustment < 0) {
        warnings.push("is killed later than others where the host is out of memory".to_owned());
    }
    warnings
}

/// The gravest first: who has the host's ids has no wall but its capabilities.
const BY_GRAVITY: [Kind; 7] = [Kind::User, Kind::Pid, Kind::Net, Kind::Ipc, Kind::Cgroup, Kind::Uts, Kind::Time];

fn sharing(config: &Config) -> Vec<String> {
    let warn = |kind: Kind| match config.namespaces.of(kind) {
        Whose::Private => None,
        Whose::Host if kind == Kind::User => Some("shares the host's user ids: its root is the host's root".to_owned()),
        // The clocks are everybody's unless somebody asks.
        Whose::Host if kind == Kind::Time => None,
        Whose::Host => Some(format!("shares the host's {}", what(kind))),
        Whose::Container(key) => Some(format!("shares the {} of container {key}", what(kind))),
        Whose::Path(path) => Some(format!("shares the {} of {path}", what(kind))),
    };
    BY_GRAVITY.into_iter().filter_map(warn).collect()
}

fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Mnt => "mounts",
        Kind::Pid => "processes",
        Kind::Net => "network",
        Kind::Uts => "hostname",
        Kind::Ipc => "shared memory and message queues",
        Kind::User => "user ids",
        Kind::Cgroup => "view of the cgroup tree",
        Kind::Time => "clocks",
    }
}

fn security(config: &Config) -> Vec<String> {
    let security = &config.security;
    let mut warnings = Vec::new();
    let added = security.capabilities.beyond_default();
    if added.len() + crate::security::DEFAULT_CAPABILITIES.len() == crate::security::CAPABILITIES.len() {
        warnings.push("has every capability".to_owned());
    } else if !added.is_empty() {
        warnings.push(format!("has capabilities beyond the default: {}", added.join(", ")));
    }
    match &security.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => warnings.push("system calls are not filtered".to_owned()),
        Seccomp::Record => warnings.push("system calls that are denied are recorded, which makes them slower".to_owned()),
        Seccomp::Profile(_) => warnings.push("system calls are filtered by a profile of its own".to_owned()),
    }
    if security.system_paths == SystemPaths::Unconfined {
        warnings.push("files of the kernel that tell of the host, or change it, are not masked".to_owned());
    }
    if security.new_privileges == NewPrivileges::Allowed {
        warnings.push("set-uid programs have their effect".to_owned());
    }
    if security.apparmor.as_deref() == Some("unconfined") {
        warnings.push("AppArmor does not confine it".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContainerId, State, Wanted};

    fn container(json: &str) -> Container {
        let config = format!(r#"{{"name":"web","image":"host","command":["a"]{}{json}}}"#, if json.is_empty() { "" } else { "," });
        Container {
            id: ContainerId::from_bytes([1; 32]),
            config: serde_json::from_str(&config).expect("a config"),
            state: State::Created,
            wanted: Wanted::Stopped,
            uid_base: Some(1 << 16),
            without_ids: None,
            image_digest: None,
            created_at_ms: 0,
            started_at_ms: None,
            init: None,
            monitor: None,
            exit: None,
            restarts: 0,
        }
    }

    #[test]
    fn a_container_at_its_defaults_has_no_warning() {
        assert_eq!(of(&container("")), Vec::<String>::new());
    }

    #[test]
    fn each_loosened_protection_is_told_in_words() {
        let cases = [
            (r#""namespaces":{"net":"host"}"#, "shares the host's network"),
            (r#""namespaces":{"pid":"host"}"#, "shares the host's processes"),
            (r#""namespaces":{"user":"host"}"#, "shares the host's user ids: its root is the host's root"),
            (r#""namespaces":{"net":"container:db"}"#, "shares the network of container db"),
            (r#""namespaces":{"uts":"path:/run/ns/x"}"#, "shares the hostname of /run/ns/x"),
            (r#""security":{"seccomp":"unconfined"}"#, "system calls are not filtered"),
            (r#""security":{"seccomp":{}}"#, "system calls are filtered by a profile of its own"),
            (r#""security":{"capabilities":{"add":["NET_ADMIN"]}}"#, "has capabilities beyond the default: NET_ADMIN"),
            (r#""security":{"capabilities":{"add":["ALL"]}}"#, "has every capability"),
            (r#""security":{"new_privileges":"allowed"}"#, "set-uid programs have their effect"),
            (r#""security":{"system_paths":"unconfined"}"#, "files of the kernel that tell of the host, or change it, are not masked"),
            (r#""devices":[{"source":"/dev/fuse"}]"#, "may use the host's device /dev/fuse"),
            (r#""oom_score_adj":-500"#, "is killed later than others where the host is out of memory"),
        ];
        for (json, warning) in cases {
            assert_eq!(of(&container(json)), [warning], "{json}");
        }
        assert_eq!(of(&container(r#""namespaces":{"ipc":"container:db"}"#)).len(), 2, "its ids are shared with it");
        let limited = of(&container(r#""limits":{"disk_bytes":1048576},"namespaces":{"user":"host"}"#));
        assert_eq!(limited[1], "could take its files out of its quota of the disk, since its root is the host's root");
        assert_eq!(of(&container(r#""limits":{"disk_bytes":1048576}"#)), Vec::<String>::new());
    }

    #[test]
    fn what_is_stricter_than_the_default_needs_no_warning() {
        for json in [r#""security":{"capabilities":{"drop":["ALL"]}}"#, r#""read_only":true"#, r#""namespaces":{"time":"private"}"#] {
            assert_eq!(of(&container(json)), Vec::<String>::new(), "{json}");
        }
    }

    #[test]
    fn ids_that_the_host_could_not_give_come_first() {
        let mut container = container(r#""namespaces":{"net":"host"}"#);
        container.without_ids = Some("ramfs at /srv cannot map owners".into());
        let warnings = of(&container);
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].starts_with("runs without user ids of its own") && warnings[0].ends_with("cannot map owners"), "{warnings:?}");
    }
}
