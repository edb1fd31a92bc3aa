//! What is written for what is asked, as tables of files and values for v1, v2 and both.

use super::*;
use crate::cgroup::{Hierarchies, Hierarchy};

const EVERY_V1: [&str; 9] = ["memory", "cpu", "cpuset", "pids", "blkio", "hugetlb", "net_cls", "net_prio", "rdma"];
const EVERY_V2: [&str; 7] = ["memory", "cpu", "cpuset", "pids", "io", "hugetlb", "rdma"];

fn hierarchy(version: Version, point: &str, controllers: &[&str]) -> Hierarchy {
    Hierarchy { version, point: point.into(), controllers: controllers.iter().map(|name| (*name).to_owned()).collect() }
}

fn host(version: Version) -> Hierarchies {
    let controllers = if version == Version::V1 { &EVERY_V1[..] } else { &EVERY_V2 };
    Hierarchies::of_list(vec![hierarchy(version, "/cg", controllers)])
}

fn resources(text: &str) -> Resources {
    serde_json::from_str(text).unwrap()
}

fn on(hierarchies: &Hierarchies, resources: &Resources) -> std::result::Result<Vec<String>, String> {
    let list = writes(resources, &Cgroup::at(hierarchies, "b/1")).map_err(|invalid| invalid.to_string())?;
    let line = |write: &Write| match &write.otherwise {
        Otherwise::Refused => format!("{} = {}", write.file, write.value),
        Otherwise::Fine => format!("{} = {} (or nothing)", write.file, write.value),
        Otherwise::Instead { file, value } => format!("{} = {} (or {file} = {value})", write.file, write.value),
        Otherwise::Listed(list) => format!("{} = {} (or {list})", write.file, write.value.trim()),
    };
    Ok(list.iter().map(line).collect())
}

/// Both versions' lines for one document.
fn both(text: &str) -> (Vec<String>, Vec<String>) {
    let resources = resources(text);
    (on(&host(Version::V1), &resources).unwrap(), on(&host(Version::V2), &resources).unwrap())
}

fn refused(version: Version, text: &str) -> String {
    on(&host(version), &resources(text)).unwrap_err()
}

#[test]
fn a_limit_without_its_controller_is_refused_by_name() {
    let refused = on(&Hierarchies::default(), &resources(r#"{"pids": {"limit": 9}}"#)).unwrap_err();
    assert_eq!(refused, "resources.pids.limit: cannot be enforced: this host has no pids controller");
}

#[test]
fn what_is_0_is_not_asked() {
    let zeros = r#"{"memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 9, "kernelTCP": 0, "disableOOMKiller": false,
        "useHierarchy": true}, "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "", "mems": ""},
        "pids": {"limit": 0}, "blockIO": {"weight": 0, "leafWeight": 0}, "network": {"classID": 0}}"#;
    assert_eq!(on(&Hierarchies::default(), &resources(zeros)).unwrap(), Vec::<String>::new());
}

