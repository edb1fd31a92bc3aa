//! What a container may use. *Limits* are what was asked; *usage* is what was measured ([`crate::usage`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Invalid, size};

/// Least memory that a limit may ask for: below it not even the first page tables of a program fit.
pub const MEMORY_BYTES_MIN: u64 = 1 << 20;
/// Least share of a processor: the kernel refuses a quota below 1 ms, which is 0.01 of the 100 ms period.
pub const CPUS_MIN: f64 = 0.01;
/// Largest weight against others, of processors and of disks (`cgroup-v2.rst`, *Weights*); 100 is the usual one, 1 the least.
pub const WEIGHT_MAX: u32 = 10_000;
/// Most devices that one container's reads and writes are limited of.
pub const IO_DEVICES_MAX: usize = 64;
/// Most bytes in a second that a rate may say: what does not fit the kernel's signed numbers is no limit.
pub const IO_BYTES_MAX: u64 = i64::MAX as u64;
/// Most operations in a second: v1 cuts a larger number off at 32 bits, and would stop a disk at 2^32; 2^32 - 1 is its word for none.
pub const IO_OPERATIONS_MAX: u64 = u32::MAX as u64 - 1;
/// Least room for a container's own layer: overlayfs's own folders, and the ways to the first files, lie in it too.
pub const DISK_BYTES_MIN: u64 = 1 << 20;
/// Fewest files and folders of a container's own layer: overlayfs's own are among them.
pub const DISK_INODES_MIN: u64 = 16;
/// Most bytes and most files that may be said: what does not fit the kernel's signed numbers is no limit.
pub const DISK_MAX: u64 = i64::MAX as u64;
/// Longest list of processors or memory nodes, in bytes.
pub const CPUSET_BYTES_MAX: usize = 1024;

/// Limits of one container; what is `None` or empty is not limited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Swap *on top of* memory, in bytes; 0 means none. Needs `memory_bytes`.
    pub memory_swap_bytes: Option<u64>,
    /// Memory above which its programs are slowed and its pages taken back, but nobody is killed, in bytes (v2: `memory.high`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high_bytes: Option<u64>,
    /// Memory that is left to it while the host is short of it, in bytes (v1: `memory.soft_limit_in_bytes`, v2: `memory.low`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation_bytes: Option<u64>,
    /// How readily its pages go to swap, 0 to 100 (v1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swappiness: Option<u8>,
    /// Whether all of it is killed where one of its processes is, for memory (v2: `memory.oom.group`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_group: Option<bool>,
    /// Processors: 0.5 is half of one; enforced as a quota per 100 ms.
    pub cpus: Option<f64>,
    /// Weight against others where processors are short, 1 to 10000; 100 is the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// Processor time that may be saved up and used beyond `cpus`, in microseconds. Needs `cpus`, and is at most its quota per 100 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_burst_usec: Option<u64>,
    /// Whether it runs only where nobody else wants the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_idle: Option<bool>,
    /// Which processors: `0-1,3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// Which memory nodes: `0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_mems: Option<String>,
    /// Processes and threads at one time.
    pub pids: Option<u32>,
    /// Weight against others where a disk is busy, 1 to 10000; 100 is the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u32>,
    /// Reads and writes, by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io: Vec<IoLimit>,
    /// Memory in huge pages, in bytes, by the size of a page as the kernel names it: `2MB`, `1GB`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hugetlb: BTreeMap<String, u64>,
    /// What its own layer may take of the disk, in bytes: what it writes to its root, not to volumes and other mounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Files, folders and all else of its own layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_inodes: Option<u64>,
}

/// Limits of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IoLimit {
    /// Absolute path of the device (`/dev/sda`), or of a file or folder whose file system lies on it (`/srv`).
    pub device: String,
    /// Bytes read in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second: Option<u64>,
    /// Bytes written in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bytes_per_second: Option<u64>,
    /// Reads in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_operations_per_second: Option<u64>,
    /// Writes in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_operations_per_second: Option<u64>,
    /// Weight against others on this device, 1 to 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// What this host has at most, to refuse a limit that could never be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostCapacity {
    /// `MemTotal` of `/proc/meminfo`, in bytes.
    pub memory_bytes: u64,
    /// Processors online.
    pub cpus: u32,
    /// `/proc/sys/kernel/pid_max`.
    pub pids: u32,
}

