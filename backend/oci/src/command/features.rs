//! `features`: what this runtime understands, in the specification's words (runtime-spec, *Features Structure*).

use belljar_runtime::seccomp::arch::Arch;
use belljar_runtime::seccomp::words;
use serde_json::{Value, json};

use super::{Call, Command, DONE, Error, print};
use crate::document::{NamespaceKind, SPEC_VERSION, SPEC_VERSION_MIN};
use crate::flags::{Line, Order};

pub(super) const COMMAND: Command =
    Command { name: "features", words: "", about: "show what is understood, as JSON", flags: &[], order: Order::Anywhere, run };

/// What `mounts[].options` understands as words; everything else is the file system's own.
const MOUNT_OPTIONS: &[&str] = &[
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "idmap",
    "iversion",
    "loud",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "tmpcopyup",
    "unbindable",
];

fn run(_: &Call, _: &Line) -> Result<u8, Error> {
    print(&format!("{}\n", serde_json::to_string_pretty(&features()).unwrap_or_default()))?;
    Ok(DONE)
}

fn features() -> Value {
    let namespaces: std::collections::BTreeSet<&str> = NamespaceKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let capabilities: Vec<String> = belljar_linux::capability::NAMES.iter().map(|name| format!("CAP_{name}")).collect();
    json!({
        "ociVersionMin": SPEC_VERSION_MIN,
        "ociVersionMax": SPEC_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities,
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": false, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": words::ACTIONS,
                "operators": words::OPERATORS,
                "archs": Arch::NATIVE.family().map(Arch::name).collect::<Vec<_>>(),
                "knownFlags": words::FLAGS,
                "supportedFlags": words::FLAGS,
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": true}},
        },
        "annotations": {"org.belljar.runtime.version": env!("CARGO_PKG_VERSION")},
        "potentiallyUnsafeConfigAnnotations": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_that_is_named_is_a_word_and_not_the_file_systems_own() {
        for word in MOUNT_OPTIONS {
            let parsed = belljar_runtime::spec::options::parse_options(&[(*word).to_owned()]).expect("it is known");
            assert!(parsed.options.is_empty(), "{word}");
        }
    }
}
