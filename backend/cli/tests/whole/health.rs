//! Checks of health on this host's kernel: what they find, when they count, that they end in time with all they started, and what
//! becomes of them when the container pauses, ends, or loses its server.

use std::fs;
use std::path::PathBuf;

use belljar_testbed::process::{command_line, pids};
use belljar_testbed::wait::patience;
use belljar_testbed::{Server, wait_until};
use serde_json::{Value, json};

/// Milliseconds between two checks of these tests.
const EVERY_MS: u64 = 50;

/// A container that sleeps, with this check beside `EVERY_MS`; what it does is told by files of the folder that is returned, which
/// it has as `/s`.
fn checked(server: &Server, command: &str, options: &Value) -> PathBuf {
    let signal = server.scratch("signal");
    let mut health = json!({"command": ["sh", "-c", command], "interval_ms": EVERY_MS, "retries": 2});
    for (key, value) in options.as_object().expect("options are fields") {
        health[key] = value.clone();
    }
    let mounts = json!([{"type": "bind", "source": signal, "target": "/s"}]);
    server.create(&json!({"image": "host", "name": "web", "command": ["sleep", "1d"], "mounts": mounts, "health": health}));
    signal
}

fn health(server: &Server) -> Value {
    server.container("web")["health"].clone()
}

#[track_caller]
fn wait_for(server: &Server, status: &str) -> Value {
    wait_until(&format!("it is {status}"), || Some(health(server)).filter(|health| health["status"] == status))
}

fn events(server: &Server, kind: &str) -> Vec<String> {
    let events = server.api().get("/api/v1/events?container=web").expect(200).json();
    let of_kind = belljar_testbed::server::rows(&events).into_iter().filter(|event| event["kind"] == kind);
    of_kind.map(|event| event["message"].as_str().expect("a message").to_owned()).collect()
}

/// A time to sleep that no other test sleeps, to know the sleeper by.
fn nap() -> String {
    (1_000_000 + std::process::id()).to_string()
}

/// Whether somebody does.
fn sleeps(nap: &str) -> bool {
    pids().into_iter().any(|pid| command_line(pid).contains(nap))
}