impl Limits {
    /// Refuses what is absurd, contradicts itself, or is above what the host has. Fields are named `limits.…`.
    pub fn check(&self, host: &HostCapacity) -> Result<(), Invalid> {
        self.check_memory(host)?;
        self.check_cpu(host)?;
        if let Some(pids) = self.pids {
            within("limits.pids", u64::from(pids), 1, u64::from(host.pids), "processes")?;
        }
        self.check_disk()?;
        self.check_io()
    }

    /// More than the disk has may be said: it can be given more while the container lives.
    fn check_disk(&self) -> Result<(), Invalid> {
        let fields = [
            ("limits.disk_bytes", self.disk_bytes, DISK_BYTES_MIN, "bytes"),
            ("limits.disk_inodes", self.disk_inodes, DISK_INODES_MIN, "files and folders"),
        ];
        for (field, asked, least, unit) in fields {
            if let Some(asked) = asked.filter(|asked| !(least..=DISK_MAX).contains(asked)) {
                let problem = format!("must be between {least} and {DISK_MAX} {unit}, not {asked}; leave it out for no limit");
                return Err(Invalid::new(field, problem));
            }
        }
        Ok(())
    }

    fn check_memory(&self, host: &HostCapacity) -> Result<(), Invalid> {
        let fields = [
            ("limits.memory_bytes", self.memory_bytes),
            ("limits.memory_high_bytes", self.memory_high_bytes),
            ("limits.memory_reservation_bytes", self.memory_reservation_bytes),
        ];
        for (field, bytes) in fields {
            if let Some(bytes) = bytes {
                within(field, bytes, MEMORY_BYTES_MIN, host.memory_bytes, "bytes")?;
            }
        }
        match (self.memory_swap_bytes, self.memory_bytes) {
            (Some(_), None) => return Err(Invalid::new("limits.memory_swap_bytes", "needs limits.memory_bytes beside it")),
            (Some(swap), Some(memory)) if swap.checked_add(memory).is_none_or(|sum| sum > i64::MAX as u64) => {
                return Err(Invalid::new("limits.memory_swap_bytes", "is larger than any machine's swap"));
            }
            _ => {}
        }
        for (field, bytes) in &fields[1..] {
            if let (Some(bytes), Some(memory)) = (bytes, self.memory_bytes)
                && *bytes > memory
            {
                let problem = format!("must be at most limits.memory_bytes, {}, not {}", size::display(memory), size::display(*bytes));
                return Err(Invalid::new(*field, problem));
            }
        }
        self.memory_swappiness.map_or(Ok(()), |value| within("limits.memory_swappiness", u64::from(value), 0, 100, "percent"))
    }

    fn check_cpu(&self, host: &HostCapacity) -> Result<(), Invalid> {
        if let Some(cpus) = self.cpus
            && !(cpus.is_finite() && (CPUS_MIN..=f64::from(host.cpus)).contains(&cpus))
        {
            return Err(Invalid::new(
                "limits.cpus",
                format!("must be between {CPUS_MIN} and {}, the processors of this host, not {cpus}", host.cpus),
            ));
        }
        if let Some(weight) = self.cpu_weight {
            within("limits.cpu_weight", u64::from(weight), 1, u64::from(WEIGHT_MAX), "")?;
        }
        if self.cpu_idle == Some(true) && self.cpu_weight.is_some() {
            return Err(Invalid::new(
                "limits.cpu_weight",
                "has no meaning beside limits.cpu_idle: what is idle has the least weight of all",
            ));
        }
        match (self.cpu_burst_usec, self.cpus) {
            (None | Some(0), _) => {}
            (Some(_), None) => return Err(Invalid::new("limits.cpu_burst_usec", "needs limits.cpus beside it")),
            (Some(burst), Some(cpus)) => {
                let quota = (cpus * 100_000.0).round() as u64;
                within("limits.cpu_burst_usec", burst, 0, quota, "microseconds, the quota of limits.cpus,")?;
            }
        }
        check_list("limits.cpuset", self.cpuset.as_deref())?;
        check_list("limits.cpuset_mems", self.cpuset_mems.as_deref())
    }

