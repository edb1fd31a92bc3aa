//! Limits: what the description asks for stands in the kernel's files, and holds.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::bed::{Bed, Kind, Runtime, is_version_2};
use crate::differences::Difference;

sentences! {
    memory_limits_stand_in_the_cgroup, memory_beyond_the_limit_ends_the_process, cpu_limits_stand_in_the_cgroup, cpusets_stand_in_the_cgroup,
    process_limits_stand_and_hold, blkio_limits_stand_in_the_cgroup, the_cgroup_has_the_name_that_was_asked_for, a_container_without_a_name_has_a_cgroup,
    the_first_process_is_in_every_cgroup, hugepage_limits_stand_in_the_cgroup, unlimited_is_a_value, cgroups_are_removed_with_their_children,
    memory_of_the_kernel_is_without_effect_and_that_is_said, a_limit_that_the_kernel_refuses_is_an_error, a_cgroup_that_leaves_the_root_is_refused, the_oom_count_is_told,
}

/// Whether this host has the controller, by either of its names.
fn has(version1: &str, version2: &str) -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let there = match &controllers {
        Ok(controllers) => controllers.split_whitespace().any(|controller| controller == version2),
        Err(_) => Path::new("/sys/fs/cgroup").join(version1).exists(),
    };
    if !there {
        belljar_testbed::skip(&format!("the controller {}", if controllers.is_ok() { version2 } else { version1 }));
    }
    there
}

fn resources(bed: &Bed, kind: &str, value: serde_json::Value) {
    bed.configure(|config| config["linux"]["resources"][kind] = value);
}

/// The weight on version 2 that these shares of version 1 become.
pub(crate) fn weight(bed: &Bed, shares: i64) -> i64 {
    let (on_the_curve, on_the_line) = match shares {
        100 => (17, 4),
        500 => (58, 19),
        512 => (59, 20),
        900 => (91, 35),
        _ => panic!("what {shares} shares become is not told here"),
    };
    if bed.differs(Difference::LinearShares) { on_the_line } else { on_the_curve }
}

fn memory_limits_stand_in_the_cgroup(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    resources(&bed, "memory", json!({"limit": 67_108_864, "reservation": 33_554_432}));
    bed.sleeping();
    assert_eq!(bed.limit(("memory", "memory.limit_in_bytes"), "memory.max"), "67108864");
    assert_eq!(bed.limit(("memory", "memory.soft_limit_in_bytes"), "memory.low"), "33554432");
}

fn memory_of_the_kernel_is_without_effect_and_that_is_said(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    resources(&bed, "memory", json!({"kernel": 12_345_678}));
    let made = bed.run("true");
    if is_version_2() && bed.differs(Difference::RefusedKernelMemory) {
        return drop(made.refused());
    }
    assert_eq!(made.code(), 0, "{made:?}");
    resources(&bed, "memory", json!({}));
    bed.sleeping();
    let changed = bed.call(&["update", "--kernel-memory", "12345678", bed.id()]);
    assert_eq!(changed.code(), 0, "{changed:?}");
    if !bed.differs(Difference::SilentKernelMemory) {
        assert!(made.err.to_lowercase().contains("kernel"), "{made:?}");
    }
    if bed.kind() == Kind::Ours {
        assert!(made.err.contains("level=warning") && made.err.contains("linux.resources.memory.kernel"), "{made:?}");
        assert!(changed.err.contains("level=warning") && changed.err.contains("memory.kernel"), "{changed:?}");
    }
}

/// One piece of memory that is read into: quick also where every instruction is slow.
const EAT: &str = "dd if=/dev/zero of=/dev/null bs=200M count=1; echo status $?";

fn memory_beyond_the_limit_ends_the_process(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    resources(&bed, "memory", json!({"limit": 33_554_432}));
    let said = bed.run(EAT);
    assert!(said.out.contains("status 137"), "{said:?}");
    bed.assert_nothing_left();
}

fn the_oom_count_is_told(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    resources(&bed, "memory", json!({"limit": 33_554_432}));
    bed.script(&format!("{EAT}; exec sleep 1000")).create().start().wait_output("status 137");
    let counts = bed.limit(("memory", "memory.oom_control"), "memory.events");
    assert!(counts.contains("oom_kill 1"), "{counts}");
    assert_eq!(bed.status(), "running", "one process of it died, not the container");
}

fn cpu_limits_stand_in_the_cgroup(runtime: &Runtime) {
    if !has("cpu", "cpu") {
        return;
    }
    let bed = Bed::new(runtime);
    resources(&bed, "cpu", json!({"shares": 512, "quota": 25000, "period": 50000}));
    bed.sleeping();
    if is_version_2() {
        assert_eq!(bed.limit(("", ""), "cpu.max"), "25000 50000");
        assert_eq!(bed.limit(("", ""), "cpu.weight"), weight(&bed, 512).to_string());
        return;
    }
    for (file, value) in [("cpu.shares", "512"), ("cpu.cfs_quota_us", "25000"), ("cpu.cfs_period_us", "50000")] {
        assert_eq!(bed.limit(("cpu", file), ""), value, "{file}");
    }
}

fn cpusets_stand_in_the_cgroup(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    resources(&bed, "cpu", json!({"cpus": "0", "mems": "0"}));
    bed.script("nproc; exec sleep 1000").create().start().wait_output("1\n");
    assert_eq!(bed.limit(("cpuset", "cpuset.cpus"), "cpuset.cpus"), "0");
    assert_eq!(bed.exec("nproc").line(), "1");
}

