//! Each protection that a person may loosen or tighten: really so inside, and told in words wherever a person looks. It must
//! never ask our own code what is so: the container's program and the kernel's files do.

use belljar_testbed::process::namespace_inode;
use belljar_testbed::{Server, skip};
use serde_json::{Value, json};

/// Creates a container of this name that runs `script`, with `options`.
fn create(server: &Server, name: &str, script: &str, options: &Value) -> Value {
    let mut body = json!({"image": "host", "name": name, "command": ["sh", "-c", script]});
    for (key, value) in options.as_object().expect("options are fields") {
        body[key] = value.clone();
    }
    server.create(&body)
}

/// What `script` writes, when it has ended.
#[track_caller]
fn said(server: &Server, name: &str, script: &str, options: &Value) -> String {
    create(server, name, script, options);
    let ended = server.wait_for_state(name, "stopped");
    assert_ne!(ended["exit"]["kind"], "never_started", "{}", ended["exit"]["message"]);
    server.logs(name)
}

fn warnings(server: &Server, name: &str) -> Vec<String> {
    let container = server.container(name);
    container["warnings"].as_array().expect("a list").iter().map(|warning| warning.as_str().unwrap_or_default().to_owned()).collect()
}

fn pid(server: &Server, name: &str) -> i32 {
    server.container(name)["pid"].as_i64().and_then(|pid| pid.try_into().ok()).expect("it is alive")
}

fn own_inode(kind: &str) -> u64 {
    namespace_inode(std::process::id().try_into().expect("a pid"), kind)
}

#[test]
fn each_namespace_can_be_the_hosts_and_is_told() {
    let Some(server) = crate::server() else { return };
    for (kind, warning) in [
        ("net", "shares the host's network"),
        ("pid", "shares the host's processes"),
        ("ipc", "shares the host's shared memory and message queues"),
        ("uts", "shares the host's hostname"),
        ("cgroup", "shares the host's view of the cgroup tree"),
        ("user", "shares the host's user ids: its root is the host's root"),
    ] {
        create(&server, kind, "echo up; exec sleep 1000", &json!({"namespaces": {kind: "host"}}));
        server.wait_for_log(kind, "up");
        let pid = pid(&server, kind);
        assert_eq!(namespace_inode(pid, kind), own_inode(kind), "{kind}");
        for other in ["mnt", "net", "pid", "ipc", "uts", "user"].into_iter().filter(|other| *other != kind) {
            assert_ne!(namespace_inode(pid, other), own_inode(other), "{other} beside {kind}");
        }
        assert_eq!(warnings(&server, kind), [warning]);
        let page = server.api().get(&format!("/containers/{kind}")).expect(200).text();
        assert!(page.contains(&warning.replace('\'', "&#39;")), "{kind} is not told on its page");
        server.act(kind, "kill");
    }
}

#[test]
fn the_hosts_network_and_processes_can_be_seen_and_nothing_more_is_given() {
    let Some(server) = crate::server() else { return };
    let script = "ls /proc/1/root 2>&1; ls -d /proc/[0-9]* | wc -l; id -u; mount -t tmpfs x /mnt 2>&1; kill -0 1 2>&1; cat /proc/sys/kernel/core_pattern > /dev/null; \
        echo x 2>&1 > /proc/sys/kernel/core_pattern; ls /sys/class/net";
    let log = said(&server, "both", script, &json!({"namespaces": {"net": "host", "pid": "host"}}));
    assert!(log.contains("ermission denied") && log.contains("not permitted"), "{log}");
    assert!(log.lines().any(|line| line.trim().parse::<u32>().is_ok_and(|count| count > 3)), "the host's processes are seen: {log}");
    assert!(log.lines().any(|line| line.trim() == "lo"), "{log}");
}

