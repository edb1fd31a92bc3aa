//! What is mounted in a container, told beside what was asked for: by the API and on the command line, against the kernel's own table.

use std::fs;

use belljar_testbed::wait_until;
use serde_json::{Value, json};

use crate::belljar;

fn mounts(server: &belljar_testbed::Server, container: &str) -> Value {
    server.api().get(&format!("/api/v1/containers/{container}/mounts")).expect(200).json()
}

fn at<'a>(mounts: &'a Value, target: &str) -> &'a Value {
    let all = mounts["mounts"].as_array().expect("mounts");
    all.iter().find(|mount| mount["target"] == target).unwrap_or_else(|| panic!("{target} in {mounts:#}"))
}

#[test]
fn mounts_are_told_line_by_line_as_the_kernel_has_them_beside_what_was_asked_for() {
    let Some(server) = crate::server() else { return };
    let shared = server.scratch("shared");
    let asked = json!([
        {"type": "bind", "source": shared.to_string_lossy(), "target": "/a folder", "readonly": true},
        {"type": "volume", "source": "kept", "target": "/kept"}, {"type": "tmpfs", "target": "/memory", "size_bytes": 65536}
    ]);
    server.create(&json!({"image": "host", "name": "rests", "command": ["true"], "mounts": asked, "start": false}));
    let rests = mounts(&server, "rests");
    assert_eq!((&rests["source"], &at(&rests, "/kept")["kernel"]), (&Value::Null, &Value::Null));
    assert_eq!(at(&rests, "/kept")["asked"], "the volume kept");

    server.create(&json!({"image": "host", "name": "web", "command": ["sleep", "1d"], "mounts": asked}));
    let told = mounts(&server, "web");
    let source = told["source"].as_str().expect("it is alive");
    let table = fs::read_to_string(source).expect("the kernel's table");
    assert_eq!(told["mounts"].as_array().map(Vec::len), Some(table.lines().count()), "each line once, and nothing else");
    let ids: Vec<u64> = table.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    let told_ids: Vec<u64> = told["mounts"].as_array().unwrap().iter().map(|mount| mount["kernel"]["id"].as_u64().unwrap()).collect();
    assert_eq!(told_ids, ids, "in the kernel's order");
    let bind = at(&told, "/a folder");
    assert_eq!(bind["asked"], format!("{} of the host, read-only", shared.display()));
    assert!(bind["kernel"]["options"].as_array().unwrap().contains(&json!("ro")), "{bind}");
    assert!(bind["kernel"]["root"].as_str().unwrap().ends_with("/shared"), "{bind}");
    assert_eq!((&at(&told, "/memory")["origin"], &at(&told, "/memory")["kernel"]["filesystem"]), (&json!("tmpfs"), &json!("tmpfs")));
    assert_eq!(at(&told, "/")["origin"], "overlay");
    assert!(told["mounts"].as_array().unwrap().iter().all(|mount| mount["origin"] != "other"), "{told:#}");

    let text = belljar(&server, &["mounts", "web"]);
    assert!(text.contains(&format!("read from {source}")) && text.contains("the volume kept"), "{text}");
}

#[test]
fn what_a_program_mounts_is_told_as_nobodys_by_its_whole_name_and_in_one_line() {
    let Some(server) = crate::server() else { return };
    let script = "mkdir -p \"$1\" && mount -t tmpfs tmpfs \"$1\" && echo mounted; exec sleep 1d";
    let hostile = "/tmp/a b\\\n\u{1b}[31m601 600 0:90 / /proc rw - proc proc rw";
    server.create(&json!({
        "image": "host", "name": "hostile", "command": ["sh", "-c", script, "sh", hostile],
        "security": {"capabilities": {"add": ["SYS_ADMIN"]}}
    }));
    let told = wait_until("it has mounted", || {
        let told = mounts(&server, "hostile");
        told["mounts"].as_array()?.iter().any(|mount| mount["origin"] == "other").then_some(told)
    });
    assert_eq!(at(&told, hostile)["asked"], Value::Null);
    assert_eq!(at(&told, "/proc")["origin"], "standard");
    let text = belljar(&server, &["mounts", "hostile"]);
    let line = text.lines().find(|line| line.contains("by nobody")).expect("one line");
    assert!(line.starts_with("/tmp/a b") && line.contains("601 600") && !text.contains('\u{1b}'), "{text}");
}
