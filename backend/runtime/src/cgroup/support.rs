//! Which limits this host can enforce, and why not: the one truth for a refusal and for what the host is said to be able to.
//!
//! Asked anew each time. Controllers move while a host runs, and so do the schedulers of its disks.

use std::path::{Path, PathBuf};

use belljar_model::cgroup::Version;
use belljar_model::host::{LimitSupport, Support};
use belljar_model::{Invalid, Limits};

use super::{Hierarchies, Hierarchy};

/// One limit: the file of each version that it is written to, below the cgroup; what comes before the first dot of a file is its
/// controller's name.
struct Row {
    field: &'static str,
    v1: Option<&'static str>,
    v2: Option<&'static str>,
}

macro_rules! rows {
    ($($field:literal = $v1:tt | $v2:tt;)*) => { &[$(Row { field: $field, v1: rows!(@ $v1), v2: rows!(@ $v2) }),*] };
    (@ -) => { None };
    (@ $file:literal) => { Some($file) };
}

/// Every limit that is one file (`cgroup-v1/*.rst`, `cgroup-v2.rst`).
const ROWS: &[Row] = rows! {
    "limits.memory_bytes" = "memory.limit_in_bytes" | "memory.max";
    "limits.memory_swap_bytes" = "memory.memsw.limit_in_bytes" | "memory.swap.max";
    "limits.memory_high_bytes" = - | "memory.high";
    "limits.memory_reservation_bytes" = "memory.soft_limit_in_bytes" | "memory.low";
    "limits.memory_swappiness" = "memory.swappiness" | -;
    "limits.oom_group" = - | "memory.oom.group";
    "limits.cpus" = "cpu.cfs_quota_us" | "cpu.max";
    "limits.cpu_weight" = "cpu.shares" | "cpu.weight";
    "limits.cpu_burst_usec" = "cpu.cfs_burst_us" | "cpu.max.burst";
    "limits.cpu_idle" = "cpu.idle" | "cpu.idle";
    "limits.cpuset" = "cpuset.cpus" | "cpuset.cpus";
    "limits.cpuset_mems" = "cpuset.mems" | "cpuset.mems";
    "limits.pids" = "pids.max" | "pids.max";
    "limits.io.read_bytes_per_second" = "blkio.throttle.read_bps_device" | "io.max";
    "limits.io.write_bytes_per_second" = "blkio.throttle.write_bps_device" | "io.max";
    "limits.io.read_operations_per_second" = "blkio.throttle.read_iops_device" | "io.max";
    "limits.io.write_operations_per_second" = "blkio.throttle.write_iops_device" | "io.max";
};

/// Weights of disks, for all of them and for one: v1's file, and v2's two, of which the scheduler of a disk decides.
const WEIGHTS: [(&str, &str); 2] = [("limits.io_weight", "blkio.bfq.weight"), ("limits.io.weight", "blkio.bfq.weight_device")];
const BFQ_V2: &str = "io.bfq.weight";
const COST_V2: &str = "io.weight";

/// The kernel's files and the limits that are written to them.
pub(super) fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    let plain = ROWS.iter().flat_map(|row| [row.v1, row.v2].into_iter().flatten().map(|file| (row.field, file)));
    let of_period = [("limits.cpus", "cpu.cfs_period_us"), ("devices", "devices.allow"), ("devices", "devices.deny")];
    plain.chain(WEIGHTS).chain(of_period).chain([(WEIGHTS[0].0, BFQ_V2), (WEIGHTS[0].0, COST_V2)])
}

/// Every limit, and whether it can be enforced in a cgroup below the one of this name, which is there in every hierarchy.
pub fn support(hierarchies: &Hierarchies, name: &str) -> Vec<LimitSupport> {
    support_with(hierarchies, name, Path::new("/sys"))
}

fn support_with(hierarchies: &Hierarchies, name: &str, sys: &Path) -> Vec<LimitSupport> {
    let host = Host { hierarchies, name, sys };
    let mut list: Vec<LimitSupport> = ROWS.iter().map(|row| host.row(row)).collect();
    let at = list.iter().position(|one| one.name.starts_with("limits.io.")).unwrap_or(list.len());
    for (index, (field, file)) in WEIGHTS.into_iter().enumerate() {
        list.insert(at + index * (list.len() - at), host.weight(field, file));
    }
    list.extend(host.hugetlb());
    list.push(host.devices());
    list
}

struct Host<'a> {
    hierarchies: &'a Hierarchies,
    name: &'a str,
    sys: &'a Path,
}

