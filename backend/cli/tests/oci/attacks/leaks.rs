//! Descriptors and folders of the host that a runtime left open (CVE-2024-21626, CVE-2016-9962), reached as a working
//! folder, as a program, through a link, and from an exec.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::json;

use super::{Canary, Root, on_ours};
use crate::bed::{Bed, Said};

/// Descriptors that could have been left open.
const DESCRIPTORS: std::ops::RangeInclusive<u32> = 3..=20;

/// Whether a program got out: from its working folder it sees what only the host has.
const LOOK: &str = "for up in . .. ../.. ../../.. ../../../.. ../../../../..; do for name in var/tmp canary bundle config.json; do \
                    test -e $up/$name && test ! -e /$name && echo escaped to $up/$name; done; done; true";

#[track_caller]
fn assert_inside(said: &Said, what: &str) {
    assert!(!said.out.contains("escaped"), "{what}: {said:?}");
    assert!(said.status.success() || said.code() == 1 || said.code() == 255, "{what}: {said:?}");
}

#[test]
fn a_working_folder_behind_a_leaked_descriptor_is_refused() {
    on_ours(|bed, _| {
        let canary = Canary::new(bed);
        for descriptor in DESCRIPTORS {
            for folder in [format!("/proc/self/fd/{descriptor}"), format!("/proc/self/fd/{descriptor}/../../../..")] {
                bed.configure(|config| config["process"]["cwd"] = json!(folder));
                assert_inside(&bed.run(LOOK), &folder);
            }
        }
        canary.assert_alive();
    });
}

#[test]
fn a_working_folder_behind_a_link_to_a_leaked_descriptor_is_refused() {
    on_ours(|bed, _| {
        for descriptor in DESCRIPTORS {
            symlink(format!("/proc/self/fd/{descriptor}"), bed.root(&format!("link{descriptor}"))).expect("a link can be made");
            bed.configure(|config| config["process"]["cwd"] = json!(format!("/link{descriptor}")));
            assert_inside(&bed.run(LOOK), &format!("link to {descriptor}"));
        }
    });
}

#[test]
fn an_exec_in_a_folder_behind_a_leaked_descriptor_is_refused() {
    on_ours(|bed, _| {
        bed.sleeping();
        for descriptor in DESCRIPTORS {
            for process in ["self", "1"] {
                let folder = format!("/proc/{process}/fd/{descriptor}");
                assert_inside(&bed.exec_with(&["--cwd", &folder], LOOK), &folder);
            }
        }
    });
}

#[test]
fn a_program_behind_a_leaked_descriptor_is_the_containers_own_or_none() {
    on_ours(|bed, _| {
        let own = fs::metadata(bed.root("bin/busybox")).expect("the program is there").ino().to_string();
        let foreign = bed.path("foreign");
        fs::write(&foreign, "#!/bin/sh\necho escaped\n").expect("a file can be written");
        fs::set_permissions(&foreign, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        assert_eq!(std::process::Command::new(&foreign).output().expect("the host can run it").stdout, b"escaped\n");
        let up = "../".repeat(12);
        for descriptor in DESCRIPTORS {
            let program = format!("/proc/self/fd/{descriptor}/bin/busybox");
            let said = bed.arguments(&[&program, "stat", "-L", "-c", "%i", "/proc/self/exe"]).run_as_is();
            // The host has a program of that name as well: what runs, if anything, is the container's.
            assert!(!said.status.success() || said.out.trim() == own, "{program}: {said:?}");
            let program = format!("/proc/self/fd/{descriptor}/{up}/{}", foreign.display());
            let said = bed.arguments(&[&program]).run_as_is();
            assert!(!said.status.success() && !said.out.contains("escaped"), "{program}: {said:?}");
        }
    });
}

#[test]
fn nothing_of_the_host_is_in_the_environment_or_the_keyring() {
    on_ours(|bed, root| {
        // The host's root sees the keys of its user, which is why engines mask the file.
        if root == Root::Own {
            bed.configure(|config| config["linux"]["maskedPaths"] = json!([]));
        }
        bed.script("cat /proc/self/environ | tr '\\0' '\\n'; cat /proc/keys");
        let mut command = bed.command(&["run", bed.id()]);
        command.env("HOST_SECRET", "leaked").env("BELLJAR_TOKEN", "leaked").env("NOTIFY_SOCKET_X", "leaked");
        let said = Said::of(command).ok();
        assert!(said.contains("PATH=/bin") && !said.contains("leaked") && !said.contains("_uid"), "{said}");
        // keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING): one that both had would be the caller's.
        let keyring = || bed.run("probe syscall 250 0 -3 0").line();
        let keyrings = (keyring(), keyring());
        assert!(keyrings.0.starts_with("syscall: ") && keyrings.0 != keyrings.1, "each has one of its own: {keyrings:?}");
    });
}

#[test]
fn a_container_that_lost_its_proc_is_not_entered_with_less_than_it_has() {
    on_ours(|bed, _| {
        super::grant(bed, &["CAP_SYS_ADMIN"]);
        // A false /proc, whose files say that everything went well.
        let fake = "mkdir -p /fake/self/attr /fake/self/fd /fake/thread-self/attr; echo 0 > /fake/self/uid_map; ln -s /bin /fake/self/exe; \
                    mount -o bind /fake /proc; echo covered; exec sleep 1000";
        bed.script(fake).create().start().wait_output("covered");
        assert_entered_as_strictly(bed);
    });
}

#[test]
fn a_container_without_a_proc_is_entered_as_strictly() {
    on_ours(|bed, _| {
        super::grant(bed, &["CAP_SYS_ADMIN"]);
        bed.script("umount -l /proc; echo gone; exec sleep 1000").create().start().wait_output("gone");
        assert_entered_as_strictly(bed);
    });
}

/// Enters the container and compares, from outside, what entered with its first process.
fn assert_entered_as_strictly(bed: &Bed) {
    let file = bed.path("exec.pid");
    let arguments = ["exec", "--detach", "--pid-file", file.to_str().expect("a path is text"), bed.id(), "sleep", "1000"];
    let said = Said::in_files(bed.command(&arguments), &bed.path("exec.out"), &bed.path("exec.err"));
    if !said.status.success() {
        said.refused();
        return;
    }
    let entered: i32 = fs::read_to_string(&file).expect("the pid file is there").trim().parse().expect("a number");
    for field in ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"] {
        let of = |pid| belljar_testbed::process::status_field(pid, field);
        assert_eq!(of(entered), of(bed.pid()), "{field}");
    }
    let cgroup = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a process has a cgroup");
    assert_eq!(cgroup(entered), cgroup(bed.pid()));
    for kind in ["mnt", "pid", "net", "uts", "ipc", "user", "cgroup"] {
        let of = |pid| belljar_testbed::process::namespace_inode(pid, kind);
        assert_eq!(of(entered), of(bed.pid()), "{kind}");
    }
}
