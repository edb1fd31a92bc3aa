//! Resources as files and values, per version of each controller. Pure: what is written where is decided here and nowhere
//! else. Start reading at [`writes`].
//!
//! A field that this host cannot enforce is refused by its name, never dropped. Two are read and not used, because no
//! kernel of today has them: `memory.kernel` and `memory.useHierarchy`; whoever reads a bundle warns of them. 0 means *not asked*
//! where it does for the field's other runtimes.

mod beyond;

use std::path::{Path, PathBuf};

use belljar_linux::{Error, Result};
use belljar_model::Invalid;
use belljar_model::cgroup::Version;
use rustix::io::Errno;

use super::resources::{BlockIo, CPU_PERIOD_USEC, Cpu, HugepageLimit, Memory, Network, Pids, Rdma, Resources, ThrottleDevice, asked};
use super::weights::{SHARES, io_weight_of_weight, weight_of_shares};
use super::{Cgroup, Part};
use beyond::Idle;

type Checked<T> = std::result::Result<T, Invalid>;

/// Files of v2's core that `unified` may not touch: they move, stop or kill processes, or change what is below.
const CORE_FILES: [&str; 7] =
    ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.type", "cgroup.subtree_control", "cgroup.events"];

/// One value for one file of a container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Name of the file: `memory.max`.
    pub file: String,
    /// The file.
    pub path: PathBuf,
    /// What is written.
    pub value: String,
    /// What is done where the kernel does not have the file, or does not take the value.
    pub otherwise: Otherwise,
}

/// What is done where the kernel does not have a file, or does not take what is right for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// It is an error.
    Refused,
    /// The value says what holds without it as well: no swap for a kernel that does not count swap.
    Fine,
    /// Another file beside it says the same, in its own words: another scheduler of disks.
    Instead {
        /// Name of that file.
        file: &'static str,
        /// What is written to it.
        value: String,
    },
    /// The file is there, and its value is to be nothing; a kernel that wants a list while somebody runs (it says that nothing
    /// would be left) is given this one.
    Listed(String),
}

impl Write {
    /// Writes it.
    pub fn apply(&self) -> Result<()> {
        match (super::write(&self.path, &self.value), &self.otherwise) {
            (Err(error), Otherwise::Fine) if is_absent(error.errno) => Ok(()),
            (Err(error), Otherwise::Instead { file, value }) if is_absent(error.errno) => {
                let instead = super::write(&self.path.with_file_name(file), value);
                instead.map_err(|error| if is_absent(error.errno) { self.lacking(&format!(" or {file}"), error) } else { error })
            }
            (Err(error), Otherwise::Listed(list)) if error.errno == Errno::NOSPC => super::write(&self.path, list),
            (Err(error), Otherwise::Refused | Otherwise::Listed(_)) if is_absent(error.errno) => Err(self.lacking("", error)),
            (done, _) => done,
        }
    }

    /// The failure of a file that the kernel does not have, which it calls a lack of rights: swap that it was told not to count, a
    /// scheduler of disks that does not weigh.
    fn lacking(&self, or: &str, error: Error) -> Error {
        if self.path.exists() || !self.path.parent().is_some_and(Path::exists) {
            return error;
        }
        Error::new("write", format!("{} to {}{or}, which this kernel does not have", self.value, self.path.display()), Errno::OPNOTSUPP)
    }
}

/// A file cannot be made in a cgroup folder: opening a missing one to write says `EACCES` or `EPERM`, or `ENOENT` without a folder.
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::ACCESS | Errno::PERM)
}

