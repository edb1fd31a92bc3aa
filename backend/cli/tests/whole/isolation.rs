//! Isolation: what a stranger's program tries from inside a container that nobody configured. Each test is the attack
//! itself, run by the container; it reports what it got hold of.

use std::fs;
use std::os::unix::fs::MetadataExt;

use belljar_testbed::process::{self, status_field};
use serde_json::json;

/// Runs a script to its end and returns what it wrote.
#[track_caller]
fn attack(server: &belljar_testbed::Server, name: &str, script: &str) -> String {
    server.run_script(name, script);
    server.wait_for_state(name, "stopped");
    server.logs(name)
}

#[test]
fn the_kernel_of_the_host_cannot_be_written_to() {
    let Some(server) = crate::server() else { return };
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let script = r#"
        for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/swappiness /proc/sysrq-trigger \
                    /sys/kernel/uevent_helper /sys/fs/cgroup/release_agent /proc/sys/fs/binfmt_misc/register /proc/1/oom_score_adj; do
            (printf '%s' "${file##*/}-test" > "$file") 2>/dev/null && echo "BREACH wrote $file"
        done
        find / -xdev -name release_agent -writable 2>/dev/null | sed 's/^/BREACH /'
        touch /sys/x /proc/sys/x /proc/bus/x 2>/dev/null && echo "BREACH made a file"
        echo finished"#;
    let log = attack(&server, "writer", script);
    assert!(log.contains("finished") && !log.contains("BREACH"), "{log}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}

#[test]
fn what_tells_of_the_host_reads_as_empty() {
    let Some(server) = crate::server() else { return };
    let script = r#"
        for file in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /proc/sched_debug; do
            [ -e "$file" ] && head -c 16 "$file" 2>/dev/null | grep -q . && echo "BREACH $file tells"
        done
        for folder in /sys/firmware /proc/acpi /proc/scsi /sys/devices/virtual/powercap; do
            [ -d "$folder" ] && [ -n "$(ls -A "$folder" 2>/dev/null)" ] && echo "BREACH $folder tells"
        done
        for secret in /etc/shadow /etc/gshadow /etc/ssh /root/.bashrc /var/lib/dpkg /home; do
            [ -e "$secret" ] && [ -n "$(ls -A "$secret" 2>/dev/null)" ] && echo "BREACH $secret is here"
        done
        dmesg >/dev/null 2>&1 && echo "BREACH the kernel's log"
        [ "$(ls -d /proc/[0-9]* | wc -l)" -le 5 ] || echo "BREACH other processes"
        echo finished"#;
    let log = attack(&server, "reader", script);
    assert!(log.contains("finished") && !log.contains("BREACH"), "{log}");
}

#[test]
fn namespaces_mounts_and_devices_are_out_of_reach() {
    let Some(server) = crate::server() else { return };
    let script = r#"
        unshare -U true 2>/dev/null && echo "BREACH user namespace"
        unshare -m true 2>/dev/null && echo "BREACH mount namespace"
        mount -t tmpfs x /mnt 2>/dev/null && echo "BREACH mount"
        mount -t proc x /mnt 2>/dev/null && echo "BREACH mount of proc"
        umount /proc/kcore 2>/dev/null && echo "BREACH umount"
        mount -o remount,rw /sys 2>/dev/null && echo "BREACH remount"
        mknod /tmp/disk b 254 0 2>/dev/null && head -c1 /tmp/disk >/dev/null 2>&1 && echo "BREACH block device"
        mknod /tmp/mem c 1 1 2>/dev/null && head -c1 /tmp/mem >/dev/null 2>&1 && echo "BREACH memory"
        for device in /dev/*; do [ -b "$device" ] && echo "BREACH $device"; done
        chroot / true || echo "BREACH of promise: SYS_CHROOT is of the default set"
        echo finished"#;
    let log = attack(&server, "climber", script);
    assert!(log.contains("finished") && !log.contains("BREACH"), "{log}");
}

/// Numbers of x86-64 and what each must answer; `perl` is of every Debian.
#[cfg(target_arch = "x86_64")]
#[test]
fn dangerous_system_calls_are_denied_by_number() {
    let Some(server) = crate::server() else { return };
    const EPERM: i32 = 1;
    const ENOSYS: i32 = 38;
    let calls = [
        ("open_by_handle_at", "304, -100, 0, 0", EPERM),
        ("socket(AF_ALG)", "41, 38, 5, 0", EPERM),
        ("keyctl", "250, 0, -3, 0", EPERM),
        ("add_key", "248, 0, 0, 0, 0, 0", EPERM),
        ("bpf", "321, 0, 0, 0", EPERM),
        ("io_uring_setup", "425, 1, 0", EPERM),
        ("userfaultfd", "323, 0", EPERM),
        ("perf_event_open", "298, 0, 0, 0, 0, 0", EPERM),
        ("clone3", "435, 0, 0", ENOSYS),
        ("fsopen", "430, 0, 0", EPERM),
        ("setns", "308, 0, 0", EPERM),
        ("unshare(NEWUSER)", "272, 0x10000000", EPERM),
        ("clone(NEWUSER)", "56, 0x10000011, 0, 0, 0, 0", EPERM),
        ("init_module", "175, 0, 0, 0", EPERM),
        ("kexec_load", "246, 0, 0, 0, 0", EPERM),
        ("x32 getpid", "0x40000027", ENOSYS),
    ];
    let lines = calls.map(|(name, arguments, _)| format!("$! = 0; syscall({arguments}); print '{name} ', $!+0, \"\\n\";")).join(" ");
    let script = format!("perl -e '{}'; exit 0", lines.replace('\'', "\"").replace("\"\\n\"", "chr(10)"));
    let log = attack(&server, "caller", &script);
    for (name, _, errno) in calls {
        assert!(log.lines().any(|line| line == format!("{name} {errno}")), "{name} is answered {errno}: {log}");
    }
}

#[test]
fn the_program_begins_with_nothing_of_ours() {
    let Some(server) = crate::server() else { return };
    let script = r#"
        ls -x /proc/$$/fd
        env | sed 's/=.*//' | sort | tr '\n' ' '; echo
        grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp|SigIgn|SigBlk):' /proc/self/status
        umask; readlink /proc/1/root; cat /proc/self/loginuid 2>/dev/null; echo; ls -l /proc/1/exe"#;
    let log = attack(&server, "newborn", script);
    let says = |line: &str| assert!(log.lines().any(|said| said.trim() == line), "{line:?} in {log}");
    says("0  1  2");
    says("HOME HOSTNAME PATH PWD");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        says(&format!("{set}:\t00000000a80425fb"));
    }
    for set in ["CapInh", "CapAmb", "SigIgn", "SigBlk"] {
        says(&format!("{set}:\t0000000000000000"));
    }
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "0022", "/"] {
        says(line);
    }
    assert!(!log.contains("belljar"), "nothing names our executable: {log}");
}

