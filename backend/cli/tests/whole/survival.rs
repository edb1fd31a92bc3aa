//! What is true after something died: the server, a container while nobody looked, a monitor, all of them.

use std::fs;

use belljar_testbed::process::{is_alive, kill_hard, parent};
use belljar_testbed::{Server, wait_until};
use serde_json::{Value, json};

fn pid(container: &Value) -> i32 {
    i32::try_from(container["pid"].as_i64().expect("it runs")).expect("a pid fits i32")
}

/// A container that lives until `signal/go` exists, and then ends with code 3.
fn run_until_told(server: &Server) -> Value {
    let signal = server.scratch("signal");
    let mounts = json!([{"type": "bind", "source": signal, "target": "/signal"}]);
    let script = "while [ ! -e /signal/go ]; do sleep 0.05; done; echo told; exit 3";
    server.create(&json!({"image": "host", "name": "told", "command": ["sh", "-c", script], "mounts": mounts}))
}

#[test]
fn a_killed_server_finds_its_containers_again_with_their_true_uptime() {
    let Some(mut server) = crate::server() else { return };
    server.run_script("survivor", "while :; do echo tick; sleep 0.05; done");
    let before = server.container("survivor");
    server.kill_hard();
    assert!(is_alive(pid(&before)), "it does not notice");
    server.start_again();

    let after = server.container("survivor");
    assert_eq!(after["state"], "running");
    assert_eq!((&after["pid"], &after["started_at"]), (&before["pid"], &before["started_at"]));
    assert!(after["uptime_ms"].as_u64() > before["uptime_ms"].as_u64());
    assert_eq!(after["restarts"], 0);
    let lines = || server.logs("survivor").matches("tick").count();
    let now = lines();
    wait_until("its log goes on", || (lines() > now).then_some(()));

    server.act("survivor", "pause");
    assert_eq!(server.container("survivor")["state"], "paused");
    server.act("survivor", "resume");
    server.act("survivor", "kill");
    server.wait_for_state("survivor", "stopped");
}

#[test]
fn a_paused_container_is_found_paused() {
    let Some(mut server) = crate::server() else { return };
    server.run_script("frozen", "exec sleep 1d");
    server.act("frozen", "pause");
    server.kill_hard();
    server.start_again();
    assert_eq!(server.container("frozen")["state"], "paused");
}

#[test]
fn an_end_that_no_server_saw_is_told_as_it_was() {
    let Some(mut server) = crate::server() else { return };
    let init = pid(&run_until_told(&server));
    let monitor = parent(init).expect("it has a monitor");
    server.kill_hard();
    fs::write(server.scratch("signal").join("go"), "").unwrap();
    wait_until("it ends, and its monitor with it", || (!is_alive(init) && !is_alive(monitor)).then_some(()));
    server.start_again();

    let container = server.container("told");
    assert_eq!((&container["state"], &container["exit"]["code"]), (&json!("stopped"), &json!(3)), "{container}");
    assert!(server.logs("told").contains("told"));
    assert!(server.traces().processes.iter().all(|process| !process.command.contains("told")));
}

#[test]
fn a_server_that_is_told_to_end_leaves_its_containers_running() {
    let Some(mut server) = crate::server() else { return };
    let container = server.run_script("stays", "exec sleep 1d");
    assert!(server.stop().success());
    assert!(is_alive(pid(&container)));
    server.start_again();
    assert_eq!(server.container("stays")["pid"], container["pid"]);
}

#[test]
fn a_killed_monitor_is_told_honestly_and_leaves_nothing_running() {
    let Some(server) = crate::server() else { return };
    let container = server.run_script("orphan", "sleep 1d & exec sleep 1d");
    let init = pid(&container);
    kill_hard(parent(init).expect("it has a monitor"));

    let container = server.wait_for_state("orphan", "stopped");
    assert_eq!(container["exit"]["kind"], "lost", "{container}");
    wait_until("its processes are gone", || (!is_alive(init)).then_some(()));
    assert!(server.traces().cgroups.iter().all(|cgroup| !cgroup.contains(container["id"].as_str().unwrap())));
    assert!(server.event_kinds("orphan").contains(&"lost".to_owned()));

    server.act("orphan", "start");
    assert_eq!(server.container("orphan")["state"], "running");
}

#[test]
fn a_monitor_killed_while_no_server_ran_is_told_honestly() {
    let Some(mut server) = crate::server() else { return };
    let init = pid(&server.run_script("orphan", "exec sleep 1d"));
    server.kill_hard();
    kill_hard(parent(init).expect("it has a monitor"));
    server.start_again();
    let container = server.wait_for_state("orphan", "stopped");
    assert_eq!(container["exit"]["kind"], "lost", "{container}");
    wait_until("its processes are gone", || (!is_alive(init)).then_some(()));
}

#[test]
fn what_restarts_always_is_running_again_after_its_program_ends() {
    let Some(server) = crate::server() else { return };
    let script = "echo begun; sleep 0.1";
    server.create(&json!({"image": "host", "name": "again", "command": ["sh", "-c", script], "restart": "always"}));
    wait_until("it was restarted twice", || (server.container("again")["restarts"].as_u64() >= Some(2)).then_some(()));
    server.act("again", "stop");
    assert_eq!(server.container("again")["state"], "stopped");
}
