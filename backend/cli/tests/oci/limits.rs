//! Limits: what the description asks for stands in the kernel's files, and holds.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::bed::{Bed, Kind, Runtime};
use crate::differences::Difference;

sentences! {
    memory_limits_stand_in_the_cgroup, memory_beyond_the_limit_ends_the_process, cpu_limits_stand_in_the_cgroup, cpusets_stand_in_the_cgroup,
    process_limits_stand_and_hold, blkio_limits_stand_in_the_cgroup, the_cgroup_has_the_name_that_was_asked_for, a_container_without_a_name_has_a_cgroup,
    the_first_process_is_in_every_cgroup, hugepage_limits_stand_in_the_cgroup, unlimited_is_a_value, cgroups_are_removed_with_their_children,
    memory_of_the_kernel_is_without_effect_and_that_is_said, a_limit_that_the_kernel_refuses_is_an_error, a_cgroup_that_leaves_the_root_is_refused, the_oom_count_is_told,
}

/// Whether this host has the controllers on version 1, whose files differ for more than memory and pids.
fn is_version_1(controller: &str) -> bool {
    let there = Path::new("/sys/fs/cgroup").join(controller).exists();
    if !there {
        belljar_testbed::skip(&format!("the controller {controller} on version 1"));
    }
    there
}

fn resources(bed: &Bed, kind: &str, value: serde_json::Value) {
    bed.configure(|config| config["linux"]["resources"][kind] = value);
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

const EAT: &str = "head -c 200m /dev/zero | tail > /dev/null; echo status $?";

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
    if !is_version_1("cpu") {
        return;
    }
    let bed = Bed::new(runtime);
    resources(&bed, "cpu", json!({"shares": 512, "quota": 25000, "period": 50000}));
    bed.sleeping();
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
    if !is_version_1("blkio") {
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
    for line in cgroups.lines().filter(|line| !line.starts_with("0::") && !line.contains("name=")) {
        assert!(line.ends_with(bed.id()), "{cgroups}");
    }
}

fn hugepage_limits_stand_in_the_cgroup(runtime: &Runtime) {
    if !is_version_1("hugetlb") {
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
    assert!(!Path::new(&format!("/sys/fs/{}", bed.id())).exists() && !Path::new(&format!("/{}", bed.id())).exists(), "{said:?}");
    bed.assert_nothing_left();
}