#[test]
fn two_containers_have_different_owners_on_the_host() {
    let Some(server) = crate::server() else { return };
    let owner = |name: &str| {
        let container = server.run_script(name, "touch /mine; exec sleep 1d");
        let pid = i32::try_from(container["pid"].as_i64().expect("it runs")).unwrap();
        let uid = status_field(pid, "Uid").expect("it lives");
        (pid, uid.split_whitespace().next().and_then(|uid| uid.parse::<u32>().ok()).expect("a number"))
    };
    let ((first, first_uid), (_, second_uid)) = (owner("cain"), owner("abel"));
    assert_ne!(first_uid, second_uid, "each has a range of its own");
    assert!(first_uid >= 65_536 && second_uid >= 65_536, "and neither is the host's");
    assert_eq!(first_uid.abs_diff(second_uid) % 65_536, 0);
    assert!(process::is_alive(first));
    let upper = server.data_dir().join("containers").join(server.container("cain")["id"].as_str().unwrap()).join("upper/mine");
    let path = belljar_testbed::wait_until("the file is there", || upper.exists().then(|| upper.clone()));
    assert_eq!(fs::metadata(path).unwrap().uid(), 0, "on disk it reads naturally: the container's root is 0");
}

#[test]
fn folders_of_containers_are_closed_to_the_users_of_the_host() {
    let Some(server) = crate::server() else { return };
    server.run_script("closed", "exec sleep 1d");
    for folder in [server.data_dir(), server.data_dir().join("containers")] {
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o077, 0, "{}", folder.display());
    }
}

#[test]
fn the_executable_is_the_same_after_containers_tried_to_overwrite_it() {
    let Some(server) = crate::server() else { return };
    let before = fs::read(crate::EXECUTABLE).unwrap();
    let script = r#"
        for turn in $(seq 300); do
            for process in /proc/[0-9]*; do
                [ "$process" = "/proc/$$" ] && continue
                (printf x >> "$process/exe") 2>/dev/null && echo "BREACH $process"
            done
        done; echo finished"#;
    let body = json!({"image": "host", "name": "forger", "init": true, "command": ["sh", "-c", script]});
    server.create(&body);
    server.wait_for_state("forger", "stopped");
    let log = server.logs("forger");
    assert!(log.contains("finished") && !log.contains("BREACH"), "{log}");
    assert_eq!(fs::read(crate::EXECUTABLE).unwrap().len(), before.len());
    assert!(fs::read(crate::EXECUTABLE).unwrap() == before, "the executable is unchanged");
}

