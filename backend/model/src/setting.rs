//! Settings of a container's program and tree that have a form of their own: limits of a process, sysctls, devices, umask.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;
use crate::isolation::{Namespaces, Whose};
use crate::mount::absolute_path;
use crate::namespace::Kind;

/// Most sysctls of a container.
pub const SYSCTLS_MAX: usize = 256;
/// Most devices of a container beside the standard ones.
pub const DEVICES_MAX: usize = 128;
/// Most groups beside the program's own: more than any person is in, fewer than the kernel's 65,536.
pub const GROUPS_MAX: usize = 64;
/// Largest `/dev/shm`, in bytes.
pub const SHM_BYTES_MAX: u64 = 1 << 50;

/// The limits that `setrlimit(2)` knows, as `docker run --ulimit` names them.
pub const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A limit of each process: what holds, and what the process itself may raise it to. `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// What holds.
    pub soft: Option<u64>,
    /// What it may be raised to.
    pub hard: Option<u64>,
}

/// Checks names and values; the limit is named in the field: `ulimits.nofile`.
pub fn check_ulimits(ulimits: &BTreeMap<String, Ulimit>) -> Result<(), Invalid> {
    for (name, Ulimit { soft, hard }) in ulimits {
        let field = format!("ulimits.{name}");
        if !ULIMITS.contains(&name.as_str()) {
            return Err(Invalid::new(field, format!("is no limit: write one of {}", ULIMITS.join(", "))));
        }
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(Invalid::new(field, "has a soft limit above its hard one"));
        }
    }
    Ok(())
}

/// Checks that each sysctl belongs to a namespace, and that namespace to the container: any other would change the host.
pub fn check_sysctls(sysctls: &BTreeMap<String, String>, namespaces: &Namespaces) -> Result<(), Invalid> {
    if sysctls.len() > SYSCTLS_MAX {
        return Err(Invalid::new("sysctls", format!("must be at most {SYSCTLS_MAX}")));
    }
    for (name, value) in sysctls {
        let refuse = |problem: String| Err(Invalid::new(format!("sysctls.{name}"), problem));
        let parts_are_plain = name.split(['.', '/']).all(|part| !part.is_empty() && part != "..");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
        if !parts_are_plain || !name.bytes().all(plain) {
            return refuse("is not a name such as net.ipv4.ip_forward".to_owned());
        }
        if name.replace('/', ".") == "kernel.hostname" {
            return refuse("is what the field hostname says".to_owned());
        }
        let Some(kind) = namespace_of(name) else {
            return refuse("belongs to the host's kernel, and to no namespace of a container".to_owned());
        };
        if matches!(namespaces.of(kind), Whose::Host) {
            return refuse(format!("would change the host: namespaces.{} is host", kind.as_str()));
        }
        if value.contains(['\0', '\n']) {
            return refuse("must be one line".to_owned());
        }
    }
    Ok(())
}

/// The kind of namespace that a sysctl belongs to; `None` for those that are the host's alone.
pub fn namespace_of(sysctl: &str) -> Option<Kind> {
    let name = sysctl.replace('/', ".");
    let ipc = ["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni"];
    match name.as_str() {
        "kernel.domainname" | "kernel.hostname" => Some(Kind::Uts),
        "kernel.shm_rmid_forced" => Some(Kind::Ipc),
        name if ipc.contains(&name) || name.starts_with("fs.mqueue.") => Some(Kind::Ipc),
        name if name.starts_with("net.") => Some(Kind::Net),
        _ => None,
    }
}

/// What is in every container's `/dev` and no device: what is mounted there, and links. In `shm` there may be devices.
const EVERYONES: [&str; 9] = ["pts", "shm", "mqueue", "ptmx", "fd", "stdin", "stdout", "stderr", "core"];
/// The devices of every container.
const STANDARD: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// A device of the host that a container may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Path on the host, below `/dev`.
    pub source: String,
    /// Path in the container, below `/dev`; the same where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of `r` (read), `w` (write) and `m` (make a node); all three where not given.
    #[serde(default = "all_access")]
    pub access: String,
}

fn all_access() -> String {
    "rwm".to_owned()
}

impl Device {
    /// Path in the container.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.source)
    }

    /// Checks paths and letters; `field` is the device's own path in the request (`devices[0]`).
    pub fn check(&self, field: &str) -> Result<(), Invalid> {
        for (name, path) in [("source", Some(&self.source)), ("path", self.path.as_ref())] {
            let Some(path) = path else { continue };
            let field = format!("{field}.{name}");
            absolute_path(&field, path)?;
            if !path.starts_with("/dev/") {
                return Err(Invalid::new(field, "must be below /dev"));
            }
        }
        let names: Vec<&str> = self.path().split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        let is_taken = match names.as_slice() {
            ["dev", "shm", _, ..] => false,
            ["dev", name] if STANDARD.contains(name) => self.source != self.path(),
            ["dev", name, ..] => EVERYONES.contains(name),
            _ => false,
        };
        if is_taken {
            let name = if self.path.is_some() { "path" } else { "source" };
            return Err(Invalid::new(format!("{field}.{name}"), "every container has something else there"));
        }
        let letters: Vec<char> = self.access.chars().collect();
        let twice = |letter: &char| letters.iter().filter(|other| *other == letter).count() > 1;
        if letters.is_empty() || letters.iter().any(|letter| !"rwm".contains(*letter) || twice(letter)) {
            return Err(Invalid::new(format!("{field}.access"), format!("{:?} must be of r, w and m, each once", self.access)));
        }
        Ok(())
    }
}

/// What no file is created with: the permission bits of `umask(2)`, written in octal (`"0027"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Umask(u32);

