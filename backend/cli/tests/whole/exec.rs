//! A further program in a running container: what it is given, how it ends, and that it is held as strictly as the first one.

use std::time::{Duration, Instant};

use belljar_testbed::wait::try_wait;
use belljar_testbed::{Server, wait_until};
use serde_json::{Value, json};

/// A container that waits.
fn quiet(server: &Server, options: Value) {
    let mut body = json!({"image": "host", "name": "web", "command": ["sh", "-c", "echo up; exec sleep 1000"]});
    for (key, value) in options.as_object().expect("options are fields") {
        body[key] = value.clone();
    }
    server.create(&body);
    server.wait_for_log("web", "up");
}

#[track_caller]
fn exec(server: &Server, body: &Value) -> Value {
    server.api().post_json("/api/v1/containers/web/exec", body).expect(200).json()
}

#[track_caller]
fn script(server: &Server, script: &str) -> String {
    let answer = exec(server, &json!({"command": ["sh", "-c", script]}));
    assert_eq!(answer["code"], 0, "{answer}");
    answer["stdout"].as_str().expect("a text").to_owned()
}

/// Descriptors and children of the server and its spawner.
fn held(server: &Server) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it lives").count();
    let children = belljar_testbed::process::pids().into_iter().filter(|pid| belljar_testbed::process::parent(*pid) == Some(server.pid()));
    let of_children = children.map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count));
    descriptors + of_children.sum::<usize>()
}

#[test]
fn it_is_given_what_was_asked_and_else_what_the_container_has() {
    let Some(server) = crate::server() else { return };
    quiet(&server, json!({"env": {"A": "1", "B": "2"}, "workdir": "/srv", "hostname": "glass"}));
    let asked = json!({"command": ["sh", "-c", "echo $A $B; id -u; id -g; pwd; hostname; echo oops >&2; exit 7"], "env": {"B": "3"},
        "user": "1000:1001", "workdir": "/tmp"});
    let answer = exec(&server, &asked);
    assert_eq!((&answer["code"], &answer["signal"], &answer["stderr"]), (&json!(7), &Value::Null, &json!("oops\n")), "{answer}");
    assert_eq!(answer["stdout"], "1 3\n1000\n1001\n/tmp\nglass\n");
    assert_eq!(script(&server, "echo $B; pwd; id -u"), "2\n/srv\n0\n");
    let killed = exec(&server, &json!({"command": ["sh", "-c", "kill -TERM $$"]}));
    assert_eq!((&killed["code"], &killed["signal"]), (&Value::Null, &json!("SIGTERM")));
    assert!(server.event_kinds("web").contains(&"exec".to_owned()));
    let missing =
        server.api().post_json("/api/v1/containers/web/exec", &json!({"command": ["there-is-no-such-program"]})).expect(422).json();
    assert_eq!((&missing["step"], &missing["object"]), (&json!("exec"), &json!("there-is-no-such-program")), "{missing}");
    assert_eq!(server.container("web")["state"], "running");
}

#[test]
fn it_is_as_strict_as_the_start() {
    let Some(server) = crate::server() else { return };
    quiet(&server, json!({"ulimits": {"nofile": {"soft": 100, "hard": 200}}, "oom_score_adj": 77, "umask": "0077"}));
    let what = "grep -E 'Cap|Seccomp:|NoNewPrivs' $1/status; for n in mnt pid net uts ipc user cgroup; do readlink $1/ns/$n; done; cat $1/cgroup $1/oom_score_adj; \
        grep 'open files' $1/limits";
    let first = script(&server, &format!("set -- /proc/1; {what}"));
    let own = script(&server, &format!("set -- /proc/self; {what}"));
    assert_eq!(own, first, "every set, filter, namespace, cgroup and limit");
    assert_eq!(
        script(&server, "umask; ls /proc/self/fd | wc -l; tr '\\0' '\\n' < /proc/self/environ | grep -ci belljar; true"),
        "0077\n4\n0\n"
    );
    assert_eq!(script(&server, "mount -t tmpfs x /mnt 2>/dev/null || echo refused"), "refused\n");
}

