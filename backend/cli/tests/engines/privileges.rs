//! What a container may not do, and what it may where it was allowed to.

use belljar_testbed::wait_until;

use crate::engine::{Engine, Kind};
use crate::under_both;

under_both!(
    capabilities_are_the_default_ones_and_those_that_were_asked_for,
    a_filter_is_the_default_one_an_own_one_or_none,
    no_new_privileges_means_it,
    a_privileged_container_sees_everything,
    kernel_settings_of_its_own_namespaces_are_set,
    what_is_to_be_hidden_is,
);

/// The capabilities that a status line of the kernel tells, as a number.
fn capabilities(engine: &Engine, flags: &[&str], which: &str) -> u64 {
    let line = engine.script(flags, &format!("grep {which}: /proc/self/status"));
    u64::from_str_radix(line.split_whitespace().last().unwrap_or_default(), 16).expect("it is hexadecimal")
}

/// `CAP_NET_ADMIN`, `CAP_CHOWN` (`capability.h`).
const NET_ADMIN: u64 = 1 << 12;
const CHOWN: u64 = 1;

fn capabilities_are_the_default_ones_and_those_that_were_asked_for(engine: &Engine) {
    let default = capabilities(engine, &[], "CapEff");
    assert!(default & CHOWN != 0 && default & NET_ADMIN == 0, "{default:x}");
    assert_eq!(capabilities(engine, &[], "CapBnd"), default);
    assert_eq!(capabilities(engine, &[], "CapAmb"), 0);
    let changed = capabilities(engine, &["--cap-add=NET_ADMIN", "--cap-drop=CHOWN"], "CapEff");
    assert_eq!(changed, (default | NET_ADMIN) & !CHOWN);
    assert_eq!(capabilities(engine, &["--cap-drop=ALL"], "CapBnd"), 0);
    assert_eq!(capabilities(engine, &["--user=guest"], "CapEff"), 0);
    engine.start_script("one", &["--cap-drop=ALL", "--cap-add=CHOWN"], "sleep 1d");
    assert!(engine.call(&["exec", "one", "grep", "CapEff", "/proc/self/status"]).ends_with("0000000000000001"));
    let privileged = engine.call(&["exec", "--privileged", "one", "grep", "CapEff", "/proc/self/status"]);
    assert!(!privileged.ends_with("0000000000000001"), "{privileged}");
}

fn a_filter_is_the_default_one_an_own_one_or_none(engine: &Engine) {
    assert!(engine.script(&[], "grep Seccomp: /proc/self/status").ends_with('2'));
    if engine.kind == Kind::Docker {
        // podman's default profile lets containers make containers.
        assert!(!engine.run_output(&["--rm"], &["unshare", "-U", "true"]).status.success());
    }
    engine.run(&["--security-opt=seccomp=unconfined"], &["unshare", "-U", "true"]);
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    let own = format!("--security-opt=seccomp={}", engine.place.file("own.json", profile));
    let said = engine.script(&[&own], "mkdir /tmp/a 2>&1; unshare -U echo allowed");
    assert!(said.contains("No space left on device") && said.contains("allowed"), "{said}");
    assert!(engine.script(&["--security-opt=seccomp=unconfined"], "grep Seccomp: /proc/self/status").ends_with('0'));
}

fn no_new_privileges_means_it(engine: &Engine) {
    let status = "grep NoNewPrivs /proc/self/status";
    assert!(engine.script(&["--security-opt=no-new-privileges"], status).ends_with('1'));
    assert!(engine.script(&[], status).ends_with('0'));
}

fn a_privileged_container_sees_everything(engine: &Engine) {
    let script = "grep Seccomp: /proc/self/status; mount -t tmpfs none /tmp && echo mounted; test -e /dev/kmsg && echo devices; \
                  grep -q ' /proc/kcore ' /proc/mounts || echo unmasked; test -w /proc/sys/kernel/domainname && echo writable";
    let said = engine.script(&["--privileged"], script);
    assert_eq!(said, "Seccomp:\t0\nmounted\ndevices\nunmasked\nwritable");
}

fn kernel_settings_of_its_own_namespaces_are_set(engine: &Engine) {
    let flags = ["--sysctl=kernel.msgmax=4711", "--sysctl=net.ipv4.ip_unprivileged_port_start=99"];
    let script = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start";
    assert_eq!(engine.script(&flags, script), "4711\n99");
    assert_ne!(engine.place.shell("cat /proc/sys/kernel/msgmax"), "4711");
}

fn what_is_to_be_hidden_is(engine: &Engine) {
    let script = "head -c1 /proc/kcore | wc -c; ls /proc/scsi/* /sys/firmware/* 2> /dev/null | wc -l; \
                  (echo 1 > /proc/sys/kernel/domainname) 2> /dev/null || echo kept; (echo x > /proc/sysrq-trigger) 2> /dev/null || echo kept";
    assert_eq!(engine.script(&[], script), "0\n0\nkept\nkept");
    if engine.kind == Kind::Docker {
        // podman asks for a cgroup namespace and a tree that may be written.
        assert_eq!(engine.script(&[], "mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x 2> /dev/null || echo kept"), "kept");
    }
}

mod remapped {
    use super::*;

    #[test]
    fn a_container_of_docker_may_have_owners_of_its_own() {
        // Docker looks the range up under the name of a user who must exist.
        if !std::fs::read_to_string("/etc/passwd").is_ok_and(|users| users.contains("\ndaemon:")) {
            return belljar_testbed::skip("a user daemon");
        }
        let place_files = ["/etc/subuid", "/etc/subgid"];
        let Some(engine) = Engine::prepare(Kind::Docker, &["--userns-remap=daemon"], |place| {
            // Only in the mount namespace of the place.
            for file in place_files {
                let own = place.file(file.trim_start_matches("/etc/"), "daemon:300000:65536\n");
                place.shell(&format!("touch {file} 2> /dev/null; mount --bind {own} {file}"));
            }
        }) else {
            return;
        };
        holds(&engine, &[]);
    }

    #[test]
    fn a_container_of_podman_may_have_owners_of_its_own() {
        let Some(engine) = Engine::start(Kind::Podman) else { return };
        holds(&engine, &["--uidmap=0:300000:65536", "--gidmap=0:300000:65536"]);
    }

    /// Root inside is 300,000 outside, and what is inside belongs to it.
    fn holds(engine: &Engine, flags: &[&str]) {
        let script = "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %u /etc/words; echo x > /tmp/x && stat -c %u /tmp/x; sleep 1d";
        engine.start_script("one", flags, script);
        engine.wait_for_log("one", "300000");
        let log = wait_until("it has said everything", || Some(engine.call(&["logs", "one"])).filter(|log| log.lines().count() == 4));
        assert_eq!(log.lines().map(str::trim).collect::<Vec<_>>(), ["0", "0 300000 65536", "0", "0"]);
        assert_eq!(engine.place.shell(&format!("stat -c %u /proc/{}", engine.pid("one"))), "300000");
        let rights = "id -u; chown 1:1 /tmp/x && stat -c %u /tmp/x; (echo x > /proc/sys/kernel/domainname) 2> /dev/null || echo kept";
        assert_eq!(engine.call(&["exec", "one", "sh", "-c", rights]), "0\n1\nkept");
        engine.call(&["pause", "one"]);
        engine.call(&["unpause", "one"]);
        // Podman's own cleaning up, which the container's end sets off, may still hold its shm mount: then it is asked again.
        let removed = || engine.command(&["rm", "--force", "one"]).output().ok().filter(|output| output.status.success());
        wait_until("the container is removed", removed);
    }
}
