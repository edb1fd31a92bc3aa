//! A start that cannot be: one clear sentence with what to do, exit status 1, no backtrace.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use belljar_testbed::wait::try_wait;
use belljar_testbed::{DEADLINE, Server};

/// A user that owns nothing: `nobody` (Debian base-passwd).
const NOBODY: u32 = 65_534;

#[track_caller]
fn refusal(mut command: Command, words: &[&str]) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = try_wait(DEADLINE, || child.try_wait().unwrap());
    if ended.is_none() {
        child.kill().unwrap();
        panic!("it started");
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&stderr).into_owned() + &String::from_utf8_lossy(&stdout);
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "one sentence: {said}");
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} in {said}");
    }
}

/// A server that has ended, whose folders are free.
fn stopped() -> Option<Server> {
    let mut server = crate::server()?;
    server.stop();
    Some(server)
}

#[test]
fn a_port_in_use_is_named() {
    let Some(server) = stopped() else { return };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refusal(server.serve_command(&address), &[&address]);
}

#[test]
fn a_second_server_of_the_same_instance_is_refused() {
    let Some(server) = crate::server() else { return };
    refusal(server.serve_command("127.0.0.1:0"), &[]);
    server.api().get("/api/v1/containers").expect(200);
}

#[test]
fn a_second_server_with_other_folders_does_not_touch_the_first_ones_containers() {
    let Some(server) = crate::server() else { return };
    server.run_script("kept", "exec sleep 1000");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(crate::EXECUTABLE);
    command.args(["serve", "--instance", server.instance(), "--listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(folder.path().join("data")).arg("--run-dir").arg(folder.path().join("run"));
    let sentence = format!("another Belljar serves instance {}; give this one --instance NAME", server.instance());
    refusal(command, &[&sentence]);
    assert_eq!(server.container("kept")["state"], "running");
    assert_eq!(server.event_kinds("kept"), ["created", "started"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    if !crate::is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let mut command = Command::new(crate::EXECUTABLE);
    command.args(["serve", "--instance", "test-refused", "--listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(file.join("data")).arg("--run-dir").arg(folder.path().join("run"));
    refusal(command, &["a-file"]);
}

#[test]
fn a_start_by_somebody_else_than_root_says_what_to_do() {
    let Some(server) = stopped() else { return };
    let executable = server.scratch("executable").join("belljar");
    fs::copy(crate::EXECUTABLE, &executable).unwrap();
    let mut command = Command::new(&executable);
    command.args(["serve", "--instance", "test-refused", "--listen", "127.0.0.1:0"]).uid(NOBODY).gid(NOBODY).current_dir("/");
    refusal(command, &["root"]);
}

#[test]
fn a_layer_whose_file_system_cannot_map_owners_is_named_with_it() {
    let Some(server) = crate::server() else { return };
    let mounts = serde_json::json!([{"type": "layer", "source": "/proc/sys"}]);
    let body = serde_json::json!({"image": "host", "name": "odd", "mounts": mounts, "command": ["true"]});
    let exit = server.create(&body)["exit"].clone();
    assert_eq!(exit["kind"], "never_started", "{exit}");
    let cause = exit["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("/proc/sys") && cause.contains("file system"), "{exit}");
}