#[test]
fn among_the_hosts_processes_a_stop_ends_it_and_all_that_it_started() {
    let Some(server) = crate::server() else { return };
    create(&server, "shared", "sleep 1234 & echo up; exec sleep 1000", &json!({"namespaces": {"pid": "host"}}));
    server.wait_for_log("shared", "up");
    let started = server.api().get("/api/v1/containers/shared/processes").expect(200).json();
    assert_eq!(started.as_array().map(Vec::len), Some(2), "{started}");
    server.act("shared", "stop");
    let ended = server.container("shared");
    assert_eq!((&ended["state"], &ended["exit"]["signal"]), (&json!("stopped"), &json!("SIGTERM")), "{}", ended["exit"]);
    for process in started.as_array().into_iter().flatten() {
        let pid = process["pid"].as_i64().and_then(|pid| pid.try_into().ok()).expect("a pid");
        assert!(!belljar_testbed::process::is_alive(pid), "{process} goes on");
    }
}

#[test]
fn a_container_is_joined_by_name_and_must_run() {
    let Some(server) = crate::server() else { return };
    create(&server, "web", "echo up; exec sleep 1000", &json!({}));
    server.wait_for_log("web", "up");
    for kind in ["net", "ipc", "uts", "pid", "cgroup"] {
        let name = format!("beside-{kind}");
        create(&server, &name, "echo up; exec sleep 1000", &json!({"namespaces": {kind: "container:web"}}));
        let state = server.container(&name);
        assert_eq!(state["state"], "running", "{kind}: {}", state["exit"]["message"]);
        let (joined, web) = (pid(&server, &name), pid(&server, "web"));
        assert_eq!(namespace_inode(joined, kind), namespace_inode(web, kind), "{kind}");
        assert_ne!(namespace_inode(joined, kind), own_inode(kind));
        // Who joins processes or shared memory joins the ids too.
        let shares_ids = matches!(kind, "pid" | "ipc");
        assert_eq!(namespace_inode(joined, "user") == namespace_inode(web, "user"), shares_ids, "{kind}");
        assert!(warnings(&server, &name).iter().any(|warning| warning.ends_with("of container web")), "{kind}");
        let shown = server.api().get(&format!("/api/v1/containers/{name}/namespaces")).expect(200).json();
        let shown = shown.as_array().expect("a list").iter().find(|namespace| namespace["type"] == kind).expect("its kind").clone();
        assert_eq!((&shown["sharing"], shown["shared_with"][0].as_str()), (&json!("containers"), Some("web")), "{kind}");
        server.act(&name, "kill");
    }
    let refuse = |options: Value| {
        let mut body = json!({"image": "host", "name": "late", "command": ["true"]});
        body["namespaces"] = options;
        server.api().post_json("/api/v1/containers", &body).expect(422).json()
    };
    assert_eq!(refuse(json!({"net": "container:nobody"}))["field"], "namespaces.net");
    server.act("web", "kill");
    server.wait_for_state("web", "stopped");
    let problem = refuse(json!({"net": "container:web"}));
    assert_eq!(problem["field"], "namespaces.net");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("start it first")), "{problem}");
}

#[test]
fn clocks_are_set_off_in_a_namespace_of_their_own() {
    let Some(server) = crate::server() else { return };
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        return skip("time namespaces");
    }
    let log = said(&server, "late", "cut -d. -f1 /proc/uptime", &json!({"time_offsets": {"boottime": 864_000}}));
    let here = std::fs::read_to_string("/proc/uptime").expect("an uptime");
    let uptime = |text: &str| text.split(['.', ' ', '\n']).next().and_then(|seconds| seconds.parse::<u64>().ok()).expect("seconds");
    let ahead = uptime(&log).saturating_sub(uptime(&here));
    assert!((863_000..=865_000).contains(&ahead), "{log} here {here}");
}

