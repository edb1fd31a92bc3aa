//! What a container may do to the kernel. Everything stands at its safe default; each part is loosened by itself, and every
//! loosening is told ([`crate::warning`]).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Invalid;
use crate::mount::absolute_path;

/// Most rules of a Landlock rule set.
pub const LANDLOCK_RULES_MAX: usize = 128;
/// Largest profile of system calls, in bytes of its JSON: several times the field's default one.
pub const PROFILE_BYTES_MAX: usize = 1 << 20;
/// Longest label of a security module, in bytes.
pub const LABEL_CHARS_MAX: usize = 255;

/// Capabilities that a container has by default, without `CAP_`: Docker's fourteen.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Every capability that Linux has (`capabilities(7)`), without `CAP_`, in the order of their numbers.
pub const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container may do to the kernel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// What is added to and taken from the default capabilities.
    #[serde(skip_serializing_if = "Capabilities::is_default")]
    pub capabilities: Capabilities,
    /// Whether set-uid programs and file capabilities have their effect.
    #[serde(skip_serializing_if = "NewPrivileges::is_default")]
    pub new_privileges: NewPrivileges,
    /// Which system calls are answered.
    #[serde(skip_serializing_if = "Seccomp::is_default")]
    pub seccomp: Seccomp,
    /// Whether the kernel's own files that tell of the host, or change it, can be reached.
    #[serde(skip_serializing_if = "SystemPaths::is_default")]
    pub system_paths: SystemPaths,
    /// AppArmor profile; where the host has AppArmor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// SELinux label; where the host has SELinux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
    /// What of its files it may use; empty is not restricted further.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub landlock: Vec<LandlockRule>,
}

/// What is added to and taken from [`DEFAULT_CAPABILITIES`]: names with or without `CAP_`, any case, or `ALL`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// Added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Taken away. As in Docker, what is both added and taken is taken, unless the one is `ALL` and the other a name: then
    /// the name counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
}

/// Whether a program may have more rights than who executes it (`PR_SET_NO_NEW_PRIVS`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewPrivileges {
    /// It may not.
    #[default]
    Forbidden,
    /// It may, within the container's capabilities.
    Allowed,
}

/// Which system calls are answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Those of the default profile.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// Those of the default profile; what it denies is counted, and shown.
    Record,
    /// Those of a profile of one's own, as the OCI runtime specification or Docker writes it.
    #[serde(untagged)]
    Profile(serde_json::Map<String, serde_json::Value>),
}

/// Whether the kernel's own files that tell of the host, or change it, can be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemPaths {
    /// They read as empty, or cannot be written to.
    #[default]
    Confined,
    /// They are as the kernel makes them.
    Unconfined,
}

/// What may be done below a path. With one rule or more, everything else of the file tree is forbidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandlockRule {
    /// Path in the container.
    pub path: String,
    /// What may be done there; at least one.
    pub access: BTreeSet<LandlockAccess>,
}

/// What may be done with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LandlockAccess {
    /// Files can be read, folders listed.
    Read,
    /// Files can be changed, made and removed.
    Write,
    /// Files can be executed.
    Execute,
}

impl LandlockAccess {
    /// Every one.
    pub const ALL: [LandlockAccess; 3] = [LandlockAccess::Read, LandlockAccess::Write, LandlockAccess::Execute];

    /// The word on the wire and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            LandlockAccess::Read => "read",
            LandlockAccess::Write => "write",
            LandlockAccess::Execute => "execute",
        }
    }
}

impl NewPrivileges {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Seccomp {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl SystemPaths {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A name as the lists have it; `None` is `ALL`.
fn name(text: &str, field: &str) -> Result<Option<&'static str>, Invalid> {
    let upper = text.trim().to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if bare == "ALL" {
        return Ok(None);
    }
    let known = CAPABILITIES.into_iter().find(|known| *known == bare);
    known.map(Some).ok_or_else(|| Invalid::new(field, format!("{text:?} is not a capability: write a name such as NET_ADMIN, or ALL")))
}

fn names(list: &[String], field: &str) -> Result<Vec<Option<&'static str>>, Invalid> {
    list.iter().enumerate().map(|(index, text)| name(text, &format!("{field}[{index}]"))).collect()
}

impl Capabilities {
    /// Whether nothing was asked.
    pub fn is_default(&self) -> bool {
        self.add.is_empty() && self.drop.is_empty()
    }

    /// Refuses what is no capability, by its field.
    pub fn check(&self) -> Result<(), Invalid> {
        names(&self.add, "security.capabilities.add")?;
        names(&self.drop, "security.capabilities.drop").map(drop)
    }

