//! One more program in a container that runs.

use belljar_linux::namespace;
use belljar_model::container::ProcessRef;
use belljar_model::namespace::Kind;
use belljar_runtime::seccomp;
use belljar_runtime::spec::{Capabilities, IdMaps, Rlimit, Source, Terminal, User};

use crate::bed::{Bed, Order, UID_BASE};

/// A container that stays until the test is over.
const STAY: &str = "exec sleep 1000";

fn inodes(pid: i32) -> String {
    let kinds = Kind::ALL.iter();
    kinds.map(|kind| format!("{}:[{}]\n", kind.as_str(), namespace::inode(pid, kind.as_str()).expect("an inode"))).collect()
}

const ALL: &str = "for kind in mnt pid net uts ipc user cgroup time; do readlink /proc/self/ns/$kind; done";

pub(crate) fn a_program_in_a_running_container_has_its_namespaces_cgroup_and_limits() {
    let Some(mut bed) = Bed::of(STAY) else { return };
    let first = bed.begin();
    assert_eq!(bed.executed(&bed.exec(first, ALL)), inodes(first.pid));
    let mut exec = bed.exec(
        first,
        "pwd; ulimit -n; id -u; grep -E '^(CapEff|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/self/cgroup; ls /proc/self/fd",
    );
    exec.process.workdir = "/work".into();
    exec.process.user = User::Ids { uid: 33, gid: 34, groups: Vec::new() };
    exec.process.rlimits = vec![Rlimit { resource: "NOFILE".into(), soft: 23, hard: 23 }];
    exec.process.capabilities = Capabilities::only(&["CHOWN"]);
    let text = bed.executed(&exec);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..6], ["/work", "23", "33", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"], "{text}");
    let (cgroups, files): (Vec<&str>, Vec<&str>) = lines[6..].iter().partition(|line| line.contains(':'));
    assert!(cgroups.iter().all(|line| line.ends_with(":/") || line.contains("name=")), "each is the root of what it sees: {text}");
    assert_eq!(files, ["0", "1", "2", "3"], "{text}");
    exec.process.workdir = "/missing".into();
    assert!(bed.order(&Order::Exec(Box::new(exec))).failure().starts_with("enter /missing: ENOENT"));
}

pub(crate) fn a_program_in_a_container_with_ids_of_its_own_is_its_root() {
    let Some(mut bed) = Bed::of(STAY) else { return };
    bed.namespace(Kind::User, Some(Source::New));
    bed.spec.ids = Some(IdMaps::of_range(UID_BASE, 65_536));
    let first = bed.begin();
    let text = bed.executed(&bed.exec(first, &format!("{ALL}; id -u; cat /proc/self/uid_map")));
    let ids: Vec<&str> = text.strip_prefix(&inodes(first.pid)).unwrap_or_else(|| panic!("{text}")).split_whitespace().collect();
    assert_eq!(ids, ["0", "0", "1900000000", "65536"]);
}

pub(crate) fn a_program_finds_the_root_of_a_container_that_mounted_over_it() {
    let script = "mount -t tmpfs none /tmp && mkdir /tmp/bin && cp /bin/busybox /tmp/bin/ && ln -s busybox /tmp/bin/sh && \
                  ln -s busybox /tmp/bin/echo && ln -s busybox /tmp/bin/cat && ln -s busybox /tmp/bin/ls && touch /tmp/over && mount --bind /tmp / && exec sleep 1000";
    let Some(mut bed) = Bed::of(script) else { return };
    for applet in ["mkdir", "cp", "ln", "touch"] {
        let _ = std::os::unix::fs::symlink("busybox", bed.path("rootfs/bin").join(applet));
    }
    bed.spec.process.seccomp = None;
    let names = ["SYS_ADMIN", "CHOWN", "DAC_OVERRIDE"];
    bed.spec.process.capabilities = Capabilities::only(&names);
    let first = bed.begin();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while std::fs::read_to_string(format!("/proc/{}/comm", first.pid)).is_ok_and(|name| name.trim() != "sleep") {
        assert!(std::time::Instant::now() < deadline, "it does not mount: {}", bed.written());
    }
    assert_eq!(bed.executed(&bed.exec(first, "ls /; cat; echo in")), "bin\nover\nin\n");
}

