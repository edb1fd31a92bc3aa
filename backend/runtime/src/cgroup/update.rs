//! Other limits for a cgroup that is alive: all of them, or none.
//!
//! Files depend on each other (memory never above memory and swap, burst never above quota), and which order the kernel takes
//! depends on whether a limit rises or falls. So nothing here knows orders: what is refused as invalid is tried again after the
//! rest, as long as anything still moves. What was written before a refusal that stands is put back.

use std::path::Path;

use belljar_linux::{Error, Result};
use belljar_model::Invalid;
use belljar_model::cgroup::Version;
use rustix::io::Errno;

use super::devices::{Guard, with_defaults};
use super::systemd::properties::{self, Property};
use super::{Cgroup, Resources, Write, life, place, systemd, write, writes};

/// Why limits stayed as they were.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A field of the change is wrong, or cannot be enforced on this host.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] Error),
}

/// Makes a change to what holds now, and returns what holds then: what is to be written down. `current` decides where the
/// change says half of what belongs together (a quota without its period).
pub fn update(change: &Resources, current: &Resources, cgroup: &Cgroup) -> std::result::Result<Resources, Refused> {
    let after = change.over(current);
    let list = writes(&after, cgroup)?;
    let guard = |resources: &Resources| Guard::new(&with_defaults(&resources.devices), cgroup);
    let devices = if change.devices.is_empty() { None } else { Some((guard(&after)?, guard(current)?)) };
    check_memory(&after, cgroup)?;
    if let Some(part) = cgroup.unified() {
        part.enable(&place::needed(&list))?;
    }
    let told = match &cgroup.unit {
        Some(unit) => Some((unit, properties::of_change(change, &after, cgroup)?)),
        None => None,
    };
    let changes: Vec<Change> = list.iter().cloned().filter_map(Change::of).collect();
    apply(&changes)?;
    let guarded = || devices.as_ref().map_or(Ok(()), |(new, _)| new.enforce(cgroup));
    let held = guarded().and_then(|()| match told {
        Some((unit, properties)) => tell(unit, &properties, cgroup).and_then(|()| {
            // It writes what it was told, in its own steps and words: ours again, which say it exactly.
            apply(&list.into_iter().filter_map(Change::of).collect::<Vec<_>>())?;
            guarded()
        }),
        None => Ok(()),
    });
    if let Err(error) = held {
        // The refusal is what is told; what cannot be put back holds at most as much as before.
        let _ = devices.map(|(_, old)| old.enforce(cgroup));
        put_back(&changes);
        return Err(error.into());
    }
    Ok(after)
}

/// Has systemd know it too, or it would put its own back. Devices it takes all away for a moment, on v1: nobody may run then.
fn tell(unit: &str, properties: &[Property], cgroup: &Cgroup) -> Result<()> {
    let change = || systemd::change(unit, properties);
    let is_v1 = cgroup.part("devices").is_some_and(|part| part.version == Version::V1);
    if is_v1 && properties.iter().any(properties::is_of_devices) { life::while_nobody_runs(cgroup, change) } else { change() }
}

/// v2 takes a limit below what is used, and kills; who asked to be warned is refused instead. v1 refuses by itself.
fn check_memory(after: &Resources, cgroup: &Cgroup) -> Result<()> {
    let Some(memory) = after.memory.as_ref().filter(|memory| memory.check_before_update == Some(true)) else { return Ok(()) };
    let Some(part) = cgroup.part("memory").filter(|part| part.version == Version::V2) else { return Ok(()) };
    let used = || number(&part.path.join("memory.current"));
    // Page cache can be taken back, as v1 does by itself before it refuses. What cannot be is what the answer is about.
    if let (Some(used), Some(limit)) = (used(), memory.limit)
        && limit > 0
        && used > limit.unsigned_abs()
        && let Ok(mut reclaim) = std::fs::File::options().write(true).open(part.path.join("memory.reclaim"))
    {
        drop(std::io::Write::write_all(&mut reclaim, (used - limit.unsigned_abs()).to_string().as_bytes()));
    }
    let used = used();
    match (used, memory.limit) {
        (Some(used), Some(limit)) if limit > 0 && used > limit.unsigned_abs() => {
            let path = part.path.join("memory.max");
            Err(Error::new("write", format!("{limit} to {}, where {used} bytes are used", path.display()), Errno::BUSY))
        }
        _ => Ok(()),
    }
}

