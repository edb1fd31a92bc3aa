//! Namespaces: each made, each joined by its path, each left as the host's; compared by inode.

use belljar_testbed::process::namespace_inode;
use serde_json::json;

use crate::bed::{Bed, Kind, Runtime, probe};
use crate::differences::Difference;

sentences! {
    listed_namespaces_are_new, namespaces_that_are_not_listed_are_the_hosts, namespaces_are_joined_by_path,
    a_pid_namespace_is_joined_by_path, a_path_that_is_no_namespace_is_refused, a_path_of_another_kind_is_refused,
    a_namespace_listed_twice_is_refused, an_unknown_namespace_is_refused, the_first_process_is_number_one, loopback_is_up_in_a_new_network,
    sysctls_of_own_namespaces_are_set, sysctls_of_the_host_are_refused, mounts_demand_a_mount_namespace,
    time_offsets_move_the_clocks, queues_of_messages_are_of_the_ipc_namespace, a_user_namespace_of_another_container_is_joined, the_host_keeps_its_name,
}

/// As the specification calls them, and as `/proc/<pid>/ns` does.
const KINDS: [(&str, &str); 6] =
    [("mount", "mnt"), ("pid", "pid"), ("network", "net"), ("uts", "uts"), ("ipc", "ipc"), ("cgroup", "cgroup")];

fn own() -> i32 {
    i32::try_from(std::process::id()).expect("a pid fits i32")
}

fn listed_namespaces_are_new(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.sleeping();
    let pid = bed.pid();
    for (kind, file) in KINDS {
        assert_ne!(namespace_inode(pid, file), namespace_inode(own(), file), "{kind}");
    }
    assert_eq!(namespace_inode(pid, "user"), namespace_inode(own(), "user"), "none was asked for");
    assert_eq!(namespace_inode(pid, "time"), namespace_inode(own(), "time"), "none was asked for");
}

fn namespaces_that_are_not_listed_are_the_hosts(runtime: &Runtime) {
    for (kind, file) in KINDS.into_iter().filter(|(kind, _)| *kind != "mount") {
        let bed = Bed::new(runtime);
        bed.without_namespace(kind);
        bed.configure(|config| {
            if kind == "uts" {
                config.as_object_mut().unwrap().remove("hostname");
            }
            // sysfs and mqueue belong to a network and an ipc namespace; the host's stay as they are.
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| {
                mount["destination"] != "/dev/mqueue" && mount["destination"] != "/sys" && mount["destination"] != "/sys/fs/cgroup"
            });
        });
        bed.sleeping();
        let pid = bed.pid();
        for (other, other_file) in KINDS {
            let shared = namespace_inode(pid, other_file) == namespace_inode(own(), other_file);
            assert_eq!(shared, other == kind, "{other} of a container without {kind} ({file})");
        }
    }
}

fn namespaces_are_joined_by_path(runtime: &Runtime) {
    let (first, second) = (Bed::new(runtime), Bed::new(runtime));
    first.sleeping();
    let pid = first.pid();
    for (kind, file) in KINDS.into_iter().filter(|(kind, _)| !["mount", "pid", "cgroup"].contains(kind)) {
        second.namespace(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
    }
    second.configure(|config| {
        config.as_object_mut().unwrap().remove("hostname");
    });
    assert_eq!(second.run("hostname").line(), "bed", "the name of whom it joined");
    second.sleeping();
    for file in ["net", "uts", "ipc"] {
        assert_eq!(namespace_inode(second.pid(), file), namespace_inode(pid, file), "{file}");
    }
}

fn a_pid_namespace_is_joined_by_path(runtime: &Runtime) {
    let (first, second) = (Bed::new(runtime), Bed::new(runtime));
    first.sleeping();
    second.namespace(json!({"type": "pid", "path": format!("/proc/{}/ns/pid", first.pid())}));
    assert_eq!(second.run("tr '\\0' ' ' < /proc/1/cmdline; test $$ -ne 1 && echo other").line(), "sleep 1000 other");
    second.sleeping();
    assert_eq!(namespace_inode(second.pid(), "pid"), namespace_inode(first.pid(), "pid"));
}

fn a_path_that_is_no_namespace_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.namespace(json!({"type": "network", "path": "/etc/hostname"}));
    bed.run("true").refused();
    bed.namespace(json!({"type": "network", "path": "/no/such/path"}));
    bed.run("true").refused();
    bed.assert_nothing_left();
}

fn a_path_of_another_kind_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.namespace(json!({"type": "network", "path": format!("/proc/{}/ns/uts", own())}));
    bed.run("true").refused();
    bed.assert_nothing_left();
}

