//! Which devices a container may make and open: rules in order, and what holds of them in the end.
//!
//! The rules are OCI's: *for each kind of access by itself, the last rule that matches decides; what no rule names is
//! denied*. A v2 cgroup has a program that says exactly that ([`belljar_linux::bpf`]); the v1 controller knows only one list
//! of exceptions, so rules are turned into that list ([`v1`]), or refused where no list says the same.

pub mod v1;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;

use belljar_linux::bpf::{self, DeviceKind, DeviceRule, Verdict};
use belljar_linux::error::Context;
use belljar_linux::{Error, Result};
use belljar_model::Invalid;
use belljar_model::cgroup::Version;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Cgroup;

/// Most rules of one container: the list of v1 grows with the square of them.
pub const RULES_MAX: usize = 512;
/// Behind the largest major and minor number (`MAJOR`, `MINOR` of the kernel's `kdev_t.h`).
pub const MAJOR_END: i64 = 1 << 12;
/// The same of the minor one.
pub const MINOR_END: i64 = 1 << 20;

/// One rule, as engines write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Whether it gives or takes.
    #[serde(default)]
    pub allow: bool,
    /// `a` for all, `b` for block, `c` (or `u`) for character devices; absent is all.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Major number, below [`MAJOR_END`]; absent or -1 matches any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    /// Minor number, below [`MINOR_END`]; absent or -1 matches any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Any of `r`, `w` and `m` (make).
    #[serde(default)]
    pub access: Option<String>,
}

impl Rule {
    /// A rule that gives `access` to one device, or to every one whose number is -1.
    pub fn allow(kind: char, numbers: (i64, i64), access: &str) -> Self {
        Self { allow: true, kind: Some(kind.to_string()), major: Some(numbers.0), minor: Some(numbers.1), access: Some(access.to_owned()) }
    }

    /// The rule that takes everything.
    pub fn deny_all() -> Self {
        Self { allow: false, kind: Some("a".to_owned()), major: None, minor: None, access: Some("rwm".to_owned()) }
    }

    fn parse(&self, index: usize) -> std::result::Result<DeviceRule, Invalid> {
        let field = |name: &str| format!("resources.devices[{index}].{name}");
        let kind = match self.kind.as_deref().unwrap_or("a") {
            "a" | "" => None,
            "b" => Some(DeviceKind::Block),
            "c" | "u" => Some(DeviceKind::Character),
            other => return Err(Invalid::new(field("type"), format!("is {other:?}, and not one of a, b, c, u"))),
        };
        let number = |name: &str, number: Option<i64>, end: i64| match number {
            None | Some(-1) => Ok(None),
            Some(number) => match u32::try_from(number) {
                Ok(own) if number < end => Ok(Some(own)),
                _ => Err(Invalid::new(field(name), format!("{number} is no device's"))),
            },
        };
        let mut access = 0;
        for letter in self.access.as_deref().unwrap_or_default().chars() {
            access |= match letter {
                'm' => bpf::MAKE,
                'r' => bpf::READ,
                'w' => bpf::WRITE,
                _ => return Err(Invalid::new(field("access"), format!("has {letter:?}, which is not one of r, w, m"))),
            };
        }
        if access == 0 {
            return Err(Invalid::new(field("access"), "is empty: it needs one of r, w, m"));
        }
        let verdict = if self.allow { Verdict::Allow } else { Verdict::Deny };
        Ok(DeviceRule {
            verdict,
            kind,
            major: number("major", self.major, MAJOR_END)?,
            minor: number("minor", self.minor, MINOR_END)?,
            access,
        })
    }
}

