//! Bad input: refused in words that name the field or the step, and nothing is left behind by any of it.

use belljar_testbed::{Response, Server, Traces};
use serde_json::{Value, json};

/// A server that already has the image `host`, and what stands then.
fn settled() -> Option<(Server, Traces)> {
    let server = crate::server()?;
    server.run_script("first", "exec sleep 1d");
    server.api().delete("/api/v1/containers/first?force=true").expect(204);
    let before = server.traces();
    Some((server, before))
}

fn body(changes: Value) -> Value {
    let mut body = json!({"image": "host", "name": "bad", "command": ["sleep", "1d"]});
    for (key, value) in changes.as_object().expect("changes are fields") {
        body[key] = value.clone();
    }
    body
}

#[track_caller]
fn assert_problem(answer: &Response, status: u16, named: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert!(problem.to_string().contains(named), "{named:?} is named in {problem}");
}

#[test]
fn a_body_that_is_wrong_is_refused_by_the_name_of_its_field() {
    let Some((server, before)) = settled() else { return };
    let host_bytes = 1_u64 << 50;
    let cases = [
        (400, "colour", json!({"colour": "blue"})),
        (400, "limits.memory", json!({"limits": {"memory": 1}})),
        (400, "command", json!({"command": "sleep 1d"})),
        (400, "limits.memory_bytes", json!({"limits": {"memory_bytes": -1}})),
        (400, "limits.pids", json!({"limits": {"pids": "many"}})),
        (422, "limits.memory_bytes", json!({"limits": {"memory_bytes": 1}})),
        (422, "limits.memory_bytes", json!({"limits": {"memory_bytes": host_bytes}})),
        (422, "limits.cpus", json!({"limits": {"cpus": 100_000}})),
        (422, "limits.cpus", json!({"limits": {"cpus": -0.5}})),
        (422, "limits.pids", json!({"limits": {"pids": 0}})),
        (422, "name", json!({"name": "a/b"})),
        (422, "name", json!({"name": "../../etc"})),
        (422, "name", json!({"name": "x".repeat(300)})),
        (422, "command", json!({"command": []})),
        (422, "hostname", json!({"hostname": "no spaces"})),
        (422, "mounts[0].source", json!({"mounts": [{"type": "bind", "source": "/no/such/folder", "target": "/data"}]})),
        (422, "mounts[0].target", json!({"mounts": [{"type": "tmpfs", "target": "/a/../b"}]})),
    ];
    for (status, field, changes) in cases {
        let answer = server.api().post_json("/api/v1/containers", &body(changes));
        assert_problem(&answer, status, field);
    }
    server.assert_nothing_left(&before);
}

#[test]
fn a_body_that_is_not_json_or_too_large_is_refused() {
    let Some((server, before)) = settled() else { return };
    let api = server.api().with("content-type", "application/json");
    assert_problem(&api.post("/api/v1/containers", "{\"image\": "), 400, "");
    let large = body(json!({"env": {"LARGE": "x".repeat(10 << 20)}}));
    assert_problem(&server.api().post_json("/api/v1/containers", &large), 413, "");
    server.assert_nothing_left(&before);
}

#[test]
fn a_name_that_is_taken_is_refused_and_the_other_is_named() {
    let Some(server) = crate::server() else { return };
    let other = server.run_script("taken", "exec sleep 1d");
    let before = server.traces();
    let answer = server.api().post_json("/api/v1/containers", &body(json!({"name": "taken"})));
    let short = &other["id"].as_str().unwrap()[..12];
    assert_problem(&answer, 409, short);
    server.assert_nothing_left(&before);
}

#[test]
fn what_does_not_exist_is_not_found() {
    let Some(server) = crate::server() else { return };
    for path in ["/api/v1/containers/nobody", "/api/v1/containers/nobody/logs", "/api/v1/containers/0123456789ab", "/api/v1/nothing"] {
        assert_problem(&server.api().get(path), 404, "");
    }
    assert_problem(&server.api().post("/api/v1/containers/nobody/start", ""), 404, "nobody");
    let unknown_image = server.api().post_json("/api/v1/containers", &body(json!({"image": "no-such-image"})));
    assert_problem(&unknown_image, 422, "no-such-image");
    assert_problem(&server.api().get("/api/v1/containers?colour=blue"), 400, "colour");
}

#[test]
fn a_command_that_does_not_exist_never_started_and_the_step_is_named() {
    let Some((server, before)) = settled() else { return };
    let container = server.create(&body(json!({"command": ["/no/such/program"]})));
    assert_eq!(container["state"], "stopped", "{container}");
    let exit = &container["exit"];
    assert_eq!((&exit["kind"], &exit["step"]), (&json!("never_started"), &json!("exec")), "{exit}");
    assert!(exit["message"].as_str().is_some_and(|told| told.contains("/no/such/program") && told.contains("ENOENT")), "{exit}");
    let page = server.api().get("/containers/bad").expect(200).text().to_lowercase();
    assert!(page.contains("never started"), "the page says so");
    server.api().delete("/api/v1/containers/bad").expect(204);
    server.assert_nothing_left(&before);
}

fn import(server: &Server, archive: Vec<u8>) -> Response {
    server.api().with("content-type", "application/x-tar").post("/api/v1/images/import?name=bad", archive)
}

#[test]
fn an_archive_that_is_none_is_refused() {
    let Some((server, before)) = settled() else { return };
    assert_problem(&import(&server, b"this is not an archive".repeat(100)), 422, "");
    assert_problem(&import(&server, Vec::new()), 422, "");
    assert_problem(&import(&server, vec![0x1f, 0x8b, 8, 0, 1, 2, 3]), 422, "");
    server.assert_nothing_left(&before);
}

/// One regular file as a ustar header and a block of content (POSIX pax, "ustar Interchange Format").
fn archive_of(name: &str) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, "00000000004\0");
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend(b"evil");
    archive.resize(512 * 4, 0);
    archive
}

#[test]
fn an_archive_that_climbs_out_is_refused_and_its_entry_named() {
    let Some((server, before)) = settled() else { return };
    for name in ["../climbed-out", "etc/../../climbed-out", "a/../../../climbed-out"] {
        assert_problem(&import(&server, archive_of(name)), 422, "climbed-out");
    }
    assert!(!server.data_dir().join("images/climbed-out").exists() && !server.data_dir().join("climbed-out").exists());
    server.assert_nothing_left(&before);
    import(&server, archive_of("fine")).expect(201);
}
