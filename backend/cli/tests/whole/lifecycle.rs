//! Every verb, on the REST API and on the command line, and that a whole life leaves nothing behind.

use belljar_testbed::wait_until;
use serde_json::json;

use crate::{belljar, belljar_output};

#[test]
fn every_verb_works_is_an_event_and_is_fine_when_already_so() {
    let Some(server) = crate::server() else { return };
    let body = json!({"image": "host", "name": "life", "command": ["sleep", "1d"], "start": false});
    assert_eq!(server.create(&body)["state"], "created");
    let verbs = [
        ("start", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("restart", "running"),
        ("stop", "stopped"),
        ("start", "running"),
        ("kill", "stopped"),
    ];
    for (verb, state) in verbs {
        server.act("life", verb);
        server.wait_for_state("life", state);
        if verb != "restart" {
            server.act("life", verb);
        }
    }
    let kinds = server.event_kinds("life");
    for kind in ["created", "started", "paused", "resumed", "restarted", "stopped", "killed"] {
        assert!(kinds.contains(&kind.to_owned()), "{kind} in {kinds:?}");
    }
    server.api().delete("/api/v1/containers/life").expect(204);
    let events = server.api().get("/api/v1/events").expect(200).text();
    assert!(events.contains("\"deleted\""), "{events}");
}

#[test]
fn a_whole_life_leaves_nothing_behind() {
    let Some(server) = crate::server() else { return };
    // The first start makes the image `host`, which stays.
    server.run_script("first", "exec sleep 1d");
    server.api().delete("/api/v1/containers/first?force=true").expect(204);
    let before = server.traces();

    server.run_script("life", "echo written > /root/file; sleep 1d & exec sleep 1d");
    server.act("life", "stop");
    server.act("life", "start");
    server.act("life", "pause");
    server.api().delete("/api/v1/containers/life?force=true").expect(204);
    server.assert_nothing_left(&before);
}

#[test]
fn a_running_container_is_deleted_by_force_only() {
    let Some(server) = crate::server() else { return };
    server.run_script("busy", "exec sleep 1d");
    let refused = server.api().delete("/api/v1/containers/busy").expect(409).json();
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("running")), "{refused}");
    assert_eq!(server.container("busy")["state"], "running");
}

#[test]
fn a_rootfs_archive_becomes_an_image_that_runs() {
    let Some(server) = crate::server() else { return };
    let folder = server.scratch("rootfs");
    let script = "mkdir -p bin etc; cp /bin/sh bin/sh; for l in $(ldd /bin/sh | grep -o '/[^ ]*'); do mkdir -p .${l%/*}; cp $l .$l; done; \
                  echo inside > etc/where; tar -czf ../rootfs.tar.gz .";
    let made = std::process::Command::new("sh").args(["-c", script]).current_dir(&folder).status().unwrap();
    assert!(made.success());
    belljar(&server, &["images", "import", "tiny", &folder.with_file_name("rootfs.tar.gz").to_string_lossy()]);
    assert!(belljar(&server, &["images"]).contains("tiny"));
    server.create(&json!({"image": "tiny", "name": "inside", "command": ["/bin/sh", "-c", "read where < /etc/where; echo it is $where"]}));
    server.wait_for_log("inside", "it is inside");

    let refused = server.api().delete("/api/v1/images/tiny").expect(409).text();
    assert!(refused.contains("inside"), "who uses it is named: {refused}");
    server.api().delete("/api/v1/containers/inside?force=true").expect(204);
    server.api().delete("/api/v1/images/tiny").expect(204);
}

#[test]
fn the_command_line_does_what_the_api_does() {
    let Some(server) = crate::server() else { return };
    belljar(
        &server,
        &["run", "--detach", "--name", "shell", "--memory", "64m", "--env", "GLASS=bell", "host", "sh", "-c", "echo $GLASS; exec sleep 1d"],
    );
    assert!(belljar(&server, &["list"]).contains("shell"));
    wait_until("its log is shown", || belljar(&server, &["logs", "shell"]).contains("bell").then_some(()));
    assert!(belljar(&server, &["inspect", "shell"]).contains("67108864"));
    belljar(&server, &["stop", "shell"]);
    assert_eq!(server.container("shell")["state"], "stopped");
    belljar(&server, &["delete", "shell"]);
    let unknown = belljar_output(&server, &["inspect", "shell"]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("shell"));
}

#[test]
fn a_program_run_in_the_foreground_gives_its_output_and_its_exit_code() {
    let Some(server) = crate::server() else { return };
    let output = belljar_output(&server, &["run", "host", "sh", "-c", "echo to out; echo to err >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "to out\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "to err\n");
}

#[test]
fn a_run_whose_reader_goes_away_takes_its_container_with_it_where_that_was_asked() {
    let Some(server) = crate::server() else { return };
    let script = format!("{} run --rm --name shouter host yes | head -1", crate::EXECUTABLE);
    let output = std::process::Command::new("sh").args(["-c", &script]).env("BELLJAR_SOCKET", server.socket()).output().expect("sh runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y\n");
    belljar_testbed::wait_until("the container is gone", || (server.api().get("/api/v1/containers/shouter").status == 404).then_some(()));
}

#[test]
fn mounts_are_made_parents_first_and_slashes_do_not_hide_what_is_reserved() {
    let Some(server) = crate::server() else { return };
    let (outer, inner) = (server.scratch("outer"), server.scratch("inner"));
    std::fs::write(inner.join("deep"), "here\n").unwrap();
    let mounts = serde_json::json!([
        {"type": "bind", "source": inner, "target": "/data/in//"}, {"type": "bind", "source": outer, "target": "/data"}]);
    let command = ["sh", "-c", "cat /data/in/deep"];
    server.create(&serde_json::json!({"image": "host", "name": "nested", "mounts": mounts, "command": command}));
    server.wait_for_state("nested", "stopped");
    assert_eq!(server.logs("nested").trim(), "here");
    for target in ["//sys", "//proc/acpi", "/./dev", "///dev/shm"] {
        let mounts = serde_json::json!([{"type": "tmpfs", "target": target}]);
        let body = serde_json::json!({"image": "host", "mounts": mounts, "command": ["true"]});
        let problem = server.api().post_json("/api/v1/containers", &body).expect(422).json();
        assert_eq!(problem["field"], "mounts[0].target", "{target}: {problem}");
    }
}