fn a_namespace_listed_twice_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "pid"})));
    let said = bed.run("true");
    assert!(!said.status.success() || bed.differs(Difference::RepeatedNamespace), "{said:?}");
}

fn an_unknown_namespace_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.namespace(json!({"type": "nonsense"}));
    let said = bed.run("true").refused();
    assert!(said.contains("nonsense"), "{said}");
}

fn the_first_process_is_number_one(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    assert_eq!(bed.run("echo $$; ls -d /proc/[0-9]* | head -n 1").ok(), "1\n/proc/1\n");
}

fn loopback_is_up_in_a_new_network(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let said = bed.run("cat /sys/class/net/lo/flags; ls /sys/class/net").ok();
    assert_eq!(said, "0x9\nlo\n", "IFF_UP and IFF_LOOPBACK, and no other interface");
}

fn sysctls_of_own_namespaces_are_set(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| {
        config["linux"]["sysctl"] = json!({
            "net.ipv4.ip_forward": "1", "kernel.shmmni": "321", "fs.mqueue.queues_max": "123", "net.ipv4.ip_unprivileged_port_start": "0",
        });
    });
    let files = "/proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/queues_max /proc/sys/net/ipv4/ip_unprivileged_port_start";
    assert_eq!(bed.run(&format!("cat {files}")).ok(), "1\n321\n123\n0\n");
}

fn sysctls_of_the_host_are_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let before = std::fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    for key in ["vm.swappiness", "kernel.core_pattern", "kernel/hostname/../core_pattern", "nonsense.key"] {
        bed.configure(|config| config["linux"]["sysctl"] = json!({ key: "61" }));
        let said = bed.run("true").refused();
        assert!(said.contains("sysctl"), "{key}: {said}");
    }
    bed.without_namespace("network").configure(|config| config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"}));
    bed.run("true").refused();
    assert_eq!(std::fs::read_to_string("/proc/sys/vm/swappiness").unwrap(), before);
    assert_ne!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().trim(), "61");
    bed.assert_nothing_left();
}

fn mounts_demand_a_mount_namespace(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if bed.differs(Difference::NoMountNamespace) {
        return;
    }
    bed.without_namespace("mount").configure(|config| {
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    bed.run("true").refused();
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(), before, "the host's table stays as it was");
}

/// What of a description is mounted, taken out.
fn without_mounts(bed: &Bed) {
    bed.configure(|config| {
        config["mounts"] = json!([]);
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
}

/// Ours alone: what the others do with their mounts then is not tried on a host.
#[test]
fn a_joined_mount_namespace_is_a_tree_as_it_is() {
    crate::bed::with(Kind::Ours, |runtime| {
        let (first, second) = (Bed::new(runtime), Bed::new(runtime));
        first.sleeping();
        let pid = first.pid();
        let table = || std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let before = table();
        // Its /proc is that of its own processes.
        for (kind, file) in [("mount", "mnt"), ("pid", "pid")] {
            second.namespace(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
        }
        let said = second.run("echo run > /joined; readlink /proc/self/ns/mnt");
        let warning = "linux.namespaces: the tree of the joined mount namespace is taken as it is, without mounts, linux.maskedPaths";
        assert!(said.err.contains(warning), "{said:?}");
        assert_eq!(said.line(), format!("mnt:[{}]", namespace_inode(pid, "mnt")));
        assert_eq!(std::fs::read_to_string(first.root("joined")).unwrap(), "run\n");
        without_mounts(&second);
        second.sleeping();
        assert_eq!(namespace_inode(second.pid(), "mnt"), namespace_inode(pid, "mnt"));
        assert_eq!(second.exec("cat /joined; readlink /proc/self/ns/mnt").ok(), format!("run\nmnt:[{}]\n", namespace_inode(pid, "mnt")));
        assert_eq!(table(), before, "nothing was mounted in it");
        second.end();
        second.delete().ok();
        assert!(first.exec("cat /joined").ok() == "run\n" && table() == before, "it is still the first one's");
    });
}

/// Ours alone: the others would mount on the host.
#[test]
fn without_a_mount_namespace_the_root_is_a_folder_of_the_host() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        let table = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let before = table();
        bed.without_namespace("mount");
        without_mounts(&bed);
        assert_eq!(bed.run("pwd; ls /; echo written > /here").ok(), "/\nbin\ndev\netc\nhome\nproc\nroot\nsys\ntmp\nvar\n");
        bed.sleeping();
        assert_eq!(namespace_inode(bed.pid(), "mnt"), namespace_inode(own(), "mnt"));
        assert_eq!(bed.exec("cat /here; ls /proc /dev | grep -c .").out, "written\n2\n", "the names of two empty folders");
        assert_eq!(table(), before, "the host's table stays as it was");
    });
}

/// Seconds of the monotonic clock and of the one since boot, in what the probe printed.
#[track_caller]
fn seconds(said: &str) -> [u64; 2] {
    let numbers: Vec<u64> = said.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("two clocks: {said}"))
}