/// A write, and what puts it back.
struct Change {
    write: Write,
    before: Option<String>,
}

impl Change {
    /// `None` where the file says so already.
    fn of(write: Write) -> Option<Self> {
        let text = std::fs::read_to_string(&write.path).ok();
        let before = text.as_deref().map(|text| before(&write, text));
        (before.as_deref() != Some(write.value.as_str())).then_some(Self { write, before })
    }
}

/// What a file says now, in the words in which it is written to.
fn before(write: &Write, text: &str) -> String {
    let line = |name: &str| text.lines().find(|line| line.split_ascii_whitespace().next() == Some(name)).map(str::to_owned);
    let name = write.value.split(' ').next().unwrap_or_default();
    match write.file.as_str() {
        "memory.oom_control" => line("oom_kill_disable").and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default(),
        "io.max" => line(name).unwrap_or_else(|| format!("{name} rbps=max wbps=max riops=max wiops=max")),
        "rdma.max" => line(name).unwrap_or_else(|| format!("{name} hca_handle=max hca_object=max")),
        "net_prio.ifpriomap" => line(name).unwrap_or_else(|| format!("{name} 0")),
        file if file.starts_with("blkio.throttle.") => line(name).unwrap_or_else(|| format!("{name} 0")),
        file if file.contains("weight") && name.contains(':') => line(name).unwrap_or_else(|| format!("{name} default")),
        "io.bfq.weight" | "io.weight" => line("default").unwrap_or_else(|| text.trim().to_owned()),
        _ => text.trim_end_matches('\n').to_owned(),
    }
}

/// All or none.
fn apply(changes: &[Change]) -> Result<()> {
    let mut waiting: Vec<&Change> = changes.iter().collect();
    let mut refused: Option<Error> = None;
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut later = Vec::new();
        for change in waiting {
            match change.write.apply() {
                Ok(()) => {}
                Err(error) if error.errno == Errno::INVAL => {
                    refused.get_or_insert(error);
                    later.push(change);
                }
                Err(error) => {
                    put_back(changes);
                    return Err(with_usage(error, &change.write));
                }
            }
        }
        if later.len() == before {
            put_back(changes);
            return Err(refused.unwrap_or_else(|| Error::new("write", "limits", Errno::INVAL)));
        }
        (waiting, refused) = (later, None);
    }
    Ok(())
}

/// Puts back what was there. What was never written says the same as before, and is written to itself.
fn put_back(changes: &[Change]) {
    let mut waiting: Vec<&Change> = changes.iter().rev().collect();
    loop {
        let before = waiting.len();
        waiting.retain(|change| change.before.as_ref().is_some_and(|value| write(&change.write.path, value).is_err()));
        if waiting.is_empty() || waiting.len() == before {
            return;
        }
    }
}

