//! Limits as files and values on either version, and what a change takes back.

use std::collections::BTreeMap;

use belljar_model::cgroup::Version;

use super::*;
use crate::cgroup::{Hierarchies, Hierarchy, writes};

const SDA: Disk = Disk { major: 8, minor: 0 };
const SDB: Disk = Disk { major: 8, minor: 16 };

fn cgroup(version: Version) -> Cgroup {
    let controllers = match version {
        Version::V1 => ["memory", "cpu", "cpuset", "pids", "blkio", "hugetlb"],
        Version::V2 => ["memory", "cpu", "cpuset", "pids", "io", "hugetlb"],
    };
    let controllers = controllers.map(str::to_owned).to_vec();
    Cgroup::at(&Hierarchies::of_list(vec![Hierarchy { version, point: "/cg".into(), controllers }]), "b/1")
}

fn lines(resources: &Resources, version: Version) -> Vec<String> {
    writes(resources, &cgroup(version)).unwrap().iter().map(|write| format!("{} = {}", write.file, write.value.trim())).collect()
}

/// Every limit that either version has.
fn every() -> Limits {
    let io = IoLimit {
        device: "/dev/sda".into(),
        read_bytes_per_second: Some(1),
        write_bytes_per_second: Some(2),
        read_operations_per_second: Some(3),
        write_operations_per_second: Some(4),
        weight: Some(10_000),
    };
    Limits {
        memory_bytes: Some(4 << 20),
        memory_swap_bytes: Some(1 << 20),
        memory_reservation_bytes: Some(2 << 20),
        cpus: Some(0.5),
        cpu_weight: Some(1),
        cpu_burst_usec: Some(500),
        cpuset: Some("0".into()),
        cpuset_mems: Some("0".into()),
        pids: Some(9),
        io_weight: Some(200),
        io: vec![io],
        hugetlb: BTreeMap::from([("2MB".to_owned(), 2 << 20)]),
        ..Limits::default()
    }
}

#[test]
fn every_limit_becomes_the_files_of_either_version() {
    let v1 = [
        "memory.limit_in_bytes = 4194304",
        "memory.memsw.limit_in_bytes = 5242880",
        "memory.soft_limit_in_bytes = 2097152",
        "memory.swappiness = 7",
        "cpu.cfs_period_us = 100000",
        "cpu.cfs_quota_us = 50000",
        "cpu.cfs_burst_us = 500",
        "cpuset.cpus = 0",
        "cpuset.mems = 0",
        "pids.max = 9",
        "blkio.throttle.read_bps_device = 8:0 1",
        "blkio.throttle.write_bps_device = 8:0 2",
        "blkio.throttle.read_iops_device = 8:0 3",
        "blkio.throttle.write_iops_device = 8:0 4",
        "hugetlb.2MB.limit_in_bytes = 2097152",
        "hugetlb.2MB.rsvd.limit_in_bytes = 2097152",
        "cpu.shares = 2",
        "blkio.bfq.weight = 109",
        "blkio.bfq.weight_device = 8:0 1000",
    ];
    let limits = Limits { memory_swappiness: Some(7), ..every() };
    assert_eq!(lines(&resources(&limits, &[SDA]), Version::V1), v1);
    let v2 = [
        "memory.max = 4194304",
        "memory.swap.max = 1048576",
        "memory.low = 2097152",
        "cpu.max = 50000 100000",
        "cpu.max.burst = 500",
        "cpuset.cpus = 0",
        "cpuset.mems = 0",
        "pids.max = 9",
        "io.max = 8:0 rbps=1",
        "io.max = 8:0 wbps=2",
        "io.max = 8:0 riops=3",
        "io.max = 8:0 wiops=4",
        "hugetlb.2MB.max = 2097152",
        "hugetlb.2MB.rsvd.max = 2097152",
        "memory.high = 3145728",
        "memory.oom.group = 1",
        "cpu.weight = 1",
        "io.bfq.weight = default 109",
        "io.weight = default 200",
        "io.bfq.weight = 8:0 1000",
        "io.weight = 8:0 10000",
    ];
    let limits = Limits { memory_high_bytes: Some(3 << 20), oom_group: Some(true), ..every() };
    assert_eq!(lines(&resources(&limits, &[SDA]), Version::V2), v2);
    assert_eq!(resources(&Limits::default(), &[]), Resources::default());
}

