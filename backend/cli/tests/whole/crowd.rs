//! Ten at once, and a fork bomb among them.

use std::time::{Duration, Instant};

use belljar_testbed::server::rows;
use belljar_testbed::wait::patience;
use belljar_testbed::wait_until;
use serde_json::json;

/// A request that takes longer than this, while a bomb goes off, is not responsive. Other tests run beside this one, and a
/// server that a bomb does hold up does not answer at all.
const RESPONSIVE: Duration = Duration::from_secs(10);

const PIDS: u64 = 32;

/// Forks without end; the outer loop survives what the inner dies of, so that the pressure stays.
const BOMB: &str = "while :; do (while :; do sleep 1d & done) 2>/dev/null; done";

#[test]
fn ten_start_at_once_and_all_of_them_run() {
    let Some(server) = crate::server() else { return };
    std::thread::scope(|scope| {
        for number in 0..10 {
            let server = &server;
            scope.spawn(move || server.run_script(&format!("one-of-ten-{number}"), "exec sleep 1d"));
        }
    });
    let listed = rows(&server.api().get("/api/v1/containers").expect(200).json());
    assert_eq!(listed.len(), 10);
    let pids: std::collections::BTreeSet<_> = listed.iter().map(|container| container["pid"].as_i64()).collect();
    assert_eq!(pids.len(), 10, "each has a first process of its own");
    assert!(listed.iter().all(|container| container["state"] == "running"));
}

#[test]
fn a_fork_bomb_is_held_by_its_limit_while_others_and_the_server_stay_responsive() {
    let Some(server) = crate::server() else { return };
    for number in 0..9 {
        server.run_script(&format!("bystander-{number}"), "exec sleep 1d");
    }
    let limits = json!({"pids": PIDS, "cpus": 0.5});
    server.create(&json!({"image": "host", "name": "bomb", "command": ["sh", "-c", BOMB], "limits": limits}));
    let pids = || server.api().get("/api/v1/containers/bomb/usage").expect(200).json()["pids"].as_u64().expect("processes are counted");
    wait_until("the bomb is at its limit", || (pids() >= PIDS - 1).then_some(()));
    for _ in 0..20 {
        assert!(pids() <= PIDS, "the limit holds");
    }

    let begun = Instant::now();
    server.run_script("late", "exec sleep 1d");
    assert!(begun.elapsed() < RESPONSIVE * patience(), "a start took {:?}", begun.elapsed());
    let begun = Instant::now();
    server.api().get("/containers").expect(200);
    assert!(begun.elapsed() < RESPONSIVE * patience(), "the page took {:?}", begun.elapsed());
    for number in 0..9 {
        assert_eq!(server.container(&format!("bystander-{number}"))["state"], "running");
    }

    server.act("bomb", "kill");
    server.wait_for_state("bomb", "stopped");
}
