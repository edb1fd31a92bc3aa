//! What isolates a container, as rows of words: what was asked, and what stands at its default.

use belljar_model::container::Config;
use belljar_model::namespace::Kind;
use belljar_model::security::{DEFAULT_CAPABILITIES, LandlockRule, NewPrivileges, Seccomp, SystemPaths};
use belljar_model::setting::Ulimit;
use belljar_model::{Whose, size};

use crate::words;

/// One row of a description list.
pub(super) struct Row {
    /// What it is.
    pub(super) label: String,
    /// What it is set to.
    pub(super) value: String,
    /// Whether less is protected than by default.
    pub(super) loosened: bool,
}

fn row(label: impl Into<String>, value: impl Into<String>) -> Row {
    Row { label: label.into(), value: value.into(), loosened: false }
}

/// The protections, each with its setting.
pub(super) fn protections(config: &Config) -> Vec<Row> {
    let security = &config.security;
    let kept = security.capabilities.kept();
    let count = match kept.len() {
        0 => "none".to_owned(),
        _ if kept == security_default() => format!("the {} of the default", kept.len()),
        count => format!("{count}: {}", words::list(&kept, "none")),
    };
    let (seccomp, open) = match &security.seccomp {
        Seccomp::Default => ("the default profile", false),
        Seccomp::Unconfined => ("not filtered", true),
        Seccomp::Record => ("the default profile, and what it denies is recorded", false),
        Seccomp::Profile(_) => ("a profile of its own", true),
    };
    let mut rows = vec![
        Row { loosened: !security.capabilities.beyond_default().is_empty(), ..row("Capabilities", count) },
        Row { loosened: open, ..row("System calls", seccomp) },
        match security.system_paths {
            SystemPaths::Confined => row("The kernel's files", "masked or read-only"),
            SystemPaths::Unconfined => Row { loosened: true, ..row("The kernel's files", "as the kernel makes them") },
        },
        match security.new_privileges {
            NewPrivileges::Forbidden => row("Set-uid programs", "without effect"),
            NewPrivileges::Allowed => Row { loosened: true, ..row("Set-uid programs", "have their effect") },
        },
        row("Root", if config.read_only { "read-only" } else { "its own layer takes what is written" }),
    ];
    rows.extend(security.apparmor.as_ref().map(|profile| row("AppArmor", profile)));
    rows.extend(security.selinux.as_ref().map(|label| row("SELinux", label)));
    rows.extend(security.landlock.iter().map(|rule| row(format!("Landlock {}", rule.path), access(rule))));
    rows.extend(BY_KIND.into_iter().filter_map(|(kind, label)| whose(config, kind, label)));
    rows
}

fn security_default() -> Vec<&'static str> {
    belljar_model::security::CAPABILITIES.into_iter().filter(|name| DEFAULT_CAPABILITIES.contains(name)).collect()
}

const BY_KIND: [(Kind, &str); 7] = [
    (Kind::User, "User ids"),
    (Kind::Pid, "Processes"),
    (Kind::Net, "Network"),
    (Kind::Ipc, "Shared memory"),
    (Kind::Uts, "Hostname"),
    (Kind::Cgroup, "Cgroup tree"),
    (Kind::Time, "Clocks"),
];

/// What differs from the default: the tab of namespaces shows all of them.
fn whose(config: &Config, kind: Kind, label: &str) -> Option<Row> {
    let value = match (config.namespaces.of(kind), kind) {
        (Whose::Private, Kind::Time) => row(label, "its own"),
        (Whose::Private, Kind::User) if config.namespaces.user.is_some() => row(label, "its own, or it does not start"),
        (Whose::Private, _) | (Whose::Host, Kind::Time) => return None,
        (Whose::Host, _) => Row { loosened: true, ..row(label, "the host's") },
        (Whose::Container(key), _) => Row { loosened: true, ..row(label, format!("those of {key}")) },
        (Whose::Path(path), _) => Row { loosened: true, ..row(label, format!("those of {path}")) },
    };
    Some(value)
}

fn access(rule: &LandlockRule) -> String {
    words::list(&rule.access.iter().map(|access| access.as_str()).collect::<Vec<_>>(), "nothing")
}

/// Settings beside the protections; empty where everything is at its default.
pub(super) fn settings(config: &Config) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(config.domainname.as_ref().map(|name| row("Domain name", name.as_str())));
    for (clock, seconds) in [("monotonic", config.time_offsets.monotonic), ("boot time", config.time_offsets.boottime)] {
        if seconds != 0 {
            rows.push(row(format!("Clock, {clock}"), format!("{seconds:+} s")));
        }
    }
    rows.extend(config.ulimits.iter().map(|(name, limit)| row(format!("Limit {name}"), ulimit(*limit))));
    rows.extend(config.sysctls.iter().map(|(name, value)| row(name, value)));
    rows.extend(
        config
            .devices
            .iter()
            .map(|device| Row { loosened: true, ..row(device.path(), format!("{} of the host, {}", device.source, device.access)) }),
    );
    rows.extend(config.shm_bytes.map(|bytes| row("/dev/shm", size::display(bytes))));
    rows.extend(config.hidepid.map(|hidepid| row("Processes of others", HIDEPID[usize::from(hidepid.min(2))])));
    rows.extend(config.oom_score_adj.map(|adjustment| Row { loosened: adjustment < 0, ..row("Out of memory", format!("{adjustment:+}")) }));
    rows.extend(config.nice.map(|nice| row("Niceness", format!("{nice:+}"))));
    if !config.groups.is_empty() {
        rows.push(row("Further groups", words::list(&config.groups, "none")));
    }
    rows.extend(config.umask.map(|umask| row("Umask", umask.to_string())));
    rows
}

const HIDEPID: [&str; 3] = ["shown to its users", "shown to its users without details", "hidden from its users"];

fn ulimit(Ulimit { soft, hard }: Ulimit) -> String {
    let number = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    if soft == hard { number(soft) } else { format!("{}, at most {}", number(soft), number(hard)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(json: &str, of: impl Fn(&Config) -> Vec<Row>) -> Vec<(String, String, bool)> {
        let config = format!(r#"{{"name":"web","image":"host","command":["a"]{json}}}"#);
        let rows = of(&serde_json::from_str(&config).expect("a config"));
        rows.into_iter().map(|row| (row.label, row.value, row.loosened)).collect()
    }

    #[test]
    fn a_container_at_its_defaults_is_loosened_nowhere() {
        assert!(rows("", protections).iter().all(|(_, _, loosened)| !loosened));
        assert!(rows("", settings).is_empty());
    }

    #[test]
    fn what_is_loosened_is_marked() {
        let json = r#","namespaces":{"net":"host"},"security":{"seccomp":"unconfined","capabilities":{"drop":["ALL"],"add":["BPF"]}}"#;
        let marked: Vec<String> = rows(json, protections).into_iter().filter(|row| row.2).map(|row| row.0).collect();
        assert_eq!(marked, ["Capabilities", "System calls", "Network"]);
    }

    #[test]
    fn settings_are_told_with_their_values() {
        let json = r#","ulimits":{"nofile":{"soft":1,"hard":null}},"umask":"77","hidepid":2,"time_offsets":{"boottime":5}"#;
        let told: Vec<String> = rows(json, settings).into_iter().map(|(label, value, _)| format!("{label}: {value}")).collect();
        let expected =
            ["Clock, boot time: +5 s", "Limit nofile: 1, at most unlimited", "Processes of others: hidden from its users", "Umask: 0077"];
        assert_eq!(told, expected);
    }
}