#[test]
fn what_is_idle_has_no_weight_and_one_version_only_is_refused_on_the_other() {
    let idle = Limits { cpu_idle: Some(true), ..Limits::default() };
    assert_eq!(lines(&resources(&idle, &[]), Version::V2), ["cpu.idle = 1"]);
    let refused = |limits: Limits, version| named(writes(&resources(&limits, &[]), &cgroup(version)).unwrap_err()).to_string();
    let high = refused(Limits { memory_high_bytes: Some(1 << 20), ..Limits::default() }, Version::V1);
    assert_eq!(
        high,
        "limits.memory_high_bytes: cannot be enforced: only cgroup v2 has such a thing, and this host's memory controller is v1's"
    );
    assert!(refused(Limits { oom_group: Some(true), ..Limits::default() }, Version::V1).starts_with("limits.oom_group: "));
    assert!(refused(Limits { memory_swappiness: Some(1), ..Limits::default() }, Version::V2).starts_with("limits.memory_swappiness: "));
}

#[test]
fn a_limit_without_its_controller_is_refused_by_name() {
    let nothing = Cgroup::at(&Hierarchies::default(), "b/1");
    let io = |limit: IoLimit| Limits { io: vec![IoLimit { device: "/dev/sda".into(), ..limit }], ..Limits::default() };
    let cases = [
        (Limits { memory_bytes: Some(1 << 20), ..Limits::default() }, "limits.memory_bytes"),
        (Limits { memory_reservation_bytes: Some(1 << 20), ..Limits::default() }, "limits.memory_reservation_bytes"),
        (Limits { memory_high_bytes: Some(1 << 20), ..Limits::default() }, "limits.memory_high_bytes"),
        (Limits { memory_swappiness: Some(0), ..Limits::default() }, "limits.memory_swappiness"),
        (Limits { oom_group: Some(true), ..Limits::default() }, "limits.oom_group"),
        (Limits { cpus: Some(1.0), ..Limits::default() }, "limits.cpus"),
        (Limits { cpu_weight: Some(1), ..Limits::default() }, "limits.cpu_weight"),
        (Limits { cpu_idle: Some(true), ..Limits::default() }, "limits.cpu_idle"),
        (Limits { cpu_burst_usec: Some(1), ..Limits::default() }, "limits.cpu_burst_usec"),
        (Limits { cpuset: Some("0".into()), ..Limits::default() }, "limits.cpuset"),
        (Limits { cpuset_mems: Some("0".into()), ..Limits::default() }, "limits.cpuset_mems"),
        (Limits { pids: Some(9), ..Limits::default() }, "limits.pids"),
        (Limits { io_weight: Some(9), ..Limits::default() }, "limits.io_weight"),
        (io(IoLimit { weight: Some(9), ..IoLimit::default() }), "limits.io"),
        (io(IoLimit { read_operations_per_second: Some(9), ..IoLimit::default() }), "limits.io"),
        (Limits { hugetlb: BTreeMap::from([("2MB".to_owned(), 0)]), ..Limits::default() }, "limits.hugetlb"),
    ];
    for (limits, field) in cases {
        let refused = named(writes(&resources(&limits, &[SDA]), &nothing).unwrap_err());
        assert_eq!(refused.field, field);
        assert!(refused.problem.starts_with("cannot be enforced: this host has no "), "{refused}");
    }
}

#[test]
fn what_is_limited_no_more_is_told_so() {
    let nothing = Limits::default();
    let taken = |from: &Limits, version| {
        let asked = |limits, disks| Asked { limits, disks };
        lines(&change(asked(from, &[Some(SDA)]), asked(&nothing, &[]), &cgroup(version)), version)
    };
    let v1 = taken(&Limits { memory_swappiness: None, ..every() }, Version::V1);
    for line in [
        "memory.limit_in_bytes = -1",
        "memory.memsw.limit_in_bytes = -1",
        "memory.soft_limit_in_bytes = -1",
        "cpu.cfs_quota_us = -1",
        "cpu.cfs_burst_us = 0",
        "cpu.shares = 1024",
        "pids.max = max",
        "blkio.throttle.read_bps_device = 8:0 0",
        "blkio.throttle.write_iops_device = 8:0 0",
        "blkio.bfq.weight = 100",
        "blkio.bfq.weight_device = 8:0 default",
        "hugetlb.2MB.limit_in_bytes = 18446744073709551615",
    ] {
        assert!(v1.iter().any(|known| known == line), "{line} of {v1:?}");
    }
    let v2 = taken(&Limits { memory_high_bytes: Some(3 << 20), oom_group: Some(true), ..every() }, Version::V2);
    for line in [
        "memory.max = max",
        "memory.swap.max = max",
        "memory.low = 0",
        "memory.high = max",
        "memory.oom.group = 0",
        "cpu.max = max 100000",
        "cpu.weight = 100",
        "cpuset.cpus = ",
        "cpuset.mems = ",
        "io.max = 8:0 rbps=max",
        "io.weight = default 100",
        "io.bfq.weight = 8:0 default",
    ] {
        assert!(v2.iter().any(|known| known == line), "{line} of {v2:?}");
    }
}

