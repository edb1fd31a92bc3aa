//! Which kernel parameters a container may set: those that its own namespaces have a copy of. All others are the host's.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use belljar_model::Invalid;
use belljar_model::namespace::Kind;

use crate::spec::{Namespace, Source, Spec};

/// Parameters of an IPC namespace.
const OF_IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// A parameter that is not the container's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Its name, as it was asked for.
    pub name: String,
    /// Why not.
    pub problem: &'static str,
}

/// Refuses the first parameter that is not the container's own. Every plan is checked for that; whoever has another name for the
/// field asks before.
pub fn check_sysctls(spec: &Spec) -> Result<(), Foreign> {
    spec.sysctls.keys().try_for_each(|name| check_one(spec, &path(name)).map_err(|problem| Foreign { name: name.clone(), problem }))
}

/// The same, by the field of the spec.
pub(super) fn check(spec: &Spec) -> Result<(), Invalid> {
    check_sysctls(spec).map_err(|Foreign { name, problem }| Invalid::new("sysctls", format!("{name}: {problem}")))
}

/// The file of a parameter, below `/proc/sys`. Names are written with dots or with slashes; whichever comes first parts the
/// name, and the other stands for a dot within a part (`net.ipv4.conf.eth0/1.forwarding`, of the interface `eth0.1`).
pub(crate) fn path(name: &str) -> String {
    let swap = |letter: char| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match name.find(['.', '/']) {
        Some(first) if name[first..].starts_with('.') => name.chars().map(swap).collect(),
        _ => name.to_owned(),
    }
}

fn check_one(spec: &Spec, path: &str) -> Result<(), &'static str> {
    let has = |kind| spec.namespace(kind).is_some_and(|namespace| !is_ours(namespace));
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("is no name of a kernel parameter");
    }
    let dotted = path.replace('/', ".");
    let needed = match path.split('/').next() {
        Some("net") => Kind::Net,
        Some("fs") if path.starts_with("fs/mqueue/") => Kind::Ipc,
        Some("kernel") if OF_IPC.contains(&dotted.as_str()) => Kind::Ipc,
        Some("kernel") if path == "kernel/hostname" => return Err("is what the field hostname says"),
        Some("kernel") if path == "kernel/domainname" && spec.domainname.is_some() => return Err("is what the field domainname says"),
        Some("kernel") if path == "kernel/domainname" => Kind::Uts,
        Some("user") => Kind::User,
        _ => return Err("is the host's: no namespace has a copy of its own"),
    };
    match needed {
        kind if has(kind) => Ok(()),
        Kind::Net => Err("is the host's: the container shares its network namespace"),
        Kind::Ipc => Err("is the host's: the container shares its IPC namespace"),
        Kind::Uts => Err("is the host's: the container shares its UTS namespace"),
        _ => Err("is the host's: the container shares its user namespace"),
    }
}

/// Whether a namespace that is joined by its path is the one that whoever makes the container is in: an engine's way to say the host's.
fn is_ours(namespace: &Namespace) -> bool {
    let Source::Path { path, .. } = &namespace.source else { return false };
    let identity = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let own = identity(&Path::new("/proc/self/ns").join(namespace.kind.as_str()));
    own.is_some() && identity(path) == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_with_dots_or_with_slashes() {
        assert_eq!(path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(path("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(path("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
    }

    #[test]
    fn only_what_a_namespace_of_its_own_has_may_be_set() {
        let mut spec = crate::plan::tests::spec(r#"{"name":"web","image":"host","command":["sh"]}"#, Some(1 << 29));
        let check = |spec: &Spec, name: &str| check_one(spec, &path(name));
        for name in
            ["net.ipv4.ip_forward", "kernel.shmmax", "kernel/sem", "fs.mqueue.msg_max", "kernel.domainname", "user.max_user_namespaces"]
        {
            assert_eq!(check(&spec, name), Ok(()), "{name}");
        }
        for name in
            ["kernel.core_pattern", "vm.swappiness", "kernel.hostname", "fs.file-max", "net../kernel.core_pattern", "net", "kernel.sem.x"]
        {
            assert!(name == "net" || check(&spec, name).is_err(), "{name}");
        }
        for name in ["net/../kernel/core_pattern", "fs/mqueue/../file-max", "/net/ipv4", "net//x", ""] {
            assert!(check(&spec, name).is_err(), "{name}");
        }
        spec.namespaces.clear();
        for name in ["net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "kernel.domainname", "user.max_user_namespaces"] {
            assert!(check(&spec, name).unwrap_err().contains("shares"), "{name}");
        }
        spec.sysctls.insert("kernel.core_pattern".into(), "|/bin/sh".into());
        let refused = super::check(&spec).unwrap_err();
        assert!(refused.field == "sysctls" && refused.problem.starts_with("kernel.core_pattern: "), "{refused:?}");
    }
}
