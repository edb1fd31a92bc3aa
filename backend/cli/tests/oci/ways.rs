//! The ways in which engines say things: nothing where they mean nothing, the namespace that they are in by its path, nodes that a
//! container has anyway; and what lies beside the files that they have us write.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::bed::{Bed, Kind, Runtime};

sentences! {
    cgroups_can_be_written_to_unless_they_were_asked_read_only, other_mounts_may_follow_below_read_only_cgroups,
    a_terminal_multiplexer_among_the_devices_is_the_containers_own, processors_of_execs_are_not_those_of_the_first_process,
}

fn cgroup_mount(bed: &Bed, options: &[&str]) {
    bed.configure(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts are a list");
        mounts.retain(|mount| mount["type"] != "cgroup");
        mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}));
    });
}

fn cgroups_can_be_written_to_unless_they_were_asked_read_only(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    let script = "cd /sys/fs/cgroup; test -d pids && cd pids; mkdir in && rmdir in && echo made";
    cgroup_mount(&bed, &["nosuid", "noexec", "nodev"]);
    assert_eq!(bed.run(script).line(), "made");
    cgroup_mount(&bed, &["nosuid", "noexec", "nodev", "ro"]);
    assert!(bed.run(script).refused().contains("Read-only"));
}

fn other_mounts_may_follow_below_read_only_cgroups(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok() {
        // There the mount is the cgroup itself, in which nobody makes a folder.
        return belljar_testbed::skip("version 1 of cgroups");
    }
    cgroup_mount(&bed, &["nosuid", "noexec", "nodev", "ro"]);
    bed.mount(json!({"destination": "/sys/fs/cgroup/more", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]}));
    assert_eq!(bed.run("echo in > /sys/fs/cgroup/more/file && cat /sys/fs/cgroup/more/file").line(), "in");
    // The folder that holds them is what the others leave open.
    if bed.kind() == Kind::Ours {
        assert!(bed.run("mkdir /sys/fs/cgroup/other").refused().contains("Read-only"));
    }
}

fn a_terminal_multiplexer_among_the_devices_is_the_containers_own(runtime: &Runtime) {
    for with_users in [false, true] {
        let bed = Bed::new(runtime);
        if with_users {
            bed.user_namespace();
        }
        bed.configure(|config| {
            let node = json!({"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2, "fileMode": 438, "uid": 0, "gid": 0});
            config["linux"]["devices"] = json!([node]);
        });
        assert_eq!(bed.run("readlink /dev/ptmx").line(), "pts/ptmx", "with users of its own: {with_users}");
    }
}

fn processors_of_execs_are_not_those_of_the_first_process(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"}));
    let allowed = |text: String| text.rsplit(['\t', ' ']).next().unwrap_or_default().trim().to_owned();
    let own = fs::read_to_string("/proc/self/status").expect("a process has a status");
    let own = own.lines().find(|line| line.starts_with("Cpus_allowed_list")).expect("it has processors").to_owned();
    assert_eq!(allowed(bed.run("grep Cpus_allowed_list /proc/self/status").ok()), allowed(own));
}

#[test]
fn an_update_changes_what_it_means_and_nothing_that_it_fills_up_with_nothing() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        bed.configure(|config| {
            config["linux"]["resources"]["memory"] = json!({"limit": 52_428_800, "swap": 104_857_600});
            config["linux"]["resources"]["pids"] = json!({"limit": 31});
            config["linux"]["resources"]["cpu"] = json!({"shares": 512, "quota": 50_000, "period": 100_000});
        });
        bed.sleeping();
        let limits = || {
            let memory = bed.limit(("memory", "memory.limit_in_bytes"), "memory.max");
            (memory, bed.limit(("pids", "pids.max"), "pids.max"))
        };
        let update = |text: &str| {
            fs::write(bed.path("resources"), text).expect("a file can be written");
            bed.call(&["update", "--resources", bed.path("resources").to_str().expect("a path"), bed.id()]).ok();
        };
        let before = limits();
        assert_eq!(before, ("52428800".to_owned(), "31".to_owned()));
        // As Docker writes it for `update --cpus 0.5`.
        let nothing = r#""memory":{"limit":0,"reservation":0,"swap":0,"kernel":0},"blockIO":{"weight":0},"pids":{"limit":0}"#;
        let cpu = r#""cpu":{"shares":0,"quota":25000,"period":100000,"cpus":"","mems":""}"#;
        update(&format!("{{{nothing},{cpu}}}"));
        assert_eq!(limits(), before);
        update(r#"{"memory":{"limit":0,"swap":62914560}}"#);
        update(r#"{"memory":{"limit":0,"reservation":10485760}}"#);
        update(r#"{"pids":{"limit":9}}"#);
        assert_eq!(limits(), (before.0, "9".to_owned()), "the limit of memory is still known");
    });
}

#[test]
fn a_kernel_parameter_of_the_callers_own_namespace_is_refused_however_that_is_named() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        let file = "/proc/sys/net/ipv4/tcp_keepalive_time";
        let before = fs::read_to_string(file).expect("a kernel has it");
        bed.namespace(json!({"type": "network", "path": format!("/proc/{}/ns/net", std::process::id())}));
        bed.configure(|config| config["linux"]["sysctl"] = json!({"net.ipv4.tcp_keepalive_time": "4811"}));
        let said = bed.run("true").refused();
        assert!(said.contains("net.ipv4.tcp_keepalive_time") && said.contains("host's"), "{said}");
        assert_eq!(fs::read_to_string(file).expect("a kernel has it"), before);
    });
}