/// The writes that limit a cgroup, in the order in which the kernel takes them for one that has no limits yet. Devices are
/// not among them ([`super::devices::Guard`]).
pub fn writes(resources: &Resources, cgroup: &Cgroup) -> Checked<Vec<Write>> {
    let mut list = List { cgroup, writes: Vec::new() };
    if let Some(memory) = &resources.memory {
        list.memory(memory)?;
    }
    if let Some(cpu) = &resources.cpu {
        list.cpu(cpu)?;
        list.realtime(cpu)?;
        list.cpuset(cpu)?;
    }
    if let Some(pids) = &resources.pids {
        list.pids(pids)?;
    }
    if let Some(block_io) = &resources.block_io {
        list.weights(block_io)?;
        list.throttles(block_io)?;
    }
    list.hugepages(&resources.hugepage_limits)?;
    if let Some(network) = &resources.network {
        list.network(network)?;
    }
    for (device, limits) in &resources.rdma {
        list.rdma(device, limits)?;
    }
    list.beyond(&resources.beyond, is_idle(resources))?;
    for (file, value) in &resources.unified {
        list.unified(file, value)?;
    }
    Ok(list.writes)
}

/// v1 says -1 where v2 says `max`.
fn limit(version: Version, value: i64) -> String {
    match version {
        Version::V2 if value < 0 => "max".to_owned(),
        Version::V1 if value < 0 => "-1".to_owned(),
        _ => value.to_string(),
    }
}

fn is_idle(resources: &Resources) -> Idle {
    let asked = resources.cpu.as_ref().and_then(|cpu| cpu.idle).unwrap_or_default();
    if asked == 0 { Idle::No } else { Idle::Yes }
}

struct List<'a> {
    cgroup: &'a Cgroup,
    writes: Vec<Write>,
}

