//! Facts about the machine. Most are looked up once: they do not change while it is up, or only by a person who restarts us after.
//! Which controllers there are and what can be enforced is asked each time: another engine that starts may move them.

use std::path::Path;

use belljar_linux::Result;
use belljar_linux::error::Context;
use belljar_model::Host;
use belljar_model::host::{HostController, LimitSupport, Support};
use belljar_runtime::Instance;
use belljar_runtime::cgroup::{Hierarchies, Hierarchy, everybody, support};

use crate::shared::Shared;

/// overlayfs takes idmapped lower layers since this release.
const IDMAPPED_SINCE: (u32, u32) = (5, 19);

/// Looks the facts up.
pub(crate) fn look(home: &Instance, hierarchies: &Hierarchies) -> Result<Host> {
    let kernel = read("/proc/sys/kernel/osrelease")?;
    Ok(Host {
        hostname: read("/proc/sys/kernel/hostname")?,
        memory_bytes: memory_bytes(&read("/proc/meminfo")?).unwrap_or(u64::MAX),
        cpus: std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        pids: read("/proc/sys/kernel/pid_max")?.parse().unwrap_or(u32::MAX),
        cgroup_mode: hierarchies.mode().to_owned(),
        controllers: controllers(hierarchies),
        limits: Vec::new(),
        user_namespaces: user_namespaces(read("/proc/sys/user/max_user_namespaces").ok().as_deref()),
        idmapped_mounts: idmapped_mounts(&kernel),
        kernel,
        own_layers: Support::Yes,
        space: None,
        data_dir: home.folders.data_dir.display().to_string(),
        run_dir: home.folders.run_dir.display().to_string(),
        instance: home.name.clone(),
    })
}

fn controllers(hierarchies: &Hierarchies) -> Vec<HostController> {
    let of = |hierarchy: &Hierarchy| {
        let version = hierarchy.version;
        hierarchy.controllers.iter().map(move |name| HostController { name: name.clone(), version }).collect::<Vec<_>>()
    };
    let mut controllers: Vec<HostController> = hierarchies.all().iter().flat_map(of).collect();
    controllers.sort_by(|left, right| left.name.cmp(&right.name));
    controllers
}

/// The facts as they are now.
pub(crate) fn now(shared: &Shared) -> Host {
    let hierarchies = shared.hierarchies();
    Host {
        cgroup_mode: hierarchies.mode().to_owned(),
        controllers: controllers(&hierarchies),
        limits: limits(shared, &hierarchies),
        space: crate::space::look(&shared.home.folders.data_dir),
        ..shared.host.clone()
    }
}

/// What can be enforced, as it is now.
pub(crate) fn limits(shared: &Shared, hierarchies: &Hierarchies) -> Vec<LimitSupport> {
    let instance = &shared.home.name;
    // A hierarchy that was mounted meanwhile has no folder of ours yet; where it cannot be made, nobody can tell what would be in it.
    if hierarchies.all().iter().any(|hierarchy| !hierarchy.point.join(instance).exists())
        && let Err(error) = hierarchies.prepare(instance)
    {
        tracing::warn!(error = crate::error::chain(&error), "a cgroup hierarchy that is new could not be prepared");
    }
    let mut list = support::support(hierarchies, instance);
    list.extend(everybody::support());
    list.extend(belljar_runtime::quota::support(&shared.home.folders.data_dir.join("containers")));
    list
}

/// Whether the data folder can carry containers' own layers. Said once, when the server starts, where it cannot.
pub(crate) fn own_layers(home: &Instance) -> Support {
    match belljar_runtime::carrier::why_not(&home.folders.data_dir) {
        None => Support::Yes,
        Some(because) => {
            tracing::error!("no container will start: {because}");
            Support::No(because)
        }
    }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(Path::new(path)).context("read", || path.to_owned()).map(|text| text.trim_end().to_owned())
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn user_namespaces(most: Option<&str>) -> Support {
    match most {
        None => Support::No("this kernel has no user namespaces: /proc/sys/user/max_user_namespaces is missing".to_owned()),
        Some("0") => Support::No("they are switched off: /proc/sys/user/max_user_namespaces is 0".to_owned()),
        Some(_) => Support::Yes,
    }
}

fn idmapped_mounts(release: &str) -> Support {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|part| part.parse().unwrap_or_default());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let (major, minor) = IDMAPPED_SINCE;
    if version >= IDMAPPED_SINCE {
        Support::Yes
    } else {
        Support::No(format!("overlayfs takes them since Linux {major}.{minor}; this is {release}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_the_kernels_own_words() {
        assert_eq!(memory_bytes("MemTotal:        8000 kB\nMemFree: 1 kB\n"), Some(8_192_000));
        assert_eq!(idmapped_mounts("6.1.0-28-amd64"), Support::Yes);
        assert!(matches!(idmapped_mounts("5.15.0"), Support::No(_)));
        assert!(matches!(user_namespaces(Some("0")), Support::No(_)));
    }
}
