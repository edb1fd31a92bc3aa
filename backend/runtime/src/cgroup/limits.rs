//! Limits as files and values, per version of the controller. Pure: what is written where is decided here and nowhere else.

use std::path::PathBuf;

use belljar_model::cgroup::Version;
use belljar_model::{Invalid, Limits};

use super::Hierarchies;

/// Length of the period in which a share of processors is counted, in microseconds: the kernel's default.
pub const CPU_PERIOD_USEC: u64 = 100_000;

/// One value for one file of a container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Name of the file: `memory.max`.
    pub file: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is written.
    pub value: String,
}

/// The writes that limit the cgroup `name`, in the order in which the kernel takes them. A limit whose controller this host
/// does not have is refused by name, never dropped.
pub fn writes(limits: &Limits, hierarchies: &Hierarchies, name: &str) -> Result<Vec<Write>, Invalid> {
    let mut list = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        let target = Target::find(hierarchies, "limits.memory_bytes", "memory", name)?;
        list.extend(target.writes(memory(target.version, bytes, limits.memory_swap_bytes)));
    }
    if let Some(cpus) = limits.cpus {
        let target = Target::find(hierarchies, "limits.cpus", "cpu", name)?;
        list.extend(target.writes(cpu(target.version, cpus)));
    }
    if let Some(pids) = limits.pids {
        let target = Target::find(hierarchies, "limits.pids", "pids", name)?;
        list.extend(target.writes(vec![("pids.max", pids.to_string())]));
    }
    Ok(list)
}

/// The folder that has the files of a controller.
struct Target {
    version: Version,
    folder: PathBuf,
}

impl Target {
    fn find(hierarchies: &Hierarchies, field: &str, controller: &str, name: &str) -> Result<Self, Invalid> {
        let missing = || Invalid::new(field, format!("cannot be enforced: this host has no {controller} controller"));
        let hierarchy = hierarchies.of(controller).ok_or_else(missing)?;
        Ok(Self { version: hierarchy.version, folder: hierarchy.point.join(name) })
    }

    fn writes(&self, values: Vec<(&'static str, String)>) -> impl Iterator<Item = Write> {
        values.into_iter().map(|(file, value)| Write { file, path: self.folder.join(file), value })
    }
}

/// v1 counts memory and swap *together* in `memsw`, and refuses a `memsw` below the memory limit: memory goes first.
fn memory(version: Version, bytes: u64, swap: Option<u64>) -> Vec<(&'static str, String)> {
    match version {
        Version::V1 => {
            let together = swap.map(|swap| ("memory.memsw.limit_in_bytes", bytes.saturating_add(swap).to_string()));
            std::iter::once(("memory.limit_in_bytes", bytes.to_string())).chain(together).collect()
        }
        Version::V2 => {
            let swap = swap.map(|swap| ("memory.swap.max", swap.to_string()));
            std::iter::once(("memory.max", bytes.to_string())).chain(swap).collect()
        }
    }
}

fn cpu(version: Version, cpus: f64) -> Vec<(&'static str, String)> {
    let quota_usec = (cpus * CPU_PERIOD_USEC as f64).round() as u64;
    match version {
        Version::V1 => vec![("cpu.cfs_period_us", CPU_PERIOD_USEC.to_string()), ("cpu.cfs_quota_us", quota_usec.to_string())],
        Version::V2 => vec![("cpu.max", format!("{quota_usec} {CPU_PERIOD_USEC}"))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Hierarchy;

    fn host(version: Version) -> Hierarchies {
        let point = PathBuf::from("/cg");
        Hierarchies::of_list(vec![Hierarchy { version, point, controllers: ["memory", "cpu", "pids"].map(str::to_owned).to_vec() }])
    }

    fn written(version: Version, limits: &Limits) -> Vec<(String, String)> {
        let list = writes(limits, &host(version), "b/1").unwrap();
        list.into_iter().map(|write| (write.path.display().to_string(), write.value)).collect()
    }

    #[test]
    fn the_same_limits_become_the_files_of_either_version() {
        let limits = Limits { memory_bytes: Some(4 << 20), memory_swap_bytes: Some(1 << 20), cpus: Some(0.5), pids: Some(9) };
        let pair = |path: &str, value: &str| (path.to_owned(), value.to_owned());
        let v1 = [
            pair("/cg/b/1/memory.limit_in_bytes", "4194304"),
            pair("/cg/b/1/memory.memsw.limit_in_bytes", "5242880"),
            pair("/cg/b/1/cpu.cfs_period_us", "100000"),
            pair("/cg/b/1/cpu.cfs_quota_us", "50000"),
            pair("/cg/b/1/pids.max", "9"),
        ];
        assert_eq!(written(Version::V1, &limits), v1);
        let v2 = [
            pair("/cg/b/1/memory.max", "4194304"),
            pair("/cg/b/1/memory.swap.max", "1048576"),
            pair("/cg/b/1/cpu.max", "50000 100000"),
            pair("/cg/b/1/pids.max", "9"),
        ];
        assert_eq!(written(Version::V2, &limits), v2);
        assert_eq!(written(Version::V2, &Limits::default()), []);
    }

    #[test]
    fn a_limit_without_its_controller_is_refused_by_name() {
        let limits = Limits { pids: Some(9), ..Limits::default() };
        let refused = writes(&limits, &Hierarchies::default(), "b/1").unwrap_err();
        assert_eq!(refused.to_string(), "limits.pids: cannot be enforced: this host has no pids controller");
    }
}