#[test]
fn outputs_can_be_opened_by_name_by_whoever_the_program_runs_as() {
    let Some(server) = crate::server() else { return };
    for (name, user) in [("teller", serde_json::Value::Null), ("mumbler", json!("1000:1000"))] {
        let script = "echo out > /dev/stdout; echo err > /dev/stderr; echo again >> /proc/self/fd/1";
        server.create(&json!({"image": "host", "name": name, "user": user, "command": ["sh", "-c", script]}));
        server.wait_for_state(name, "stopped");
        let log = server.logs(name);
        for line in ["out", "err", "again"] {
            assert!(log.lines().any(|said| said == line), "{name}: {line:?} in {log}");
        }
    }
}

#[test]
fn a_link_of_the_tree_to_proc_or_dev_takes_nothing_of_the_isolation_away() {
    let Some(server) = crate::server() else { return };
    let layer = server.scratch("layer");
    let shared = server.scratch("shared");
    for (name, to) in [("to-proc", "/proc"), ("to-dev", "/dev"), ("to-sys", "/sys")] {
        std::os::unix::fs::symlink(to, layer.join(name)).unwrap();
    }
    fs::create_dir_all(shared.join("sys/kernel")).unwrap();
    fs::write(shared.join("sys/kernel/cap_last_cap"), "0\n").unwrap();
    fs::write(shared.join("kcore"), "BREACH").unwrap();
    for pipe in ["null", "zero"] {
        assert!(std::process::Command::new("mkfifo").arg(shared.join(pipe)).status().unwrap().success());
    }
    let script = "grep CapBnd /proc/self/status; stat -f -c %T /proc; cat /proc/kcore; head -c1 /dev/null; stat -c %F /dev/null; ls -l /proc/self/fd/0";
    for target in ["/to-proc", "/to-dev", "/to-sys"] {
        let name = format!("linked{}", target.replace('/', "-"));
        let mounts = json!([{"type": "layer", "source": layer}, {"type": "bind", "source": shared, "target": target}]);
        server.create(&json!({"image": "host", "name": name, "mounts": mounts, "command": ["sh", "-c", script]}));
        let ended = server.wait_for_state(&name, "stopped");
        let log = server.logs(&name);
        assert_eq!(ended["exit"]["kind"], "exited", "{ended}");
        assert!(log.contains("CapBnd:\t00000000a80425fb"), "{target}: {log}");
        assert!(log.contains("character special file") && !log.contains("BREACH"), "{target}: {log}");
    }
}

#[test]
fn what_is_mounted_below_a_shared_folder_inside_is_not_seen_by_the_host() {
    let Some(server) = crate::server() else { return };
    let shared = server.scratch("shared-mount");
    let mount = |arguments: &[&str]| std::process::Command::new("mount").args(arguments).arg(&shared).status().unwrap().success();
    assert!(mount(&["-t", "tmpfs", "shared-by-test"]) && mount(&["--make-shared"]));
    let table = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = table();
    let mounts = json!([{"type": "bind", "source": shared, "target": "/data"}, {"type": "tmpfs", "target": "/data/cache"}]);
    server.create(&json!({"image": "host", "name": "leaker", "mounts": mounts, "command": ["sleep", "1d"]}));
    let during = table();
    server.api().delete("/api/v1/containers/leaker?force=true").expect(204);
    let after = table();
    assert!(std::process::Command::new("umount").arg("--recursive").arg(&shared).status().unwrap().success());
    let ours = |table: &str| table.lines().filter(|line| line.contains("shared-mount")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(ours(&during), ours(&before));
    assert_eq!(ours(&after), ours(&before));
}

#[test]
fn a_killed_spawner_is_replaced_while_containers_go_on() {
    let Some(server) = crate::server() else { return };
    server.run_script("elder", "exec sleep 1d");
    let is_spawner = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "belljar-spawner");
    let spawner = process::pids().into_iter().find(|pid| is_spawner(pid) && process::parent(*pid) == Some(server.pid()));
    process::kill_hard(spawner.expect("the server has a spawner"));
    belljar_testbed::wait_until("the spawner is gone", || (!spawner.is_some_and(process::is_alive)).then_some(()));
    assert_eq!(server.run_script("younger", "exec sleep 1d")["state"], "running");
    assert_eq!(server.container("elder")["state"], "running");
}
