//! Limits as the kernel has them, in the words in which they are asked for: what holds, whoever set it.

use std::collections::BTreeMap;
use std::path::Path;

use belljar_model::Limits;
use belljar_model::cgroup::Version;
use belljar_model::limits::IoLimit;

use super::disks::Disk;
use super::weights::{weight_of_bfq, weight_of_shares};
use super::{Cgroup, Part};

/// v1 writes "no limit" as the largest number of whole pages; anything this large is one.
const UNLIMITED: u64 = 1 << 62;

impl Part {
    fn text(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.path.join(file)).ok().map(|text| text.trim().to_owned())
    }

    /// A number that is a limit; `None` where there is none.
    fn bytes(&self, file: &str) -> Option<u64> {
        self.text(file)?.parse().ok().filter(|number| *number < UNLIMITED)
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.parse().ok()
    }

    fn list(&self, files: [&str; 2]) -> Option<String> {
        files.into_iter().find_map(|file| self.text(file)).filter(|list| !list.is_empty())
    }
}

impl Cgroup {
    /// What is limited. A weight and a list of processors always are something; what cannot be read is `None`.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        if let Some(part) = self.part("memory") {
            memory(part, &mut limits);
        }
        if let Some(part) = self.part("cpu") {
            cpu(part, &mut limits);
        }
        if let Some(part) = self.part("cpuset") {
            // The first is v2's, the second v1's.
            limits.cpuset = part.list(["cpuset.cpus.effective", "cpuset.effective_cpus"]);
            limits.cpuset_mems = part.list(["cpuset.mems.effective", "cpuset.effective_mems"]);
        }
        limits.pids = self.part("pids").and_then(|part| part.bytes("pids.max")).and_then(|most| u32::try_from(most).ok());
        if let Some(part) = self.part("io").or_else(|| self.part("blkio")) {
            limits.io_weight = io_weight(part);
            limits.io = io(part);
        }
        if let Some(part) = self.part("hugetlb") {
            limits.hugetlb = hugetlb(part);
        }
        limits
    }
}

fn memory(part: &Part, limits: &mut Limits) {
    match part.version {
        Version::V1 => {
            limits.memory_bytes = part.bytes("memory.limit_in_bytes");
            let both = part.bytes("memory.memsw.limit_in_bytes");
            limits.memory_swap_bytes = both.zip(limits.memory_bytes).map(|(both, memory)| both.saturating_sub(memory));
            limits.memory_reservation_bytes = part.bytes("memory.soft_limit_in_bytes");
            limits.memory_swappiness = part.number("memory.swappiness").and_then(|value| u8::try_from(value).ok());
        }
        Version::V2 => {
            limits.memory_bytes = part.bytes("memory.max");
            limits.memory_swap_bytes = part.bytes("memory.swap.max");
            limits.memory_high_bytes = part.bytes("memory.high");
            limits.memory_reservation_bytes = part.bytes("memory.low").filter(|bytes| *bytes > 0);
            limits.oom_group = part.number("memory.oom.group").map(|group| group == 1);
        }
    }
}

fn cpu(part: &Part, limits: &mut Limits) {
    let (quota, burst) = match part.version {
        Version::V1 => (part.number("cpu.cfs_quota_us").zip(part.number("cpu.cfs_period_us")), part.number("cpu.cfs_burst_us")),
        Version::V2 => {
            let text = part.text("cpu.max").unwrap_or_default();
            let numbers = text.split_once(' ').and_then(|(quota, period)| quota.parse().ok().zip(period.parse().ok()));
            (numbers, part.number("cpu.max.burst"))
        }
    };
    limits.cpus = quota.filter(|(_, period)| *period > 0).map(|(quota, period): (u64, u64)| quota as f64 / period as f64);
    limits.cpu_burst_usec = burst.filter(|burst| *burst > 0);
    limits.cpu_idle = part.number("cpu.idle").map(|idle| idle == 1);
    let weight = match part.version {
        Version::V1 => part.number("cpu.shares").map(weight_of_shares),
        Version::V2 => part.number("cpu.weight"),
    };
    // What is idle has none: the kernel says 0, or its least.
    let weight = weight.filter(|weight| *weight > 0 && limits.cpu_idle != Some(true));
    limits.cpu_weight = weight.and_then(|weight| u32::try_from(weight).ok());
}

/// `default 100`, or the number alone.
fn usual(text: &str) -> Option<u32> {
    let line = text.lines().find(|line| !line.contains(':'))?;
    line.strip_prefix("default ").unwrap_or(line).trim().parse().ok()
}

fn io_weight(part: &Part) -> Option<u32> {
    match part.version {
        Version::V1 => part.text("blkio.bfq.weight").and_then(|text| usual(&text)).map(weight_of_bfq),
        Version::V2 => {
            let own = part.text("io.weight").and_then(|text| usual(&text));
            own.or_else(|| part.text("io.bfq.weight").and_then(|text| usual(&text)).map(weight_of_bfq))
        }
    }
}

