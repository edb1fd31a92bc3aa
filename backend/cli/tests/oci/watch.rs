//! What is asked of a container that runs: pause, resume, ps, list, events, update.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use belljar_testbed::process::pids;
use serde_json::{Value, json};

use crate::bed::{Bed, Runtime, Said, is_version_2};
use crate::differences::Difference;
use crate::limits::weight;

sentences! {
    pause_stops_and_resume_continues, a_second_pause_and_a_second_resume_are_refused, a_paused_container_can_be_killed,
    ps_lists_every_process, ps_tells_pids_as_json, list_shows_containers_of_this_root_only, list_tells_json_and_ids,
    events_tell_statistics, update_changes_limits_from_options, update_reads_a_document, update_reads_standard_input,
    update_refuses_what_is_not_a_limit, a_stopped_container_is_not_paused, updates_leave_other_limits,
    events_tell_that_memory_ran_out, every_limit_rises_and_falls_while_it_lives, a_refused_update_changes_nothing, an_update_keeps_devices_and_may_give_one,
}

/// Whether the container writes while it is watched. A writer who sleeps for a hundredth of a second has thirty turns in that time.
fn writes(bed: &Bed) -> bool {
    let before = bed.output();
    std::thread::sleep(Duration::from_millis(300));
    bed.output() != before
}

fn pause_stops_and_resume_continues(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script("while :; do echo x; sleep 0.01; done").create().start().wait_output("x");
    let is_seen = || belljar_testbed::wait_until("it writes while it is watched", || writes(&bed).then_some(()));
    is_seen();
    bed.call(&["pause", bed.id()]).ok();
    assert_eq!(bed.status(), "paused");
    assert!(!writes(&bed), "nothing runs");
    assert_eq!(bed.status(), "paused", "to be looked at does not wake it");
    assert!(!writes(&bed), "nothing runs");
    bed.call(&["resume", bed.id()]).ok();
    assert_eq!(bed.status(), "running");
    is_seen();
}

fn a_second_pause_and_a_second_resume_are_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    if !bed.differs(Difference::LooseResume) {
        bed.call(&["resume", bed.id()]).refused();
    }
    bed.call(&["pause", bed.id()]).ok();
    if !bed.differs(Difference::LooseResume) {
        bed.call(&["pause", bed.id()]).refused();
    }
    assert_eq!(bed.status(), "paused");
}

fn a_stopped_container_is_not_paused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping().end();
    bed.call(&["pause", bed.id()]).refused();
}

fn a_paused_container_can_be_killed(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    bed.call(&["pause", bed.id()]).ok();
    bed.call(&["delete", "--force", bed.id()]).ok();
    bed.assert_nothing_left();
}

fn of_container(bed: &Bed) -> Vec<i32> {
    let named = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroup| cgroup.contains(bed.id()));
    pids().into_iter().filter(named).collect()
}

fn ps_lists_every_process(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script("sleep 1001 & sleep 1002 & echo ready; exec sleep 1000").create().start().wait_output("ready");
    let said = bed.call(&["ps", bed.id()]).ok();
    for pid in of_container(&bed) {
        assert!(said.contains(&pid.to_string()), "{pid} is not in {said}");
    }
    if !bed.differs(Difference::PsTable) {
        assert!(said.lines().next().is_some_and(|head| head.contains("PID") && head.contains("CMD")), "{said}");
        assert!(said.contains("sleep 1001"), "{said}");
    }
}

fn ps_tells_pids_as_json(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.script("sleep 1001 & echo ready; exec sleep 1000").create().start().wait_output("ready");
    let said = bed.call(&["ps", "--format", "json", bed.id()]).ok();
    let mut listed: Vec<i32> = serde_json::from_str(&said).expect("a list of numbers");
    listed.sort_unstable();
    let mut expected = of_container(&bed);
    expected.sort_unstable();
    assert_eq!(listed, expected);
    bed.call(&["ps", "--format", "xml", bed.id()]).refused();
}

fn list_shows_containers_of_this_root_only(runtime: &Runtime) {
    let (bed, other) = (Bed::new(runtime), Bed::new(runtime));
    bed.sleeping();
    other.sleeping();
    let said = bed.call(&["list"]).ok();
    let line = said.lines().find(|line| line.starts_with(bed.id())).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("running") && line.contains(&bed.pid().to_string()), "{said}");
    assert!(said.lines().next().is_some_and(|head| ["PID", "STATUS", "BUNDLE"].iter().all(|word| head.contains(word))), "{said}");
    assert!(!said.contains(other.id()), "{said}");
}