    fn check_io(&self) -> Result<(), Invalid> {
        let weight = |field: &str, weight: Option<u32>| {
            weight.map_or(Ok(()), |weight| within(field, u64::from(weight), 1, u64::from(WEIGHT_MAX), ""))
        };
        weight("limits.io_weight", self.io_weight)?;
        if self.io.len() > IO_DEVICES_MAX {
            return Err(Invalid::new("limits.io", format!("must be at most {IO_DEVICES_MAX} devices")));
        }
        for (index, limit) in self.io.iter().enumerate() {
            crate::mount::absolute_path(&format!("limits.io[{index}].device"), &limit.device)?;
            weight(&format!("limits.io[{index}].weight"), limit.weight)?;
            if limit.weight.is_none() && limit.rates().iter().all(|(_, rate)| rate.is_none()) {
                return Err(Invalid::new(format!("limits.io[{index}]"), "limits nothing: give a rate or a weight"));
            }
            for (name, rate) in limit.rates() {
                let most = if name.contains("bytes") { IO_BYTES_MAX } else { IO_OPERATIONS_MAX };
                let problem = match rate {
                    Some(0) => "must be at least 1; leave it out for no limit".to_owned(),
                    Some(rate) if rate > most => format!("must be at most {most}, not {rate}; leave it out for no limit"),
                    _ => continue,
                };
                return Err(Invalid::new(format!("limits.io[{index}].{name}"), problem));
            }
        }
        for (size, bytes) in &self.hugetlb {
            if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(Invalid::new("limits.hugetlb", "must be named by a size as the kernel writes it: 2MB"));
            }
            // The kernel would round it down, the smallest to nothing.
            if let Some(page) = page_bytes(size).filter(|page| bytes % page != 0) {
                let problem = format!("must be whole pages of {size}, {page} bytes each, not {bytes} bytes");
                return Err(Invalid::new(format!("limits.hugetlb.{size}"), problem));
            }
            if *bytes > i64::MAX as u64 {
                return Err(Invalid::new(format!("limits.hugetlb.{size}"), "is larger than any machine's memory"));
            }
        }
        Ok(())
    }
}