impl<'a> List<'a> {
    /// The part that has the controller; `field` names who asks, `resources.` before it.
    fn part(&self, field: &str, controller: &str) -> Checked<&'a Part> {
        let missing = || Invalid::new(field_name(field), format!("cannot be enforced: this host has no {controller} controller"));
        self.cgroup.part(controller).ok_or_else(missing)
    }

    /// The part that has the controller in version 1, for what version 2 does not have.
    fn part_v1(&self, field: &str, controller: &str) -> Checked<&'a Part> {
        let part = self.part(field, controller)?;
        let missing = || Invalid::new(field_name(field), format!("cannot be enforced: cgroup v2 has no such thing in {controller}"));
        (part.version == Version::V1).then_some(part).ok_or_else(missing)
    }

    /// The part of the one controller that v1 calls `blkio` and v2 `io`.
    fn disk_part(&self, field: &str) -> Checked<&'a Part> {
        self.cgroup.part("io").map_or_else(|| self.part(field, "blkio"), Ok)
    }

    fn push(&mut self, part: &Part, file: impl Into<String>, value: impl ToString) -> &mut Write {
        let file = file.into();
        let path = part.path.join(&file);
        let index = self.writes.len();
        self.writes.push(Write { file, path, value: value.to_string(), otherwise: Otherwise::Refused });
        &mut self.writes[index]
    }

    fn memory(&mut self, memory: &Memory) -> Checked<()> {
        self.memory_and_swap(memory)?;
        if let Some(reservation) = asked(memory.reservation) {
            let part = self.part("memory.reservation", "memory")?;
            let file = if part.version == Version::V1 { "memory.soft_limit_in_bytes" } else { "memory.low" };
            self.push(part, file, limit(part.version, reservation));
        }
        if let Some(bytes) = asked(memory.kernel_tcp) {
            let part = self.part_v1("memory.kernelTCP", "memory")?;
            self.push(part, "memory.kmem.tcp.limit_in_bytes", limit(part.version, bytes));
        }
        if let Some(swappiness) = memory.swappiness.filter(|swappiness| *swappiness != u64::MAX) {
            let part = self.part_v1("memory.swappiness", "memory")?;
            within("memory.swappiness", swappiness, 0, 100)?;
            self.push(part, "memory.swappiness", swappiness);
        }
        if memory.disable_oom_killer == Some(true) {
            let part = self.part_v1("memory.disableOOMKiller", "memory")?;
            self.push(part, "memory.oom_control", 1);
        }
        Ok(())
    }

    /// v1 counts memory and swap together, and refuses less of both than of memory; v2 counts swap alone.
    fn memory_and_swap(&mut self, memory: &Memory) -> Checked<()> {
        let (bytes, swap) = (asked(memory.limit), asked(memory.swap));
        if let Some(bytes) = bytes {
            let part = self.part("memory.limit", "memory")?;
            let file = if part.version == Version::V1 { "memory.limit_in_bytes" } else { "memory.max" };
            self.push(part, file, limit(part.version, bytes));
        }
        // No limit on memory without a word about swap means none on swap either.
        let unlimited = bytes.is_some_and(|bytes| bytes < 0) && swap.is_none();
        let Some(swap) = swap.or(unlimited.then_some(-1)) else { return Ok(()) };
        let part = self.part("memory.swap", "memory")?;
        let beyond = match (bytes, swap) {
            (_, ..0) => -1,
            (None, _) => return Err(Invalid::new(field_name("memory.swap"), "needs memory.limit beside it")),
            (Some(..0), _) => return Err(Invalid::new(field_name("memory.swap"), "needs a memory.limit that is one")),
            (Some(bytes), swap) if swap < bytes => {
                let problem = "counts memory and swap together, so it cannot be less than memory.limit";
                return Err(Invalid::new(field_name("memory.swap"), problem));
            }
            (Some(bytes), swap) => swap - bytes,
        };
        let (file, value) = match part.version {
            Version::V1 => ("memory.memsw.limit_in_bytes", limit(Version::V1, swap)),
            Version::V2 => ("memory.swap.max", limit(Version::V2, beyond)),
        };
        let nothing_to_say = beyond < 0 || (beyond == 0 && part.version == Version::V2);
        let write = self.push(part, file, value);
        if nothing_to_say {
            write.otherwise = Otherwise::Fine;
        }
        Ok(())
    }

    fn cpu(&mut self, cpu: &Cpu) -> Checked<()> {
        let idle = cpu.idle.unwrap_or(0);
        if let Some(idle) = cpu.idle {
            let part = self.part("cpu.idle", "cpu")?;
            within("cpu.idle", u64::try_from(idle).unwrap_or(u64::MAX), 0, 1)?;
            let write = self.push(part, "cpu.idle", idle);
            if idle == 0 {
                write.otherwise = Otherwise::Fine;
            }
        }
        // Whoever is idle has no weight: the kernel refuses one.
        if let Some(shares) = asked(cpu.shares).filter(|_| idle == 0) {
            let part = self.part("cpu.shares", "cpu")?;
            // The kernel would take the nearest that there is, without a word.
            within("cpu.shares", shares, *SHARES.start(), *SHARES.end())?;
            match part.version {
                Version::V1 => self.push(part, "cpu.shares", shares),
                Version::V2 => self.push(part, "cpu.weight", weight_of_shares(shares)),
            };
        }
        let (quota, period) = (asked(cpu.quota), asked(cpu.period));
        if quota.is_some() || period.is_some() {
            let part = self.part(if quota.is_some() { "cpu.quota" } else { "cpu.period" }, "cpu")?;
            match part.version {
                Version::V1 => {
                    if let Some(period) = period {
                        self.push(part, "cpu.cfs_period_us", period);
                    }
                    if let Some(quota) = quota {
                        self.push(part, "cpu.cfs_quota_us", limit(Version::V1, quota));
                    }
                }
                Version::V2 => {
                    let quota = limit(Version::V2, quota.unwrap_or(-1));
                    self.push(part, "cpu.max", format!("{quota} {}", period.unwrap_or(CPU_PERIOD_USEC)));
                }
            }
        }
        // What is saved up may not be more than the quota, so it comes after it.
        if let Some(burst) = cpu.burst {
            let part = self.part("cpu.burst", "cpu")?;
            let file = if part.version == Version::V1 { "cpu.cfs_burst_us" } else { "cpu.max.burst" };
            let write = self.push(part, file, burst);
            if burst == 0 {
                write.otherwise = Otherwise::Fine;
            }
        }
        Ok(())
    }

    fn realtime(&mut self, cpu: &Cpu) -> Checked<()> {
        if let Some(period) = asked(cpu.realtime_period) {
            let part = self.part_v1("cpu.realtimePeriod", "cpu")?;
            self.push(part, "cpu.rt_period_us", period);
        }
        if let Some(runtime) = asked(cpu.realtime_runtime) {
            let part = self.part_v1("cpu.realtimeRuntime", "cpu")?;
            self.push(part, "cpu.rt_runtime_us", runtime);
        }
        Ok(())
    }

    fn cpuset(&mut self, cpu: &Cpu) -> Checked<()> {
        let lists = [("cpu.cpus", "cpuset.cpus", &cpu.cpus), ("cpu.mems", "cpuset.mems", &cpu.mems)];
        for (field, file, list) in lists {
            let Some(list) = list.as_deref().map(str::trim).filter(|list| !list.is_empty()) else { continue };
            if !list.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, ',' | '-' | ':' | '/')) {
                return Err(Invalid::new(field_name(field), "is not a list of numbers such as 0-3,7"));
            }
            let part = self.part(field, "cpuset")?;
            self.push(part, file, list);
        }
        Ok(())
    }

    fn pids(&mut self, pids: &Pids) -> Checked<()> {
        if let Some(most) = asked(pids.limit) {
            let part = self.part("pids.limit", "pids")?;
            // Both versions say `max`.
            self.push(part, "pids.max", limit(Version::V2, most));
        }
        Ok(())
    }

    /// Weights of disks are the scheduler's: BFQ's file where the disk has it, else the controller's own.
    fn weights(&mut self, io: &BlockIo) -> Checked<()> {
        if let Some(weight) = asked(io.weight) {
            within("blockIO.weight", weight.into(), 10, 1000)?;
            let part = self.disk_part("blockIO.weight")?;
            self.weight(part, "", weight);
        }
        if let Some(weight) = asked(io.leaf_weight) {
            within("blockIO.leafWeight", weight.into(), 10, 1000)?;
            let part = self.part_v1("blockIO.leafWeight", "blkio")?;
            self.push(part, "blkio.leaf_weight", weight);
        }
        for (index, device) in io.weight_device.iter().enumerate() {
            let field = |name: &str| format!("blockIO.weightDevice[{index}].{name}");
            let number = format!("{}:{} ", device.major, device.minor);
            if let Some(weight) = asked(device.weight) {
                within(&field("weight"), weight.into(), 10, 1000)?;
                let part = self.disk_part(&field("weight"))?;
                self.weight(part, &number, weight);
            }
            if let Some(weight) = asked(device.leaf_weight) {
                within(&field("leafWeight"), weight.into(), 10, 1000)?;
                let part = self.part_v1(&field("leafWeight"), "blkio")?;
                self.push(part, "blkio.leaf_weight_device", format!("{number}{weight}"));
            }
        }
        Ok(())
    }

    fn weight(&mut self, part: &Part, device: &str, weight: u16) {
        let own = format!("{device}{weight}");
        let (file, instead, value) = match (part.version, device.is_empty()) {
            (Version::V1, true) => ("blkio.bfq.weight", "blkio.weight", own.clone()),
            (Version::V1, false) => ("blkio.bfq.weight_device", "blkio.weight_device", own.clone()),
            (Version::V2, _) => ("io.bfq.weight", "io.weight", format!("{device}{}", io_weight_of_weight(weight))),
        };
        self.push(part, file, own).otherwise = Otherwise::Instead { file: instead, value };
    }

    fn throttles(&mut self, io: &BlockIo) -> Checked<()> {
        let kinds: [(&str, &str, &str, &[ThrottleDevice]); 4] = [
            ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", &io.throttle_read_bps_device),
            ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", &io.throttle_write_bps_device),
            ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", &io.throttle_read_iops_device),
            ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", &io.throttle_write_iops_device),
        ];
        for (field, file, key, devices) in kinds {
            for (index, device) in devices.iter().enumerate() {
                let part = self.disk_part(&format!("blockIO.{field}[{index}]"))?;
                let number = format!("{}:{}", device.major, device.minor);
                match part.version {
                    // It cuts operations off at 32 bits (`tg_set_conf_uint`): 2^32 would be none at all, where v2 takes it for no limit.
                    Version::V1 if key.ends_with("iops") => self.push(part, file, format!("{number} {}", device.rate.min(u32::MAX.into()))),
                    Version::V1 => self.push(part, file, format!("{number} {}", device.rate)),
                    // 0 takes a limit away on v1; v2 has a word for it.
                    Version::V2 if device.rate == 0 => self.push(part, "io.max", format!("{number} {key}=max")),
                    Version::V2 => self.push(part, "io.max", format!("{number} {key}={}", device.rate)),
                };
            }
        }
        Ok(())
    }

    /// Pages in use and pages promised are two files; kernels before 5.7 have the first only.
    fn hugepages(&mut self, limits: &[HugepageLimit]) -> Checked<()> {
        for (index, limit) in limits.iter().enumerate() {
            let field = format!("hugepageLimits[{index}].pageSize");
            let digits = limit.page_size.trim_end_matches(char::is_alphabetic);
            let unit = &limit.page_size[digits.len()..];
            if digits.is_empty() || !digits.chars().all(|letter| letter.is_ascii_digit()) || !matches!(unit, "KB" | "MB" | "GB") {
                return Err(Invalid::new(field_name(&field), format!("is {:?}, and not a size such as 2MB", limit.page_size)));
            }
            let part = self.part(&field, "hugetlb")?;
            let suffix = if part.version == Version::V1 { "limit_in_bytes" } else { "max" };
            self.push(part, format!("hugetlb.{}.{suffix}", limit.page_size), limit.limit);
            self.push(part, format!("hugetlb.{}.rsvd.{suffix}", limit.page_size), limit.limit).otherwise = Otherwise::Fine;
        }
        Ok(())
    }

    fn network(&mut self, network: &Network) -> Checked<()> {
        if let Some(class) = asked(network.class_id) {
            let part = self.part_v1("network.classID", "net_cls")?;
            self.push(part, "net_cls.classid", class);
        }
        for (index, priority) in network.priorities.iter().enumerate() {
            let field = format!("network.priorities[{index}].name");
            one_word(&field, &priority.name)?;
            let part = self.part_v1(&field, "net_prio")?;
            self.push(part, "net_prio.ifpriomap", format!("{} {}", priority.name, priority.priority));
        }
        Ok(())
    }

    fn rdma(&mut self, device: &str, limits: &Rdma) -> Checked<()> {
        let field = format!("rdma.{device}");
        one_word(&field, device)?;
        let part = self.part(&field, "rdma")?;
        let handles = limits.hca_handles.map(|number| format!(" hca_handle={number}"));
        let objects = limits.hca_objects.map(|number| format!(" hca_object={number}"));
        let what: String = handles.into_iter().chain(objects).collect();
        if !what.is_empty() {
            self.push(part, "rdma.max", format!("{device}{what}"));
        }
        Ok(())
    }

    /// A file of v2 by its name, whose first word is the controller's.
    fn unified(&mut self, file: &str, value: &str) -> Checked<()> {
        let field = format!("unified.{file}");
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        let Some((controller, _)) = file.split_once('.').filter(|_| file.chars().all(is_name) && !file.contains("..")) else {
            return Err(Invalid::new(field_name(&field), "is not the name of a cgroup file"));
        };
        if CORE_FILES.contains(&file) {
            return Err(Invalid::new(field_name(&field), "is not a limit, and stays the runtime's own"));
        }
        let missing = |why: &str| Invalid::new(field_name(&field), format!("cannot be enforced: {why}"));
        let part = self.cgroup.unified().ok_or_else(|| missing("this host has no cgroup v2 hierarchy"))?;
        if controller != "cgroup" && !part.controllers.iter().any(|own| own == controller) {
            return Err(missing(&format!("cgroup v2 has no {controller} controller on this host")));
        }
        self.push(part, file, value);
        Ok(())
    }
}

fn field_name(field: &str) -> String {
    format!("resources.{field}")
}

fn within(field: &str, value: u64, least: u64, most: u64) -> Checked<()> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(Invalid::new(field_name(field), format!("must be between {least} and {most}")))
    }
}

/// A name that becomes part of a line of a file must not become two.
fn one_word(field: &str, name: &str) -> Checked<()> {
    if name.is_empty() || name.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(Invalid::new(field_name(field), "is not the name of a device"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
