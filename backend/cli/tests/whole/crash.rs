//! A server killed in the middle of things: whatever it was doing, after its next start nothing stands that belongs to
//! nothing, nothing runs that is not listed, and nothing is listed as running that does not run.

use std::collections::BTreeSet;
use std::fs;

use belljar_testbed::process::is_alive;
use belljar_testbed::server::rows;
use belljar_testbed::{Server, Traces, wait_until};
use serde_json::{Value, json};

const AT_ONCE: usize = 6;

fn listed(server: &Server) -> Vec<Value> {
    rows(&server.api().get("/api/v1/containers").expect(200).json())
}

fn folders(server: &Server) -> BTreeSet<String> {
    let entries = fs::read_dir(server.data_dir().join("containers")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A server that already has the image `host`, and what stands then.
fn settled() -> Option<(Server, Traces)> {
    let server = crate::server()?;
    server.run_script("first", "exec sleep 1d");
    server.api().delete("/api/v1/containers/first?force=true").expect(204);
    let before = server.traces();
    Some((server, before))
}

/// What is listed, what lies on disk and what the kernel runs are the same containers.
#[track_caller]
fn assert_consistent(server: &Server) {
    let containers = listed(server);
    let ids: BTreeSet<String> = containers.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, folders(server), "a folder for each container, and no other");
    for one in &containers {
        let state = one["state"].as_str().unwrap();
        assert!(["created", "running", "stopped"].contains(&state), "{one}");
        let pid = one["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        assert_eq!(state == "running", pid.is_some_and(is_alive), "the kernel agrees with {one}");
    }
    for cgroup in server.traces().cgroups {
        assert!(ids.iter().any(|id| cgroup.contains(id.as_str())), "{cgroup} belongs to nothing");
    }
}

fn delete_all(server: &Server) {
    for one in listed(server) {
        server.api().delete(&format!("/api/v1/containers/{}?force=true", one["id"].as_str().unwrap())).expect(204);
    }
}

/// Sends `requests` at once and does not care for the answers; kills the server when `until` is so.
fn kill_amidst(server: &mut Server, requests: &[(&str, String, String)], until: &mut dyn FnMut(&Server) -> bool) {
    let threads: Vec<_> = requests
        .iter()
        .map(|(method, path, body)| {
            let api = server.api().with("content-type", "application/json");
            let (method, path, body) = ((*method).to_owned(), path.clone(), body.clone());
            std::thread::spawn(move || drop(api.try_send(&method, &path, body.into_bytes())))
        })
        .collect();
    wait_until("the work is under way", || until(server).then_some(()));
    server.kill_hard();
    for thread in threads {
        thread.join().unwrap();
    }
    server.start_again();
}

fn create_requests(round: usize) -> Vec<(&'static str, String, String)> {
    let body = |number| json!({"image": "host", "name": format!("round-{round}-{number}"), "command": ["sleep", "1d"]}).to_string();
    (0..AT_ONCE).map(|number| ("POST", "/api/v1/containers".to_owned(), body(number))).collect()
}

#[test]
fn a_server_killed_while_it_creates_leaves_nothing_that_belongs_to_nothing() {
    let Some((mut server, before)) = settled() else { return };
    for round in 0..AT_ONCE {
        kill_amidst(&mut server, &create_requests(round), &mut |server| folders(server).len() > round);
        assert_consistent(&server);
        delete_all(&server);
        server.assert_nothing_left(&before);
    }
}

#[test]
fn a_server_killed_while_it_deletes_goes_on_deleting_or_still_has_it() {
    let Some((mut server, before)) = settled() else { return };
    for round in 0..AT_ONCE {
        let names: Vec<String> = (0..AT_ONCE).map(|number| format!("round-{round}-{number}")).collect();
        for name in &names {
            server.run_script(name, "exec sleep 1d");
        }
        let delete = |name: &String| ("DELETE", format!("/api/v1/containers/{name}?force=true"), String::new());
        let requests: Vec<_> = names.iter().map(delete).collect();
        kill_amidst(&mut server, &requests, &mut |server| folders(server).len() < AT_ONCE - round);
        assert_consistent(&server);
        delete_all(&server);
        server.assert_nothing_left(&before);
    }
}

#[test]
fn a_server_killed_while_it_starts_and_stops_knows_what_runs() {
    let Some((mut server, before)) = settled() else { return };
    for number in 0..AT_ONCE {
        server.run_script(&format!("busy-{number}"), "exec sleep 1d");
    }
    for round in 0..AT_ONCE {
        let restart = |number| ("POST", format!("/api/v1/containers/busy-{number}/restart"), String::new());
        let requests: Vec<_> = (0..AT_ONCE).map(restart).collect();
        let pids = |server: &Server| listed(server).iter().map(|one| one["pid"].as_i64()).collect::<BTreeSet<_>>();
        let old = pids(&server);
        kill_amidst(&mut server, &requests, &mut |server| pids(server).difference(&old).count() > round);
        assert_consistent(&server);
        for number in 0..AT_ONCE {
            server.act(&format!("busy-{number}"), "start");
        }
    }
    delete_all(&server);
    server.assert_nothing_left(&before);
}

#[test]
fn what_was_answered_is_there_after_the_server_was_killed_at_once() {
    let Some(mut server) = crate::server() else { return };
    for number in 0..5 {
        let container = server.run_script(&format!("answered-{number}"), "exec sleep 1d");
        server.kill_hard();
        server.start_again();
        let found = server.container(&format!("answered-{number}"));
        assert_eq!((&found["state"], &found["pid"]), (&json!("running"), &container["pid"]));
    }
}

#[test]
fn of_many_who_ask_for_one_name_exactly_one_gets_it() {
    let Some(server) = crate::server() else { return };
    let body = json!({"image": "host", "name": "wanted", "command": ["sleep", "1d"]});
    let ask = || server.api().post_json("/api/v1/containers", &body).status;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(201), count(409)), (1, 7), "{statuses:?}");
    assert_consistent(&server);
}
