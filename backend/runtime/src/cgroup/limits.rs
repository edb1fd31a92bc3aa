//! Belljar's own limits as [`Resources`], so that there is one path to the kernel; and a refusal in the words of the person who
//! asked, who knows limits and neither the specification's fields nor the kernel's files.

use belljar_model::limits::IoLimit;
use belljar_model::{Invalid, Limits};

use super::disks::Disk;
use super::resources::{BlockIo, CPU_PERIOD_USEC, Cpu, DeviceWeight, HugepageLimit, Memory, Pids, ThrottleDevice};
use super::{Cgroup, Resources, support};

/// No limit, where the specification has a word for it.
const NONE: i64 = -1;
/// The usual weight.
const WEIGHT_USUAL: u32 = 100;

/// Fields of the specification, and what the person calls them. A name that ends with a dot or bracket stands for all of its kind.
const FIELDS: [(&str, &str); 23] = [
    ("resources.memory.limit", "limits.memory_bytes"),
    ("resources.memory.swap", "limits.memory_swap_bytes"),
    ("resources.memory.reservation", "limits.memory_reservation_bytes"),
    ("resources.memory.swappiness", "limits.memory_swappiness"),
    ("resources.beyond.memoryHigh", "limits.memory_high_bytes"),
    ("resources.beyond.noReservation", "limits.memory_reservation_bytes"),
    ("resources.beyond.oomGroup", "limits.oom_group"),
    ("resources.cpu.quota", "limits.cpus"),
    ("resources.cpu.period", "limits.cpus"),
    ("resources.cpu.burst", "limits.cpu_burst_usec"),
    ("resources.cpu.idle", "limits.cpu_idle"),
    ("resources.cpu.cpus", "limits.cpuset"),
    ("resources.cpu.mems", "limits.cpuset_mems"),
    ("resources.beyond.cpusAbove", "limits.cpuset"),
    ("resources.beyond.memsAbove", "limits.cpuset_mems"),
    ("resources.beyond.cpuWeight", "limits.cpu_weight"),
    ("resources.pids.limit", "limits.pids"),
    ("resources.beyond.ioWeightDevice[", "limits.io"),
    ("resources.beyond.ioWeight", "limits.io_weight"),
    ("resources.blockIO.", "limits.io"),
    ("resources.hugepageLimits[", "limits.hugetlb"),
    ("resources.devices[", "devices"),
    ("resources.devices", "devices"),
];

/// A refusal in the person's words.
pub fn named(invalid: Invalid) -> Invalid {
    let is_it = |field: &str| invalid.field == field || (field.ends_with(['.', '[']) && invalid.field.starts_with(field));
    let known = FIELDS.iter().find(|(field, _)| is_it(field));
    known.map_or(invalid.clone(), |(_, name)| Invalid::new(*name, invalid.problem))
}

/// Limits as resources. `disks` are those of `limits.io`, in the same order; a limit without its disk is left out, which only who
/// wants to look at a spec may do.
pub fn resources(limits: &Limits, disks: &[Disk]) -> Resources {
    let mut resources = Resources {
        memory: memory(limits),
        cpu: cpu(limits),
        pids: limits.pids.map(|pids| Pids { limit: Some(i64::from(pids)) }),
        hugepage_limits: hugepages(limits, |bytes| *bytes),
        ..Resources::default()
    };
    resources.beyond.memory_high = limits.memory_high_bytes.map(bytes);
    resources.beyond.oom_group = limits.oom_group;
    resources.beyond.cpu_weight = limits.cpu_weight;
    resources.beyond.io_weight = limits.io_weight;
    let weight = |(limit, disk): (&IoLimit, &Disk)| {
        limit.weight.map(|weight| DeviceWeight { major: disk.major, minor: disk.minor, weight: Some(weight) })
    };
    resources.beyond.io_weight_device = limits.io.iter().zip(disks).filter_map(weight).collect();
    resources.block_io = throttles(limits.io.iter().zip(disks.iter().copied()));
    resources
}

fn bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Belljar counts swap *on top of* memory, the specification both together.
fn memory(limits: &Limits) -> Option<Memory> {
    let memory = Memory {
        limit: limits.memory_bytes.map(bytes),
        swap: limits.memory_bytes.zip(limits.memory_swap_bytes).map(|(memory, swap)| bytes(memory.saturating_add(swap))),
        reservation: limits.memory_reservation_bytes.map(bytes),
        swappiness: limits.memory_swappiness.map(u64::from),
        ..Memory::default()
    };
    (memory != Memory::default()).then_some(memory)
}

