//! System call filters: what is refused, with which error, by which argument; and that exec is bound by them too.

use serde_json::{Value, json};

use crate::bed::{Bed, Runtime, probe};
use crate::differences::Difference;

sentences! {
    a_refused_call_has_the_error_that_was_asked_for, calls_are_refused_by_their_arguments, all_comparisons_work, an_allow_list_refuses_the_rest,
    a_killed_call_ends_the_process, exec_is_bound_by_the_filter, a_logged_call_is_allowed, unknown_names_are_skipped, an_unknown_action_is_refused,
    a_filter_works_without_no_new_privileges, a_filter_without_no_new_privileges_may_know_nothing_of_sockets, the_last_architecture_counts, newer_calls_than_the_profile_are_unknown, trap_raises_a_signal,
}

/// Everything is allowed but these rules.
fn deny(bed: &Bed, rules: Value) {
    filter(bed, json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules}));
}

fn filter(bed: &Bed, filter: Value) {
    bed.configure(|config| config["linux"]["seccomp"] = filter);
}

// Numbers of x86-64: getpid 39, getppid 110, personality 135, getuid 102, gettid 186, mkdir 83.

fn a_refused_call_has_the_error_that_was_asked_for(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    deny(
        &bed,
        json!([
            {"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}, {"names": ["getuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        ]),
    );
    assert_eq!(
        bed.run("probe syscall 110; probe syscall 102; grep 'Seccomp:' /proc/self/status").ok(),
        "syscall: EPERM\nsyscall: ENOSYS\nSeccomp:\t2\n"
    );
    filter(
        &bed,
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getppid", "getuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}),
    );
    assert_eq!(
        bed.run("probe syscall 110; probe syscall 102; true").ok(),
        "syscall: EPERM\nsyscall: EPERM\n",
        "without a list of architectures"
    );
}

fn calls_are_refused_by_their_arguments(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    let when = |value: u64| json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]});
    deny(&bed, json!([when(8), when(0xffff_ffff)]));
    let said = bed.run("probe syscall 135 8; probe syscall 135 0; probe syscall 135 0xffffffff; true").ok();
    assert_eq!(said, "syscall: EPERM\nsyscall: 0\nsyscall: EPERM\n");
}

fn all_comparisons_work(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    // The calls gettid, getuid and so on take no arguments, so any may be passed; 64 bits wide are compared.
    let wide = 0x1_0000_0005u64;
    for (operator, value, two, refused, allowed) in [
        ("SCMP_CMP_NE", wide, 0, "5", "0x100000005"),
        ("SCMP_CMP_LT", wide, 0, "0x100000004", "0x100000005"),
        ("SCMP_CMP_LE", wide, 0, "0x100000005", "0x100000006"),
        ("SCMP_CMP_EQ", wide, 0, "0x100000005", "5"),
        ("SCMP_CMP_GE", wide, 0, "0x100000005", "0x0ffffffff"),
        ("SCMP_CMP_GT", wide, 0, "0x200000000", "0x100000005"),
        ("SCMP_CMP_MASKED_EQ", 0xf0, 0x50, "0x10000005f", "0x60"),
    ] {
        let argument = json!({"index": 1, "value": value, "valueTwo": two, "op": operator});
        deny(&bed, json!([{"names": ["getuid"], "action": "SCMP_ACT_ERRNO", "args": [argument]}]));
        let said = bed.run(&format!("probe syscall 102 0 {refused}; probe syscall 102 0 {allowed}; true")).ok();
        assert_eq!(said, "syscall: EPERM\nsyscall: 0\n", "{operator}");
    }
}

/// What the shell, the probe and a runtime between filter and program need, and nothing beyond; faccessat2 (439) is the newest.
const CALLS: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "clock_gettime",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup",
    "dup2",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fcntl",
    "fork",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "seccomp",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setuid",
    "sigaltstack",
    "stat",
    "statfs",
    "tgkill",
    "umask",
    "uname",
    "vfork",
    "wait4",
    "write",
    "writev",
];

fn an_allow_list_refuses_the_rest(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    filter(
        &bed,
        json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 95, "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": CALLS, "action": "SCMP_ACT_ALLOW"}],
        }),
    );
    assert_eq!(bed.run("probe syscall 83 @/made 0755; probe syscall 39 > /dev/null && echo fine").ok(), "syscall: EOPNOTSUPP\nfine\n");
    assert!(!bed.root("made").exists());
}

fn a_killed_call_ends_the_process(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD"] {
        deny(&bed, json!([{"names": ["getppid"], "action": action}]));
        // The shell may ask for its parent itself, so the probe is the first process.
        bed.arguments(&["probe", "syscall", "110"]);
        assert_eq!(bed.run_as_is().code(), 128 + 31, "{action}: SIGSYS");
    }
}

