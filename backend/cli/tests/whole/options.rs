//! What a person may ask of a container, seen from inside it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Creates `seen` with `options` and a script; returns what it wrote, when it has ended.
fn seen(server: &belljar_testbed::Server, script: &str, options: Value) -> String {
    let mut body = json!({"image": "host", "name": "seen", "command": ["sh", "-c", script]});
    for (key, value) in options.as_object().expect("options are fields") {
        body[key] = value.clone();
    }
    server.create(&body);
    server.wait_for_state("seen", "stopped");
    server.logs("seen")
}

#[test]
fn environment_user_and_folder_are_as_asked() {
    let Some(server) = crate::server() else { return };
    let script = "echo $GLASS; id -u; id -g; pwd; cat /proc/self/uid_map";
    let log = seen(&server, script, json!({"env": {"GLASS": "bell jar"}, "user": "1000:1001", "workdir": "/srv/app"}));
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[..4], ["bell jar", "1000", "1001", "/srv/app"], "{log}");
    let map: Vec<&str> = lines[4].split_whitespace().collect();
    assert!(map[0] == "0" && map[1] != "0" && map[2] == "65536", "root inside is nobody outside: {log}");
}

#[test]
fn a_tmpfs_has_its_size_and_is_gone_after_a_stop() {
    let Some(server) = crate::server() else { return };
    let script = "ls /scratch; head -c 2M /dev/zero > /scratch/file; stat -c %s /scratch/file; grep -o ' /scratch tmpfs' /proc/mounts";
    let mounts = json!([{"type": "tmpfs", "target": "/scratch", "size_bytes": 1 << 20}]);
    let log = seen(&server, script, json!({"mounts": mounts}));
    assert!(log.contains("No space left") && log.contains("1048576") && log.contains("/scratch tmpfs"), "{log}");
    server.act("seen", "start");
    server.wait_for_state("seen", "stopped");
    assert!(!server.logs("seen").lines().any(|line| line == "file"), "{}", server.logs("seen"));
}

#[test]
fn a_program_that_catches_the_stop_signal_ends_in_its_own_way() {
    let Some(server) = crate::server() else { return };
    let script = "trap 'echo bye; exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    server.create(&json!({"image": "host", "name": "polite", "command": ["sh", "-c", script], "stop_signal": "SIGUSR1"}));
    server.wait_for_log("polite", "ready");
    server.act("polite", "stop");
    let exit = server.container("polite")["exit"].clone();
    assert_eq!((&exit["kind"], &exit["code"]), (&json!("exited"), &json!(5)), "{exit}");
    assert!(server.logs("polite").contains("bye"));
}

#[test]
fn a_program_that_ignores_the_stop_signal_is_killed_after_its_grace() {
    let Some(server) = crate::server() else { return };
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    server.create(&json!({"image": "host", "name": "deaf", "command": ["sh", "-c", script]}));
    server.wait_for_log("deaf", "ready");
    let (grace, begun) = (Duration::from_millis(300), Instant::now());
    server.act("deaf", &format!("stop?grace_ms={}", grace.as_millis()));
    assert!(begun.elapsed() >= grace || server.container("deaf")["exit"]["signal"] == "SIGKILL", "{:?}", begun.elapsed());
    assert_eq!(server.container("deaf")["exit"]["signal"], "SIGKILL");
}

#[test]
fn a_restart_policy_holds_over_a_start_of_the_server() {
    let Some(mut server) = crate::server() else { return };
    for (name, restart) in [("always", "always"), ("never", "no")] {
        server.create(&json!({"image": "host", "name": name, "command": ["sleep", "1d"], "restart": restart}));
    }
    let pids = ["always", "never"].map(|name| i32::try_from(server.container(name)["pid"].as_i64().unwrap()).unwrap());
    server.kill_hard();
    for pid in pids {
        belljar_testbed::process::kill_hard(pid);
    }
    belljar_testbed::wait_until("both are gone", || pids.iter().all(|pid| !belljar_testbed::process::is_alive(*pid)).then_some(()));
    server.start_again();
    server.wait_for_state("always", "running");
    assert_eq!(server.container("never")["state"], "stopped");
}

#[test]
fn a_failure_is_started_again_and_a_success_is_not() {
    let Some(server) = crate::server() else { return };
    let body = |name: &str, script: &str| json!({"image": "host", "name": name, "command": ["sh", "-c", script], "restart": "on-failure"});
    server.create(&body("fails", "exit 1"));
    server.create(&body("succeeds", "exit 0"));
    belljar_testbed::wait_until("the failure was started again", || {
        (server.container("fails")["restarts"].as_u64() >= Some(1)).then_some(())
    });
    assert_eq!(server.wait_for_state("succeeds", "stopped")["restarts"], 0);
}
