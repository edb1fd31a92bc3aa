//! A database: configuration from a read-only layer, data in a bind mount, and nothing of the host in sight.

use std::fs;

use serde_json::json;

const SCRIPT: &str = "
    . /etc/database.conf
    echo changed >> /etc/database.conf
    echo row >> $DATA/rows
    echo rows: $(wc -l < $DATA/rows)
    echo shadow: $(cat /etc/shadow 2>&1)
    echo home: $(ls -A /root | wc -l)
    echo processes: $(ls -d /proc/[0-9]* | wc -l)
    echo ready
    exec sleep 1d";

#[test]
fn a_databases_data_outlives_it_and_its_configuration_and_the_host_are_out_of_reach() {
    let Some(server) = crate::server() else { return };
    let (configuration, data) = (server.scratch("configuration"), server.scratch("data"));
    fs::create_dir(configuration.join("etc")).unwrap();
    fs::write(configuration.join("etc/database.conf"), "DATA=/data\n").unwrap();
    fs::write(data.join("rows"), "").unwrap();
    let mounts = json!([{"type": "layer", "source": configuration}, {"type": "bind", "source": data, "target": "/data"}]);
    let body = json!({"image": "host", "name": "db", "command": ["sh", "-c", SCRIPT], "mounts": mounts});

    server.create(&body);
    let log = server.wait_for_log("db", "ready");
    assert!(log.contains("rows: 1"), "{log}");
    server.api().delete("/api/v1/containers/db?force=true").expect(204);
    server.create(&body);
    let log = server.wait_for_log("db", "ready");
    assert!(log.contains("rows: 2"), "the row of the first is there: {log}");
    assert_eq!(fs::read_to_string(data.join("rows")).unwrap(), "row\nrow\n");
    assert_eq!(fs::read_to_string(configuration.join("etc/database.conf")).unwrap(), "DATA=/data\n");

    for secret in secrets_of_this_host() {
        assert!(!log.contains(&secret), "a line of the host's shadow file is in sight");
    }
    assert!(log.contains("home: 0"), "the host's /root is out of sight: {log}");
    let processes = log.split("processes: ").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()).unwrap();
    assert!(processes.parse::<u32>().unwrap() <= 5, "the host's processes are out of sight: {log}");
}

/// The lines of the host's `/etc/shadow` that hold a password or a date of its own.
fn secrets_of_this_host() -> Vec<String> {
    let shadow = fs::read_to_string("/etc/shadow").unwrap();
    shadow.lines().filter(|line| line.len() > 20).map(str::to_owned).collect()
}

#[test]
fn a_bind_mount_that_is_read_only_cannot_be_written() {
    let Some(server) = crate::server() else { return };
    let source = server.scratch("source");
    fs::write(source.join("file"), "as it was\n").unwrap();
    let mounts = json!([{"type": "bind", "source": source, "target": "/data", "readonly": true}]);
    let script = "echo changed > /data/file; echo new > /data/new; echo done";
    server.create(&json!({"image": "host", "name": "reader", "command": ["sh", "-c", script], "mounts": mounts}));
    server.wait_for_state("reader", "stopped");
    assert!(server.logs("reader").contains("Read-only file system"));
    assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "as it was\n");
    assert!(!source.join("new").exists());
}
