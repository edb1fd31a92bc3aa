//! A crash of the server at every place where it has just changed something on the host or in the database, and what is so
//! after it was started again: no row, folder, cgroup or process is there that belongs to nothing, and what is called
//! running runs.
//!
//! The server ends itself without a word where the variable `BELLJAR_CRASH_AT` names the place; only debug builds do.
//! Places are passed in the order of a container's life: create, start, stop, delete. What comes and goes of images is in [`images`].
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

mod images;

use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use belljar_testbed::process::is_alive;
use belljar_testbed::{Server, Traces, skip, wait_until};
use serde_json::{Value, json};

/// The executable under test.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_belljar");
/// What a crash at a place ends with.
const CRASHED: i32 = 137;
/// Answers that each server of the storm gives before it is killed, and how many servers there are.
const ANSWERS_PER_SERVER: u64 = 150;
/// See above.
const SERVERS: u64 = 4;

/// A server that crashes at a place; it was not running before.
struct Doomed<'a> {
    server: &'a Server,
    child: Child,
}

impl<'a> Doomed<'a> {
    fn start(server: &'a Server, place: &str) -> Self {
        let mut command: Command = server.serve_command("127.0.0.1:0");
        command.env("BELLJAR_CRASH_AT", place).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("the server can be executed");
        let doomed = Self { server, child };
        wait_until("the doomed server answers", || {
            doomed.server.api().try_send("GET", "/api/v1/healthz", Vec::new()).ok().filter(|response| response.status == 200)
        });
        doomed
    }

    /// Asks for something that is never answered, and waits for the end.
    fn ask(self, method: &str, path: &str, body: &Value) -> ExitStatus {
        self.ask_with(method, path, if body.is_null() { Vec::new() } else { body.to_string().into_bytes() })
    }

    /// The same with a body of any kind. A stream that has begun may end early.
    fn ask_with(mut self, method: &str, path: &str, body: Vec<u8>) -> ExitStatus {
        let client = self.server.api().with("content-type", "application/json");
        let answer = client.try_send(method, path, body);
        assert!(answer.is_err(), "it crashed before it could answer, but it said {answer:?}");
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Doomed<'_> {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn server() -> Option<Server> {
    if !cfg!(debug_assertions) {
        skip("a debug build");
        return None;
    }
    if !nix_is_root() {
        skip("root");
        return None;
    }
    Some(Server::start(EXECUTABLE))
}

fn nix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").expect("/proc is there").uid() == 0
}

fn body() -> Value {
    json!({"image": "host", "name": "web", "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.02; done"], "start": true})
}

