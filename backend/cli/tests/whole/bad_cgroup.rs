//! Cgroups that change underneath: folders that somebody removes, a controller that goes, a container that makes processes all
//! the time. What cannot be known is unknown, never 0; and whatever happened, a container can be stopped and deleted.

use std::fs;
use std::path::{Path, PathBuf};

use belljar_testbed::traces::{cgroup_processes, cgroups, hierarchies};
use belljar_testbed::{Server, process, skip, wait_until};
use serde_json::{Value, json};

fn usage(server: &Server, name: &str) -> Value {
    server.api().get(&format!("/api/v1/containers/{name}/usage")).expect(200).json()
}

fn pid(server: &Server, name: &str) -> i32 {
    i32::try_from(server.container(name)["pid"].as_i64().expect("it runs")).expect("a pid")
}

/// What a person can look at, which must never fail because of a cgroup.
#[track_caller]
fn assert_looked_at(server: &Server, name: &str) {
    for path in ["", "/usage", "/processes", "/diagnosis", "/events"] {
        server.api().get(&format!("/api/v1/containers/{name}{path}")).expect(200);
    }
    for path in ["", "/cgroup", "/namespaces", "/overlay"] {
        server.api().get(&format!("/containers/{name}{path}")).expect(200);
    }
    server.api().get("/api/v1/containers").expect(200);
    server.api().get("/containers").expect(200);
}

/// Takes a container's processes out of its cgroups, as root can, and removes the folders.
fn remove_underneath(server: &Server) {
    let root =
        |folder: &Path| hierarchies().into_iter().filter(|point| folder.starts_with(point)).max_by_key(|point| point.as_os_str().len());
    let folders = cgroups(server.instance());
    assert!(!folders.is_empty());
    wait_until("every folder is gone", || {
        for folder in folders.iter().rev() {
            let root = root(folder).expect("a folder of a hierarchy");
            for pid in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
                let _it_may_have_ended = fs::write(root.join("cgroup.procs"), pid);
            }
            let _there_is_somebody_still = fs::remove_dir(folder);
        }
        folders.iter().all(|folder| !folder.exists()).then_some(())
    });
}

#[test]
fn a_container_whose_cgroup_is_removed_underneath_is_unknown_and_can_be_stopped_started_and_deleted() {
    let Some(server) = crate::server() else { return };
    let before = server.traces();
    for (name, ended_by) in [("stopped", "stop?grace_ms=300"), ("killed", "kill")] {
        server.run_script(name, "exec sleep 1d");
        wait_until("it is measured", || usage(&server, name)["memory_bytes"].as_u64());
        let first = pid(&server, name);
        remove_underneath(&server);
        assert_eq!(server.container(name)["state"], "running");
        let unknown = usage(&server, name);
        assert!(unknown["memory_bytes"].is_null() && unknown["pids"].is_null(), "{unknown}");
        assert_looked_at(&server, name);
        let ran = server.api().post_json(&format!("/api/v1/containers/{name}/exec"), &json!({"command": ["true"]}));
        assert!(ran.status < 500 || ran.header("content-type") == "application/problem+json", "{}", ran.text());
        server.act(name, ended_by);
        server.wait_for_state(name, "stopped");
        assert!(!process::is_alive(first));
        server.act(name, "start");
        wait_until("it is measured again", || usage(&server, name)["memory_bytes"].as_u64());
        server.api().delete(&format!("/api/v1/containers/{name}?force=true")).expect(204);
    }
    server.assert_nothing_left(&before);
}

/// The instance's folder in the version 2, where it hands this controller down.
fn handed_down(server: &Server, controller: &str) -> Option<PathBuf> {
    let folders = hierarchies().into_iter().map(|point| point.join(server.instance()));
    let hands = |folder: &PathBuf| {
        let down = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
        down.split_whitespace().any(|word| word == controller)
    };
    folders.into_iter().find(hands)
}

#[test]
fn a_controller_that_goes_takes_its_figures_with_it_and_comes_back_with_the_next_start() {
    let Some(server) = crate::server() else { return };
    server.create(&json!({"image": "host", "name": "kept", "command": ["sleep", "1d"], "limits": {"memory_bytes": 64 << 20}}));
    let Some(folder) = handed_down(&server, "memory") else { return skip("the controller memory in version 2") };
    wait_until("it is measured", || usage(&server, "kept")["memory_bytes"].as_u64());
    fs::write(folder.join("cgroup.subtree_control"), "-memory").expect("no container hands it down");
    let without = usage(&server, "kept");
    assert!(without["memory_bytes"].is_null() && without["pids"] == 1 && without["cpu_usec_total"].is_u64(), "{without}");
    assert_eq!(server.container("kept")["state"], "running");
    assert_looked_at(&server, "kept");
    // The next one that starts needs it.
    server.create(&json!({"image": "host", "name": "next", "command": ["sleep", "1d"], "limits": {"memory_bytes": 64 << 20}}));
    for name in ["next", "kept"] {
        wait_until("it is measured again", || usage(&server, name)["memory_bytes"].as_u64());
        server.api().delete(&format!("/api/v1/containers/{name}?force=true")).expect(204);
    }
}

#[test]
fn a_container_that_forks_all_the_time_is_paused_resumed_and_ended_whole() {
    let Some(server) = crate::server() else { return };
    let before = server.traces();
    let bomb = "while :; do (while :; do sleep 1d & done) 2>/dev/null; done";
    for (name, ended_by) in [("paused", "pause"), ("killed", "kill"), ("stopped", "stop?grace_ms=100")] {
        server.create(&json!({"image": "host", "name": name, "command": ["sh", "-c", bomb], "limits": {"pids": 48, "cpus": 0.5}}));
        wait_until("it forks", || usage(&server, name)["pids"].as_u64().filter(|pids| *pids > 32));
        server.act(name, ended_by);
        if ended_by == "pause" {
            let frozen = cgroup_processes(server.instance());
            assert!(frozen.len() > 16 && cgroup_processes(server.instance()) == frozen, "nobody is made while all are frozen");
            server.act(name, "resume");
            server.act(name, "kill");
        }
        server.wait_for_state(name, "stopped");
        assert_eq!(cgroup_processes(server.instance()), [0; 0]);
        server.api().delete(&format!("/api/v1/containers/{name}")).expect(204);
    }
    server.assert_nothing_left(&before);
}