impl Host<'_> {
    fn hierarchy(&self, row: &Row) -> Option<&Hierarchy> {
        [row.v2, row.v1].into_iter().flatten().find_map(|file| self.hierarchies.of(controller(file)))
    }

    fn folder(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.point.join(self.name)
    }

    /// Whether the cgroup has the file. Where it has no folder yet, nobody can tell.
    fn has(&self, hierarchy: &Hierarchy, file: &str) -> bool {
        let folder = self.folder(hierarchy);
        !folder.exists() || folder.join(file).exists()
    }

    fn row(&self, row: &Row) -> LimitSupport {
        let Some(hierarchy) = self.hierarchy(row) else {
            let name = controller(row.v1.or(row.v2).unwrap_or_default());
            return no(row.field, format!("this host has no {name} controller"));
        };
        let (own, others, other) = match hierarchy.version {
            Version::V1 => (row.v1, row.v2, "cgroup v2"),
            Version::V2 => (row.v2, row.v1, "cgroup v1"),
        };
        let Some(file) = own else {
            let file = others.unwrap_or_default();
            let has = if hierarchy.version == Version::V1 { "v1" } else { "v2" };
            return no(row.field, format!("only {other} has {file}; this host's {} controller is {has}", controller(file)));
        };
        if self.has(hierarchy, file) {
            return yes(row.field, hierarchy.version, file);
        }
        let because = match row.field {
            "limits.memory_swap_bytes" => format!("this kernel does not count swap: there is no {file} (swapaccount=1 at its start)"),
            "limits.cpus" => format!("this kernel has no quotas of processors: there is no {file} (CONFIG_CFS_BANDWIDTH)"),
            field if field.starts_with("limits.io.") => {
                format!("this kernel does not limit disks: there is no {file} (CONFIG_BLK_DEV_THROTTLING)")
            }
            _ => format!("this kernel has no {file}"),
        };
        no(row.field, because)
    }

    /// A weight counts only where a scheduler weighs: BFQ on a disk, or, on v2, io.cost.
    fn weight(&self, field: &'static str, v1: &'static str) -> LimitSupport {
        let Some(hierarchy) = self.hierarchies.of("io").or_else(|| self.hierarchies.of("blkio")) else {
            return no(field, "this host has no blkio controller".to_owned());
        };
        let word = "io.weight needs the bfq scheduler or io.cost";
        let bfq_is_used = self.disk_with_bfq();
        if hierarchy.version == Version::V1 {
            return match (self.has(hierarchy, v1), bfq_is_used) {
                (true, true) => yes(field, Version::V1, v1),
                (true, false) => no(field, format!("{word}; no disk of this host uses bfq, and v1 has no io.cost ({})", self.how_bfq())),
                (false, _) => no(field, format!("{word}; this kernel has no bfq, and v1 has no io.cost")),
            };
        }
        let costs = std::fs::read_to_string(hierarchy.point.join("io.cost.qos")).unwrap_or_default();
        let cost_is_used = costs.lines().any(|line| line.split_ascii_whitespace().any(|word| word == "enable=1"));
        let (bfq, cost) = (self.has(hierarchy, BFQ_V2), self.has(hierarchy, COST_V2));
        match (bfq && bfq_is_used, cost && cost_is_used) {
            (true, _) => yes(field, Version::V2, BFQ_V2),
            (false, true) => yes(field, Version::V2, COST_V2),
            (false, false) if !bfq && !cost => no(field, format!("{word}; this kernel has neither")),
            (false, false) => {
                let how = if bfq { self.how_bfq() } else { "write enable=1 to its line of io.cost.qos".to_owned() };
                no(field, format!("{word}; no disk of this host uses either ({how})"))
            }
        }
    }

    fn schedulers(&self) -> Vec<(String, String)> {
        let entries = std::fs::read_dir(self.sys.join("block")).into_iter().flatten().flatten();
        let read = |entry: std::fs::DirEntry| {
            let text = std::fs::read_to_string(entry.path().join("queue/scheduler")).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), text))
        };
        let mut list: Vec<_> = entries.filter_map(read).collect();
        // What carries data comes before what only could.
        list.sort_by_key(|(name, _)| (name.starts_with("loop") || name.starts_with("ram") || name.starts_with("zram"), name.clone()));
        list
    }

    fn disk_with_bfq(&self) -> bool {
        self.schedulers().iter().any(|(_, list)| list.contains("[bfq]"))
    }

    fn how_bfq(&self) -> String {
        let disk = self.schedulers().into_iter().next().map_or("DISK".to_owned(), |(name, _)| name);
        format!("echo bfq > /sys/block/{disk}/queue/scheduler")
    }

    fn hugetlb(&self) -> Vec<LimitSupport> {
        const FIELD: &str = "limits.hugetlb";
        let Some(hierarchy) = self.hierarchies.of("hugetlb") else {
            return vec![no(FIELD, "this host has no hugetlb controller".to_owned())];
        };
        let sizes = self.page_sizes();
        if sizes.is_empty() {
            return vec![no(FIELD, "this kernel has no huge pages".to_owned())];
        }
        let suffix = if hierarchy.version == Version::V1 { "limit_in_bytes" } else { "max" };
        let of_size = |size: &String| yes(format!("{FIELD}.{size}"), hierarchy.version, format!("hugetlb.{size}.{suffix}"));
        sizes.iter().map(of_size).collect()
    }

    /// As the kernel names them in its files (`hugetlb_cgroup.c`), the smallest first.
    fn page_sizes(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.sys.join("kernel/mm/hugepages")).into_iter().flatten().flatten();
        let kibibytes =
            |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok();
        let mut sizes: Vec<u64> = entries.filter_map(kibibytes).collect();
        sizes.sort_unstable();
        let name = |size: u64| match size {
            size if size >= 1 << 20 => format!("{}GB", size >> 20),
            size if size >= 1 << 10 => format!("{}MB", size >> 10),
            size => format!("{size}KB"),
        };
        sizes.into_iter().map(name).collect()
    }

    fn devices(&self) -> LimitSupport {
        let v2 = self.hierarchies.all().iter().any(|hierarchy| hierarchy.version == Version::V2);
        match self.hierarchies.of("devices") {
            Some(_) => yes("devices", Version::V1, "devices.allow"),
            // A program, and no file.
            None if v2 => yes("devices", Version::V2, ""),
            None => no("devices", "this host has neither the v1 controller nor a v2 hierarchy".to_owned()),
        }
    }
}