impl fmt::Display for Rule {
    /// As v1's files have it: `c 1:3 rwm`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<i64>| number.filter(|number| *number >= 0).map_or("*".to_owned(), |number| number.to_string());
        let (kind, access) = (self.kind.as_deref().unwrap_or("a"), self.access.as_deref().unwrap_or_default());
        write!(formatter, "{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// What a container gets in any case: making nodes is allowed (they cannot be opened), and the devices that every program
/// expects: null, zero, full, random, urandom, tty, the terminals (ptmx and its slaves), and tun, which the field took away
/// once and gave back.
pub fn default_rules() -> Vec<Rule> {
    let every = [('c', (-1, -1), "m"), ('b', (-1, -1), "m")];
    let opened = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, -1), (10, 200)].map(|numbers| ('c', numbers, "rwm"));
    every.into_iter().chain(opened).map(|(kind, numbers, access)| Rule::allow(kind, numbers, access)).collect()
}

/// What is asked, and after it what a container gets in any case, as engines expect it: nobody can take `/dev/null` away.
pub fn with_defaults(rules: &[Rule]) -> Vec<Rule> {
    rules.iter().cloned().chain(default_rules()).collect()
}

/// The rules as the kernel's words; refuses what is not one, by its field.
pub fn parse(rules: &[Rule]) -> std::result::Result<Vec<DeviceRule>, Invalid> {
    if rules.len() > RULES_MAX {
        return Err(Invalid::new("resources.devices", format!("has {} rules; at most {RULES_MAX}", rules.len())));
    }
    rules.iter().enumerate().map(|(index, rule)| rule.parse(index)).collect()
}

/// How the rules are enforced on this host: decided before anything is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// By the files of v1, in this folder.
    Files {
        /// The folder.
        folder: std::path::PathBuf,
        /// What it is to say.
        list: v1::List,
    },
    /// By a program on this folder of v2.
    Program {
        /// The folder.
        folder: std::path::PathBuf,
        /// What it decides by.
        rules: Vec<DeviceRule>,
    },
}

impl Guard {
    /// How these rules (with the defaults, where the caller wants them) are enforced for a cgroup. v1's controller is used
    /// where there is one, else a program; a host with neither refuses.
    pub fn new(rules: &[Rule], cgroup: &Cgroup) -> std::result::Result<Self, Invalid> {
        let rules = parse(rules)?;
        match (cgroup.part("devices"), cgroup.unified()) {
            (Some(part), _) if part.version == Version::V1 => Ok(Self::Files { folder: part.path.clone(), list: v1::List::of(&rules)? }),
            (_, Some(part)) => Ok(Self::Program { folder: part.path.clone(), rules }),
            _ => Err(Invalid::new("resources.devices", "cannot be enforced: this host has neither the v1 controller nor a v2 hierarchy")),
        }
    }

    /// The folder that it guards.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Files { folder, .. } | Self::Program { folder, .. } => folder,
        }
    }

    /// Puts it in force for a cgroup in which nobody runs yet.
    pub fn begin(&self) -> Result<()> {
        match self {
            Self::Files { folder, list } => list.begin(folder),
            Self::Program { folder, rules } => bpf::put_in_force(open(folder)?, bpf::load(rules)?),
        }
    }

    /// Puts it in force for a cgroup that is alive: at no moment is more allowed than before or after.
    pub fn enforce(&self, cgroup: &Cgroup) -> Result<()> {
        match self {
            Self::Files { folder, list } => list.enforce(folder, cgroup),
            Self::Program { .. } => self.begin(),
        }
    }
}

fn open(folder: &Path) -> Result<OwnedFd> {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::RDONLY;
    rustix::fs::open(folder, flags, rustix::fs::Mode::empty()).context("open", || folder.display().to_string())
}

impl fmt::Display for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { list, .. } => write!(formatter, "devices by {list}"),
            Self::Program { rules, .. } => write!(formatter, "devices by a program ({} rules)", rules.len()),
        }
    }
}

/// The failure of a change that v1 refuses because the container made cgroups of its own.
fn has_children(folder: &Path) -> Error {
    Error::new("change", format!("devices of {}, which has cgroups below it", folder.display()), Errno::INVAL)
}

#[cfg(test)]
mod tests;