fn time_offsets_move_the_clocks(runtime: &Runtime) {
    const OFFSETS: [u64; 2] = [500_000_000, 1_000_000_000];
    let bed = Bed::new(runtime);
    if !probe::install(&bed) || bed.differs(Difference::NoTimeNamespace) {
        return;
    }
    bed.configure(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
        config["linux"]["timeOffsets"] = json!({"boottime": {"secs": OFFSETS[1], "nanosecs": 0}, "monotonic": {"secs": OFFSETS[0]}});
    });
    let host = || seconds(&probe::outside(&["clocks"]).ok());
    let script = "probe clocks; tr -s ' ' < /proc/self/timens_offsets; cut -d . -f 1 /proc/uptime";
    let assert_moved = |said: &dyn Fn() -> String| {
        let before = host();
        let said = said();
        let after = host();
        let lines: Vec<&str> = said.lines().collect();
        let [clocks, monotonic, boottime, uptime] = lines[..] else { panic!("{said}") };
        let inside = seconds(clocks);
        for clock in 0..2 {
            let expected = before[clock] + OFFSETS[clock]..=after[clock] + OFFSETS[clock];
            assert!(expected.contains(&inside[clock]), "{said}: {expected:?}");
        }
        let offsets = [monotonic, boottime].map(|line| line.replace('\t', " "));
        assert_eq!(offsets, [format!("monotonic {} 0", OFFSETS[0]), format!("boottime {} 0", OFFSETS[1])], "{said}");
        assert!(uptime.parse::<u64>().is_ok_and(|seconds| seconds.abs_diff(inside[1]) <= 1 + after[1] - before[1]), "{said}");
    };
    assert_moved(&|| bed.run(script).ok());
    bed.sleeping();
    assert_ne!(namespace_inode(bed.pid(), "time"), namespace_inode(own(), "time"));
    assert_moved(&|| bed.exec(script).ok());
}

fn a_user_namespace_of_another_container_is_joined(runtime: &Runtime) {
    let (first, second) = (Bed::new(runtime), Bed::new(runtime));
    first.user_namespace().sleeping();
    crate::bed::own_by(&second.root(""), crate::userns::FIRST);
    let pid = first.pid();
    second.configure(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user", "path": format!("/proc/{pid}/ns/user")}));
    });
    let said = second.run("id -u; readlink /proc/self/ns/user");
    if second.differs(Difference::JoinedUserNamespace) && !said.status.success() {
        return;
    }
    assert_eq!(said.ok(), format!("0\nuser:[{}]\n", namespace_inode(pid, "user")));
}

fn queues_of_messages_are_of_the_ipc_namespace(runtime: &Runtime) {
    let [first, second, third] = [(); 3].map(|()| Bed::new(runtime));
    if ![&first, &second, &third].into_iter().all(probe::install) {
        return;
    }
    // mq_open(2): what its name has no slash before is a name of the file system.
    let open = ["syscall", "240", "@queue", "0", "0", "0"];
    let look = format!("ls /dev/mqueue; probe {}; true", open.join(" "));
    first.script("touch /dev/mqueue/queue && echo made; exec sleep 1000").create().start().wait_output("made");
    assert!(first.exec(&look).ok().starts_with("queue\nsyscall: "), "who enters sees it");
    assert_eq!(second.run(&look).ok(), "syscall: ENOENT\n");
    assert_eq!(probe::outside(&open).out, "syscall: ENOENT\n");
    third.namespace(json!({"type": "ipc", "path": format!("/proc/{}/ns/ipc", first.pid())}));
    let said = third.run(&look).ok();
    assert!(said.starts_with("queue\nsyscall: ") && !said.contains("ENOENT"), "who shares the namespace sees it: {said}");
}

fn the_host_keeps_its_name(runtime: &Runtime) {
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let bed = Bed::new(runtime);
    bed.configure(|config| config["hostname"] = json!("elsewhere"));
    assert_eq!(bed.run("hostname").line(), "elsewhere");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}