fn disk(number: &str) -> Option<Disk> {
    let (major, minor) = number.split_once(':')?;
    Some(Disk { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

fn io(part: &Part) -> Vec<IoLimit> {
    let mut found: BTreeMap<Disk, IoLimit> = BTreeMap::new();
    let lines = |file: &str| part.text(file).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let mut note = |number: &str, key: &str, value: &str| {
        let (Some(disk), Ok(value)) = (disk(number), value.parse::<u64>()) else { return };
        let limit = found.entry(disk).or_default();
        match key {
            "rbps" => limit.read_bytes_per_second = Some(value),
            "wbps" => limit.write_bytes_per_second = Some(value),
            "riops" => limit.read_operations_per_second = Some(value),
            "wiops" => limit.write_operations_per_second = Some(value),
            "bfq" => limit.weight = u32::try_from(value).ok().map(weight_of_bfq),
            _ => limit.weight = u32::try_from(value).ok(),
        }
    };
    let files = match part.version {
        Version::V1 => [
            ("blkio.throttle.read_bps_device", "rbps"),
            ("blkio.throttle.write_bps_device", "wbps"),
            ("blkio.throttle.read_iops_device", "riops"),
            ("blkio.throttle.write_iops_device", "wiops"),
            ("blkio.bfq.weight_device", "bfq"),
        ]
        .to_vec(),
        Version::V2 => [("io.max", ""), ("io.bfq.weight", "bfq"), ("io.weight", "weight")].to_vec(),
    };
    for (file, key) in files {
        for line in lines(file) {
            let Some((number, rest)) = line.split_once(' ') else { continue };
            // `8:0 rbps=1 wbps=max …` where the file has no key of its own.
            let pairs = rest.split_ascii_whitespace().map(|word| word.split_once('=').unwrap_or((key, word)));
            pairs.for_each(|(key, value)| note(number, key, value));
        }
    }
    let named = |(disk, limit): (Disk, IoLimit)| {
        let device = disk.name().map_or_else(|| disk.number(), |name| format!("/dev/{name}"));
        IoLimit { device, ..limit }
    };
    found.into_iter().map(named).collect()
}

fn hugetlb(part: &Part) -> BTreeMap<String, u64> {
    let suffix = if part.version == Version::V1 { ".limit_in_bytes" } else { ".max" };
    let size = |path: &Path| {
        let size = path.file_name()?.to_str()?.strip_prefix("hugetlb.")?.strip_suffix(suffix)?;
        (!size.contains('.')).then(|| size.to_owned())
    };
    let entries = std::fs::read_dir(&part.path).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| size(&entry.path()));
    sizes.filter_map(|size| part.bytes(&format!("hugetlb.{size}{suffix}")).map(|bytes| (size, bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Hierarchies, Hierarchy};

    fn read(version: Version, controllers: &[&str], files: &[(&str, &str)]) -> Limits {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("x")).unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(folder.path().join("x").join(name), text).unwrap());
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Cgroup::at(&Hierarchies::of_list(vec![Hierarchy { version, point: folder.path().to_owned(), controllers }]), "x").limits()
    }

    #[test]
    fn v1_is_read_in_the_words_of_a_request() {
        let limits = read(
            Version::V1,
            &["memory", "cpu", "cpuset", "pids", "blkio", "hugetlb"],
            &[
                ("memory.limit_in_bytes", "67108864\n"),
                ("memory.memsw.limit_in_bytes", "134217728\n"),
                ("memory.soft_limit_in_bytes", "9223372036854771712\n"),
                ("memory.swappiness", "60\n"),
                ("cpu.cfs_quota_us", "50000\n"),
                ("cpu.cfs_period_us", "100000\n"),
                ("cpu.shares", "1024\n"),
                ("cpu.idle", "0\n"),
                ("cpuset.effective_cpus", "0-1\n"),
                ("pids.max", "max\n"),
                ("blkio.bfq.weight", "200\n"),
                ("blkio.bfq.weight_device", "4095:0 5\n"),
                ("blkio.throttle.read_bps_device", "4095:0 1048576\n"),
                ("hugetlb.2MB.limit_in_bytes", "2097152\n"),
                ("hugetlb.2MB.rsvd.limit_in_bytes", "1\n"),
                ("hugetlb.1GB.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        let io = IoLimit { device: "4095:0".into(), read_bytes_per_second: Some(1 << 20), weight: Some(5), ..IoLimit::default() };
        let wanted = Limits {
            memory_bytes: Some(64 << 20),
            memory_swap_bytes: Some(64 << 20),
            memory_swappiness: Some(60),
            cpus: Some(0.5),
            cpu_weight: Some(100),
            cpu_idle: Some(false),
            cpuset: Some("0-1".into()),
            io_weight: Some(1200),
            io: vec![io],
            hugetlb: BTreeMap::from([("2MB".to_owned(), 2 << 20)]),
            ..Limits::default()
        };
        assert_eq!(limits, wanted);
    }

    #[test]
    fn v2_is_read_in_the_words_of_a_request() {
        let limits = read(
            Version::V2,
            &["memory", "cpu", "pids", "io"],
            &[
                ("memory.max", "67108864\n"),
                ("memory.swap.max", "0\n"),
                ("memory.high", "max\n"),
                ("memory.low", "0\n"),
                ("memory.oom.group", "1\n"),
                ("cpu.max", "max 100000\n"),
                ("cpu.weight", "7\n"),
                ("pids.max", "9\n"),
                ("io.max", "4095:0 rbps=max wbps=5 riops=max wiops=6\n"),
                ("io.weight", "default 300\n4095:0 20\n"),
            ],
        );
        let io = IoLimit {
            device: "4095:0".into(),
            write_bytes_per_second: Some(5),
            write_operations_per_second: Some(6),
            weight: Some(20),
            ..IoLimit::default()
        };
        let wanted = Limits {
            memory_bytes: Some(64 << 20),
            memory_swap_bytes: Some(0),
            oom_group: Some(true),
            cpu_weight: Some(7),
            pids: Some(9),
            io_weight: Some(300),
            io: vec![io],
            ..Limits::default()
        };
        assert_eq!(limits, wanted);
    }
}