    /// The capabilities that remain, in the order of their numbers. What is no capability was refused before, and counts for
    /// nothing.
    pub fn kept(&self) -> Vec<&'static str> {
        let add = names(&self.add, "add").unwrap_or_default();
        let drop = names(&self.drop, "drop").unwrap_or_default();
        let keeps = |known: &&'static str| {
            let (named, dropped) = (add.contains(&Some(*known)), drop.contains(&Some(*known)));
            let by_default = DEFAULT_CAPABILITIES.contains(known) || add.contains(&None);
            !dropped && (named || (by_default && !drop.contains(&None)))
        };
        CAPABILITIES.into_iter().filter(keeps).collect()
    }

    /// Those beyond the default.
    pub fn beyond_default(&self) -> Vec<&'static str> {
        self.kept().into_iter().filter(|kept| !DEFAULT_CAPABILITIES.contains(kept)).collect()
    }
}

impl Security {
    /// Whether everything is at its default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what cannot be, by its field.
    pub fn check(&self) -> Result<(), Invalid> {
        self.capabilities.check()?;
        if let Seccomp::Profile(profile) = &self.seccomp
            && serde_json::to_vec(profile).map_or(usize::MAX, |json| json.len()) > PROFILE_BYTES_MAX
        {
            return Err(Invalid::new("security.seccomp", format!("must have at most {PROFILE_BYTES_MAX} bytes")));
        }
        for (field, label) in [("security.apparmor", &self.apparmor), ("security.selinux", &self.selinux)] {
            let wrong = |label: &String| {
                label.is_empty() || label.len() > LABEL_CHARS_MAX || label.bytes().any(|byte| byte <= b' ' || byte == 0x7f)
            };
            if label.as_ref().is_some_and(wrong) {
                return Err(Invalid::new(field, format!("must have 1 to {LABEL_CHARS_MAX} characters, and no spaces")));
            }
        }
        if self.landlock.len() > LANDLOCK_RULES_MAX {
            return Err(Invalid::new("security.landlock", format!("must be at most {LANDLOCK_RULES_MAX} rules")));
        }
        for (index, rule) in self.landlock.iter().enumerate() {
            absolute_path(&format!("security.landlock[{index}].path"), &rule.path)?;
            if rule.access.is_empty() {
                return Err(Invalid::new(format!("security.landlock[{index}].access"), "must name read, write or execute"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Capabilities { add: owned(add), drop: owned(drop) }.kept()
    }

    #[test]
    fn capabilities_are_added_and_dropped_as_in_docker() {
        assert_eq!(kept(&[], &[]).len(), 14);
        assert_eq!(kept(&[], &["ALL"]), Vec::<&str>::new());
        assert_eq!(kept(&["cap_net_admin"], &["all"]), ["NET_ADMIN"]);
        assert_eq!(kept(&["ALL"], &["SYS_ADMIN"]).len(), 40);
        assert_eq!(kept(&["ALL"], &[]).len(), 41);
        assert!(!kept(&["CHOWN"], &["chown"]).contains(&"CHOWN"));
        assert_eq!(Capabilities { add: vec!["BPF".into()], drop: Vec::new() }.beyond_default(), ["BPF"]);
    }

    #[test]
    fn what_is_no_capability_is_named_by_its_place() {
        let wrong = Capabilities { add: vec!["CHOWN".into(), "FLY".into()], drop: Vec::new() };
        assert_eq!(wrong.check().map_err(|invalid| invalid.field), Err("security.capabilities.add[1]".into()));
    }

    #[test]
    fn a_filter_is_a_word_or_a_profile() {
        for (json, expected) in
            [("\"default\"", Seccomp::Default), ("\"unconfined\"", Seccomp::Unconfined), ("\"record\"", Seccomp::Record)]
        {
            assert_eq!(serde_json::from_str::<Seccomp>(json).expect(json), expected);
            assert_eq!(serde_json::to_string(&expected).expect("JSON"), json);
        }
        let profile = r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#;
        let read: Seccomp = serde_json::from_str(profile).expect("a profile");
        assert!(matches!(read, Seccomp::Profile(_)));
        assert_eq!(serde_json::to_string(&read).expect("JSON"), profile);
        assert!(serde_json::from_str::<Seccomp>("\"none\"").is_err());
    }

    #[test]
    fn wrong_parts_are_named() {
        let rule = |path: &str, access: &[LandlockAccess]| LandlockRule { path: path.into(), access: access.iter().copied().collect() };
        let cases = [
            (Security { apparmor: Some(String::new()), ..Security::default() }, "security.apparmor"),
            (Security { selinux: Some("a b".into()), ..Security::default() }, "security.selinux"),
            (Security { landlock: vec![rule("a", &LandlockAccess::ALL)], ..Security::default() }, "security.landlock[0].path"),
            (Security { landlock: vec![rule("/a", &[])], ..Security::default() }, "security.landlock[0].access"),
        ];
        for (security, field) in cases {
            assert_eq!(security.check().map_err(|invalid| invalid.field), Err(field.to_owned()));
        }
        assert_eq!(Security::default().check(), Ok(()));
    }
}