#[test]
fn swap_is_counted_with_memory_on_v1_and_beside_it_on_v2() {
    let (v1, v2) = both(r#"{"memory": {"limit": 1000, "swap": 1000}}"#);
    assert_eq!(v1, ["memory.limit_in_bytes = 1000", "memory.memsw.limit_in_bytes = 1000"]);
    assert_eq!(v2, ["memory.max = 1000", "memory.swap.max = 0 (or nothing)"]);
    let (v1, v2) = both(r#"{"memory": {"limit": 1000, "swap": -1}}"#);
    assert_eq!(v1, ["memory.limit_in_bytes = 1000", "memory.memsw.limit_in_bytes = -1 (or nothing)"]);
    assert_eq!(v2, ["memory.max = 1000", "memory.swap.max = max (or nothing)"]);
    let (v1, v2) = both(r#"{"memory": {"limit": -1}}"#);
    assert_eq!(v1, ["memory.limit_in_bytes = -1", "memory.memsw.limit_in_bytes = -1 (or nothing)"]);
    assert_eq!(v2, ["memory.max = max", "memory.swap.max = max (or nothing)"]);
    for version in [Version::V1, Version::V2] {
        let less = refused(version, r#"{"memory": {"limit": 1000, "swap": 999}}"#);
        assert_eq!(less, "resources.memory.swap: counts memory and swap together, so it cannot be less than memory.limit");
        assert!(refused(version, r#"{"memory": {"swap": 999}}"#).starts_with("resources.memory.swap: needs memory.limit"));
        assert!(refused(version, r#"{"memory": {"limit": -1, "swap": 999}}"#).starts_with("resources.memory.swap: needs a memory.limit"));
    }
}

#[test]
fn the_rest_of_memory() {
    let text = r#"{"memory": {"reservation": 500, "kernelTCP": 7, "swappiness": 60, "disableOOMKiller": true}}"#;
    let v1 = ["memory.soft_limit_in_bytes = 500", "memory.kmem.tcp.limit_in_bytes = 7", "memory.swappiness = 60", "memory.oom_control = 1"];
    assert_eq!(on(&host(Version::V1), &resources(text)).unwrap(), v1);
    assert_eq!(both(r#"{"memory": {"reservation": -1}}"#).1, ["memory.low = max"]);
    let none = |field: &str| format!("resources.memory.{field}: cannot be enforced: cgroup v2 has no such thing in memory");
    assert_eq!(refused(Version::V2, r#"{"memory": {"kernelTCP": 7}}"#), none("kernelTCP"));
    assert_eq!(refused(Version::V2, r#"{"memory": {"swappiness": 0}}"#), none("swappiness"));
    assert_eq!(refused(Version::V2, r#"{"memory": {"disableOOMKiller": true}}"#), none("disableOOMKiller"));
    assert!(refused(Version::V1, r#"{"memory": {"swappiness": 101}}"#).contains("between 0 and 100"));
}

#[test]
fn processors_in_order() {
    let (v1, v2) = both(r#"{"cpu": {"shares": 1024, "quota": 50000, "period": 100000, "burst": 1000, "cpus": "0-1", "mems": "0"}}"#);
    let files = ["cpu.shares = 1024", "cpu.cfs_period_us = 100000", "cpu.cfs_quota_us = 50000", "cpu.cfs_burst_us = 1000"];
    assert_eq!(v1[..4], files);
    assert_eq!(v1[4..], ["cpuset.cpus = 0-1", "cpuset.mems = 0"]);
    assert_eq!(v2, ["cpu.weight = 100", "cpu.max = 50000 100000", "cpu.max.burst = 1000", "cpuset.cpus = 0-1", "cpuset.mems = 0"]);
    assert_eq!(both(r#"{"cpu": {"quota": -1}}"#), (vec!["cpu.cfs_quota_us = -1".to_owned()], vec!["cpu.max = max 100000".to_owned()]));
    assert_eq!(both(r#"{"cpu": {"period": 5000}}"#), (vec!["cpu.cfs_period_us = 5000".to_owned()], vec!["cpu.max = max 5000".to_owned()]));
    assert_eq!(both(r#"{"cpu": {"idle": 1, "shares": 9}}"#).1, ["cpu.idle = 1"]);
    for shares in [1, 262_145] {
        let text = format!(r#"{{"cpu": {{"shares": {shares}}}}}"#);
        for version in [Version::V1, Version::V2] {
            assert!(refused(version, &text).starts_with("resources.cpu.shares: must be between 2 and 262144"), "{shares}");
        }
    }
    assert_eq!(both(r#"{"cpu": {"idle": 0, "shares": 2}}"#).1, ["cpu.idle = 0 (or nothing)", "cpu.weight = 1"]);
    let realtime = r#"{"cpu": {"realtimeRuntime": 950000, "realtimePeriod": 1000000}}"#;
    assert_eq!(on(&host(Version::V1), &resources(realtime)).unwrap(), ["cpu.rt_period_us = 1000000", "cpu.rt_runtime_us = 950000"]);
    assert!(refused(Version::V2, realtime).starts_with("resources.cpu.realtimePeriod: cannot be enforced"));
    assert!(refused(Version::V1, r#"{"cpu": {"cpus": "0\n1"}}"#).starts_with("resources.cpu.cpus"));
    assert!(refused(Version::V1, r#"{"cpu": {"idle": 2}}"#).starts_with("resources.cpu.idle"));
}

#[test]
fn processes_are_limited_by_the_same_word_in_both() {
    assert_eq!(both(r#"{"pids": {"limit": -1}}"#), (vec!["pids.max = max".to_owned()], vec!["pids.max = max".to_owned()]));
}

#[test]
fn disks() {
    let (v1, v2) = both(
        r#"{"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}, {"major": 8, "minor": 32, "rate": 4294967296}]}}"#,
    );
    assert_eq!(
        v1,
        [
            "blkio.bfq.weight = 500 (or blkio.weight = 500)",
            "blkio.bfq.weight_device = 8:0 10 (or blkio.weight_device = 8:0 10)",
            "blkio.throttle.read_bps_device = 8:0 600",
            "blkio.throttle.write_iops_device = 8:16 0",
            "blkio.throttle.write_iops_device = 8:32 4294967295",
        ]
    );
    assert_eq!(
        v2,
        [
            "io.bfq.weight = 500 (or io.weight = 4950)",
            "io.bfq.weight = 8:0 10 (or io.weight = 8:0 1)",
            "io.max = 8:0 rbps=600",
            "io.max = 8:16 wiops=max",
            "io.max = 8:32 wiops=4294967296",
        ]
    );
    assert_eq!(io_weight_of_weight(1000), 10_000);
    assert!(refused(Version::V1, r#"{"blockIO": {"weight": 9}}"#).starts_with("resources.blockIO.weight: must be between"));
}

#[test]
fn pages_networks_and_remote_memory() {
    let (v1, v2) =
        both(r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}], "rdma": {"mlx5": {"hcaHandles": 3, "hcaObjects": 9}}}"#);
    let rdma = "rdma.max = mlx5 hca_handle=3 hca_object=9";
    assert_eq!(v1, ["hugetlb.2MB.limit_in_bytes = 4194304", "hugetlb.2MB.rsvd.limit_in_bytes = 4194304 (or nothing)", rdma]);
    assert_eq!(v2, ["hugetlb.2MB.max = 4194304", "hugetlb.2MB.rsvd.max = 4194304 (or nothing)", rdma]);
    for size in ["", "MB", "2", "../2MB", "2MB/x", "2mb", "-2MB", "２MB"] {
        let text = serde_json::json!({"hugepageLimits": [{"pageSize": size, "limit": 1}]}).to_string();
        assert!(refused(Version::V1, &text).starts_with("resources.hugepageLimits[0].pageSize"), "{size}");
    }
    let network = r#"{"network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]}}"#;
    assert_eq!(on(&host(Version::V1), &resources(network)).unwrap(), ["net_cls.classid = 1048577", "net_prio.ifpriomap = eth0 5"]);
    assert!(refused(Version::V2, network).starts_with("resources.network.classID"));
    let two_lines = r#"{"network": {"priorities": [{"name": "eth0 1\neth1", "priority": 5}]}}"#;
    assert!(refused(Version::V1, two_lines).starts_with("resources.network.priorities[0].name"));
    assert!(refused(Version::V1, r#"{"rdma": {"a b": {"hcaHandles": 1}}}"#).starts_with("resources.rdma.a b"));
}

#[test]
fn files_of_v2_by_name_are_limits_of_controllers_that_v2_has() {
    assert_eq!(both_unified(Version::V2, "memory.high"), Ok(vec!["memory.high = 5".to_owned()]));
    let no_v2 = both_unified(Version::V1, "memory.high").unwrap_err();
    assert_eq!(no_v2, "resources.unified.memory.high: cannot be enforced: this host has no cgroup v2 hierarchy");
    for file in ["../x.y", "a/b.c", "memory", "", "cgroup.procs", "cgroup.kill", "cgroup.subtree_control", "misc.max", "memory..x"] {
        assert!(both_unified(Version::V2, file).is_err(), "{file}");
    }
    assert!(both_unified(Version::V2, "cgroup.max.depth").is_ok());
}

fn both_unified(version: Version, file: &str) -> std::result::Result<Vec<String>, String> {
    on(&host(version), &resources(&serde_json::json!({"unified": {file: "5"}}).to_string()))
}

#[test]
fn on_a_hybrid_host_each_controller_is_written_where_it_lives() {
    let hybrid = Hierarchies::of_list(vec![hierarchy(Version::V1, "/v1", &["cpu"]), hierarchy(Version::V2, "/v2", &["memory", "hugetlb"])]);
    let text = r#"{"memory": {"limit": 5}, "cpu": {"shares": 9}, "unified": {"memory.high": "3"}}"#;
    let list = writes(&resources(text), &Cgroup::at(&hybrid, "b/1")).unwrap();
    let paths: Vec<String> = list.iter().map(|write| write.path.display().to_string()).collect();
    assert_eq!(paths, ["/v2/b/1/memory.max", "/v1/b/1/cpu.shares", "/v2/b/1/memory.high"]);
    let refused = on(&hybrid, &resources(r#"{"unified": {"cpu.weight": "3"}}"#)).unwrap_err();
    assert_eq!(refused, "resources.unified.cpu.weight: cannot be enforced: cgroup v2 has no cpu controller on this host");
}

#[test]
fn a_file_that_the_kernel_does_not_have_is_not_a_lack_of_rights() {
    let Some(living) = crate::cgroup::testing::Living::new("lacking") else { return };
    let folder = &living.cgroup.parts()[0].path;
    let write =
        |absent| Write { file: "memory.memsw.none".into(), path: folder.join("memory.memsw.none"), value: "5".into(), otherwise: absent };
    let refused = write(Otherwise::Refused).apply().unwrap_err();
    assert_eq!(refused.errno, Errno::OPNOTSUPP);
    assert!(refused.subject.ends_with("memory.memsw.none, which this kernel does not have"), "{refused}");
    let refused = write(Otherwise::Instead { file: "memory.other", value: "6".into() }).apply().unwrap_err();
    assert!(refused.subject.ends_with("memory.memsw.none or memory.other, which this kernel does not have"), "{refused}");
    assert!(write(Otherwise::Fine).apply().is_ok());
}

#[test]
fn a_list_that_is_taken_away_is_what_holds_above_or_nothing_where_the_kernel_takes_that() {
    let mut resources = Resources::default();
    resources.beyond.cpus_above = Some("0-1".into());
    resources.beyond.mems_above = Some("0".into());
    assert_eq!(on(&host(Version::V1), &resources).unwrap(), ["cpuset.cpus = 0-1", "cpuset.mems = 0"]);
    assert_eq!(on(&host(Version::V2), &resources).unwrap(), ["cpuset.cpus =  (or 0-1)", "cpuset.mems =  (or 0)"]);
}
