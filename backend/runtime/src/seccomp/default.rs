//! The default filter: what a program in a container may ask the kernel, by purpose, and why.
//!
//! Everything else is refused: with `EPERM` where this table's time knew the call, with `ENOSYS` where the call is newer, so
//! that a program falls back to an older one. The decisions are those of the field, which hundreds of thousands of images
//! were tried against; where ours differ they are stricter, and a test says each difference with its reason.

use std::sync::{Arc, OnceLock};

use belljar_linux::seccomp::Flags;
use libc::sock_filter;

use crate::spec::DEFAULT_CAPABILITIES;

use super::arch::Arch;
use super::profile::{Action, ArchMap, Argument, Context, Filter, Op, Profile, Rule};
use super::rules::{Case, Condition, Decision, NEWER, Rules, Test, Verdict};
use super::{Choice, Listener, Prepared, prepare};

/// When a group's calls may be made.
enum When {
    Always,
    /// With this capability: the kernel's own check is behind it, and code that trusts it is reached.
    With(&'static str),
    /// Native architectures that have these calls for their own purposes.
    On(&'static [&'static str]),
    /// From this kernel on.
    Since(&'static str),
}

struct Group {
    /// What they are for, and why they are (or are not) for everybody.
    why: &'static str,
    when: When,
    calls: &'static str,
}

const GROUPS: &[Group] = &[
    Group {
        why: "Opening, reading and writing files, in all the shapes that thirty years have left.",
        when: When::Always,
        calls: "access close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fadvise64_64 fallocate fcntl \
                fcntl64 fdatasync flock fsync ftruncate ftruncate64 ioctl lseek _llseek open openat openat2 pipe pipe2 pread64 preadv preadv2 \
                pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice sync sync_file_range syncfs tee truncate truncate64 \
                vmsplice write writev cachestat",
    },
    Group {
        why: "Names, folders, owners, modes, times and extended attributes; devices made here are stopped by the device cgroup.",
        when: When::Always,
        calls: "chdir chmod chown chown32 fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fgetxattr flistxattr fremovexattr \
                fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 futimesat getcwd getdents getdents64 getxattr getxattrat lchown lchown32 \
                lgetxattr link linkat listxattr listxattrat llistxattr lremovexattr lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat \
                name_to_handle_at newfstatat readlink readlinkat removexattr removexattrat rename renameat renameat2 rmdir setxattr \
                setxattrat stat stat64 statfs statfs64 statx symlink symlinkat umask unlink unlinkat utime utimensat utimensat_time64 utimes",
    },
    Group {
        why: "What is mounted, read only: it shows this mount namespace and no other.",
        when: When::Always,
        calls: "listmount statmount",
    },
    Group {
        why: "Memory of one's own: mapping, locking within limits, protection keys, sealing, shadow stacks.",
        when: When::Always,
        calls: "brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap \
                mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages",
    },
    Group {
        why: "Waiting for many things at once, and asynchronous I/O of the old kind (io_uring is left out: too many holes, and it makes \
              calls that no filter sees).",
        when: When::Always,
        calls: "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 \
                io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect poll ppoll ppoll_time64 \
                pselect6 pselect6_time64 select",
    },
    Group {
        why: "Being told of changes to files; a group of its own is needed to mark more than one may see anyway.",
        when: When::Always,
        calls: "fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch",
    },
    Group {
        why: "Processes and threads: making (clone's flags are judged apart), running, waiting, ending, and who they are.",
        when: When::Always,
        calls: "execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list \
                get_thread_area getcpu getpgid getpgrp getpid getppid getsid gettid pidfd_open pidfd_send_signal prctl restart_syscall rseq \
                set_robust_list set_thread_area set_tid_address setpgid setsid uname vfork wait4 waitid waitpid",
    },
    Group {
        why: "Signals, and the traps that a kernel sets into a program for its own probes.",
        when: When::Always,
        calls: "kill pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
                rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4 sigprocmask sigreturn tgkill tkill uretprobe",
    },
    Group {
        why: "Users, groups and capabilities: the kernel allows what the capabilities of the container allow.",
        when: When::Always,
        calls: "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid \
                getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid \
                setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32",
    },
    Group {
        why: "Limits, priorities and figures, which only go down without a capability.",
        when: When::Always,
        calls: "getpriority getrlimit getrusage ioprio_get ioprio_set prlimit64 sched_get_priority_max sched_get_priority_min \
                sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 \
                sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setpriority setrlimit sysinfo times ugetrlimit",
    },
    Group {
        why: "Clocks and timers. adjtimex reads here: without CAP_SYS_TIME the kernel refuses to set.",
        when: When::Always,
        calls: "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep \
                clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun \
                timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 \
                timerfd_settime timerfd_settime64",
    },
    Group {
        why: "Sockets once made (which families can be made is judged apart). socketcall, the one call of old 32-bit programs, keeps its \
              arguments in memory where no filter can look: without it games and Wine do not run.",
        when: When::Always,
        calls: "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg send \
                sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair",
    },
    Group {
        why: "Messages, semaphores and shared memory, which live in the container's own IPC namespace.",
        when: When::Always,
        calls: "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl \
                msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget",
    },
    Group {
        why: "Isolating oneself further, which only takes away.",
        when: When::Always,
        calls: "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
    },
    Group { why: "Random bytes.", when: When::Always, calls: "getrandom" },
    Group {
        why: "Looking into other processes of the container; before 4.8 a tracer could slip calls past a filter.",
        when: When::Since("4.8"),
        calls: "process_vm_readv process_vm_writev ptrace",
    },
    Group { why: "Segments and thread pointers of x86.", when: When::On(&["amd64"]), calls: "arch_prctl modify_ldt" },
    Group {
        why: "32-bit ARM's own calls.",
        when: When::On(&["arm64"]),
        calls: "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    },
    Group {
        why: "Files by handle, past every path: with this capability a container could open any file of the host's disk.",
        when: When::With("CAP_DAC_READ_SEARCH"),
        calls: "open_by_handle_at",
    },
    Group {
        why: "Mounts, namespaces, quotas, host names, BPF and performance counters: whoever has this capability is trusted with the kernel.",
        when: When::With("CAP_SYS_ADMIN"),
        calls: "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules \
                lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname \
                setns syslog umount umount2 unshare",
    },
    Group { why: "BPF alone.", when: When::With("CAP_BPF"), calls: "bpf" },
    Group { why: "Performance counters alone.", when: When::With("CAP_PERFMON"), calls: "perf_event_open" },
    Group { why: "The host's power.", when: When::With("CAP_SYS_BOOT"), calls: "reboot" },
    Group { why: "Another root folder; of the default capabilities.", when: When::With("CAP_SYS_CHROOT"), calls: "chroot" },
    Group { why: "Code in the kernel.", when: When::With("CAP_SYS_MODULE"), calls: "delete_module finit_module init_module" },
    Group { why: "The log of all processes of the host.", when: When::With("CAP_SYS_PACCT"), calls: "acct" },
    Group {
        why: "Other processes' descriptors and memory, whoever they belong to.",
        when: When::With("CAP_SYS_PTRACE"),
        calls: "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    },
    Group { why: "The machine's ports.", when: When::With("CAP_SYS_RAWIO"), calls: "ioperm iopl" },
    Group { why: "The host's clock.", when: When::With("CAP_SYS_TIME"), calls: "clock_settime clock_settime64 settimeofday stime" },
    Group { why: "Terminals of others.", when: When::With("CAP_SYS_TTY_CONFIG"), calls: "vhangup" },
    Group {
        why: "Where memory lies, which weighs on others.",
        when: When::With("CAP_SYS_NICE"),
        calls: "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    },
    Group { why: "The kernel's log.", when: When::With("CAP_SYSLOG"), calls: "syslog" },
];

/// Bits of `clone(2)`'s flags that make namespaces: mnt, cgroup, uts, ipc, user, pid, net. (That of time lies in the byte of
/// the exit signal: only clone3 can ask for it.)
const NAMESPACES: u64 = 0x7e02_0000;

/// Personalities that change nothing a guard rests on: Linux, Linux of 32 bits, the older name of the kernel's version with
/// either, and the question what it is.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Families of sockets: those below this, and a list. AF_ALG (38, the kernel's cryptography, CVE-2026-31431) and AF_VSOCK
/// (40, to the machine's host) are the reason that it is a list; families that Linux has dropped are not in it.
const FAMILIES_BELOW: u64 = 12;
const FAMILIES: [u64; 25] = [13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45];

/// Characters put into a terminal as if they had been typed (`TIOCSTI`, CVE-2017-5226; `TIOCLINUX`, CVE-2023-1523). The kernel
/// looks at 32 bits of the request, and so must a filter (CVE-2019-10063).
const TYPED_BY_REQUEST: [u64; 2] = [0x5412, 0x541c];

/// The default profile, as a profile file: conditions on capabilities and kernels stand in it.
pub fn profile() -> Profile {
    let mut rules: Vec<Rule> = GROUPS.iter().map(Group::rule).collect();
    let with_admin = || Filter { caps: vec!["CAP_SYS_ADMIN".to_owned()], ..Filter::default() };
    let without = |rule: Rule| Rule { excludes: with_admin(), ..rule };
    let threads = argument("clone", Op::MaskedEq, NAMESPACES);
    rules.push(without(Rule { comment: Some("New threads and processes, but in no namespace of their own.".to_owned()), ..threads }));
    // Its flags lie in memory, where a filter cannot look: the C library falls back to clone.
    let absent = Rule { action: Action::Errno, errno_ret: Some(libc::ENOSYS as u32), ..rule("clone3") };
    rules.push(without(absent));
    rules.extend(PERSONALITIES.map(|persona| argument("personality", Op::Eq, persona)));
    rules.push(argument("socket", Op::Lt, FAMILIES_BELOW));
    rules.extend(FAMILIES.map(|family| argument("socket", Op::Eq, family)));
    Profile {
        default_action: Action::Errno,
        default_errno_ret: Some(libc::EPERM as u32),
        default_errno: None,
        architectures: Vec::new(),
        arch_map: [(Arch::X86_64, Arch::X86), (Arch::Aarch64, Arch::Arm)].map(|(native, sub)| ArchMap::new(native, sub)).into(),
        flags: None,
        listener_path: None,
        listener_metadata: None,
        syscalls: rules,
    }
}

/// The rules of the default profile, with what no profile's words can say.
pub fn rules(context: &Context) -> Rules {
    // The table above is tested whole: nothing in it can be refused. Were it, nothing would be allowed.
    let refused = |_| Rules { default: Verdict::Errno(libc::EPERM as u16), foreign: Verdict::KillThread, newer: NEWER, parts: Vec::new() };
    let mut rules = profile().rules(context).map_or_else(refused, |read| read.rules);
    // Calls of x32 and whatever else: nothing is reached either way, and a kernel without them answers the same.
    rules.foreign = Verdict::Errno(libc::ENOSYS as u16);
    for part in &mut rules.parts {
        let Some(number) = part.arch.number("ioctl") else { continue };
        let typed = |bits| Test::Masked { mask: 0xffff_ffff, bits };
        let denied = TYPED_BY_REQUEST.map(|bits| Case {
            conditions: vec![Condition { argument: 1, test: typed(bits) }],
            verdict: Verdict::Errno(libc::EPERM as u16),
        });
        let rest = Case { conditions: Vec::new(), verdict: Verdict::Allow };
        part.calls.insert(number, Decision::ByArguments(denied.into_iter().chain([rest]).collect()));
    }
    rules
}

/// The filter of a container that nobody configured: compiled once for a process and whatever forks from it.
pub fn default_filter() -> &'static Arc<Prepared> {
    static FILTER: OnceLock<Arc<Prepared>> = OnceLock::new();
    FILTER.get_or_init(|| {
        let prepared = prepare(&Choice::default(), &Context::here(DEFAULT_CAPABILITIES));
        // Some hundred instructions (tested), so that it cannot be refused. An empty program is one that no kernel loads.
        let none =
            |_| Prepared { program: Vec::new(), flags: Flags::SPEC_ALLOW, listener: Listener::None, allowed: 0, warnings: Vec::new() };
        Arc::new(prepared.unwrap_or_else(none))
    })
}

/// Its program.
pub fn default_program() -> &'static [sock_filter] {
    &default_filter().program
}

impl Group {
    fn rule(&self) -> Rule {
        let mut rule = Rule { comment: Some(self.why.to_owned()), ..rule("") };
        rule.names = self.calls.split_whitespace().map(Into::into).collect();
        match self.when {
            When::Always => {}
            When::With(capability) => rule.includes.caps = vec![capability.to_owned()],
            When::On(arches) => rule.includes.arches = arches.iter().map(|arch| (*arch).to_owned()).collect(),
            When::Since(kernel) => rule.includes.min_kernel = Some(kernel.to_owned()),
        }
        rule
    }
}

fn rule(name: &str) -> Rule {
    Rule {
        names: vec![name.into()],
        name: None,
        action: Action::Allow,
        errno_ret: None,
        errno: None,
        args: Vec::new(),
        comment: None,
        includes: Filter::default(),
        excludes: Filter::default(),
    }
}

fn argument(name: &str, op: Op, value: u64) -> Rule {
    Rule { args: vec![Argument { index: 0, value, value_two: 0, op }], ..rule(name) }
}
