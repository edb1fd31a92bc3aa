//! What stands around a container: its console, its device folder, and the kernel's files by which others got out
//! (release_agent CVE-2022-0492, core_pattern, sysrq, uevent_helper, file handles, abstract sockets, keyrings).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use super::{Canary, Root, on_ours};
use crate::bed::console::Console;

/// A container with a terminal, whatever becomes of it.
fn with_console(bed: &crate::bed::Bed) {
    bed.configure(|config| config["process"]["terminal"] = json!(true));
    bed.script("echo through > /dev/console; exec sleep 1000");
    let console = Console::listen(bed);
    if bed.try_create(&["--console-socket", console.path()]).status.success() {
        let mut terminal = console.accept();
        if bed.call(&["start", bed.id()]).status.success() {
            terminal.hear("through");
        }
    }
    bed.call(&["delete", "--force", bed.id()]).ok();
}

fn without_dev(bed: &crate::bed::Bed) {
    bed.configure(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts are a list");
        mounts.retain(|mount| !mount["destination"].as_str().is_some_and(|target| target.starts_with("/dev")));
    });
}

#[test]
fn a_console_that_is_a_link_to_the_host_is_not_followed() {
    on_ours(|bed, _| {
        let canary = Canary::new(bed);
        without_dev(bed);
        symlink(canary.path.join("file"), bed.root("dev/console")).expect("a link can be made");
        symlink(canary.path.join("new"), bed.root("dev/ptmx")).expect("a link can be made");
        fs::create_dir_all(bed.root("dev/pts")).expect("a folder can be made");
        symlink(canary.path.join("file"), bed.root("dev/pts/0")).expect("a link can be made");
        with_console(bed);
        canary.assert_alive();
    });
}

#[test]
fn a_device_folder_that_is_a_link_to_the_host_is_not_followed() {
    for (target, keep) in [("absolute", true), ("absolute", false), ("up", true), ("up", false)] {
        on_ours(|bed, _| {
            let canary = Canary::new(bed);
            fs::remove_dir(bed.root("dev")).expect("a folder can be removed");
            let to =
                if target == "up" { format!("{}{}", "../".repeat(20), canary.path.display()) } else { canary.path.display().to_string() };
            symlink(to, bed.root("dev")).expect("a link can be made");
            if !keep {
                without_dev(bed);
            }
            let _refused_or_not = bed.run("echo x > /dev/null");
            with_console(bed);
            canary.assert_alive();
        });
    }
}

#[test]
fn files_of_the_kernel_that_run_programs_are_not_written() {
    on_ours(|bed, root| {
        let before = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("the kernel tells its core pattern");
        let files = "/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug /proc/sys/fs/binfmt_misc/register \
                     /proc/sys/vm/panic_on_oom /proc/sysrq-trigger /sys/kernel/uevent_helper /sys/power/state";
        let script = format!(
            "for file in {files} $(find /sys/fs/cgroup -name release_agent -o -name notify_on_release -o -name cgroup.procs 2> /dev/null); do \
             test -e $file && echo tried $file; (: > $file) 2> /dev/null && test -e $file && echo opened $file; done; \
             mkdir /tmp/c; for kind in cgroup cgroup2 sysfs proc debugfs securityfs; do mount -t $kind none /tmp/c 2> /dev/null && echo mounted $kind; done; true"
        );
        let said = bed.run(&script).ok();
        let (tried, opened): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with("tried"));
        for file in ["core_pattern", "cgroup.procs"] {
            assert!(tried.iter().any(|line| line.ends_with(file)), "{file} is there to be tried: {tried:?}");
        }
        assert!(opened.is_empty(), "{root:?}: {opened:?}");
        assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").expect("as before"), before);
    });
}

#[test]
fn a_user_namespace_within_reaches_no_further() {
    on_ours(|bed, root| {
        let said = bed.run("probe nest; true").ok();
        assert!(said.contains("unshare: 0") && said.contains("cgroup: "), "the attack is possible: {said}");
        // Mounting its own view of something is no way out; writing to what is the host's is.
        for (what, refused) in said.lines().filter_map(|line| line.split_once(": ")).filter(|(what, _)| what.starts_with('/')) {
            assert!(refused.starts_with('E'), "{root:?}: {what}: {said}");
        }
    });
}

#[test]
fn files_are_not_opened_by_their_handles() {
    on_ours(|bed, root| {
        super::grant(bed, &["CAP_DAC_READ_SEARCH"]);
        let said = bed.run("probe handle /etc/passwd; true").line();
        // The host's root with that capability may, as with every runtime: engines do not grant it.
        assert!(root == Root::Host || said.ends_with("EPERM") || said.ends_with("EOPNOTSUPP"), "{said}");
    });
    on_ours(|bed, _| assert_eq!(bed.run("probe handle /etc/passwd; true").line(), "open: EPERM"));
}

#[test]
fn abstract_sockets_of_the_runtime_are_not_there() {
    on_ours(|bed, _| {
        bed.without_namespace("network").configure(|config| {
            config["mounts"]
                .as_array_mut()
                .expect("mounts are a list")
                .retain(|mount| mount["type"] != "sysfs" && mount["type"] != "cgroup");
        });
        let said = bed.run("grep -E '@.*(belljar|runtime)' /proc/net/unix; true").ok();
        assert_eq!(said, "");
    });
}

#[test]
fn set_user_id_programs_gain_nothing() {
    on_ours(|bed, _| {
        fs::copy(bed.root("bin/busybox"), bed.root("root/grep")).expect("a file can be copied");
        if bed.config()["linux"]["uidMappings"].is_array() {
            crate::bed::own_by(&bed.root("root/grep"), crate::userns::FIRST);
        }
        fs::set_permissions(bed.root("root/grep"), fs::Permissions::from_mode(0o4755)).expect("a mode can be set");
        bed.configure(|config| config["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
        let said = bed.arguments(&["/root/grep", "-E", "^(Uid|CapEff)", "/proc/self/status"]).run_as_is();
        assert!(!said.status.success() || said.out == "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n", "{said:?}");
    });
}
