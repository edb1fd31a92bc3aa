//! What is true of the program's process: who it is, what it may do, how it is treated, what it can see of its maker.

use belljar_runtime::spec::{Capabilities, CpuAffinity, First, IoPriority, Rlimit, Scheduler, Terminal, TerminalSize, User};

use crate::bed::Bed;

pub(crate) fn a_plain_container_has_what_it_was_given_and_nothing_else() {
    let Some(bed) = Bed::of("hostname; id -u; echo $$; echo $HOME; pwd; ls /proc/self/fd; grep -c . /proc/self/environ") else { return };
    let text = bed.output();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..5], ["bell", "0", "1", "/root", "/"], "{text}");
    // The fourth is the folder that `ls` reads.
    assert_eq!(lines[5..9], ["0", "1", "2", "3"], "{text}");
}

pub(crate) fn a_user_has_its_groups_its_mask_and_the_capabilities_that_were_kept_for_it() {
    let Some(mut bed) = Bed::of("id; umask; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status") else { return };
    bed.spec.process.user = User::Ids { uid: 33, gid: 34, groups: vec![50, 51] };
    bed.spec.process.umask = Some(0o077);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    bed.spec.process.capabilities = Capabilities {
        bounding: names(&["CHOWN", "KILL", "NET_BIND_SERVICE"]),
        effective: names(&["CHOWN", "KILL"]),
        permitted: names(&["CHOWN", "KILL"]),
        inheritable: names(&["KILL"]),
        ambient: names(&["KILL", "CHOWN"]),
    };
    let text = bed.output();
    assert!(text.contains("uid=33(web) gid=34 groups=34,50,51") || text.contains("uid=33(web) gid=34 groups=50,51"), "{text}");
    assert!(text.contains("0077"), "{text}");
    // KILL is bit 5, CHOWN bit 0, NET_BIND_SERVICE bit 10; what is ambient must be inheritable too.
    for line in ["CapInh:\t0000000000000020", "CapPrm:\t0000000000000020", "CapEff:\t0000000000000020", "CapAmb:\t0000000000000020"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.contains("CapBnd:\t0000000000000421") && text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
}

pub(crate) fn limits_scheduling_and_personality_are_set_from_outside_and_kept() {
    let script = "ulimit -n; grep -E '^(Cpus_allowed_list)' /proc/self/status; cat /proc/self/oom_score_adj; cat /proc/self/personality; cat /proc/self/stat; /bin/busybox ionice -p $$";
    let Some(mut bed) = Bed::of(script) else { return };
    let process = &mut bed.spec.process;
    process.rlimits = vec![Rlimit { resource: "NOFILE".into(), soft: 17, hard: 19 }];
    process.oom_score_adj = Some(500);
    process.personality = Some(0x0004_0000);
    process.io_priority = Some(IoPriority { class: 2, level: 6 });
    process.cpu_affinity = CpuAffinity { initial: Some(vec![0]), last: Some(vec![0]) };
    process.scheduler = Some(Scheduler { policy: 3, flags: 0, nice: 4, priority: 0, runtime_nsec: 0, deadline_nsec: 0, period_nsec: 0 });
    process.seccomp = None;
    let text = bed.output();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["17", "Cpus_allowed_list:\t0", "500", "00040000"], "{text}");
    let fields: Vec<&str> = lines[4].rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!((fields[16], fields[38]), ("4", "3"), "nice and policy: {text}");
    assert_eq!(lines[5], "best-effort: prio 6", "the second class: {text}");
}

pub(crate) fn an_unknown_limit_is_refused_by_its_field() {
    let Some(mut bed) = Bed::of("true") else { return };
    bed.spec.process.rlimits = vec![Rlimit { resource: "NOPE".into(), soft: 1, hard: 1 }];
    assert_eq!(bed.run().failure(), "process.rlimits: name NOPE, which is no resource limit");
}

pub(crate) fn a_filter_without_no_new_privileges_is_loaded_all_the_same() {
    let Some(mut bed) = Bed::of("grep -E '^(NoNewPrivs|Seccomp:)' /proc/self/status; mount -t tmpfs x /tmp || echo refused") else {
        return;
    };
    bed.spec.process.no_new_privileges = false;
    let text = bed.output();
    assert!(text.contains("NoNewPrivs:\t0") && text.contains("Seccomp:\t2") && text.contains("refused"), "{text}");
}

pub(crate) fn a_working_folder_is_made_and_one_that_lies_outside_is_refused() {
    let Some(mut bed) = Bed::of("pwd") else { return };
    bed.spec.process.workdir = "/a/b".into();
    assert_eq!(bed.output(), "/a/b\n");
    for number in 3..12 {
        bed.spec.process.workdir = format!("/proc/self/fd/{number}");
        let failure = bed.run().failure();
        assert!(failure.contains("working folder") || failure.contains("enter"), "{failure}");
    }
}

pub(crate) fn a_terminal_is_the_containers_own_and_its_console() {
    let Some(mut bed) = Bed::of("tty; stty size; echo to the console > /dev/console; ls -l /proc/self/fd/0") else { return };
    bed.spec.process.terminal = Terminal::Pty { size: Some(TerminalSize { rows: 33, columns: 111 }) };
    let text = bed.output();
    assert!(text.starts_with("/dev/pts/0\r\n33 111\r\nto the console\r\n"), "{text:?}");
}

pub(crate) fn a_minimal_init_reaps_and_ends_as_the_program_does() {
    let Some(mut bed) = Bed::of("echo $$; exit 7") else { return };
    bed.spec.first = First::Init;
    assert_eq!(bed.run().status(), 7);
    assert_eq!(bed.written(), "2\n");
    // A signal without a name: one of the realtime ones.
    let Some(mut bed) = Bed::of("trap 'exit 9' 36; kill -36 1; while :; do :; done") else { return };
    bed.spec.first = First::Init;
    assert_eq!(bed.run().status(), 9);
}

/// Each orphan is handed to the first process, sees that, and ends.
pub(crate) fn a_minimal_init_leaves_no_zombie_of_fifty_orphans() {
    let script = "orphan='until read -r pid name state parent rest < /proc/$$/stat && [ $parent = 1 ]; do :; done; echo handed over'; \
                  number=0; while [ $number -lt 50 ]; do (sh -c \"$orphan\" &); number=$((number + 1)); done; \
                  rounds=0; until set -- /proc/[0-9]* && [ $# = 2 ]; do rounds=$((rounds + 1)); [ $rounds = 1000 ] && break; sleep 0.01; done; \
                  echo \"there are $*\"; for process; do read -r line < $process/stat; echo \"$line\"; done";
    let Some(mut bed) = Bed::of(script) else { return };
    bed.spec.first = First::Init;
    let text = bed.output();
    assert_eq!(text.lines().filter(|line| *line == "handed over").count(), 50, "{text}");
    assert!(text.contains("there are /proc/1 /proc/2\n"), "init and the program, and nobody else: {text}");
}

pub(crate) fn a_program_that_is_not_there_is_told_with_its_step() {
    let Some(mut bed) = Bed::of("true") else { return };
    bed.spec.process.arguments = vec!["/no/such".into()];
    assert_eq!(bed.run().failure(), "exec /no/such: ENOENT: no such file or directory");
}