impl Umask {
    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Umask {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o777 && !text.starts_with('+'));
        bits.map(Self).ok_or_else(|| Invalid::new("umask", format!("{text:?} is not of the form 0022")))
    }
}

impl fmt::Display for Umask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

crate::by_text::by_text!(Umask);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_must_belong_to_a_namespace_of_the_container() {
        let check = |name: &str, value: &str, namespaces: &str| {
            let namespaces = serde_json::from_str(namespaces).expect("namespaces");
            check_sysctls(&BTreeMap::from([(name.to_owned(), value.to_owned())]), &namespaces).map_err(|invalid| invalid.field)
        };
        for name in ["net.ipv4.ip_forward", "net/ipv4/ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "kernel.domainname"] {
            assert_eq!(check(name, "1", "{}"), Ok(()), "{name}");
        }
        for name in [
            "kernel.core_pattern",
            "kernel.hostname",
            "kernel/hostname",
            "kernel.msg_next_id",
            "vm.swappiness",
            "kernel.panic",
            "",
            "net..x",
            "net.../../kernel/panic",
            "net.a b",
        ] {
            assert_eq!(check(name, "1", "{}"), Err(format!("sysctls.{name}")), "{name}");
        }
        assert!(check("net.ipv4.ip_forward", "1", r#"{"net":"host"}"#).is_err());
        assert!(check("kernel.shmmax", "1", r#"{"net":"host"}"#).is_ok());
        assert!(check("net.ipv4.ip_forward", "1\n2", "{}").is_err());
    }

    #[test]
    fn ulimits_have_known_names_and_a_soft_limit_below_the_hard_one() {
        let check = |name: &str, soft, hard| check_ulimits(&BTreeMap::from([(name.to_owned(), Ulimit { soft, hard })]));
        assert_eq!(check("nofile", Some(1024), Some(2048)), Ok(()));
        assert_eq!(check("core", Some(0), None), Ok(()));
        assert!(check("nofile", None, Some(1)).is_err());
        assert_eq!(check("files", Some(1), Some(1)).map_err(|invalid| invalid.field), Err("ulimits.files".into()));
    }

    #[test]
    fn devices_lie_below_dev_and_have_dockers_letters() {
        let device = |source: &str, access: &str| Device { source: source.into(), path: None, access: access.into() };
        let at =
            |path: &str| Device { path: Some(path.into()), ..device("/dev/fuse", "rw") }.check("devices[0]").map_err(|wrong| wrong.field);
        for path in ["/dev/pts", "/dev//pts/", "/dev/pts/7", "/dev/shm", "/dev/mqueue/x"] {
            assert_eq!(at(path), Err("devices[0].path".to_owned()), "{path}");
        }
        for path in ["/dev/null", "/dev/ptmx", "/dev/stdin", "/dev/fd/3"] {
            assert_eq!(at(path), Err("devices[0].path".to_owned()), "{path}");
        }
        assert_eq!(device("/dev/null", "rw").check("devices[0]"), Ok(()), "it is the same one");
        assert_eq!((at("/dev/shm/x"), at("/dev/ptsx"), at("/dev/own/pts")), (Ok(()), Ok(()), Ok(())));
        assert_eq!(device("/dev/pts/0", "rw").check("devices[0]").map_err(|wrong| wrong.field), Err("devices[0].source".to_owned()));
        assert_eq!(device("/dev/fuse", "rw").check("devices[0]"), Ok(()));
        for (source, access) in
            [("/etc/passwd", "r"), ("fuse", "r"), ("/dev/../etc", "r"), ("/dev/fuse", ""), ("/dev/fuse", "rr"), ("/dev/fuse", "x")]
        {
            assert!(device(source, access).check("devices[0]").is_err(), "{source} {access}");
        }
    }

    #[test]
    fn a_umask_is_octal() {
        assert_eq!("27".parse::<Umask>().map(|umask| umask.to_string()).as_deref(), Ok("0027"));
        for text in ["", "8", "1000", "-1", "+7", "rw"] {
            assert!(text.parse::<Umask>().is_err(), "{text}");
        }
    }
}
