//! What can be enforced, on trees that look like hosts.

use std::collections::BTreeMap;

use belljar_model::limits::IoLimit;

use super::*;

/// A folder that looks like a host.
struct Bed(tempfile::TempDir);

impl Bed {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn support(&self, version: Version, controllers: &[&str]) -> Vec<LimitSupport> {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        let hierarchies = Hierarchies::of_list(vec![Hierarchy { version, point: self.0.path().join("cg"), controllers }]);
        support_with(&hierarchies, "b", &self.0.path().join("sys"))
    }
}

fn of(list: &[LimitSupport], name: &str) -> String {
    match list.iter().find(|one| one.name == name) {
        Some(LimitSupport { support: Support::Yes, version, file, .. }) => format!("{} {file}", version.unwrap().as_str()),
        Some(LimitSupport { support: Support::No(because), .. }) => because.clone(),
        None => panic!("{name} is not told of"),
    }
}

const V1_FILES: [&str; 10] = [
    "memory.limit_in_bytes",
    "memory.swappiness",
    "memory.soft_limit_in_bytes",
    "cpu.cfs_quota_us",
    "cpu.shares",
    "pids.max",
    "cpuset.cpus",
    "cpuset.mems",
    "blkio.throttle.read_bps_device",
    "blkio.bfq.weight",
];

#[test]
fn a_v1_host_tells_what_it_lacks_and_where_it_would_be() {
    let bed = Bed::new();
    V1_FILES.iter().for_each(|file| bed.file(&format!("cg/b/{file}"), ""));
    bed.file("sys/block/vda/queue/scheduler", "[none] mq-deadline bfq\n");
    bed.file("sys/block/loop0/queue/scheduler", "[none] bfq\n");
    bed.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr", "");
    bed.file("sys/kernel/mm/hugepages/hugepages-1048576kB/nr", "");
    bed.file("sys/kernel/mm/hugepages/hugepages-64kB/nr", "");
    let controllers = ["memory", "cpu", "cpuset", "blkio", "hugetlb", "devices"];
    let list = bed.support(Version::V1, &controllers);
    assert_eq!(of(&list, "limits.memory_bytes"), "v1 memory.limit_in_bytes");
    let swap = "this kernel does not count swap: there is no memory.memsw.limit_in_bytes (swapaccount=1 at its start)";
    assert_eq!(of(&list, "limits.memory_swap_bytes"), swap);
    assert_eq!(of(&list, "limits.memory_high_bytes"), "only cgroup v2 has memory.high; this host's memory controller is v1");
    assert_eq!(of(&list, "limits.pids"), "this host has no pids controller");
    assert_eq!(of(&list, "limits.cpu_idle"), "this kernel has no cpu.idle");
    assert!(of(&list, "limits.io.write_bytes_per_second").starts_with("this kernel does not limit disks"));
    let weight = "io.weight needs the bfq scheduler or io.cost; no disk of this host uses bfq, and v1 has no io.cost \
        (echo bfq > /sys/block/vda/queue/scheduler)";
    assert_eq!(of(&list, "limits.io_weight"), weight);
    assert_eq!(of(&list, "limits.hugetlb.64KB"), "v1 hugetlb.64KB.limit_in_bytes");
    assert_eq!(of(&list, "limits.hugetlb.1GB"), "v1 hugetlb.1GB.limit_in_bytes");
    assert_eq!(of(&list, "devices"), "v1 devices.allow");
    bed.file("sys/block/vda/queue/scheduler", "none [bfq]\n");
    assert_eq!(of(&bed.support(Version::V1, &controllers), "limits.io_weight"), "v1 blkio.bfq.weight");
}

#[test]
fn a_v2_host_weighs_disks_by_whichever_it_uses() {
    let bed = Bed::new();
    bed.file("cg/b/io.max", "");
    bed.file("sys/block/sda/queue/scheduler", "[none] bfq\n");
    let weight = || of(&bed.support(Version::V2, &["memory", "io"]), "limits.io_weight");
    assert_eq!(weight(), "io.weight needs the bfq scheduler or io.cost; this kernel has neither");
    bed.file("cg/b/io.weight", "");
    bed.file("cg/io.cost.qos", "8:0 enable=0 ctrl=auto\n");
    let off = "io.weight needs the bfq scheduler or io.cost; no disk of this host uses either (write enable=1 to its line of io.cost.qos)";
    assert_eq!(weight(), off);
    bed.file("cg/io.cost.qos", "8:16 enable=0\n8:0 enable=1 ctrl=auto\n");
    assert_eq!(weight(), "v2 io.weight");
    bed.file("cg/b/io.bfq.weight", "");
    bed.file("sys/block/sda/queue/scheduler", "none [bfq]\n");
    assert_eq!(weight(), "v2 io.bfq.weight");
    let list = bed.support(Version::V2, &["memory", "io"]);
    assert_eq!(of(&list, "limits.io.read_bytes_per_second"), "v2 io.max");
    assert_eq!(of(&list, "limits.memory_swappiness"), "only cgroup v1 has memory.swappiness; this host's memory controller is v2");
    assert_eq!(of(&list, "limits.hugetlb"), "this host has no hugetlb controller");
    assert_eq!(of(&list, "devices"), "v2 ");
}

