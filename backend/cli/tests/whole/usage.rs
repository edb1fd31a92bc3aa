//! What a container uses, as it is told: it moves with what the container does, names the kernel's files, and ends with it.

use std::path::Path;

use belljar_testbed::wait_until;
use serde_json::{Value, json};

#[test]
fn what_a_container_uses_is_told_from_the_kernels_files_until_it_ends() {
    let Some(server) = crate::server() else { return };
    let script = "head -c 1M /dev/zero > /tmp/file; while :; do :; done";
    let limits = json!({"memory_bytes": 64 << 20, "pids": 16, "cpus": 0.2});
    server.create(&json!({"image": "host", "name": "busy", "command": ["sh", "-c", script], "limits": limits}));
    let usage = || -> Value { server.api().get("/api/v1/containers/busy/usage").expect(200).json() };

    let first = usage();
    assert_eq!(
        (&first["memory_bytes_max"], &first["pids_max"], &first["cpus_max"]),
        (&json!(64 << 20), &json!(16), &json!(0.2)),
        "{first}"
    );
    let held =
        wait_until("its quota holds it back", || Some(usage()).filter(|usage| usage["cpu_throttled_periods_total"].as_u64() > Some(2)));
    for field in ["cpu_usec_total", "cpu_periods_total", "cpu_throttled_usec_total"] {
        assert!(held[field].as_u64() > first[field].as_u64(), "{field}: {first} {held}");
    }
    let known = ["cpu_user_usec_total", "memory_bytes", "memory_working_set_bytes", "memory_anonymous_bytes", "memory_limit_hits_total"];
    let also = ["oom_kills_total", "pids", "pids_limit_hits_total", "network_rx_bytes"];
    for field in known.into_iter().chain(also) {
        assert!(held[field].is_u64(), "{field}: {held}");
        let source = held["sources"][field].as_str().unwrap_or_else(|| panic!("{field} has a source: {held}"));
        let path = source.split(" - ").next().and_then(|source| source.split('#').next()).unwrap_or_default();
        assert!(Path::new(path).exists(), "{field}: {source}");
    }
    assert_eq!(held["network"][0]["name"], "lo", "{held}");

    let files = server.api().get("/api/v1/containers/busy/cgroup").expect(200).json();
    let all: Vec<&Value> =
        files["controllers"].as_array().into_iter().flatten().filter_map(|one| one["files"].as_array()).flatten().collect();
    let max = all.iter().find(|file| file["name"] == "pids.max").expect("a file as the kernel gives it");
    assert_eq!(max["content"], "16\n");

    server.act("busy", "kill");
    server.wait_for_state("busy", "stopped");
    let after = usage();
    assert!(after["cpu_usec_total"].is_null() && after["network"].is_null(), "{after}");
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("descriptors").flatten();
    let leftover = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).filter(|path| path.starts_with("/sys/fs/cgroup")).count();
    assert!(leftover <= 32, "what is open of cgroups is the lock of the instance alone, not {leftover}");
}