fn cpu(limits: &Limits) -> Option<Cpu> {
    let cpu = Cpu {
        quota: limits.cpus.map(|cpus| (cpus * CPU_PERIOD_USEC as f64).round() as i64),
        period: limits.cpus.map(|_| CPU_PERIOD_USEC),
        burst: limits.cpu_burst_usec,
        idle: limits.cpu_idle.map(i64::from),
        cpus: limits.cpuset.clone(),
        mems: limits.cpuset_mems.clone(),
        ..Cpu::default()
    };
    (cpu != Cpu::default()).then_some(cpu)
}

fn hugepages(limits: &Limits, limit: impl Fn(&u64) -> u64) -> Vec<HugepageLimit> {
    limits.hugetlb.iter().map(|(size, bytes)| HugepageLimit { page_size: size.clone(), limit: limit(bytes) }).collect()
}

fn throttles<'a>(limits: impl Iterator<Item = (&'a IoLimit, Disk)>) -> Option<BlockIo> {
    let mut io = BlockIo::default();
    for (limit, Disk { major, minor }) in limits {
        let lists = [
            &mut io.throttle_read_bps_device,
            &mut io.throttle_write_bps_device,
            &mut io.throttle_read_iops_device,
            &mut io.throttle_write_iops_device,
        ];
        for (list, (_, rate)) in lists.into_iter().zip(limit.rates()) {
            list.extend(rate.map(|rate| ThrottleDevice { major, minor, rate }));
        }
    }
    (io != BlockIo::default()).then_some(io)
}

/// Each disk once: the kernel has one line for it, whatever name a person gives it by.
pub fn check_disks(limits: &Limits, disks: &[Disk]) -> Result<(), Invalid> {
    for (index, disk) in disks.iter().enumerate() {
        if let Some(other) = disks[..index].iter().position(|other| other == disk) {
            let problem = format!("is the same disk ({}) as {}, of limits.io[{other}]", disk.number(), limits.io[other].device);
            return Err(Invalid::new(format!("limits.io[{index}].device"), problem));
        }
    }
    Ok(())
}

/// Limits, and the disks of their `io` in the same order.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The limits.
    pub limits: &'a Limits,
    /// The disks; for limits that held before, those that are still there, each beside its limit.
    pub disks: &'a [Option<Disk>],
}

