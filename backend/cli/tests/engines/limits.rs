//! Limits, as the kernel has them and as the engine tells them, and what comes of one that is met.

use belljar_testbed::wait_until;

use crate::engine::{Engine, Kind};
use crate::under_both;
use belljar_testbed::place::Place;

under_both!(
    limits_are_in_the_kernel,
    limits_are_changed_while_it_runs,
    what_takes_too_much_memory_is_killed_and_said_to_be,
    what_forks_too_much_is_refused,
    processes_are_listed,
    figures_are_told,
    what_is_executed_later_is_under_the_same_limits,
);

/// A limit of a running container: where version 1 and version 2 keep it.
struct Limit(&'static str, &'static str, &'static str);

const MEMORY: Limit = Limit("memory", "memory.limit_in_bytes", "memory.max");
const RESERVATION: Limit = Limit("memory", "memory.soft_limit_in_bytes", "memory.low");
const PIDS: Limit = Limit("pids", "pids.max", "pids.max");
const QUOTA: Limit = Limit("cpu", "cpu.cfs_quota_us", "cpu.max");
const SHARES: Limit = Limit("cpu", "cpu.shares", "cpu.weight");
const CPUS: Limit = Limit("cpuset", "cpuset.cpus", "cpuset.cpus");

fn limit(engine: &Engine, name: &str, Limit(controller, first, second): Limit) -> String {
    let pid = engine.pid(name);
    if Place::has_version_1() {
        return engine.place.cgroup_file(&pid, controller, first);
    }
    let found = engine.place.cgroup_file(&pid, "", second);
    if controller == "cpu" && second == "cpu.max" { found.split(' ').next().unwrap_or_default().to_owned() } else { found }
}

fn limits_are_in_the_kernel(engine: &Engine) {
    let flags = ["--memory=64m", "--memory-reservation=32m", "--pids-limit=77", "--cpus=0.5", "--cpu-shares=512", "--cpuset-cpus=0"];
    engine.start_script("one", &flags, "sleep 1d");
    assert_eq!(limit(engine, "one", MEMORY), "67108864");
    assert_eq!(limit(engine, "one", RESERVATION), "33554432");
    assert_eq!(limit(engine, "one", PIDS), "77");
    assert_eq!(limit(engine, "one", QUOTA), "50000");
    assert_eq!(limit(engine, "one", CPUS), "0");
    if Place::has_version_1() {
        assert_eq!(limit(engine, "one", SHARES), "512");
    }
}

fn limits_are_changed_while_it_runs(engine: &Engine) {
    engine.start_script("one", &["--memory=64m", "--cpu-shares=512"], "sleep 1d");
    match engine.kind {
        // This version changes no other limits.
        Kind::Podman => engine.call(&["update", "--memory=96m", "--cpu-shares=256", "one"]),
        Kind::Docker => engine.call(&["update", "--memory=96m", "--memory-swap=192m", "--cpu-shares=256", "--pids-limit=33", "one"]),
    };
    assert_eq!(limit(engine, "one", MEMORY), (96 << 20).to_string());
    if Place::has_version_1() {
        assert_eq!(limit(engine, "one", SHARES), "256");
    }
    if engine.kind == Kind::Docker {
        assert_eq!(limit(engine, "one", PIDS), "33");
        assert_eq!(engine.inspect("one")["HostConfig"]["Memory"], 96 << 20);
    }
    let narrow = engine.output(&["update", "--memory=1k", "one"]);
    assert!(!narrow.status.success(), "{narrow:?}");
}

fn what_takes_too_much_memory_is_killed_and_said_to_be(engine: &Engine) {
    // Engines watch only a little after the start, and the end of the first process reaches them by another way.
    let script = "while ! test -e /tmp/go; do sleep 0.1; done; tail /dev/zero; status=$?; sleep 0.5; exit $status";
    engine.start_script("one", &["--memory=32m", "--memory-swap=32m"], script);
    engine.call(&["exec", "one", "touch", "/tmp/go"]);
    assert_eq!(engine.call(&["wait", "one"]), "137");
    match engine.kind {
        // conmon drops a file named so where podman stood, and this version of podman looks for it elsewhere.
        Kind::Podman => assert!(engine.place.path("oom").exists()),
        Kind::Docker => assert_eq!(engine.inspect("one")["State"]["OOMKilled"], true),
    }
}

fn what_forks_too_much_is_refused(engine: &Engine) {
    let output = engine.run_output(&["--rm", "--pids-limit=8"], &["sh", "-c", "for n in 1 2 3 4 5 6 7 8 9; do sleep 9 & done"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("fork"), "{said}");
}

fn processes_are_listed(engine: &Engine) {
    engine.start_script("one", &[], "sleep 1000 & exec sleep 2000");
    wait_until("both are there", || {
        let listed = engine.call(&["top", "one"]);
        (listed.contains("sleep 1000") && listed.contains("sleep 2000")).then_some(())
    });
}

fn figures_are_told(engine: &Engine) {
    engine.start_script("one", &["--memory=64m"], "while :; do :; done");
    let format = "{{json .}}";
    let told = wait_until("it has used its processor", || {
        let told = engine.call(&["stats", "--no-stream", "--no-trunc", "--format", format, "one"]);
        let told: serde_json::Value = serde_json::from_str(&told).expect("stats writes JSON");
        let told = if told.is_array() { told[0].clone() } else { told };
        let percent = told.get("CPUPerc").or_else(|| told.get("cpu_percent"))?.as_str()?.to_owned();
        (percent.trim_end_matches('%').parse::<f64>().ok()? > 1.0).then_some(told)
    });
    let text = told.to_string();
    assert!(text.contains("64MiB") || text.contains("67.11MB") || text.contains("67108864"), "{text}");
}

fn what_is_executed_later_is_under_the_same_limits(engine: &Engine) {
    engine.start_script("one", &["--pids-limit=6"], "sleep 1d");
    let output = engine.output(&["exec", "one", "sh", "-c", "for n in 1 2 3 4 5 6 7 8; do sleep 9 & done 2>&1"]);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("fork"), "{said}");
}
