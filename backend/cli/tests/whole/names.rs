//! Names: a container has a hostname of its own, and the page shows by which namespace.

use std::fs;

use belljar_testbed::process::namespace_inode;
use belljar_testbed::server::rows;
use serde_json::json;

fn hostname_of_this_host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap()
}

#[test]
fn a_container_has_its_own_hostname_and_the_host_keeps_its_own() {
    let Some(server) = crate::server() else { return };
    let before = hostname_of_this_host();
    let script = "uname -n; cat /proc/sys/kernel/hostname; exec sleep 1d";
    server.create(&json!({"image": "host", "name": "named", "hostname": "under-glass", "command": ["sh", "-c", script]}));
    server.wait_for_log("named", "under-glass");
    assert_eq!(hostname_of_this_host(), before);
    assert_ne!(before.trim(), "under-glass");
}

#[test]
fn every_namespace_is_told_with_the_inode_that_the_kernel_has() {
    let Some(server) = crate::server() else { return };
    let container = server.run_script("spaces", "exec sleep 1d");
    let pid = i32::try_from(container["pid"].as_i64().expect("it runs")).unwrap();
    let own = i32::try_from(std::process::id()).unwrap();

    let told = rows(&server.api().get("/api/v1/containers/spaces/namespaces").expect(200).json());
    for kind in ["mnt", "pid", "net", "uts", "ipc", "user", "cgroup"] {
        let space = told.iter().find(|space| space["type"] == kind).unwrap_or_else(|| panic!("{kind} in {told:?}"));
        assert_eq!(space["inode"], namespace_inode(pid, kind), "{kind} of the container");
        assert_eq!(space["host_inode"], namespace_inode(own, kind), "{kind} of the host");
        assert_ne!(space["inode"], space["host_inode"], "{kind} is its own");
    }
    let page = server.api().get("/containers/spaces/namespaces").expect(200).text();
    for inode in [namespace_inode(pid, "uts"), namespace_inode(own, "uts")] {
        assert!(page.contains(&inode.to_string()), "the page shows {inode}");
    }
}