impl IoLimit {
    /// Its four rates, by the names of their fields.
    pub fn rates(&self) -> [(&'static str, Option<u64>); 4] {
        [
            ("read_bytes_per_second", self.read_bytes_per_second),
            ("write_bytes_per_second", self.write_bytes_per_second),
            ("read_operations_per_second", self.read_operations_per_second),
            ("write_operations_per_second", self.write_operations_per_second),
        ]
    }
}

/// The bytes of a page by its name (`hugetlb_cgroup.c`); `None` where no kernel calls one so.
fn page_bytes(name: &str) -> Option<u64> {
    let shift = [("KB", 10), ("MB", 20), ("GB", 30)];
    let (number, shift) = shift.into_iter().find_map(|(unit, shift)| Some((name.strip_suffix(unit)?.parse::<u64>().ok()?, shift)))?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

/// A list as the kernel takes it (`cpuset(7)`, *List format*): `0-3,7`. Whether the host has them is for who can look to say.
fn check_list(field: &str, list: Option<&str>) -> Result<(), Invalid> {
    let Some(list) = list else { return Ok(()) };
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let range = |part: &str| match part.split_once('-') {
        None => number(part).is_some(),
        Some((first, last)) => matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last),
    };
    if list.len() <= CPUSET_BYTES_MAX && list.split(',').all(range) {
        Ok(())
    } else {
        Err(Invalid::new(field, format!("must be numbers and ranges as in 0-3,7, not {list:?}")))
    }
}

fn within(field: &str, value: u64, least: u64, most: u64, unit: &str) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit} on this host") };
        Err(Invalid::new(field, format!("must be between {least} and {most}{unit}, not {value}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostCapacity = HostCapacity { memory_bytes: 8 << 30, cpus: 2, pids: 32768 };

    #[test]
    fn limits_that_the_host_can_keep_are_accepted() {
        let limits =
            Limits { memory_bytes: Some(4 << 20), memory_swap_bytes: Some(0), cpus: Some(0.5), pids: Some(64), ..Limits::default() };
        assert_eq!(limits.check(&HOST), Ok(()));
        assert_eq!(Limits::default().check(&HOST), Ok(()));
        let io = IoLimit { device: "/dev/sda".into(), read_bytes_per_second: Some(1), ..IoLimit::default() };
        let all = Limits {
            memory_bytes: Some(64 << 20),
            memory_high_bytes: Some(32 << 20),
            memory_reservation_bytes: Some(64 << 20),
            memory_swappiness: Some(100),
            cpus: Some(0.5),
            cpu_burst_usec: Some(50_000),
            cpu_weight: Some(10_000),
            cpuset: Some("0-1,3".into()),
            cpuset_mems: Some("0".into()),
            io: vec![io],
            io_weight: Some(1),
            hugetlb: BTreeMap::from([("2MB".to_owned(), 4 << 20)]),
            disk_bytes: Some(1 << 50),
            disk_inodes: Some(16),
            ..Limits::default()
        };
        assert_eq!(all.check(&HOST), Ok(()));
    }

    #[test]
    fn absurd_limits_name_their_field() {
        let none = Limits::default;
        let io = |limit: IoLimit| Limits { io: vec![limit], ..none() };
        let cases = [
            (Limits { memory_bytes: Some(9 << 30), ..none() }, "limits.memory_bytes"),
            (Limits { memory_bytes: Some(0), ..none() }, "limits.memory_bytes"),
            (Limits { memory_swap_bytes: Some(1), ..none() }, "limits.memory_swap_bytes"),
            (Limits { memory_bytes: Some(4 << 20), memory_swap_bytes: Some(u64::MAX), ..none() }, "limits.memory_swap_bytes"),
            (Limits { memory_bytes: Some(4 << 20), memory_high_bytes: Some(5 << 20), ..none() }, "limits.memory_high_bytes"),
            (Limits { memory_reservation_bytes: Some(1), ..none() }, "limits.memory_reservation_bytes"),
            (Limits { memory_swappiness: Some(101), ..none() }, "limits.memory_swappiness"),
            (Limits { cpus: Some(2.5), ..none() }, "limits.cpus"),
            (Limits { cpus: Some(-1.0), ..none() }, "limits.cpus"),
            (Limits { cpus: Some(f64::NAN), ..none() }, "limits.cpus"),
            (Limits { cpu_weight: Some(0), ..none() }, "limits.cpu_weight"),
            (Limits { cpu_weight: Some(5), cpu_idle: Some(true), ..none() }, "limits.cpu_weight"),
            (Limits { cpu_burst_usec: Some(1), ..none() }, "limits.cpu_burst_usec"),
            (Limits { cpus: Some(0.5), cpu_burst_usec: Some(50_001), ..none() }, "limits.cpu_burst_usec"),
            (Limits { cpuset: Some("1-0".into()), ..none() }, "limits.cpuset"),
            (Limits { cpuset: Some(String::new()), ..none() }, "limits.cpuset"),
            (Limits { cpuset_mems: Some("0,+1".into()), ..none() }, "limits.cpuset_mems"),
            (Limits { pids: Some(0), ..none() }, "limits.pids"),
            (Limits { io_weight: Some(10_001), ..none() }, "limits.io_weight"),
            (Limits { disk_bytes: Some(0), ..none() }, "limits.disk_bytes"),
            (Limits { disk_bytes: Some((1 << 20) - 1), ..none() }, "limits.disk_bytes"),
            (Limits { disk_bytes: Some(u64::MAX), ..none() }, "limits.disk_bytes"),
            (Limits { disk_inodes: Some(15), ..none() }, "limits.disk_inodes"),
            (io(IoLimit { device: "sda".into(), ..IoLimit::default() }), "limits.io[0].device"),
            (io(IoLimit { device: "/dev/sda".into(), weight: Some(0), ..IoLimit::default() }), "limits.io[0].weight"),
            (
                io(IoLimit { device: "/dev/sda".into(), read_bytes_per_second: Some(0), ..IoLimit::default() }),
                "limits.io[0].read_bytes_per_second",
            ),
            (io(IoLimit { device: "/dev/sda".into(), ..IoLimit::default() }), "limits.io[0]"),
            (
                io(IoLimit { device: "/dev/sda".into(), read_operations_per_second: Some(1 << 32), ..IoLimit::default() }),
                "limits.io[0].read_operations_per_second",
            ),
            (
                io(IoLimit { device: "/dev/sda".into(), write_bytes_per_second: Some(u64::MAX), ..IoLimit::default() }),
                "limits.io[0].write_bytes_per_second",
            ),
            (Limits { hugetlb: BTreeMap::from([("2MB".to_owned(), 3)]), ..none() }, "limits.hugetlb.2MB"),
            (Limits { hugetlb: BTreeMap::from([("../x".to_owned(), 0)]), ..none() }, "limits.hugetlb"),
        ];
        for (limits, field) in cases {
            assert_eq!(limits.check(&HOST).map_err(|invalid| invalid.field), Err(field.to_owned()), "{limits:?}");
        }
    }
}