/// What the started-again server must be able to say of itself, whatever happened before.
fn assert_promises(server: &Server, place: &str) {
    let lives = |container: &Value| container["pid"].as_i64().is_some_and(|pid| is_alive(i32::try_from(pid).expect("a pid fits i32")));
    // The new server may just be finishing a stop: between the end of a program and its record lie milliseconds.
    let containers = wait_until(&format!("what is called running runs ({place})"), || {
        let answer = server.api().get("/api/v1/containers").expect(200).json();
        let containers = answer.as_array().expect("a list").clone();
        let so = containers.iter().all(|container| matches!(container["state"].as_str(), Some("running" | "paused")) == lives(container));
        so.then_some(containers)
    });
    assert!(containers.iter().all(|container| container["state"] != "creating"), "{place}");
    let ids: Vec<&str> = containers.iter().filter_map(|container| container["id"].as_str()).collect();
    let Traces { mounts, cgroups, files, .. } = server.traces();
    assert!(mounts.is_empty(), "{place}: {mounts:?}");
    for path in cgroups.iter().chain(&files).filter(|path| path.contains("/containers/") || path.contains(server.instance())) {
        let id = path.split('/').find(|part| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let belongs = id.is_none_or(|id| ids.contains(&id) || path.contains("/images/"));
        assert!(belongs, "{place}: {path} belongs to nothing");
    }
}

/// Lets the server crash at each place while `method path` is asked of it, with a container that `prepare` made; `check`
/// then looks at the container, if it is still there.
fn crash_at_each(places: &[&str], prepare: fn(&Server), request: (&str, &str, Value), check: fn(&str, Option<Value>)) {
    let Some(mut server) = server() else { return };
    let before = server.traces();
    for place in places {
        prepare(&server);
        assert!(server.stop().success());
        let (method, path, body) = &request;
        let status = Doomed::start(&server, place).ask(method, path, body);
        assert_eq!(status.code(), Some(CRASHED), "{place} was not passed");
        server.start_again();
        assert_promises(&server, place);
        let found = server.api().get("/api/v1/containers/web");
        check(place, (found.status == 200).then(|| found.json()));
        server.api().delete("/api/v1/containers/web?force=true");
        server.assert_nothing_left(&before);
    }
}

#[test]
fn a_crash_while_creating_leaves_all_of_a_container_or_nothing() {
    let places = ["create.inserted", "create.folders", "start.folders", "start.spec"];
    crash_at_each(
        &places,
        |_| {},
        ("POST", "/api/v1/containers", body()),
        |place, container| {
            assert_eq!(container, None, "{place}: nobody was told of it");
        },
    );
}

#[test]
fn a_crash_while_a_container_starts_loses_no_container_that_runs() {
    let places = ["start.launched", "start.ready", "start.recorded"];
    crash_at_each(
        &places,
        |_| {},
        ("POST", "/api/v1/containers", body()),
        |place, container| {
            let state = container.as_ref().map(|container| container["state"].clone());
            // Right after the launch, its monitor may not have come far enough to be anything.
            let allowed = state == Some(json!("running")) || place == "start.launched" && state.is_none();
            assert!(allowed, "{place}: {container:?}");
        },
    );
}

#[test]
fn a_crash_while_a_container_is_started_again_leaves_it_as_it_is() {
    let prepare = |server: &Server| {
        server.create(&body());
        server.act("web", "stop");
    };
    let places = ["start.folders", "start.spec", "start.launched", "start.ready", "start.recorded"];
    crash_at_each(&places, prepare, ("POST", "/api/v1/containers/web/start", Value::Null), |place, container| {
        let state = container.expect("it was there before")["state"].clone();
        let runs = matches!(place, "start.ready" | "start.recorded");
        assert!(state == "running" || !runs && state == "stopped", "{place}: {state}");
    });
}

#[test]
fn a_crash_while_a_container_stops_does_not_undo_the_stop() {
    let prepare = |server: &Server| drop(server.create(&body()));
    let places = ["stop.wanted", "stop.signalled", "stop.ended", "stop.recorded"];
    crash_at_each(&places, prepare, ("POST", "/api/v1/containers/web/stop", Value::Null), |place, container| {
        let container = container.expect("it was there before");
        assert_eq!(container["wanted"], "stopped", "{place}");
    });
}

#[test]
fn a_crash_while_a_container_is_killed_leaves_it_stopped() {
    let prepare = |server: &Server| drop(server.create(&body()));
    crash_at_each(&["stop.killed"], prepare, ("POST", "/api/v1/containers/web/kill", Value::Null), |place, container| {
        let container = container.expect("it was there before");
        assert_eq!(container["wanted"], "stopped", "{place}");
    });
}

#[test]
fn a_crash_while_a_container_is_deleted_deletes_it() {
    let prepare = |server: &Server| drop(server.create(&body()));
    let places = ["delete.wanted", "delete.cgroup", "delete.folders", "delete.row"];
    crash_at_each(&places, prepare, ("DELETE", "/api/v1/containers/web?force=true", Value::Null), |place, container| {
        assert_eq!(container, None, "{place}");
    });
}

/// A container with a volume that is filled from its layer, which has two files.
fn with_volume(server: &Server) -> Value {
    let layer = server.scratch("content");
    std::fs::create_dir_all(layer.join("srv/app")).unwrap();
    std::fs::write(layer.join("srv/app/one"), "1").unwrap();
    std::fs::write(layer.join("srv/app/two"), "2").unwrap();
    let own = json!({"type": "volume", "target": "/own"});
    let mounts = json!([{"type": "layer", "source": layer}, {"type": "volume", "source": "app", "target": "/srv/app"}, own]);
    let mut body = body();
    body["mounts"] = mounts;
    body
}

fn volumes(server: &Server) -> Vec<Value> {
    server.api().get("/api/v1/volumes").expect(200).json().as_array().expect("a list").clone()
}

fn files_of(server: &Server, volume: &str) -> usize {
    std::fs::read_dir(server.data_dir().join("volumes").join(volume).join("data")).map_or(0, Iterator::count)
}

#[test]
fn a_crash_while_a_volume_is_made_and_filled_leaves_it_empty_or_whole() {
    let Some(mut server) = server() else { return };
    let before = server.traces();
    for place in ["volume.folder", "volume.inserted", "fill.begun", "fill.copied", "fill.placed", "start.recorded"] {
        let body = with_volume(&server);
        assert!(server.stop().success());
        let status = Doomed::start(&server, place).ask("POST", "/api/v1/containers", &body);
        assert_eq!(status.code(), Some(CRASHED), "{place} was not passed");
        server.start_again();
        assert_promises(&server, place);
        let all = volumes(&server);
        let runs = place == "start.recorded";
        let anonymous = all.iter().filter(|volume| volume["anonymous"] == true).count();
        assert_eq!(anonymous, usize::from(runs), "{place}: what was made for a container goes with it: {all:?}");
        assert!(all.iter().any(|volume| volume["name"] == "app") || all.is_empty(), "{place}: {all:?}");
        let expected = if matches!(place, "fill.placed" | "start.recorded") { 2 } else { 0 };
        assert_eq!(files_of(&server, "app"), expected, "{place}");
        server.api().delete("/api/v1/containers/web?force=true");
        // The next one finds it whole, whatever became of the first.
        server.create(&body);
        assert_eq!(files_of(&server, "app"), 2, "{place}");
        server.api().delete("/api/v1/containers/web?force=true").expect(204);
        server.api().delete("/api/v1/volumes/app").expect(204);
        server.assert_nothing_left(&before);
    }
}

#[test]
fn a_crash_while_a_volume_is_deleted_leaves_all_of_it_or_nothing() {
    let Some(mut server) = server() else { return };
    let before = server.traces();
    server.api().post_json("/api/v1/volumes", &json!({"name": "kept"})).expect(201);
    std::fs::write(server.data_dir().join("volumes/kept/data/row"), "1").unwrap();
    assert!(server.stop().success());
    let status = Doomed::start(&server, "volume.row").ask("DELETE", "/api/v1/volumes/kept", &Value::Null);
    assert_eq!(status.code(), Some(CRASHED));
    server.start_again();
    assert_eq!((volumes(&server).len(), files_of(&server, "kept")), (1, 1), "nobody was told that it is gone, so it is there");
    server.api().delete("/api/v1/volumes/kept").expect(204);
    server.assert_nothing_left(&before);

    // A container that was being deleted goes with what was made for it alone, and what has a name stays.
    server.create(&with_volume(&server));
    assert!(server.stop().success());
    let status = Doomed::start(&server, "delete.volume_row").ask("DELETE", "/api/v1/containers/web?force=true", &Value::Null);
    assert_eq!(status.code(), Some(CRASHED));
    server.start_again();
    let names: Vec<_> = volumes(&server).iter().map(|volume| volume["name"].clone()).collect();
    assert_eq!((names, files_of(&server, "app")), (vec![json!("app")], 2));
    server.api().get("/api/v1/containers/web").expect(404);
    server.api().delete("/api/v1/volumes/app").expect(204);
    server.assert_nothing_left(&before);
}

#[test]
fn a_stop_that_a_crash_interrupted_is_finished_by_the_next_server() {
    let Some(mut server) = server() else { return };
    server.create(&body());
    assert!(server.stop().success());
    Doomed::start(&server, "stop.wanted").ask("POST", "/api/v1/containers/web/stop", &Value::Null);
    server.start_again();
    server.wait_for_state("web", "stopped");
}

/// A request of the storm, by a number; about one of a few containers.
fn storm_request(number: u64) -> (&'static str, String, Value) {
    let name = format!("storm-{}", number / 16 % 6);
    let programs = ["trap 'exit 0' TERM; while :; do sleep 0.01; done", "exit 3", "exec sleep 1d"];
    let policies = ["no", "on-failure", "always"];
    let (program, policy) = (programs[(number / 97 % 3) as usize], policies[(number / 311 % 3) as usize]);
    let create =
        json!({"image": "host", "name": name, "command": ["sh", "-c", program], "restart": policy, "start": !number.is_multiple_of(5)});
    let of = |action: &str| format!("/api/v1/containers/{name}{action}");
    match number % 10 {
        0 | 1 => ("POST", "/api/v1/containers".to_owned(), create),
        2 => ("POST", of("/start"), Value::Null),
        3 => ("POST", of("/stop?grace_ms=200"), Value::Null),
        4 => ("POST", of("/kill"), Value::Null),
        5 => ("POST", of("/pause"), Value::Null),
        6 => ("POST", of("/resume"), Value::Null),
        7 => ("POST", of("/restart?grace_ms=200"), Value::Null),
        8 => ("DELETE", of(""), Value::Null),
        _ => ("DELETE", of("?force=true"), Value::Null),
    }
}

/// Asks for one thing after the other until `answered` says that it is enough. Servers that are gone give no answer, and
/// no answer may be a failure of the server's own.
fn storm(client: &belljar_testbed::Client, mut number: u64, answered: &AtomicU64) {
    let client = client.clone().with("content-type", "application/json");
    while answered.load(Ordering::Relaxed) < ANSWERS_PER_SERVER * SERVERS {
        // xorshift64: any sequence will do, the same one each time is better.
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        let (method, path, body) = storm_request(number);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        if let Ok(answer) = client.try_send(method, &path, body) {
            assert!(answer.status < 500, "{method} {path}: {}", answer.text());
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_storm_of_requests_over_killed_servers_leaves_nothing_behind() {
    let Some(mut server) = server() else { return };
    let before = server.traces();
    let (client, answered) = (server.api(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            let (client, answered) = (&client, &answered);
            scope.spawn(move || storm(client, 0x9e37_79b9_7f4a_7c15 >> seed, answered));
        }
        for round in 1..SERVERS {
            wait_until("requests are answered", || (answered.load(Ordering::Relaxed) >= ANSWERS_PER_SERVER * round).then_some(()));
            server.kill_hard();
            server.start_again();
        }
    });
    assert_promises(&server, "after the storm");
    for number in 0..6 {
        server.api().delete(&format!("/api/v1/containers/storm-{number}?force=true"));
    }
    server.assert_nothing_left(&before);
}