/// Checks that have left a mark in this folder.
fn marks(folder: &std::path::Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn a_check_that_fails_and_heals_is_told_everywhere() {
    let Some(server) = crate::server() else { return };
    let signal = checked(&server, "test -e /s/ok && echo fine || { echo 'curl: (7) refused' >&2; exit 7; }", &json!({}));
    let ill = wait_for(&server, "unhealthy");
    assert!(ill["failing_streak"].as_u64() >= Some(2), "{ill}");
    let last = ill["log"].as_array().and_then(|log| log.last()).expect("a result").clone();
    assert_eq!((&last["code"], &last["output"], &last["healthy"]), (&json!(7), &json!("curl: (7) refused\n"), &json!(false)), "{last}");
    let told = wait_until("that is told", || events(&server, "unhealthy").pop());
    assert_eq!(told, "its check failed 2 times in a row: curl: (7) refused");
    let list = server.api().get("/api/v1/containers").expect(200).json();
    assert_eq!((&list[0]["health"]["status"], &list[0]["health"]["log"]), (&json!("unhealthy"), &Value::Null), "{list}");
    let found = server.api().get("/api/v1/containers/web/diagnosis").expect(200).json();
    assert_eq!(found[0]["kind"], "unhealthy", "{found}");
    assert!(found[0]["text"].as_str().is_some_and(|text| text.starts_with("unhealthy for ") && text.ends_with("curl: (7) refused")));
    assert!(crate::belljar(&server, &["list"]).contains("(unhealthy); unhealthy for "));
    let page = server.api().get("/containers/web").expect(200).text();
    assert!(page.contains("id=\"health\"") && page.contains("curl: (7) refused") && page.contains("exit code 7"));
    assert!(server.api().get("/containers").expect(200).text().contains("<b>1</b> unhealthy"));

    fs::write(signal.join("ok"), "").unwrap();
    let well = wait_for(&server, "healthy");
    assert_eq!(well["failing_streak"], 0);
    wait_until("that is told", || (events(&server, "healthy") == ["its check succeeds: fine"]).then_some(()));
    assert_eq!(server.api().get("/api/v1/containers/web/diagnosis").expect(200).json(), json!([]));
    wait_until("five are kept", || (health(&server)["log"].as_array().map(Vec::len) == Some(5)).then_some(()));
    assert!(events(&server, "exec").is_empty(), "a check is no exec of a person's");
    server.act("web", "stop");
    assert_eq!(health(&server)["status"], "none");
}

#[test]
fn a_check_is_as_strict_as_an_exec() {
    let Some(server) = crate::server() else { return };
    let what = "grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status; for n in mnt pid net uts ipc cgroup; do readlink /proc/self/ns/$n; done; id -u; pwd";
    let signal = checked(&server, &format!("{{ {what}; }} > /s/new && mv /s/new /s/check"), &json!({}));
    wait_for(&server, "healthy");
    let exec = server.api().post_json("/api/v1/containers/web/exec", &json!({"command": ["sh", "-c", what]})).expect(200).json();
    assert_eq!(fs::read_to_string(signal.join("check")).unwrap(), exec["stdout"].as_str().expect("text"));
}

#[test]
fn one_that_takes_too_long_is_killed_with_all_it_started() {
    let Some(server) = crate::server() else { return };
    let timeout_ms = 300 * u64::from(patience());
    let nap = nap();
    // The last two of them leave the session, and one is left by its parent besides.
    let forks = format!("echo begun; sleep {nap} & setsid sh -c 'sleep {nap}; true' & (setsid sleep {nap} &); sleep {nap}");
    checked(&server, &forks, &json!({"timeout_ms": timeout_ms}));
    let ill = wait_for(&server, "unhealthy");
    let last = ill["log"].as_array().and_then(|log| log.last()).expect("a result").clone();
    assert_eq!((&last["code"], &last["output"]), (&Value::Null, &json!("begun\n")), "{last}");
    assert_eq!(last["message"].as_str(), Some(format!("killed after {timeout_ms} ms").as_str()));
    server.act("web", "pause");
    server.act("web", "resume");
    // Between two checks nothing of them is left; a pause is such a moment.
    wait_until("nothing of it is left", || (!sleeps(&nap)).then_some(()));
    assert_eq!(server.container("web")["state"], "running");
}

#[test]
fn a_flood_is_read_away_and_only_its_end_is_kept() {
    let Some(server) = crate::server() else { return };
    checked(&server, "head -c 100000000 /dev/zero; echo; echo the end", &json!({"interval_ms": 2000}));
    let well = wait_for(&server, "healthy");
    let output = well["log"][0]["output"].as_str().expect("text");
    assert!(output.len() <= 4096 && output.ends_with("\nthe end\n"), "{} bytes", output.len());
    server.act("web", "kill");
    server.api().delete("/api/v1/containers/web").expect(204);
    checked(&server, "cat /dev/zero", &json!({"retries": 1, "interval_ms": 2000}));
    let ill = wait_for(&server, "unhealthy");
    assert_eq!(ill["log"][0]["message"], "killed because it wrote more than 256 MiB", "{ill}");
    let processes = wait_until("it is gone", || {
        let processes = server.api().get("/api/v1/containers/web/processes").expect(200).json();
        (processes.as_array().map(Vec::len) == Some(1)).then_some(processes)
    });
    assert_eq!(processes[0]["command"], "sleep 1d");
}

#[test]
fn failures_in_the_start_period_do_not_count_until_it_was_healthy_once() {
    let Some(server) = crate::server() else { return };
    let options = json!({"start_period_ms": 3_600_000, "start_interval_ms": EVERY_MS, "interval_ms": EVERY_MS, "retries": 1});
    let signal = checked(&server, "touch /s/n$$; test -e /s/ok", &options);
    wait_until("three were run", || (marks(&signal) >= 3).then_some(()));
    let starting = health(&server);
    assert_eq!((&starting["status"], &starting["failing_streak"]), (&json!("starting"), &json!(0)), "{starting}");
    fs::write(signal.join("ok"), "").unwrap();
    wait_for(&server, "healthy");
    fs::remove_file(signal.join("ok")).unwrap();
    wait_for(&server, "unhealthy");
}

#[test]
fn what_is_paused_is_not_checked_and_goes_on_as_it_was() {
    let Some(server) = crate::server() else { return };
    let signal = checked(&server, "touch /s/n$$", &json!({}));
    wait_for(&server, "healthy");
    server.act("web", "pause");
    let before = marks(&signal);
    server.run_script("clock", "sleep 0.5");
    server.wait_for_state("clock", "stopped");
    assert_eq!((marks(&signal), health(&server)["status"].clone()), (before, json!("healthy")));
    server.act("web", "resume");
    wait_until("it is checked again", || (marks(&signal) > before).then_some(()));
    assert_eq!(events(&server, "healthy").len(), 1, "it was so all the time");
}

#[test]
fn a_server_that_was_killed_asks_anew() {
    let Some(mut server) = crate::server() else { return };
    let slow = json!({"interval_ms": 100, "timeout_ms": 60_000});
    let nap = nap();
    let signal = checked(&server, &format!("test -e /s/wait && sleep {nap}; touch /s/n$$"), &slow);
    wait_for(&server, "healthy");
    fs::write(signal.join("wait"), "").unwrap();
    wait_until("a check is under way", || sleeps(&nap).then_some(()));
    server.kill_hard();
    wait_until("it ended with the server that asked", || (!sleeps(&nap)).then_some(()));
    server.start_again();
    let found = health(&server);
    assert_eq!((&found["status"], &found["log"]), (&json!("starting"), &json!([])), "{found}");
    fs::remove_file(signal.join("wait")).unwrap();
    // The check that began meanwhile waits; its end is not waited for.
    server.act("web", "restart");
    wait_for(&server, "healthy");
}

#[test]
fn each_start_begins_afresh_and_a_container_without_a_check_has_none() {
    let Some(server) = crate::server() else { return };
    checked(&server, "exit 1", &json!({"retries": 1, "interval_ms": 300}));
    wait_for(&server, "unhealthy");
    server.act("web", "stop");
    let rests = health(&server);
    assert_eq!((&rests["status"], &rests["failing_streak"]), (&json!("none"), &json!(0)), "{rests}");
    assert!(rests["log"].as_array().is_some_and(|log| !log.is_empty()), "what they said may be why");
    server.act("web", "start");
    assert!(matches!(health(&server)["status"].as_str(), Some("starting" | "unhealthy")));
    wait_for(&server, "unhealthy");
    wait_until("that is told once more", || (events(&server, "unhealthy").len() == 2).then_some(()));
    server.run_script("plain", "exec sleep 1d");
    assert_eq!(server.container("plain")["health"], json!({"status": "none", "failing_streak": 0, "log": []}));
    let none = json!({"image": "host", "name": "none", "command": ["sleep", "1d"], "health": {"command": []}});
    assert_eq!(server.create(&none)["health"]["status"], "none");
}

#[test]
fn a_check_whose_program_is_missing_says_so() {
    let Some(server) = crate::server() else { return };
    let health_of = json!({"command": ["there-is-no-such-program"], "interval_ms": 50, "retries": 1});
    server.create(&json!({"image": "host", "name": "web", "command": ["sleep", "1d"], "health": health_of}));
    wait_for(&server, "unhealthy");
    let told = wait_until("that is told", || events(&server, "unhealthy").pop());
    assert!(told.starts_with("its check failed once: exec there-is-no-such-program: ENOENT"), "{told}");
}

#[test]
fn many_are_checked_in_turn_and_none_is_forgotten() {
    let Some(server) = crate::server() else { return };
    let count = 30;
    let health_of = json!({"command": ["sleep", "0.05"], "interval_ms": 500, "retries": 1});
    for number in 0..count {
        let name = format!("many-{number}");
        server.create(&json!({"image": "host", "name": name, "command": ["sleep", "1d"], "health": health_of}));
    }
    wait_until("all are healthy", || {
        let list = server.api().get("/api/v1/containers").expect(200).json();
        belljar_testbed::server::rows(&list).iter().all(|container| container["health"]["status"] == "healthy").then_some(())
    });
}

#[test]
fn flags_are_dockers() {
    let Some(server) = crate::server() else { return };
    let flags = [
        "run",
        "-d",
        "--name",
        "web",
        "--health-cmd",
        "test -d /proc || exit 1",
        "--health-interval",
        "100ms",
        "--health-timeout",
        "5s",
        "--health-retries",
        "4",
        "--health-start-period",
        "1m",
        "--health-start-interval",
        "50ms",
        "host",
        "sleep",
        "1d",
    ];
    crate::belljar(&server, &flags);
    wait_for(&server, "healthy");
    let check = json!({"command": ["/bin/sh", "-c", "test -d /proc || exit 1"], "interval_ms": 100, "timeout_ms": 5000, "start_period_ms": 60_000,
        "start_interval_ms": 50, "retries": 4});
    assert_eq!(server.container("web")["health_check"], check);
    assert!(crate::belljar(&server, &["list"]).contains("(healthy)"));
    crate::belljar(&server, &["run", "-d", "--name", "none", "--no-healthcheck", "host", "sleep", "1d"]);
    assert_eq!(server.container("none")["health"]["status"], "none");
}

#[test]
fn a_check_that_makes_itself_a_session_of_its_own_is_killed_in_time() {
    let Some(server) = crate::server() else { return };
    let timeout_ms = 300 * u64::from(patience());
    let nap = nap();
    let signal = server.scratch("signal");
    // Neither its program nor anybody whom that still knows is left when its time is up: an orphan holds its output.
    let command = json!(["setsid", "--fork", "--wait", "sh", "-c", format!("(setsid sleep {nap} &) ; exec sleep {nap}")]);
    let health = json!({"command": command, "interval_ms": EVERY_MS, "timeout_ms": timeout_ms, "retries": 1});
    let mounts = json!([{"type": "bind", "source": signal, "target": "/s"}]);
    server.create(&json!({"image": "host", "name": "web", "command": ["sleep", "1d"], "mounts": mounts, "health": health}));
    wait_for(&server, "unhealthy");
    server.act("web", "pause");
    server.act("web", "resume");
    wait_until("nothing of it is left", || (!sleeps(&nap)).then_some(()));
    assert_eq!(server.container("web")["state"], "running");
}

#[test]
fn what_a_check_left_in_the_background_goes_on_in_the_containers_own_cgroup() {
    let Some(server) = crate::server() else { return };
    let nap = nap();
    let leave = format!("test -e /s/done || {{ setsid sleep {nap} > /dev/null 2>&1 < /dev/null & touch /s/done; }}");
    checked(&server, &leave, &json!({"interval_ms": 5000}));
    wait_for(&server, "healthy");
    let listed = || server.api().get("/api/v1/containers/web/processes").expect(200).text().contains(&nap);
    wait_until("its folder is gone", || server.traces().cgroups.iter().all(|path| !path.contains("/exec-")).then_some(()));
    assert!(listed());
    server.act("web", "kill");
    wait_until("it went with the container", || (!sleeps(&nap)).then_some(()));
}

#[test]
fn what_is_not_said_of_a_check_is_the_images() {
    let Some(server) = crate::server() else { return };
    let archive = crate::images::rootfs(&server, "base").to_string_lossy().into_owned();
    crate::belljar(&server, &["images", "import", "base", &archive]);
    let check = "HEALTHCHECK --interval=7s --timeout=3s --retries=9 --start-period=1s CMD [\"/bin/sh\", \"-c\", \":\"]";
    server.create(&json!({"image": "base", "name": "first", "command": ["/bin/sleep", "1d"], "start": false}));
    crate::belljar(&server, &["commit", "--change", check, "first", "checked:1"]);
    let check_of = |name: &str, flags: &[&str]| {
        crate::belljar(&server, &[&["create", "--name", name], flags, &["checked:1", "/bin/sleep", "1d"]].concat());
        server.container(name)["health_check"].clone()
    };
    let own = json!(["/bin/sh", "-c", ":"]);
    let told = check_of("times", &["--health-interval", "100ms", "--health-retries", "2"]);
    assert_eq!(told, json!({"command": own, "interval_ms": 100, "timeout_ms": 3000, "start_period_ms": 1000, "retries": 2}));
    let told = check_of("command", &["--health-cmd", "test -e /x"]);
    let asked = json!(["/bin/sh", "-c", "test -e /x"]);
    assert_eq!(told, json!({"command": asked, "interval_ms": 7000, "timeout_ms": 3000, "start_period_ms": 1000, "retries": 9}));
    assert_eq!(check_of("none", &["--no-healthcheck"])["command"], json!([]));
    assert_eq!(check_of("same", &[])["interval_ms"], 7000);
    // By REST, field by field.
    server.create(&json!({"image": "checked:1", "name": "rest", "command": ["/bin/sleep", "1d"], "health": {"interval_ms": 50}}));
    assert_eq!(server.container("rest")["health_check"]["command"], own);
    wait_until("it is healthy", || (server.container("rest")["health"]["status"] == "healthy").then_some(()));
    let refused = crate::belljar_output(&server, &["create", "--health-interval", "1s", "base", "/bin/sleep", "1d"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("the image has no check of its own"), "{said}");
}
