//! Containers that do their worst while files are copied: the known attacks on copying, each with user ids of the container's own and
//! without, when its root is the host's root and nothing but the way of copying stands between.

use std::fs;

use belljar_testbed::wait_until;
use serde_json::{Value, json};

use crate::files::{inside, start, tar, undo};
use crate::{belljar, belljar_output};

/// Options of a container that has no user namespace of its own.
fn without_ids() -> Value {
    json!({"namespaces": {"user": "host"}})
}

/// CVE-2018-15664, CVE-2026-41568, CVE-2026-42306: while files are copied, the container swaps what is copied for links that lead
/// out of it, for FIFOs and back.
fn swap_links_under_a_copy(options: Value) {
    let Some(server) = crate::server() else { return };
    let canary = server.scratch("canary");
    fs::create_dir_all(canary.join("w")).unwrap();
    fs::write(canary.join("w/x"), "alive").unwrap();
    // Inside, the path of the canary is the container's own: what is swapped in leads by the same path as on the host.
    let outside = canary.display();
    let script = format!(
        "ln -s {outside}/w /l; mkfifo /p; echo ready
         while :; do mkdir -p /w; echo inside > /w/x; mv -T /w /t; mv -T /l /w; mv -T /w /l; mv -T /p /w; mv -T /w /p; mv -T /t /w; done"
    );
    start(&server, &script, options);
    let here = server.scratch("here");
    fs::write(here.join("x"), "evil").unwrap();
    let (mut read, mut written) = (0, 0);
    for round in 0..60 {
        let out = belljar_output(&server, &["cp", "box:/w/x", "-"]);
        assert!(!String::from_utf8_lossy(&out.stdout).contains("alive"));
        read += usize::from(out.status.success());
        let put = belljar_output(&server, &["cp", &here.join("x").display().to_string(), "box:/w/"]);
        written += usize::from(put.status.success());
        if round % 10 == 9 {
            drop(undo(&server, "/w"));
        }
    }
    assert!(read + written > 0, "at times it was a folder");
    let names: Vec<_> = fs::read_dir(canary.join("w")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((names, fs::read_to_string(canary.join("w/x")).unwrap().as_str()), (vec!["x".into()], "alive"));
}

/// CVE-2019-14271, CVE-2026-41567: nothing that lies in the container is executed, loaded or found by its name.
fn replace_programs_and_libraries(mut options: Value) {
    let Some(server) = crate::server() else { return };
    let script = "for name in tar gzip unpigz xz zstd; do printf '#!/bin/sh\\necho ran >> /ran\\n' > /usr/local/bin/$name; chmod 755 /usr/local/bin/$name; done
        mkdir -p /etc /tmp/t; echo x > /tmp/t/x; echo '/libran.so' > /etc/ld.so.preload
        for lib in libnss_files.so.2 libnss_evil.so.2; do printf nothing > /usr/local/lib/$lib; done
        echo 'passwd: evil files' > /etc/nsswitch.conf; echo ready; exec sleep 1d";
    options["env"] = json!({"PATH": "/usr/local/bin:/usr/bin:/bin"});
    start(&server, script, options);
    let here = server.scratch("here");
    fs::write(here.join("x"), "x").unwrap();
    let archive = tar(&["-c", "-z", "-f", "-", "x"], &here, None).stdout;
    server.api().send("PUT", "/api/v1/containers/box/archive?path=/root", archive).expect(200);
    server.api().get("/api/v1/containers/box/archive?path=/tmp/t").expect(200);
    assert_eq!(inside(&server, "cat /root/x"), "x");
    assert!(inside(&server, "test -e /ran || echo none").contains("none"));
}

#[test]
fn a_container_that_swaps_links_under_a_copy_reaches_nothing_of_the_host() {
    swap_links_under_a_copy(json!({}));
}

#[test]
fn nor_does_one_whose_root_is_the_hosts() {
    swap_links_under_a_copy(without_ids());
}

#[test]
fn programs_of_the_container_are_no_part_of_a_copy() {
    replace_programs_and_libraries(json!({}));
}

#[test]
fn nor_are_those_of_one_whose_root_is_the_hosts() {
    replace_programs_and_libraries(without_ids());
}

/// CVE-2024-21626 and its like: a descriptor of the host, or somebody's root, named by a path of procfs.
#[test]
fn no_path_through_procfs_leads_a_copy_or_a_program_out_of_the_container() {
    let Some(server) = crate::server() else { return };
    let canary = server.scratch("canary");
    fs::write(canary.join("x"), "alive").unwrap();
    let here = server.scratch("here");
    fs::write(here.join("x"), "evil").unwrap();
    let climb = "../".repeat(12);
    let outside = canary.strip_prefix("/").unwrap().display();
    let script = "ln -s /proc/self/fd /fds; ln -s /proc/1/root /root-of-one; ln -s /proc/self/cwd /here; echo ready; exec sleep 1d";
    start(&server, script, without_ids());
    let mut ways: Vec<String> = ["/proc/1/root", "/proc/self/root", "/proc/self/cwd", "/proc/thread-self/root", "/root-of-one", "/here"]
        .map(|way| format!("{way}/{climb}{outside}"))
        .to_vec();
    ways.extend((0..24).flat_map(|fd| [format!("/proc/self/fd/{fd}/{climb}{outside}"), format!("/fds/{fd}/{climb}{outside}")]));
    for way in &ways {
        let out = belljar_output(&server, &["cp", &format!("box:{way}/x"), "-"]);
        assert!(!String::from_utf8_lossy(&out.stdout).contains("alive"), "{way}");
        drop(belljar_output(&server, &["cp", &here.join("x").display().to_string(), &format!("box:{way}/")]));
        drop(undo(&server, &format!("{way}/x")));
        assert_eq!(fs::read_to_string(canary.join("x")).unwrap(), "alive", "{way}");
    }
    // The same as the folder in which a program begins: it is the container's, or there is no program.
    for fd in 0..24 {
        let folder = format!("/proc/self/fd/{fd}");
        let look = format!("cat {climb}{outside}/x; echo looked");
        let out = belljar_output(&server, &["exec", "--workdir", &folder, "box", "sh", "-c", &look]);
        assert!(!String::from_utf8_lossy(&out.stdout).contains("alive"), "exec in {folder}");
        let name = format!("in-{fd}");
        let body = json!({"image": "host", "name": name, "workdir": folder, "command": ["sh", "-c", look], "namespaces": {"user": "host"}});
        let answer = server.api().post_json("/api/v1/containers", &body);
        if answer.status == 201 {
            let state = || server.container(&name)["state"].clone();
            wait_until("it has ended", || (state() == "stopped").then_some(()));
            assert!(!server.logs(&name).contains("alive"), "run in {folder}");
            server.api().delete(&format!("/api/v1/containers/{name}?force=true")).expect(204);
        }
    }
    assert_eq!(belljar(&server, &["exec", "box", "sh", "-c", "echo well"]).trim(), "well");
}