fn list_tells_json_and_ids(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    assert_eq!(bed.call(&["list", "--quiet"]).ok(), "", "nothing yet, not even the folder");
    bed.sleeping();
    assert_eq!(bed.call(&["list", "--quiet"]).line(), bed.id());
    let said: Value = serde_json::from_str(&bed.call(&["list", "--format", "json"]).ok()).expect("JSON");
    assert_eq!((&said[0]["id"], &said[0]["status"], &said[0]["pid"]), (&json!(bed.id()), &json!("running"), &json!(bed.pid())));
}

fn events_tell_statistics(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if bed.differs(Difference::NoEvents) {
        return;
    }
    bed.sleeping();
    let said: Value = serde_json::from_str(&bed.call(&["events", "--stats", bed.id()]).ok()).expect("JSON");
    assert_eq!((&said["type"], &said["id"]), (&json!("stats"), &json!(bed.id())));
    assert!(said["data"]["memory"]["usage"]["usage"].as_u64().is_some_and(|bytes| bytes > 0), "{said}");
    assert_eq!(said["data"]["pids"]["current"], 1);
    assert!(said["data"]["cpu"]["usage"]["total"].as_u64().is_some_and(|time| time > 0), "{said}");
}

/// The container's limit of memory, in bytes.
fn memory(bed: &Bed) -> String {
    bed.limit(("memory", "memory.limit_in_bytes"), "memory.max")
}

fn update_changes_limits_from_options(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let quota = ["--cpu-period", "50000", "--cpu-quota", "25000", "--cpu-share", "512"];
    let update = [&["update", "--memory", "67108864", "--pids-limit", "77"], &quota[..], &[bed.id()]].concat();
    bed.call(&update).ok();
    assert_eq!(memory(&bed), "67108864");
    assert_eq!(bed.limit(("pids", "pids.max"), "pids.max"), "77");
    if is_version_2() {
        assert_eq!(bed.limit(("", ""), "cpu.max"), "25000 50000");
        assert_eq!(bed.limit(("", ""), "cpu.weight"), weight(&bed, 512).to_string());
    } else if fs::exists("/sys/fs/cgroup/cpu").unwrap() {
        assert_eq!(bed.limit(("cpu", "cpu.cfs_quota_us"), ""), "25000");
        assert_eq!(bed.limit(("cpu", "cpu.cfs_period_us"), ""), "50000");
        assert_eq!(bed.limit(("cpu", "cpu.shares"), ""), "512");
    }
}

fn update_reads_a_document(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    fs::write(bed.path("resources"), json!({"memory": {"limit": 73_400_320}, "pids": {"limit": 55}}).to_string()).unwrap();
    bed.call(&["update", "--resources", bed.path("resources").to_str().unwrap(), bed.id()]).ok();
    assert_eq!((memory(&bed).as_str(), bed.limit(("pids", "pids.max"), "pids.max").as_str()), ("73400320", "55"));
}

fn update_reads_standard_input(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let mut command = bed.command(&["update", "--resources", "-", bed.id()]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the runtime starts");
    child.stdin.take().unwrap().write_all(json!({"memory": {"limit": 75_497_472}}).to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(memory(&bed), "75497472");
}

fn update_refuses_what_is_not_a_limit(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["linux"]["resources"]["memory"] = json!({"limit": 67_108_864})).sleeping();
    assert!(!bed.call(&["update", "--memory", "lots", bed.id()]).status.success() || bed.differs(Difference::LooseNumbers));
    fs::write(bed.path("resources"), "{\"memory\": 5}").unwrap();
    let document = bed.path("resources");
    assert!(
        !bed.call(&["update", "--resources", document.to_str().unwrap(), bed.id()]).status.success()
            || bed.differs(Difference::LooseNumbers)
    );
    let said: Said = bed.call(&["update", "--resources", "/no/such/document", bed.id()]);
    said.refused();
    assert_eq!(memory(&bed), "67108864");
}

fn updates_leave_other_limits(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 67_108_864});
        config["linux"]["resources"]["pids"] = json!({"limit": 66});
    });
    bed.sleeping();
    bed.call(&["update", "--pids-limit", "44", bed.id()]).ok();
    assert_eq!((memory(&bed).as_str(), bed.limit(("pids", "pids.max"), "pids.max").as_str()), ("67108864", "44"));
}