#[test]
fn a_change_of_disks_keeps_those_that_are_still_named() {
    let io = |device: &str, rate| IoLimit { device: device.into(), read_bytes_per_second: rate, weight: Some(5), ..IoLimit::default() };
    let from = Limits { io: vec![io("/dev/sda", Some(1)), io("/dev/sdb", Some(2))], ..Limits::default() };
    let to = Limits { io: vec![IoLimit { weight: None, ..io("/dev/sdb", Some(3)) }], ..Limits::default() };
    let change =
        change(Asked { limits: &from, disks: &[Some(SDA), Some(SDB)] }, Asked { limits: &to, disks: &[Some(SDB)] }, &cgroup(Version::V2));
    let lines = lines(&change, Version::V2);
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("io.max")).collect::<Vec<_>>(),
        ["io.max = 8:0 rbps=max", "io.max = 8:16 rbps=3"]
    );
    let weights: Vec<_> = lines.iter().filter(|line| line.starts_with("io.weight")).collect();
    assert_eq!(weights, ["io.weight = 8:0 default", "io.weight = 8:16 default"]);
}

#[test]
fn swap_is_kept_on_top_of_whatever_memory_becomes() {
    let limits = |memory: u64, swap| Limits { memory_bytes: Some(memory << 20), memory_swap_bytes: swap, ..Limits::default() };
    let of = |from: &Limits, to: &Limits| {
        lines(&change(Asked { limits: from, disks: &[] }, Asked { limits: to, disks: &[] }, &cgroup(Version::V1)), Version::V1)
    };
    let both = of(&limits(1, Some(1 << 20)), &limits(2, Some(1 << 20)));
    assert_eq!(both, ["memory.limit_in_bytes = 2097152", "memory.memsw.limit_in_bytes = 3145728"]);
    let none = of(&limits(1, Some(1 << 20)), &limits(2, None));
    assert_eq!(none, ["memory.limit_in_bytes = 2097152", "memory.memsw.limit_in_bytes = -1"]);
}

#[test]
fn two_names_of_one_disk_are_refused() {
    let io = |device: &str| IoLimit { device: device.into(), ..IoLimit::default() };
    let limits = Limits { io: vec![io("/dev/sda"), io("/srv")], ..Limits::default() };
    assert_eq!(check_disks(&limits, &[SDA, SDB]), Ok(()));
    let refused = check_disks(&limits, &[SDA, SDA]).unwrap_err();
    assert_eq!(refused.to_string(), "limits.io[1].device: is the same disk (8:0) as /dev/sda, of limits.io[0]");
}

#[test]
fn a_refused_write_is_told_by_the_limit_that_it_was() {
    let of = |file: &str| {
        let error =
            belljar_linux::Error::new("write", format!("5 to /sys/fs/cgroup/memory/b/1/{file}, where 9 are used"), rustix::io::Errno::BUSY);
        field_of(&error)
    };
    assert_eq!(of("memory.limit_in_bytes"), Some("limits.memory_bytes".to_owned()));
    assert_eq!(of("memory.memsw.limit_in_bytes"), Some("limits.memory_swap_bytes".to_owned()));
    assert_eq!(of("cpu.max.burst"), Some("limits.cpu_burst_usec".to_owned()));
    assert_eq!(of("cpu.max"), Some("limits.cpus".to_owned()));
    assert_eq!(of("io.max"), Some("limits.io".to_owned()));
    assert_eq!(of("hugetlb.2MB.max"), Some("limits.hugetlb".to_owned()));
    assert_eq!(of("freezer.state"), None);
}
