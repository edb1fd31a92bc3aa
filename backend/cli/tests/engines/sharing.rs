//! Namespaces: those of a container's own, those of another container, those of the host; and networks.

use belljar_testbed::wait_until;

use crate::engine::{Engine, Kind};
use crate::under_both;

under_both!(
    a_container_has_namespaces_of_its_own,
    a_container_joins_another_ones_namespaces,
    a_container_may_share_the_hosts_namespaces,
    containers_of_a_network_reach_each_other,
);

/// Inodes of the namespaces of a container's first process, as the kernel tells them.
fn namespaces(engine: &Engine, name: &str, kinds: &[&str]) -> Vec<String> {
    let pid = engine.pid(name);
    kinds.iter().map(|kind| engine.place.shell(&format!("readlink /proc/{pid}/ns/{kind}"))).collect()
}

const KINDS: [&str; 5] = ["mnt", "pid", "net", "ipc", "uts"];

fn a_container_has_namespaces_of_its_own(engine: &Engine) {
    engine.start_script("one", &[], "sleep 1d");
    let hosts: Vec<String> = KINDS.iter().map(|kind| engine.place.shell(&format!("readlink /proc/1/ns/{kind}"))).collect();
    let own = namespaces(engine, "one", &KINDS);
    assert!(own.iter().all(|inode| !hosts.contains(inode)), "{own:?} {hosts:?}");
}

fn a_container_joins_another_ones_namespaces(engine: &Engine) {
    engine.start_script("one", &["--ipc=shareable"], "exec sleep 4711");
    let flags = ["--pid=container:one", "--ipc=container:one", "--network=container:one"];
    engine.start_script("two", &flags, "exec sleep 4712");
    let kinds = ["pid", "net", "ipc"];
    assert_eq!(namespaces(engine, "two", &kinds), namespaces(engine, "one", &kinds));
    assert_ne!(namespaces(engine, "two", &["mnt", "uts"]), namespaces(engine, "one", &["mnt", "uts"]));
    let seen = engine.call(&["exec", "two", "ps"]);
    assert!(seen.contains("sleep 4711") && seen.contains("sleep 4712"), "{seen}");
    // Its first process is not the first of the namespace: the end of one must not need the end of the other.
    engine.call(&["rm", "--force", "two"]);
    assert_eq!(engine.inspect("one")["State"]["Status"], "running");
}

fn a_container_may_share_the_hosts_namespaces(engine: &Engine) {
    engine.place.shell("hostname of-the-place");
    let flags = ["--pid=host", "--ipc=host", "--uts=host", "--network=host"];
    engine.start_script("one", &flags, "hostname; sleep 1d");
    engine.wait_for_log("one", "of-the-place");
    let kinds = ["pid", "net", "ipc", "uts"];
    let hosts: Vec<String> = kinds.iter().map(|kind| engine.place.shell(&format!("readlink /proc/1/ns/{kind}"))).collect();
    assert_eq!(namespaces(engine, "one", &kinds), hosts);
    assert!(engine.call(&["exec", "one", "ps"]).contains("holder"));
    // Without a process namespace of its own, nothing dies with the first process by itself.
    engine.call(&["exec", "--detach", "one", "sleep", "4713"]);
    wait_until("it sleeps", || engine.place.processes().contains("sleep 4713").then_some(()));
    engine.call(&["rm", "--force", "one"]);
    wait_until("it is gone", || (!engine.place.processes().contains("sleep 4713")).then_some(()));
}

fn containers_of_a_network_reach_each_other(engine: &Engine) {
    if engine.kind == Kind::Podman && !std::path::Path::new("/usr/lib/cni/bridge").exists() {
        return belljar_testbed::skip("containernetworking-plugins");
    }
    engine.call(&["network", "create", "between"]);
    engine.start_script("server", &["--network=between"], "echo hello > /tmp/index.html; exec httpd -f -p 80 -h /tmp");
    let address = engine.inspect("server")["NetworkSettings"]["Networks"]["between"]["IPAddress"].as_str().unwrap_or_default().to_owned();
    let told = wait_until("the server answers", || {
        let output = engine.run_output(&["--rm", "--network=between"], &["wget", "-q", "-O", "-", &format!("http://{address}/index.html")]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert_eq!(told, "hello\n");
    assert!(!engine.run_output(&["--rm"], &["wget", "-q", "-T", "2", "-O", "-", &format!("http://{address}/")]).status.success());
    engine.call(&["rm", "--force", "server"]);
    engine.call(&["network", "rm", "between"]);
}

#[test]
fn a_port_of_a_container_is_reached_from_outside() {
    let Some(engine) = Engine::start(Kind::Docker) else { return };
    engine.start_script(
        "server",
        &["--network=bridge", "--publish=127.0.0.1:8080:80"],
        "echo hello > /tmp/index.html; exec httpd -f -p 80 -h /tmp",
    );
    wait_until("the server answers", || {
        let told = engine.place.command("busybox").args(["wget", "-q", "-O", "-", "http://127.0.0.1:8080/index.html"]).output().ok()?;
        (told.stdout == b"hello\n").then_some(())
    });
}