fn trap_raises_a_signal(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    deny(&bed, json!([{"names": ["getppid"], "action": "SCMP_ACT_TRAP"}]));
    bed.without_namespace("pid").arguments(&["probe", "syscall", "110"]);
    assert_eq!(bed.run_as_is().code(), 128 + 31);
}

fn exec_is_bound_by_the_filter(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    deny(&bed, json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]));
    bed.sleeping();
    let said = bed.exec("mkdir /made; grep 'Seccomp:' /proc/self/status");
    assert_eq!(said.out, "Seccomp:\t2\n");
    assert!(said.err.contains("not permitted") && !bed.root("made").exists(), "{said:?}");
}

fn a_logged_call_is_allowed(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    deny(&bed, json!([{"names": ["getuid"], "action": "SCMP_ACT_LOG"}]));
    assert_eq!(bed.run("probe syscall 102").line(), "syscall: 0");
}

fn unknown_names_are_skipped(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    deny(&bed, json!([{"names": ["no_such_call", "getuid"], "action": "SCMP_ACT_ERRNO"}]));
    assert_eq!(bed.run("probe syscall 102; true").line(), "syscall: EPERM", "profiles name calls of every kernel and architecture");
}

fn an_unknown_action_is_refused(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    deny(&bed, json!([{"names": ["getuid"], "action": "SCMP_ACT_NONSENSE"}]));
    bed.run("true").refused();
    filter(&bed, json!({"defaultAction": "NONSENSE"}));
    bed.run("true").refused();
    filter(&bed, json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NONSENSE"]}));
    bed.run("true").refused();
    deny(&bed, json!([{"names": ["getuid"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 7, "value": 0, "op": "SCMP_CMP_EQ"}]}]));
    let said = bed.run("true");
    assert!(!said.status.success(), "an index beyond the six arguments: {said:?}");
    bed.assert_nothing_left();
}

fn a_filter_works_without_no_new_privileges(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    bed.configure(|config| config["process"]["noNewPrivileges"] = json!(false));
    deny(&bed, json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]));
    assert_eq!(bed.run("probe syscall 83 @/made 0755; grep NoNewPrivs /proc/self/status").ok(), "syscall: ENOSYS\nNoNewPrivs:\t0\n");
}

/// It stands before the container waits for its start: what the runtime still does there needs no calls but those of every program.
fn a_filter_without_no_new_privileges_may_know_nothing_of_sockets(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    bed.configure(|config| config["process"]["noNewPrivileges"] = json!(false));
    let sockets = [
        "socket",
        "socketpair",
        "bind",
        "listen",
        "connect",
        "accept",
        "accept4",
        "sendto",
        "sendmsg",
        "sendmmsg",
        "recvfrom",
        "recvmsg",
        "recvmmsg",
        "getsockopt",
        "setsockopt",
        "getsockname",
        "getpeername",
        "shutdown",
    ];
    deny(&bed, json!([{"names": sockets, "action": "SCMP_ACT_ERRNO"}]));
    assert_eq!(bed.run("echo begun").ok(), "begun\n");
    bed.sleeping();
    assert_eq!(bed.exec("echo entered").ok(), "entered\n");
    bed.call(&["delete", "--force", bed.id()]).ok();
    // Killed, and not only refused: nothing of it is tried first.
    deny(&bed, json!([{"names": sockets, "action": "SCMP_ACT_KILL_PROCESS"}]));
    assert_eq!(bed.run("echo begun").ok(), "begun\n");
    bed.sleeping();
    assert_eq!(bed.exec("echo entered").ok(), "entered\n");
}

fn the_last_architecture_counts(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) {
        return;
    }
    let all = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
    filter(
        &bed,
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": all, "syscalls": [{"names": ["getuid"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    // The number of x32 is the one of 64 bits with bit 30: it must not be a way around.
    let said = bed.run("probe syscall 102; probe syscall 0x40000066; true").ok();
    assert!(said.starts_with("syscall: EPERM\nsyscall: E"), "{said}");
}

fn newer_calls_than_the_profile_are_unknown(runtime: &Runtime) {
    let bed = Bed::new(runtime);
    if !probe::install(&bed) || bed.differs(Difference::NewerCalls) {
        return;
    }
    filter(
        &bed,
        json!({
            "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{"names": CALLS, "action": "SCMP_ACT_ALLOW"}],
        }),
    );
    // 439 faccessat2 is the newest that the profile knows; 600 is a call of a kernel to come, 83 (mkdir) an older one.
    assert_eq!(bed.run("probe syscall 600; probe syscall 83 @/made 0755; true").ok(), "syscall: ENOSYS\nsyscall: EPERM\n");
}