fn controller(file: &str) -> &str {
    file.split('.').next().unwrap_or_default()
}

fn yes(name: impl Into<String>, version: Version, file: impl Into<String>) -> LimitSupport {
    LimitSupport { name: name.into(), support: Support::Yes, version: Some(version), file: file.into() }
}

fn no(name: &str, because: String) -> LimitSupport {
    LimitSupport { name: name.to_owned(), support: Support::No(because), version: None, file: String::new() }
}

/// What is limited: its field in the request, its name in the list of what can be enforced, and by how much.
fn asked(limits: &Limits) -> Vec<(String, String, String)> {
    let mut list = Vec::new();
    let mut plain = |name: &str, value: Option<String>| {
        list.extend(value.map(|value| (format!("limits.{name}"), format!("limits.{name}"), value)));
    };
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    plain("memory_bytes", number(limits.memory_bytes));
    plain("memory_swap_bytes", number(limits.memory_swap_bytes));
    plain("memory_high_bytes", number(limits.memory_high_bytes));
    plain("memory_reservation_bytes", number(limits.memory_reservation_bytes));
    plain("memory_swappiness", number(limits.memory_swappiness.map(u64::from)));
    plain("cpus", limits.cpus.map(|cpus| cpus.to_string()));
    plain("cpu_weight", number(limits.cpu_weight.map(u64::from)));
    plain("cpuset", limits.cpuset.clone());
    plain("cpuset_mems", limits.cpuset_mems.clone());
    plain("pids", number(limits.pids.map(u64::from)));
    plain("io_weight", number(limits.io_weight.map(u64::from)));
    plain("disk_bytes", number(limits.disk_bytes));
    plain("disk_inodes", number(limits.disk_inodes));
    // These say what holds without them as well.
    plain("oom_group", limits.oom_group.filter(|group| *group).map(|group| group.to_string()));
    plain("cpu_idle", limits.cpu_idle.filter(|idle| *idle).map(|idle| idle.to_string()));
    plain("cpu_burst_usec", number(limits.cpu_burst_usec.filter(|burst| *burst > 0)));
    for (index, limit) in limits.io.iter().enumerate() {
        let weight = [("weight", limit.weight.map(u64::from))];
        for (name, value) in limit.rates().into_iter().chain(weight) {
            let value = value.map(|value| format!("{} {value}", limit.device));
            list.extend(value.map(|value| (format!("limits.io[{index}].{name}"), format!("limits.io.{name}"), value)));
        }
    }
    list.extend(limits.hugetlb.iter().map(|(size, bytes)| {
        let name = format!("limits.hugetlb.{size}");
        (name.clone(), name, bytes.to_string())
    }));
    list
}

/// Refuses, by its field and with the reason, a limit that this host cannot enforce. What was limited just so `before` is left
/// alone: it is not what is asked for now.
pub fn check(limits: &Limits, before: &Limits, support: &[LimitSupport]) -> Result<(), Invalid> {
    let before = asked(before);
    for one in asked(limits) {
        let (field, name, value) = &one;
        let was_there = before.iter().any(|(_, other, had)| (other, had) == (name, value));
        // A kernel without swap has none to limit.
        let no_swap = name == "limits.memory_swap_bytes" && value == "0" && memory_is_v2(support);
        if was_there || no_swap {
            continue;
        }
        let size = |one: &&LimitSupport| one.name == "limits.hugetlb" && name.starts_with("limits.hugetlb.");
        let because = match support.iter().find(|one| one.name == *name).or_else(|| support.iter().find(size)) {
            Some(LimitSupport { support: Support::No(because), .. }) => because.clone(),
            Some(_) => continue,
            None if name.starts_with("limits.hugetlb.") => {
                let known: Vec<&str> = support.iter().filter_map(|one| one.name.strip_prefix("limits.hugetlb.")).collect();
                format!("this host has no huge pages of that size, but of {}", known.join(" and "))
            }
            None => "nothing is known of it".to_owned(),
        };
        return Err(Invalid::new(field.clone(), format!("cannot be enforced: {because}")));
    }
    Ok(())
}

fn memory_is_v2(support: &[LimitSupport]) -> bool {
    support.iter().any(|one| one.name == "limits.memory_bytes" && one.version == Some(Version::V2))
}

#[cfg(test)]
mod tests;