#[test]
fn a_hundred_leave_nothing_and_many_run_side_by_side() {
    let Some(server) = crate::server() else { return };
    quiet(&server, json!({}));
    script(&server, "true");
    let before = held(&server);
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(exec(&server, &json!({"command": ["true"]}))["code"], 0);
    }
    println!("100 execs took {} ms", begun.elapsed().as_millis());
    let settled = try_wait(Duration::from_secs(30), || (held(&server) <= before).then_some(()));
    assert!(settled.is_some(), "{before} descriptors before, {} after", held(&server));
    std::thread::scope(|scope| {
        let server = &server;
        let run = |number: u32| scope.spawn(move || exec(server, &json!({"command": ["sh", "-c", format!("sleep 0.1; exit {number}")]})));
        let all: Vec<_> = (0..20).map(run).collect();
        for (number, one) in all.into_iter().enumerate() {
            assert_eq!(one.join().expect("answered")["code"], number);
        }
    });
    let processes = server.api().get("/api/v1/containers/web/processes").expect(200).json();
    assert_eq!(processes.as_array().map(Vec::len), Some(1), "{processes}");
}

#[test]
fn one_whose_time_is_up_is_killed_with_what_it_started() {
    let Some(server) = crate::server() else { return };
    quiet(&server, json!({}));
    let time_limit_ms = 300 * belljar_testbed::wait::patience();
    let asked = json!({"command": ["sh", "-c", "echo begun; sleep 500 & sleep 600; echo never"], "time_limit_ms": time_limit_ms});
    let answer = exec(&server, &asked);
    assert_eq!(
        (&answer["timed_out"], &answer["stdout"], &answer["signal"]),
        (&json!(true), &json!("begun\n"), &json!("SIGKILL")),
        "{answer}"
    );
    wait_until("nothing of it is left", || {
        let processes = server.api().get("/api/v1/containers/web/processes").expect(200).json();
        (processes.as_array().map(Vec::len) == Some(1)).then_some(())
    });
    let long = exec(&server, &json!({"command": ["sh", "-c", "head -c 3000000 /dev/zero"]}));
    assert_eq!((&long["truncated"], long["stdout"].as_str().map(str::len)), (&json!(true), Some(1 << 20)));
}

#[test]
fn what_does_not_run_or_is_paused_refuses_clearly() {
    let Some(server) = crate::server() else { return };
    quiet(&server, json!({}));
    let refused = |why: &str| {
        let problem = server.api().post_json("/api/v1/containers/web/exec", &json!({"command": ["true"]})).expect(409).json();
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{problem}");
    };
    server.act("web", "pause");
    refused("is paused: resume it");
    server.act("web", "resume");
    assert_eq!(script(&server, "echo back"), "back\n");
    server.act("web", "kill");
    refused("is not running");
    let wrong = server.api().post_json("/api/v1/containers/web/exec", &json!({"command": []})).expect(422).json();
    assert_eq!(wrong["field"], "command");
}

#[test]
fn the_command_line_passes_bytes_on_and_ends_as_the_program_did() {
    let Some(server) = crate::server() else { return };
    quiet(&server, json!({}));
    let output = crate::belljar_output(
        &server,
        &[
            "exec",
            "-e",
            "A=x",
            "-u",
            "1000",
            "-w",
            "/tmp",
            "web",
            "sh",
            "-c",
            "printf 'a\\0\\377'; echo $A >&2; pwd >&2; id -u >&2; exit 3",
        ],
    );
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"a\0\xff"[..]), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "x\n/tmp\n1000\n");
    let big = crate::belljar_output(&server, &["exec", "web", "head", "-c", "5000000", "/dev/zero"]);
    assert_eq!((big.status.code(), big.stdout.len()), (Some(0), 5_000_000));
    let missing = crate::belljar_output(&server, &["exec", "web", "there-is-no-such-program"]);
    assert_eq!(missing.status.code(), Some(127), "{missing:?}");
    let limited = crate::belljar_output(&server, &["exec", "--time-limit", "1", "web", "sleep", "100"]);
    assert_eq!(limited.status.code(), Some(137), "{limited:?}");
}

#[test]
fn whoever_goes_away_takes_the_program_along() {
    let Some(server) = crate::server() else { return };
    quiet(&server, json!({}));
    let mut client = std::process::Command::new(server.executable());
    client.args(["exec", "web", "sleep", "777"]).env("BELLJAR_SOCKET", server.socket());
    let mut client = client.spawn().expect("the executable runs");
    let runs = |server: &Server| server.api().get("/api/v1/containers/web/processes").expect(200).text().contains("sleep 777");
    wait_until("it runs", || runs(&server).then_some(()));
    client.kill().and_then(|()| client.wait()).expect("killed");
    wait_until("it is gone", || (!runs(&server)).then_some(()));
    assert_eq!(server.container("web")["state"], "running");
}