fn events_tell_that_memory_ran_out(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if bed.differs(Difference::NoEvents) {
        return;
    }
    bed.configure(|config| config["linux"]["resources"]["memory"] = json!({"limit": 33_554_432}));
    bed.script("read go < /fifo; dd if=/dev/zero of=/dev/null bs=200M count=1; exec sleep 1000");
    nix::unistd::mkfifo(&bed.root("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    bed.create().start();
    let told = fs::File::create(bed.path("events")).unwrap();
    let mut watcher = bed.command(&["events", "--interval", "100ms", bed.id()]).stdout(told).spawn().expect("the runtime starts");
    let lines = || fs::read_to_string(bed.path("events")).unwrap_or_default();
    // runc arms its watch beside its first lines, not before them.
    belljar_testbed::wait_until("it watches", || (lines().matches("\"stats\"").count() > 4).then_some(()));
    fs::write(bed.root("fifo"), "go\n").unwrap();
    let oom = || lines().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| line["type"] == "oom");
    let told = belljar_testbed::wait_until("it is told", oom);
    assert_eq!(told, json!({"type": "oom", "id": bed.id()}));
    // The shell that waits may be killed as well, while the kernel still gathers what the first victim had.
    bed.call(&["delete", "--force", bed.id()]).ok();
    belljar_testbed::wait_until("nothing more is to come", || watcher.try_wait().unwrap());
}

fn update_by(bed: &Bed, document: &Value) -> Said {
    fs::write(bed.path("resources"), document.to_string()).unwrap();
    bed.call(&["update", "--resources", bed.path("resources").to_str().unwrap(), bed.id()])
}

fn every_limit_rises_and_falls_while_it_lives(runtime: &Runtime) {
    if !is_version_2() && !fs::exists("/sys/fs/cgroup/cpu").unwrap() {
        return belljar_testbed::skip("the controller cpu");
    }
    let bed = Bed::new(runtime);
    bed.sleeping();
    for (memory, swap, quota, pids, cpus) in [(64, 96, 50_000, 40, "0"), (256, 512, 90_000, 400, "0-1"), (16, 16, 10_000, 20, "1")] {
        let document = json!({
            "memory": {"limit": memory << 20, "swap": swap << 20, "reservation": memory << 19},
            "cpu": {"quota": quota, "period": 100_000, "shares": quota / 100, "cpus": cpus, "mems": "0"},
            "pids": {"limit": pids},
        });
        update_by(&bed, &document).ok();
        // Version 2 counts swap alone, and has a weight for shares.
        let (swap, shares) = match is_version_2() {
            true => (swap - memory, weight(&bed, quota / 100)),
            false => (swap, quota / 100),
        };
        let expected = [memory << 20, swap << 20, memory << 19, shares, pids].map(|number: i64| number.to_string());
        let found = [
            (("memory", "memory.limit_in_bytes"), "memory.max"),
            (("memory", "memory.memsw.limit_in_bytes"), "memory.swap.max"),
            (("memory", "memory.soft_limit_in_bytes"), "memory.low"),
            (("cpu", "cpu.shares"), "cpu.weight"),
            (("pids", "pids.max"), "pids.max"),
        ];
        assert_eq!(found.map(|(version1, version2)| bed.limit(version1, version2)), expected);
        assert_eq!(bed.limit(("cpuset", "cpuset.cpus"), "cpuset.cpus"), cpus);
        let time = if is_version_2() { format!("{quota} 100000") } else { quota.to_string() };
        assert_eq!(bed.limit(("cpu", "cpu.cfs_quota_us"), "cpu.max"), time);
    }
}

fn a_refused_update_changes_nothing(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 67_108_864});
        config["linux"]["resources"]["pids"] = json!({"limit": 66});
    });
    bed.sleeping();
    update_by(&bed, &json!({"memory": {"limit": 134_217_728}, "pids": {"limit": 99}, "cpu": {"cpus": "4000"}})).refused();
    if !bed.differs(Difference::HalfUpdates) {
        assert_eq!((memory(&bed).as_str(), bed.limit(("pids", "pids.max"), "pids.max").as_str()), ("67108864", "66"));
    }
}

fn an_update_keeps_devices_and_may_give_one(runtime: &Runtime) {
    let node = "rm -f /tmp/fuse; mknod /tmp/fuse c 10 229 && (: < /tmp/fuse) 2> /dev/null && echo opened || echo refused; : < /dev/zero";
    let bed = Bed::new(runtime);
    bed.sleeping();
    bed.call(&["update", "--memory", "67108864", bed.id()]).ok();
    assert_eq!(bed.exec(node).line(), "refused");
    if !bed.differs(Difference::NoDeviceUpdates) {
        update_by(&bed, &json!({"devices": [{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rm"}]})).ok();
        assert_eq!(bed.exec(node).line(), "opened");
    }
}
