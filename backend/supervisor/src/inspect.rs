//! What a container is made of, read from the kernel's files and its layers.

use std::collections::BTreeMap;
use std::path::Path;

use belljar_linux::process::{self, parse_stat};
use belljar_model::cgroup::Cgroup;
use belljar_model::container::ProcessRef;
use belljar_model::denied::Denied;
use belljar_model::mounted::Mounts;
use belljar_model::namespace::{Kind, Namespace, Sharing};
use belljar_model::overlay::Stack;
use belljar_model::user::ID_MAX;
use belljar_model::{Container, ContainerId, Invalid, Process};
use belljar_runtime::{Spec, mounts, namespaces, overlay, stack};

use crate::shared::Shared;
use crate::{Error, Supervisor};

/// Most processes that are listed of one container.
const PROCESSES_MAX: usize = 4096;
/// Most bytes of a command line that are shown.
const COMMAND_BYTES_MAX: usize = 4096;
/// Clock ticks of `/proc` per second: `USER_HZ`, which is 100 on every architecture that Belljar runs on (`time(7)`).
const TICKS_PER_SECOND: u64 = 100;

/// The stack of a container's layers: as it was mounted where it is alive, else as it would be.
pub(crate) fn stack_of(shared: &Shared, container: &Container) -> Result<Stack, Error> {
    if container.state.is_alive()
        && let Some(spec) = written_spec(&shared.bundle(&container.id).spec())
    {
        return Ok(stack::of(&spec, container.init));
    }
    let layers = shared.images.layers(container)?;
    Ok(stack::of(&Spec::for_container(container, &layers, &shared.home, 0)?, None))
}

impl Supervisor {
    /// What is mounted in the container, as the kernel tells it, beside what was asked for; where it is not alive, what will be.
    pub async fn mounts(&self, id: &ContainerId) -> Result<Mounts, Error> {
        self.inspect(id, mounts_of).await?
    }
}

fn mounts_of(shared: &Shared, container: &Container) -> Result<Mounts, Error> {
    let init = container.init.filter(|init| process::is_alive(init.pid, init.start_ticks));
    let written = init.and_then(|_| written_spec(&shared.bundle(&container.id).spec()));
    let spec = match written {
        Some(spec) => spec,
        None => Spec::for_container(container, &shared.images.layers(container)?, &shared.home, 0)?,
    };
    mounts::of(&spec, &container.config, init).map_err(|error| Error::failed("read", "the mounts", error))
}

/// The spec in this file.
pub(crate) fn written_spec(path: &Path) -> Option<Spec> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// An error of the overlay in the words of a request.
pub(crate) fn overlay_error(error: overlay::Error) -> Error {
    match error {
        overlay::Error::Path { .. } | overlay::Error::NotADirectory { .. } => Invalid::new("path", error.to_string()).into(),
        overlay::Error::NotFound { path } => Error::NotFound { what: "path", key: path },
        error => Error::failed("read", "the layers", error),
    }
}

/// The namespaces of a container, and which other containers share each.
pub(crate) fn namespaces_of(shared: &Shared, container: &Container) -> Vec<Namespace> {
    let Some(init) = container.init else { return Vec::new() };
    let mut list = namespaces::of(init.pid);
    let others: Vec<(String, ProcessRef)> = shared.registry.collect(|other| {
        let init = other.init.filter(|_| other.id != container.id)?;
        Some((other.config.name.to_string(), init))
    });
    let mut sharers: BTreeMap<(Kind, u64), Vec<String>> = BTreeMap::new();
    for (name, init) in others {
        for namespace in namespaces::of(init.pid) {
            if let Some(inode) = namespace.inode {
                sharers.entry((namespace.kind, inode)).or_default().push(name.clone());
            }
        }
    }
    for namespace in &mut list {
        let names = namespace.inode.and_then(|inode| sharers.remove(&(namespace.kind, inode)));
        if let (Sharing::Own, Some(mut names)) = (&namespace.sharing, names) {
            names.sort();
            namespace.sharing = Sharing::Containers(names);
        }
    }
    list
}