#[test]
fn a_root_among_the_read_only_paths_is_read_only() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        bed.configure(|config| config["linux"]["readonlyPaths"] = json!(["/"]));
        assert!(bed.run("touch /file").refused().contains("Read-only"));
    });
}

#[test]
fn a_file_beside_the_pid_file_is_left_alone_and_nothing_else_stays() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        let folder = bed.path("pids");
        fs::create_dir(&folder).expect("a folder can be made");
        fs::write(folder.join(".profile"), "precious").expect("a file can be written");
        bed.arguments(&["true"]);
        bed.call(&["run", "--pid-file", folder.join("profile").to_str().expect("a path"), bed.id()]).ok();
        assert_eq!(fs::read_to_string(folder.join(".profile")).expect("it is there"), "precious");
        bed.call(&["run", "--pid-file", folder.to_str().expect("a path"), bed.id()]).refused();
        let mut names: Vec<_> = fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, [".profile", "profile"]);
        let beside = fs::read_dir(bed.path("")).expect("a folder").flatten();
        assert!(!beside.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with(".pids")));
    });
}

#[test]
fn a_relative_folder_of_states_is_the_same_whatever_the_bundle_is() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        bed.script("test -S $NOTIFY_SOCKET && echo there");
        let mut command = runtime.command();
        let place = bed.path("bundle");
        command.args(["--root", "states", "run", "--bundle"]).arg(place).arg(bed.id()).current_dir(bed.path(""));
        command.env("NOTIFY_SOCKET", bed.path("nobody"));
        assert_eq!(crate::bed::Said::of(command).line(), "there");
    });
}

#[test]
fn a_checkpoint_is_refused_with_the_reason_in_the_words_of_an_engine() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        bed.sleeping();
        let checkpoint = ["checkpoint", "--image-path", "/tmp/image", "--work-path", "/tmp/work", "--leave-running", bed.id()];
        let restore = ["restore", "--bundle", "/tmp", "--image-path", "/tmp/image", "--detach", "other"];
        for words in [&checkpoint[..], &restore] {
            assert!(bed.call(words).refused().contains("does not save the memory"), "{words:?}");
        }
    });
}

/// Takes down the environment of every process that it sees come, of which it knows none.
const HUNT: &str = "while :; do for place in /proc/[2-9]* /proc/[1-9][0-9]*; do \
                    test -r $place/environ && echo seen >> /seen && tr '\\0' '\\n' < $place/environ >> /seen; done; done 2> /dev/null";

#[test]
fn what_enters_shows_nothing_of_the_callers_environment_to_who_may_trace() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        bed.script(HUNT).configure(|config| {
            for set in ["bounding", "effective", "permitted"] {
                let set = config["process"]["capabilities"][set].as_array_mut().expect("capabilities are a list");
                set.push(json!("CAP_SYS_PTRACE"));
            }
        });
        bed.create().start();
        for _ in 0..60 {
            let mut command: Command = bed.command(&["exec", bed.id(), "true"]);
            command.env("SECRET_OF_THE_HOST", "hunter2");
            crate::bed::Said::of(command).ok();
        }
        bed.end();
        bed.delete().ok();
        let seen = fs::read_to_string(bed.root("seen")).unwrap_or_default();
        let sightings = seen.matches("seen\n").count();
        println!("{sightings} sightings");
        assert!(sightings > 5, "{sightings} sightings in 60 entries");
        assert!(!seen.contains("hunter2") && !seen.contains("SECRET_OF_THE_HOST"), "{seen}");
    });
}