#[test]
fn capabilities_filter_masks_and_set_uid_are_loosened_one_by_one() {
    let Some(server) = crate::server() else { return };
    let script = "grep -E 'CapBnd|Seccomp:|NoNewPrivs' /proc/self/status; wc -c < /proc/timer_list; (echo x > /proc/sys/kernel/domainname) 2>&1; unshare -m true 2>&1";
    let default = said(&server, "default", script, &json!({}));
    assert!(
        default.contains("CapBnd:\t00000000a80425fb") && default.contains("Seccomp:\t2") && default.contains("NoNewPrivs:\t1"),
        "{default}"
    );
    assert!(default.contains("Read-only file system"), "{default}");
    let field = |name: &str, options: Value| said(&server, name, script, &json!({"security": options}));
    let capable = field("capable", json!({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "cap_chown"]}}));
    assert!(capable.contains("CapBnd:\t0000000000001001") && capable.contains("Seccomp:\t2"), "{capable}");
    assert_eq!(warnings(&server, "capable"), ["has capabilities beyond the default: NET_ADMIN"]);
    let unfiltered = field("unfiltered", json!({"seccomp": "unconfined"}));
    assert!(unfiltered.contains("Seccomp:\t0") && unfiltered.contains("NoNewPrivs:\t1"), "{unfiltered}");
    assert_eq!(warnings(&server, "unfiltered"), ["system calls are not filtered"]);
    let own = field("own", json!({"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}));
    assert!(own.contains("Seccomp:\t2"), "{own}");
    let privileges = field("privileges", json!({"new_privileges": "allowed"}));
    assert!(privileges.contains("NoNewPrivs:\t0") && privileges.contains("Seccomp:\t2"), "{privileges}");
    let unmasked = field("unmasked", json!({"system_paths": "unconfined"}));
    assert!(!unmasked.contains("Read-only file system"), "{unmasked}");
    let refused = json!({"image": "host", "command": ["true"], "security": {"seccomp": {"defaultAction": "SCMP_ACT_MAYBE"}}});
    assert_eq!(server.api().post_json("/api/v1/containers", &refused).expect(422).json()["field"], "security.seccomp.defaultAction");
}

#[test]
fn what_was_denied_is_counted_and_told_in_words() {
    let Some(server) = crate::server() else { return };
    let script = "for n in 1 2 3; do mount -t tmpfs none /mnt; done; true";
    create(&server, "curious", script, &json!({"security": {"seccomp": "record"}}));
    server.wait_for_state("curious", "stopped");
    let denied = server.api().get("/api/v1/containers/curious/denied").expect(200).json();
    let mount = denied.as_array().expect("a list").iter().find(|denied| denied["call"] == "mount").cloned();
    let mount = mount.unwrap_or_else(|| panic!("no mount in {denied}, it wrote {}", server.logs("curious")));
    assert_eq!((&mount["times"], &mount["message"]), (&json!(3), &json!("this program asked for mount 3 times")));
    assert!(server.api().get("/containers/curious").expect(200).text().contains("this program asked for mount 3 times"));
    assert!(crate::belljar(&server, &["denied", "curious"]).contains("mount"));
}

#[test]
fn limits_sysctls_umask_groups_and_names_are_so_inside() {
    let Some(server) = crate::server() else { return };
    let options = json!({
        "ulimits": {"nofile": {"soft": 123, "hard": 456}, "core": {"soft": 0, "hard": 0}},
        "sysctls": {"net.ipv4.ip_unprivileged_port_start": "80", "kernel.shmmax": "8192"},
        "umask": "0077", "domainname": "home.arpa", "oom_score_adj": 500, "nice": 7, "user": "1000:1000", "groups": ["44"],
    });
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmax; \
        umask; cat /proc/sys/kernel/domainname /proc/self/oom_score_adj; nice; id -G";
    let log = said(&server, "tuned", script, &options);
    let expected = ["123", "456", "0", "80", "8192", "0077", "home.arpa", "500", "7", "1000 44"];
    assert_eq!(log.lines().collect::<Vec<_>>(), expected, "{log}");
    assert_eq!(warnings(&server, "tuned"), Vec::<String>::new(), "nothing of it loosens anything");
    let refused = json!({"image": "host", "command": ["true"], "sysctls": {"kernel.core_pattern": "|/tmp/x"}});
    assert_eq!(server.api().post_json("/api/v1/containers", &refused).expect(422).json()["field"], "sysctls.kernel.core_pattern");
    let create = |option: &[&str]| {
        let output = crate::belljar_output(&server, &[&["create"], option, &["host", "true"]].concat());
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let refused = create(&["--sysctl", "kernel.hostname=other"]);
    assert!(refused.contains("sysctls.kernel.hostname"), "{refused}");
    let refused = create(&["--device", "/dev/null:/dev/pts"]);
    assert!(refused.contains("devices[0].path"), "{refused}");
}

#[test]
fn the_root_can_be_read_only_and_what_is_mounted_stays_writable() {
    let Some(server) = crate::server() else { return };
    let script = "touch /file 2>&1; touch /usr/file 2>&1; touch /scratch/file && echo written; df -B1 --output=size /dev/shm | tail -1";
    let options = json!({"read_only": true, "shm_bytes": 4_194_304, "mounts": [{"type": "tmpfs", "target": "/scratch"}]});
    let log = said(&server, "sealed", script, &options);
    assert_eq!(log.matches("Read-only file system").count(), 2, "{log}");
    assert!(log.contains("written") && log.contains("4194304"), "{log}");
}

#[test]
fn processes_of_others_are_hidden_on_request() {
    let Some(server) = crate::server() else { return };
    let script = "setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'test -d /proc/1 && echo seen || echo hidden'; true";
    assert_eq!(said(&server, "open", script, &json!({})).trim(), "seen");
    assert_eq!(said(&server, "shy", script, &json!({"hidepid": 2})).trim(), "hidden");
}

#[test]
fn a_device_is_there_only_where_it_was_asked_for() {
    let Some(server) = crate::server() else { return };
    if !std::path::Path::new("/dev/fuse").exists() {
        return skip("/dev/fuse");
    }
    let script = "ls /dev/glass 2>&1; head -c 0 /dev/glass 2>&1 && echo opened; true";
    let options = json!({"devices": [{"source": "/dev/fuse", "path": "/dev/glass", "access": "rw"}], "namespaces": {"user": "host"}});
    let log = said(&server, "with", script, &options);
    assert!(log.contains("/dev/glass") && !log.contains("No such file") && log.contains("opened"), "{log}");
    assert!(warnings(&server, "with").contains(&"may use the host's device /dev/fuse".to_owned()));
    // Where nodes work at all, its /dev, it can make them; which can be opened is the cgroup's to say.
    let nodes = "mknod /dev/fuse c 10 229 && head -c 0 /dev/fuse 2>&1 && echo opened; mknod /dev/own c 1 3 && echo x > /dev/own && echo written; \
        mknod /tmp/own c 1 3; (echo x > /tmp/own) 2>&1; true";
    let log = said(&server, "without", nodes, &json!({"namespaces": {"user": "host"}}));
    assert!(!log.contains("opened") && log.contains("/dev/fuse' for reading: Operation not permitted"), "{log}");
    assert!(log.contains("written") && log.contains("/tmp/own: Permission denied"), "elsewhere no node works: {log}");
    let refused = json!({"image": "host", "command": ["true"], "name": "wrong", "devices": [{"source": "/dev/there-is-none"}]});
    let container = server.api().post_json("/api/v1/containers", &refused).expect(201).json();
    assert_eq!(container["exit"]["object"], "device /dev/there-is-none");
}

#[test]
fn landlock_denies_what_its_rules_do_not_name() {
    let Some(server) = crate::server() else { return };
    let rules = json!([
        {"path": "/usr", "access": ["read", "execute"]}, {"path": "/lib", "access": ["read", "execute"]},
        {"path": "/dev", "access": ["read", "write"]}, {"path": "/srv", "access": ["read", "write"]},
    ]);
    let script = "cat /etc/hostname 2>&1; echo kept > /srv/file && cat /srv/file; echo lost > /usr/file; true";
    let options = json!({"workdir": "/srv", "security": {"landlock": rules}});
    create(&server, "fenced", script, &options);
    let ended = server.wait_for_state("fenced", "stopped");
    if ended["exit"]["cause"].as_str().is_some_and(|cause| cause.starts_with("ENOSYS") || cause.starts_with("EOPNOTSUPP")) {
        return skip("Landlock");
    }
    let log = server.logs("fenced");
    assert!(log.contains("kept") && log.contains("ermission denied") && !log.contains("fenced"), "{log}");
}

#[test]
fn where_owners_cannot_be_mapped_it_runs_without_ids_visibly_or_not_at_all() {
    let Some(server) = crate::server() else { return };
    let folder = server.scratch("unmapped");
    std::fs::create_dir_all(&folder).expect("a folder");
    let mounted = std::process::Command::new("mount").args(["-t", "ramfs", "ramfs"]).arg(&folder).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return skip("mounting ramfs");
    }
    std::fs::write(folder.join("from-layer"), "layer\n").expect("a file");
    let mounts = json!([{"type": "layer", "source": folder}]);
    create(&server, "plain", "cat /from-layer; echo up; exec sleep 1000", &json!({"mounts": mounts}));
    server.wait_for_log("plain", "up");
    let told = warnings(&server, "plain");
    assert!(told.len() == 1 && told[0].contains("without user ids of its own") && told[0].contains("(ramfs)"), "{told:?}");
    let pid = pid(&server, "plain");
    assert_eq!(namespace_inode(pid, "user"), own_inode("user"));
    for kind in ["mnt", "net", "pid", "ipc", "uts"] {
        assert_ne!(namespace_inode(pid, kind), own_inode(kind), "everything else stands: {kind}");
    }
    assert!(server.event_kinds("plain").contains(&"loosened".to_owned()), "{:?}", server.event_kinds("plain"));
    assert_eq!(server.container("plain")["uid_base"], Value::Null);
    let strict = create(&server, "strict", "true", &json!({"mounts": mounts, "namespaces": {"user": "private"}}));
    assert_eq!(strict["exit"]["kind"], "never_started", "{strict}");
    assert!(strict["exit"]["cause"].as_str().is_some_and(|cause| cause.contains("ramfs")), "{strict}");
    server.act("plain", "kill");
    server.wait_for_state("plain", "stopped");
    for name in ["plain", "strict"] {
        server.api().delete(&format!("/api/v1/containers/{name}")).expect(204);
    }
    let unmounted = std::process::Command::new("umount").arg(&folder).status();
    assert!(unmounted.is_ok_and(|status| status.success()), "{} is busy", folder.display());
}

#[test]
fn two_servers_of_one_host_never_give_the_same_ids() {
    let (Some(one), Some(two)) = (crate::server(), crate::server()) else { return };
    let mut bases = std::collections::BTreeSet::new();
    for server in [&one, &two] {
        for number in 0..8 {
            let name = format!("c{number}");
            server.create(&json!({"image": "host", "name": name, "command": ["true"], "start": false}));
            let base = server.container(&name)["uid_base"].as_u64().expect("a range of its own");
            assert!(bases.insert(base), "{base} is given twice");
            let kept = std::path::Path::new("/run/belljar-ids").join(base.to_string());
            assert!(std::fs::read_to_string(&kept).is_ok_and(|owner| owner.contains(server.instance())), "{}", kept.display());
        }
    }
    one.api().delete("/api/v1/containers/c0").expect(204);
}

#[test]
fn docker_words_on_the_command_line_loosen_as_they_say() {
    let Some(server) = crate::server() else { return };
    let output = crate::belljar_output(
        &server,
        &[
            "run",
            "--rm",
            "--name",
            "loose",
            "--network",
            "host",
            "--cap-add",
            "NET_ADMIN",
            "--read-only",
            "host",
            "sh",
            "-c",
            "grep CapBnd /proc/self/status",
        ],
    );
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("00000000a80435fb"), "{out} {err}");
    assert!(err.contains("belljar: loose: shares the host's network") && err.contains("NET_ADMIN"), "{err}");
    let refused = crate::belljar_output(&server, &["run", "--privileged", "host", "true"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no one switch"), "{refused:?}");
}
