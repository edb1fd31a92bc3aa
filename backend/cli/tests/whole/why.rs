//! Why a container died, or is slow: told in words, while it runs and afterwards, on this host's kernel.

use belljar_testbed::server::rows;
use belljar_testbed::wait::try_wait;
use belljar_testbed::{DEADLINE, Server, skip, wait_until};
use serde_json::{Value, json};

const LIMIT_BYTES: u64 = 16 << 20;

/// What is said about a container, the worst first.
fn findings(server: &Server, name: &str) -> Vec<Value> {
    rows(&server.api().get(&format!("/api/v1/containers/{name}/diagnosis")).expect(200).json())
}

fn finding(server: &Server, name: &str, kind: &str) -> Option<Value> {
    findings(server, name).into_iter().find(|finding| finding["kind"] == kind)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a sentence")
}

fn events(server: &Server, name: &str, kind: &str) -> Vec<Value> {
    let events = rows(&server.api().get(&format!("/api/v1/containers/{name}/events")).expect(200).json());
    events.into_iter().filter(|event| event["kind"] == kind).collect()
}

fn create(server: &Server, name: &str, limits: Value, script: &str) {
    server.create(&json!({"image": "host", "name": name, "command": ["sh", "-c", script], "limits": limits}));
}

#[test]
fn a_child_that_is_killed_for_memory_is_told_at_once_while_the_container_goes_on() {
    let Some(server) = crate::server() else { return };
    let limits = json!({"memory_bytes": LIMIT_BYTES, "memory_swap_bytes": 0});
    create(&server, "parent", limits, "tail /dev/zero; echo went on; exec sleep 1d");
    server.wait_for_log("parent", "went on");

    let event = wait_until("the kill is an event", || events(&server, "parent", "out_of_memory").pop());
    let message = text(&event["message"]);
    assert!(message.starts_with("a process of it") && message.ends_with("was killed by OOM at 16 MiB"), "{message}");
    assert_eq!(server.container("parent")["state"], "running");
    let found = finding(&server, "parent", "out_of_memory").expect("it is a finding");
    assert_eq!(found["gravity"], "error");
    assert!(text(&found["text"]).starts_with(&format!("{message}, ")), "{found}");
    assert_eq!(text(&server.container("parent")["finding"]).split(',').next(), message.split(',').next());
    let said = crate::belljar(&server, &["why", "parent"]);
    assert!(said.contains(message) && said.contains("raise limits.memory_bytes above 16 MiB"), "{said}");
    assert!(crate::belljar(&server, &["list"]).contains("was killed by OOM at 16 MiB"));

    // The end counts the same kill, and does not tell of it again.
    server.act("parent", "kill").expect(204);
    assert_eq!(events(&server, "parent", "out_of_memory").len(), 1);
    let found = findings(&server, "parent");
    assert_eq!((&found[0]["kind"], &found[0]["gravity"]), (&json!("ended"), &json!("note")), "it was not memory that ended it: {found:?}");
    assert!(text(&found[0]["text"]).starts_with("ended by SIGKILL; before that a process of it was killed by OOM at 16 MiB"), "{found:?}");
}

#[test]
fn a_kill_that_ends_the_container_is_told_once_with_limit_and_victim() {
    let Some(server) = crate::server() else { return };
    let limits = json!({"memory_bytes": LIMIT_BYTES, "memory_swap_bytes": 0});
    create(&server, "greedy", limits, "exec tail /dev/zero");
    server.wait_for_state("greedy", "stopped");
    assert_eq!(events(&server, "greedy", "out_of_memory").len(), 1);
    let found = findings(&server, "greedy");
    assert_eq!((found.len(), &found[0]["kind"], &found[0]["gravity"]), (1, &json!("out_of_memory"), &json!("error")), "{found:?}");
    let words = text(&found[0]["text"]);
    assert!(
        words.starts_with("killed by OOM at 16 MiB, by tail (pid ") && words.ends_with(" ago") | words.ends_with("just now"),
        "{words}"
    );
    assert!(text(&found[0]["advice"]).starts_with("raise limits.memory_bytes above 16 MiB"));
}

#[test]
fn a_kill_while_the_server_was_away_is_told_when_it_comes_back_and_only_once() {
    let Some(mut server) = crate::server() else { return };
    let limits = json!({"memory_bytes": LIMIT_BYTES, "memory_swap_bytes": 0});
    let go = server.scratch("go");
    let mounts = json!([{"type": "bind", "source": go, "target": "/go"}]);
    let script = "while [ ! -e /go/now ]; do sleep 0.05; done; tail /dev/zero; echo > /go/done; exec sleep 1d";
    server.create(&json!({"image": "host", "name": "alone", "command": ["sh", "-c", script], "limits": limits, "mounts": mounts,
        "namespaces": {"user": "host"}}));
    server.kill_hard();
    std::fs::write(go.join("now"), "").expect("written");
    wait_until("it goes on after the kill", || go.join("done").exists().then_some(()));
    for _ in 0..2 {
        server.start_again();
        let told = wait_until("the kill is an event", || Some(events(&server, "alone", "out_of_memory")).filter(|told| !told.is_empty()));
        assert_eq!(told.len(), 1);
        wait_until("and a finding", || finding(&server, "alone", "out_of_memory"));
        server.kill_hard();
    }
    server.start_again();
    assert_eq!(events(&server, "alone", "out_of_memory").len(), 1);
}