pub(crate) fn a_program_has_a_terminal_of_the_containers() {
    let Some(mut bed) = Bed::of(STAY) else { return };
    let first = bed.begin();
    let mut exec = bed.exec(first, "tty; echo said");
    exec.process.terminal = Terminal::Pty { size: None };
    assert_eq!(bed.order(&Order::Exec(Box::new(exec))).status(), 0);
    assert_eq!(bed.written(), "/dev/pts/0\r\nsaid\r\n");
}

/// How often somebody who enters has to be caught, before it is the program, until the test believes that they were looked at.
const CAUGHT_MIN: usize = 5;
/// After so many who entered it gives up.
const ENTRIES_MAX: usize = 1000;

/// As CVE-2016-9962 was used: whoever enters is caught by what is there already, and its descriptors, root and executable are
/// looked at before it is the program.
pub(crate) fn nothing_of_the_maker_is_seen_in_a_container_that_looks_all_the_time() {
    // Its own children have a parent in here; whoever enters has none.
    let look = "while true; do for p in /proc/[0-9]*; do [ $p != /proc/1 ] && read -r pid name state parent rest < $p/stat && \
                [ $parent = 0 ] && for f in $p/exe $p/fd/* $p/root $p/cwd; do l=$(readlink $f) && case $l in /|/bin/busybox|/dev/null|pipe:*|/work) ;; \
                *) echo \"seen $f $l\" >> /work/seen;; esac; done; done; done 2>/dev/null";
    let Some(mut bed) = Bed::of(look) else { return };
    bed.spec.process.capabilities = Capabilities::only(&["SYS_PTRACE", "DAC_OVERRIDE", "DAC_READ_SEARCH"]);
    bed.spec.process.seccomp = None;
    let first = bed.begin();
    let seen = || std::fs::read_to_string(bed.path("rootfs/work/seen")).unwrap_or_default();
    // The executable is protected by itself, and for this test it is not: whoever is still the maker's copy shows it.
    let caught = || seen().lines().filter(|line| line.contains("/exe ")).count();
    let mut entries = 0;
    while entries < 40 || caught() < CAUGHT_MIN {
        assert!(entries < ENTRIES_MAX, "of {entries}, {} were caught", caught());
        bed.executed(&bed.exec(first, "true"));
        entries += 1;
    }
    println!("of {entries}, {} were caught", caught());
    // Its own output is a file of the bed here, and what is seen is written to another. The socket to the maker gives no way to
    // anything.
    let known = ["/output", "/work/seen", " socket:[", "/exe "];
    let seen = seen();
    let strange: Vec<&str> = seen.lines().filter(|line| !known.iter().any(|word| line.contains(word))).collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

/// Whatever the filter forbids, and whatever the container has in the place of `/proc`.
pub(crate) fn a_program_enters_under_any_filter_and_without_a_proc() {
    let Some(mut bed) = Bed::of(STAY) else { return };
    bed.spec.mounts.retain(|mount| mount.target != "/proc");
    bed.spec.masked_paths.retain(|path| !path.starts_with("/proc"));
    bed.spec.readonly_paths.retain(|path| !path.starts_with("/proc"));
    let first = bed.begin();
    let without = |calls: &str| {
        let text = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":{calls},"action":"SCMP_ACT_ERRNO"}}]}}"#);
        Some(seccomp::Choice::of(serde_json::from_str(&text).expect("a profile")))
    };
    for no_new_privileges in [true, false] {
        let mut exec = bed.exec(first, "echo in");
        exec.process.no_new_privileges = no_new_privileges;
        exec.process.seccomp = without(r#"["unshare","setns","mount"]"#);
        assert_eq!(bed.executed(&exec), "in\n");
    }
    let mut exec = bed.exec(first, "echo in");
    exec.process.seccomp = without(r#"["unshare","clone","clone3","fork","vfork","setsid"]"#);
    assert_eq!(bed.executed(&exec), "in\n", "a filter that forbids what is still to be done is loaded after that");
}

pub(crate) fn a_container_that_has_ended_takes_no_more_programs() {
    let Some(bed) = Bed::of("true") else { return };
    let me = std::process::id() as i32;
    let first = ProcessRef { pid: me, start_ticks: 1 };
    let failure = bed.order(&Order::Exec(Box::new(bed.exec(first, "true")))).failure();
    assert!(failure.starts_with("find first process of the container") && failure.contains("ESRCH"), "{failure}");
}