/// v1 refuses less memory than is used: how much that is belongs to the answer.
fn with_usage(error: Error, write: &Write) -> Error {
    let usage = match write.file.as_str() {
        "memory.limit_in_bytes" => "memory.usage_in_bytes",
        "memory.memsw.limit_in_bytes" => "memory.memsw.usage_in_bytes",
        _ => return error,
    };
    match number(&write.path.with_file_name(usage)) {
        Some(used) if error.errno == Errno::BUSY => {
            Error::new("write", format!("{} to {}, where {used} bytes are used", write.value, write.path.display()), error.errno)
        }
        _ => error,
    }
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::testing::Living;
    use crate::cgroup::{Hierarchies, Hierarchy};

    fn resources(text: &str) -> Resources {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn memory_and_swap_rise_and_fall_together_in_one_update_each() {
        let Some(living) = Living::new("update") else { return };
        if !living.has_v1("memory") {
            return;
        }
        let mebibytes =
            |limit: u64, swap: u64| resources(&format!(r#"{{"memory": {{"limit": {}, "swap": {}}}}}"#, limit << 20, swap << 20));
        let mut current = Resources::default();
        for (limit, swap) in [(64, 64), (128, 256), (16, 16), (300, 300), (8, 600)] {
            current = update(&mebibytes(limit, swap), &current, &living.cgroup).unwrap();
            let files = (living.read("memory", "memory.limit_in_bytes"), living.read("memory", "memory.memsw.limit_in_bytes"));
            assert_eq!(files, ((limit << 20).to_string(), (swap << 20).to_string()));
        }
        current = update(&resources(r#"{"memory": {"limit": -1, "swap": -1}}"#), &current, &living.cgroup).unwrap();
        assert_eq!(current.memory.unwrap().limit, Some(-1));
        assert!(living.read("memory", "memory.limit_in_bytes").len() > 15);
    }

    #[test]
    fn quota_period_and_burst_change_in_whichever_order_holds() {
        let Some(living) = Living::new("quota") else { return };
        if !living.has_v1("cpu") {
            return;
        }
        let mut current = Resources::default();
        for (quota, period, burst) in [(50_000, 100_000, 50_000), (200_000, 1_000_000, 1000), (1000, 1000, 1000), (90_000, 100_000, 90_000)]
        {
            let change = resources(&format!(r#"{{"cpu": {{"quota": {quota}, "period": {period}, "burst": {burst}}}}}"#));
            current = update(&change, &current, &living.cgroup).unwrap();
            let files = ["cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us"].map(|file| living.read("cpu", file));
            assert_eq!(files, [quota, period, burst].map(|number: u64| number.to_string()));
        }
    }

    #[test]
    fn a_refused_value_takes_the_others_back() {
        let Some(living) = Living::new("back") else { return };
        if !living.has_v1("memory") || !living.has_v1("cpu") || !living.has_v1("pids") {
            return;
        }
        let current =
            update(&resources(r#"{"memory": {"limit": 67108864}, "pids": {"limit": 10}}"#), &Resources::default(), &living.cgroup).unwrap();
        let bad = resources(r#"{"memory": {"limit": 33554432}, "cpu": {"shares": 99, "quota": 1}, "pids": {"limit": 20}}"#);
        let refused = update(&bad, &current, &living.cgroup).unwrap_err().to_string();
        assert!(refused.contains("cpu.cfs_quota_us") && refused.contains("EINVAL"), "{refused}");
        let files = (living.read("memory", "memory.limit_in_bytes"), living.read("cpu", "cpu.shares"), living.read("pids", "pids.max"));
        assert_eq!(files, ("67108864".into(), "1024".into(), "10".into()));
    }

    #[test]
    fn less_memory_than_is_used_is_refused_with_what_is_used() {
        let Some(mut living) = Living::new("busy") else { return };
        if !living.has_v1("memory") {
            return;
        }
        // A shell that holds 24 MiB of anonymous memory, and says when it does.
        let number = living.run(&[], "x=$(head -c 25165824 /dev/zero | tr '\\0' x); echo held; read never </dev/zero; sleep 60");
        living.first_line(number);
        let refused =
            update(&resources(r#"{"memory": {"limit": 4194304}}"#), &Resources::default(), &living.cgroup).unwrap_err().to_string();
        assert!(refused.contains("bytes are used") && refused.contains("EBUSY"), "{refused}");
        assert!(living.read("memory", "memory.limit_in_bytes").len() > 15, "the limit is as before");
    }

    #[test]
    fn on_v2_a_limit_below_usage_is_refused_where_that_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy { version: Version::V2, point: folder.path().to_owned(), controllers: vec!["memory".to_owned()] };
        let cgroup = Cgroup::at(&Hierarchies::of_list(vec![hierarchy]), "x");
        let file = |name: &str| folder.path().join("x").join(name);
        std::fs::create_dir(folder.path().join("x")).unwrap();
        for (name, text) in
            [("memory.current", "9000\n"), ("memory.max", "max\n"), ("memory.swap.max", "max\n"), ("cgroup.controllers", "memory\n")]
        {
            std::fs::write(file(name), text).unwrap();
        }
        let change = resources(r#"{"memory": {"limit": 8192, "checkBeforeUpdate": true}}"#);
        let refused = update(&change, &Resources::default(), &cgroup).unwrap_err().to_string();
        let path = file("memory.max");
        let told = format!("write 8192 to {}, where 9000 bytes are used: EBUSY: device or resource busy", path.display());
        assert_eq!(refused, told);
        let change = resources(r#"{"memory": {"limit": 8192, "swap": 8192}}"#);
        let after = update(&change, &Resources::default(), &cgroup).unwrap();
        assert_eq!((std::fs::read_to_string(file("memory.max")).unwrap(), after.memory.unwrap().swap), ("8192".into(), Some(8192)));
        assert_eq!(std::fs::read_to_string(file("memory.swap.max")).unwrap(), "0");
    }
}