#[test]
fn a_container_that_is_well_has_nothing_said_about_it() {
    let Some(server) = crate::server() else { return };
    create(&server, "calm", json!({"memory_bytes": 256 << 20, "pids": 64, "cpus": 0.5}), "exec sleep 1d");
    assert_eq!(findings(&server, "calm"), Vec::<Value>::new());
    assert_eq!(server.container("calm").get("finding"), None);
    assert!(crate::belljar(&server, &["why", "calm"]).starts_with("nothing stands out"));
    server.act("calm", "stop").expect(204);
    let found = findings(&server, "calm");
    assert_eq!((&found[0]["kind"], &found[0]["gravity"]), (&json!("ended"), &json!("note")), "{found:?}");
}

#[test]
fn a_program_that_is_not_there_is_told_with_advice() {
    let Some(server) = crate::server() else { return };
    server.create(&json!({"image": "host", "name": "absent", "command": ["/no/such/program"]}));
    let found = findings(&server, "absent");
    assert_eq!((&found[0]["kind"], &found[0]["gravity"]), (&json!("ended"), &json!("error")), "{found:?}");
    assert!(text(&found[0]["text"]).starts_with("never started: exec /no/such/program"), "{found:?}");
    assert!(text(&found[0]["advice"]).starts_with("the program is not in the image"), "{found:?}");
}

#[test]
fn a_quota_that_holds_back_is_told_with_its_share_and_becomes_an_event() {
    let Some(server) = crate::server() else { return };
    create(&server, "slow", json!({"cpus": 0.1}), "while :; do :; done");
    let found = wait_until("it is a finding", || finding(&server, "slow", "cpu_throttled"));
    assert!(text(&found["text"]).starts_with("held back by its cpu limit "), "{found}");
    assert!(text(&found["advice"]).starts_with("raise limits.cpus above 0.1"), "{found}");
    let source = text(&found["sources"][0]);
    assert!(source.ends_with("cpu.stat#nr_throttled"), "{found}");
    let event = try_wait(2 * DEADLINE, || events(&server, "slow", "limit_hit").pop()).expect("it becomes an event");
    assert!(text(&event["message"]).starts_with("held back by its cpu limit "), "{event}");
    assert_eq!(events(&server, "slow", "limit_hit").len(), 1);
}

#[test]
fn processes_that_are_refused_are_told_at_once() {
    let Some(server) = crate::server() else { return };
    // A shell would end at the first refusal.
    let fork = "exec perl -e 'for (1..12) { my $pid = fork; if (defined $pid && !$pid) { sleep 86400 } } sleep 86400'";
    create(&server, "forker", json!({"pids": 6}), fork);
    let event = wait_until("it is an event", || events(&server, "forker", "limit_hit").pop());
    assert!(text(&event["message"]).starts_with("7 new processes were refused at its limit of 6 processes and threads"), "{event}");
    let found = finding(&server, "forker", "pids_limit").expect("it is a finding");
    assert_eq!(found["gravity"], "error", "{found}");
    assert!(text(&found["advice"]).starts_with("raise limits.pids above 6"), "{found}");
}

#[test]
fn a_container_that_is_close_to_its_limit_of_memory_is_told_so() {
    let Some(server) = crate::server() else { return };
    // Well over nine tenths, however little the kernel charges for the processes themselves.
    let script = "head -c 15M /dev/zero > /dev/shm/held; exec sleep 1d";
    create(&server, "tight", json!({"memory_bytes": LIMIT_BYTES, "memory_swap_bytes": 0}), script);
    let found = wait_until("it is a finding", || finding(&server, "tight", "memory_near_limit"));
    let words = text(&found["text"]);
    assert!(words.starts_with("uses 1") && words.contains(" of the 16 MiB of memory that it may ("), "{words}");
}

#[test]
fn a_container_that_waits_for_processors_is_told_so_where_the_kernel_measures_it() {
    let Some(server) = crate::server() else { return };
    if std::fs::read("/proc/pressure/cpu").is_err() {
        return skip("pressure stall information (psi=1)");
    }
    // More than there are processors for, all of them idle enough to let everybody else go first.
    let busy = 4 * std::thread::available_parallelism().expect("processors").get();
    let script = format!("for number in $(seq {busy}); do while :; do :; done & done; wait");
    server.create(&json!({"image": "host", "name": "crowded", "command": ["sh", "-c", script], "nice": 19}));
    let found = wait_until("it is a finding", || finding(&server, "crowded", "cpu_pressure"));
    server.act("crowded", "kill").expect(204);
    assert!(text(&found["text"]).starts_with("waiting for a processor "), "{found}");
    assert!(text(&found["sources"][0]).ends_with("/cpu.pressure"), "{found}");
}