/// The cgroup of a container; without controllers where it is not alive.
pub(crate) fn cgroup_of(shared: &Shared, container: &Container) -> Cgroup {
    let hierarchies = shared.hierarchies();
    let mode = hierarchies.mode();
    if container.state.is_alive() {
        shared.cgroup_in(&hierarchies, &container.id).view(mode)
    } else {
        Cgroup { mode: mode.to_owned(), controllers: Vec::new() }
    }
}

/// What the container asked for and was denied since its start; nothing where that is not recorded.
pub(crate) fn denied_of(shared: &Shared, container: &Container) -> Vec<Denied> {
    let recorded = belljar_monitor::record::denied(&shared.bundle(&container.id)).unwrap_or_default();
    recorded.calls.into_iter().map(|call| Denied { call: call.name, times: call.count }).collect()
}

/// The processes of a container, by pid; those that end meanwhile are left out.
pub(crate) fn processes_of(shared: &Shared, container: &Container) -> Vec<Process> {
    if container.init.is_none() {
        return Vec::new();
    }
    let mut pids = shared.cgroup(&container.id).processes();
    pids.sort_unstable();
    pids.truncate(PROCESSES_MAX);
    // What it asked for or had to go without is in its map: the one of the process that all others come from.
    let base = container.init.and_then(|init| crate::around::base_of(init.pid));
    pids.into_iter().filter_map(|pid| read_process(pid, base)).collect()
}

fn read_process(pid: i32, uid_base: Option<u32>) -> Option<Process> {
    let stat: process::Stat = parse_stat(&read(pid, "stat")?)?;
    let status = read(pid, "status")?;
    let last = |key: &str| status.lines().find_map(|line| line.strip_prefix(key))?.split_ascii_whitespace().next_back();
    let uid: Option<u32> = status.lines().find_map(|line| line.strip_prefix("Uid:")).and_then(|ids| {
        // Real, effective, saved, file system: the second is what it may do.
        ids.split_ascii_whitespace().nth(1)?.parse().ok()
    });
    Some(Process {
        pid,
        pid_inside: last("NSpid:").and_then(|pid| pid.parse().ok()),
        ppid: stat.ppid,
        uid_inside: uid.and_then(|uid| uid.checked_sub(uid_base.unwrap_or_default())).filter(|uid| *uid <= ID_MAX),
        command: command_line(pid).unwrap_or_else(|| format!("[{}]", stat.command)),
        state: stat.state,
        rss_bytes: Some(rss_bytes(&status).unwrap_or_default()),
        cpu_usec: Some(stat.cpu_ticks.saturating_mul(1_000_000 / TICKS_PER_SECOND)),
    })
}

fn read(pid: i32, file: &str) -> Option<String> {
    // A program may name itself with any bytes.
    std::fs::read(format!("/proc/{pid}/{file}")).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn command_line(pid: i32) -> Option<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(COMMAND_BYTES_MAX as u64).read_to_end(&mut bytes).ok()?;
    let words: Vec<_> = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// `VmRSS` of a status file; a zombie has none.
fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read_with_its_pid_and_memory() {
        let pid = i32::try_from(std::process::id()).expect("a pid fits i32");
        let process = read_process(pid, None).expect("it lives");
        assert_eq!((process.pid, process.pid_inside), (pid, Some(pid)));
        assert!(process.rss_bytes > Some(0) && !process.command.is_empty());
        assert!(read_process(0, None).is_none());
    }

    #[test]
    fn ids_outside_the_containers_range_are_not_made_up() {
        let pid = i32::try_from(std::process::id()).expect("a pid fits i32");
        assert_eq!(read_process(pid, Some(u32::MAX)).expect("it lives").uid_inside, None);
    }
}