fn process_limits_stand_and_hold(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    resources(&bed, "pids", json!({"limit": 30}));
    bed.script("for i in $(seq 100); do sleep 1000 & done; echo unreachable").create().start();
    let errors = || fs::read_to_string(bed.path("errors")).unwrap_or_default();
    belljar_testbed::wait_until("no more processes can be made", || errors().contains("fork").then_some(()));
    assert_eq!(bed.limit(("pids", "pids.max"), "pids.max"), "30");
}

fn blkio_limits_stand_in_the_cgroup(runtime: &Runtime) {
    if !has("blkio", "io") {
        return;
    }
    let bed = Bed::new(runtime);
    let table = fs::read_to_string("/proc/partitions").unwrap();
    let disk: Vec<u32> = table.lines().nth(2).unwrap().split_whitespace().take(2).map(|number| number.parse().unwrap()).collect();
    let rate = |rate: u64| json!([{"major": disk[0], "minor": disk[1], "rate": rate}]);
    resources(
        &bed,
        "blockIO",
        json!({
            "throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
            "throttleReadIOPSDevice": rate(100), "throttleWriteIOPSDevice": rate(200),
        }),
    );
    bed.sleeping();
    if is_version_2() {
        let expected = format!("{}:{} rbps=1048576 wbps=2097152 riops=100 wiops=200", disk[0], disk[1]);
        return assert_eq!(bed.limit(("", ""), "io.max"), expected);
    }
    for (file, value) in [("read_bps", "1048576"), ("write_bps", "2097152"), ("read_iops", "100"), ("write_iops", "200")] {
        let file = format!("blkio.throttle.{file}_device");
        assert_eq!(bed.limit(("blkio", &file), ""), format!("{}:{} {value}", disk[0], disk[1]), "{file}");
    }
}

fn the_cgroup_has_the_name_that_was_asked_for(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let name = format!("/{}-outer/inner/deep", bed.id());
    bed.configure(|config| config["linux"]["cgroupsPath"] = json!(name)).sleeping();
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", bed.pid())).unwrap();
    assert!(cgroups.lines().any(|line| line.ends_with(&format!(":memory:{name}")) || line.ends_with(&format!("0::{name}"))), "{cgroups}");
}

fn a_container_without_a_name_has_a_cgroup(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
        config["linux"]["resources"]["pids"] = json!({"limit": 99});
    });
    bed.sleeping();
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", bed.pid())).unwrap();
    assert!(cgroups.contains(bed.id()), "{cgroups}");
    bed.end();
    bed.delete().ok();
    bed.assert_nothing_left();
}

fn the_first_process_is_in_every_cgroup(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", bed.pid())).unwrap();
    // A hybrid host has the second version for systemd alone.
    for line in cgroups.lines().filter(|line| is_version_2() || !line.starts_with("0::") && !line.contains("name=")) {
        assert!(line.ends_with(bed.id()), "{cgroups}");
    }
}

fn hugepage_limits_stand_in_the_cgroup(runtime: &Runtime) {
    if !has("hugetlb", "hugetlb") {
        return;
    }
    let bed = Bed::new(runtime);
    resources(&bed, "hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
    bed.sleeping();
    assert_eq!(bed.limit(("hugetlb", "hugetlb.2MB.limit_in_bytes"), "hugetlb.2MB.max"), "4194304");
}

fn unlimited_is_a_value(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    resources(&bed, "memory", json!({"limit": -1}));
    if !bed.differs(Difference::UnlimitedPids) {
        resources(&bed, "pids", json!({"limit": -1}));
        resources(&bed, "cpu", json!({"quota": -1}));
    }
    bed.sleeping();
    assert_eq!(bed.limit(("pids", "pids.max"), "pids.max"), "max");
}

fn cgroups_are_removed_with_their_children(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.without_namespace("cgroup").sleeping();
    // A nested manager (systemd, a container engine) leaves cgroups of its own.
    for cgroup in crate::bed::traces::cgroups(bed.id()) {
        fs::create_dir_all(cgroup.join("nested/deeper")).unwrap();
    }
    bed.end();
    bed.delete().ok();
    bed.assert_nothing_left();
}

fn a_limit_that_the_kernel_refuses_is_an_error(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    resources(&bed, "cpu", json!({"cpus": "4000-4001"}));
    bed.run("true").refused();
    resources(&bed, "cpu", json!({"cpus": "nonsense"}));
    let said = bed.run("true").refused();
    assert!(bed.kind() != Kind::Ours || said.contains("linux.resources.cpu.cpus"), "{said}");
    if !bed.differs(Difference::LeftCgroups) {
        bed.assert_nothing_left();
    }
}

fn a_cgroup_that_leaves_the_root_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let name = format!("/a/../../../../{}", bed.id());
    bed.configure(|config| config["linux"]["cgroupsPath"] = json!(name));
    let said = bed.run("cat /proc/self/cgroup");
    if is_version_2() && bed.differs(Difference::EscapingCgroup) {
        assert!(!said.status.success(), "{said:?}");
        return drop(fs::remove_dir(format!("/{}", bed.id())));
    }
    assert!(!Path::new(&format!("/sys/fs/{}", bed.id())).exists() && !Path::new(&format!("/{}", bed.id())).exists(), "{said:?}");
    bed.assert_nothing_left();
}