/// What has to be told to a cgroup that is alive to bring it from some limits to others: what is limited now, and that what was
/// limited before is not any more.
pub fn change(from: Asked<'_>, to: Asked<'_>, cgroup: &Cgroup) -> Resources {
    let known: Vec<Disk> = to.disks.iter().flatten().copied().collect();
    let mut change = resources(to.limits, &known);
    let (old, new) = (from.limits, to.limits);
    let gone = |old: bool, new: bool| old && !new;
    let memory = change.memory.get_or_insert_default();
    if gone(old.memory_bytes.is_some(), new.memory_bytes.is_some()) {
        (memory.limit, memory.swap) = (Some(NONE), Some(NONE));
    } else if gone(old.memory_swap_bytes.is_some(), new.memory_swap_bytes.is_some()) {
        memory.swap = Some(NONE);
    }
    if gone(old.memory_swappiness.is_some(), new.memory_swappiness.is_some()) {
        memory.swappiness = above(cgroup, "memory", "memory.swappiness").and_then(|text| text.parse().ok());
    }
    let cpu = change.cpu.get_or_insert_default();
    if gone(old.cpus.is_some(), new.cpus.is_some()) {
        (cpu.quota, cpu.period) = (Some(NONE), Some(CPU_PERIOD_USEC));
    }
    if gone(old.cpu_burst_usec.is_some(), new.cpu_burst_usec.is_some()) {
        cpu.burst = Some(0);
    }
    if gone(old.cpu_idle.is_some(), new.cpu_idle.is_some()) {
        cpu.idle = Some(0);
    }
    if gone(old.pids.is_some(), new.pids.is_some()) {
        change.pids = Some(Pids { limit: Some(NONE) });
    }
    let beyond = &mut change.beyond;
    if gone(old.memory_high_bytes.is_some(), new.memory_high_bytes.is_some()) {
        beyond.memory_high = Some(NONE);
    }
    if gone(old.memory_reservation_bytes.is_some(), new.memory_reservation_bytes.is_some()) {
        beyond.no_reservation = Some(true);
    }
    if gone(old.oom_group.is_some(), new.oom_group.is_some()) {
        beyond.oom_group = Some(false);
    }
    if gone(old.cpu_weight.is_some(), new.cpu_weight.is_some()) {
        beyond.cpu_weight = Some(WEIGHT_USUAL);
    }
    if gone(old.io_weight.is_some(), new.io_weight.is_some()) {
        beyond.io_weight = Some(WEIGHT_USUAL);
    }
    if gone(old.cpuset.is_some(), new.cpuset.is_some()) {
        beyond.cpus_above = above(cgroup, "cpuset", "cpuset.cpus").or_else(|| Some(String::new()));
    }
    if gone(old.cpuset_mems.is_some(), new.cpuset_mems.is_some()) {
        beyond.mems_above = above(cgroup, "cpuset", "cpuset.mems").or_else(|| Some(String::new()));
    }
    let pages = hugepages(old, |_| u64::MAX).into_iter().filter(|page| !new.hugetlb.contains_key(&page.page_size));
    change.hugepage_limits.extend(pages);
    let rest = rates_gone(from, to);
    change.block_io = match (change.block_io, throttles(rest.iter().map(|(limit, disk)| (limit, *disk)))) {
        (Some(now), Some(gone)) => Some(now.over(&gone)),
        (now, gone) => now.or(gone),
    };
    let unweighted = rest.iter().filter(|(limit, _)| limit.weight.is_some());
    change.beyond.io_weight_device.extend(unweighted.map(|(_, disk)| DeviceWeight { major: disk.major, minor: disk.minor, weight: None }));
    change
}

/// Limits of disks that held and hold no more, with 0 (no limit) as each rate.
fn rates_gone(from: Asked<'_>, to: Asked<'_>) -> Vec<(IoLimit, Disk)> {
    let nothing = IoLimit::default();
    let gone = |(old, disk): (&IoLimit, &Option<Disk>)| {
        let disk = (*disk)?;
        let new = to.limits.io.iter().zip(to.disks).find(|(_, other)| **other == Some(disk)).map_or(&nothing, |(new, _)| new);
        let zero = |old: Option<u64>, new: Option<u64>| (old.is_some() && new.is_none()).then_some(0);
        let rates = IoLimit {
            device: old.device.clone(),
            read_bytes_per_second: zero(old.read_bytes_per_second, new.read_bytes_per_second),
            write_bytes_per_second: zero(old.write_bytes_per_second, new.write_bytes_per_second),
            read_operations_per_second: zero(old.read_operations_per_second, new.read_operations_per_second),
            write_operations_per_second: zero(old.write_operations_per_second, new.write_operations_per_second),
            weight: old.weight.filter(|_| new.weight.is_none()),
        };
        Some((rates, disk))
    };
    from.limits.io.iter().zip(from.disks).filter_map(gone).collect()
}

/// What the cgroup above says.
fn above(cgroup: &Cgroup, controller: &str, file: &str) -> Option<String> {
    let folder = cgroup.part(controller)?.path.parent()?;
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).ok().map(|text| text.trim().to_owned());
    // v2 has nothing set above, as a rule: then it is what holds there.
    read(file).filter(|list| !list.is_empty()).or_else(|| read(&format!("{file}.effective")))
}

/// The person's name for what a failed write to a cgroup was to limit; `None` where it was something else.
pub fn field_of(error: &belljar_linux::Error) -> Option<String> {
    let is_end = |next: char| !(next.is_ascii_alphanumeric() || matches!(next, '.' | '_'));
    let names = |file: &str| {
        let mut at = error.subject.match_indices(file);
        at.any(|(at, _)| error.subject[..at].ends_with('/') && error.subject[at + file.len()..].chars().next().is_none_or(is_end))
    };
    if error.subject.contains("/hugetlb.") {
        return Some("limits.hugetlb".to_owned());
    }
    let (field, _) = support::files().find(|(_, file)| names(file))?;
    Some(if field.starts_with("limits.io.") { "limits.io".to_owned() } else { field.to_owned() })
}

#[cfg(test)]
mod tests;