#[test]
fn what_cannot_be_enforced_is_refused_by_its_field_with_the_reason() {
    let bed = Bed::new();
    ["memory.max", "cpu.max", "io.max"].iter().for_each(|file| bed.file(&format!("cg/b/{file}"), ""));
    bed.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr", "");
    let list = bed.support(Version::V2, &["memory", "cpu", "io", "hugetlb"]);
    let refused = |limits: &Limits| check(limits, &Limits::default(), &list).unwrap_err().to_string();
    let weight = Limits { io_weight: Some(5), ..Limits::default() };
    let reason = "cannot be enforced: io.weight needs the bfq scheduler or io.cost; this kernel has neither";
    assert_eq!(refused(&weight), format!("limits.io_weight: {reason}"));
    assert_eq!(check(&weight, &weight, &list), Ok(()), "it is not what is asked for now");
    let io = |limit: IoLimit| Limits { io: vec![IoLimit::default(), IoLimit { device: "/dev/sda".into(), ..limit }], ..Limits::default() };
    assert_eq!(refused(&io(IoLimit { weight: Some(5), ..IoLimit::default() })), format!("limits.io[1].weight: {reason}"));
    let rate = io(IoLimit { read_bytes_per_second: Some(5), ..IoLimit::default() });
    assert_eq!(check(&rate, &Limits::default(), &list), Ok(()));
    let pages = |size: &str| Limits { hugetlb: BTreeMap::from([(size.to_owned(), 0)]), ..Limits::default() };
    let size = "limits.hugetlb.3MB: cannot be enforced: this host has no huge pages of that size, but of 2MB";
    assert_eq!(refused(&pages("3MB")), size);
    assert_eq!(check(&pages("2MB"), &Limits::default(), &list), Ok(()));
    let swap = |bytes| Limits { memory_bytes: Some(1 << 20), memory_swap_bytes: Some(bytes), ..Limits::default() };
    assert_eq!(check(&swap(0), &Limits::default(), &list), Ok(()), "a kernel without swap has none");
    assert!(refused(&swap(1)).starts_with("limits.memory_swap_bytes: cannot be enforced: this kernel does not count swap"));
    let idle = |idle| Limits { cpu_idle: Some(idle), ..Limits::default() };
    assert_eq!(check(&idle(false), &Limits::default(), &list), Ok(()));
    assert_eq!(refused(&idle(true)), "limits.cpu_idle: cannot be enforced: this kernel has no cpu.idle");
}

#[test]
fn every_field_of_limits_is_told_of() {
    let all = Limits {
        memory_bytes: Some(1),
        memory_swap_bytes: Some(1),
        memory_high_bytes: Some(1),
        memory_reservation_bytes: Some(1),
        memory_swappiness: Some(1),
        oom_group: Some(true),
        cpus: Some(1.0),
        cpu_weight: Some(1),
        cpu_burst_usec: Some(1),
        cpu_idle: Some(true),
        cpuset: Some("0".into()),
        cpuset_mems: Some("0".into()),
        pids: Some(1),
        io_weight: Some(1),
        io: vec![IoLimit {
            device: "/".into(),
            read_bytes_per_second: Some(1),
            write_bytes_per_second: Some(1),
            read_operations_per_second: Some(1),
            write_operations_per_second: Some(1),
            weight: Some(1),
        }],
        hugetlb: BTreeMap::from([("2MB".to_owned(), 1)]),
        disk_bytes: Some(1),
        disk_inodes: Some(1),
    };
    let told = asked(&all);
    assert_eq!(told.len(), 14 + 5 + 1 + 2);
    let bed = Bed::new();
    bed.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr", "");
    let mut list = bed.support(Version::V2, &["hugetlb"]);
    list.extend(crate::quota::support(Path::new("/proc")));
    for (_, name, _) in told {
        assert!(list.iter().any(|one| one.name == name), "{name}");
    }
}
