//! System calls that fail: each one that making, running and entering a container needs, in turn, in whichever process it is.
//! What begins is undone whole, or it is not needed; nothing dies, nothing is silent, nothing stays.
//!
//! `strace(1)` answers the n-th call of a name with an error instead of asking the kernel. It must never be asked for calls that
//! cannot fail (`umask`, `brk`), or by which a process comes to be before it is ours (`mmap`, `mprotect`).

use std::process::Command;

use belljar_testbed::skip;

use crate::bed::runtime::find_program;
use crate::bed::{Bed, Kind, Runtime, Said};

/// What makes and enters containers.
const CALLS: [&str; 57] = [
    "capget",
    "capset",
    "chdir",
    "clone",
    "clone3",
    "close_range",
    "dup2",
    "execve",
    "fchdir",
    "fcntl",
    "flock",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fstat",
    "fstatfs",
    "ioctl",
    "keyctl",
    "mkdir",
    "mkdirat",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "newfstatat",
    "open",
    "open_tree",
    "openat",
    "openat2",
    "pidfd_open",
    "pivot_root",
    "ppoll",
    "prctl",
    "read",
    "readlink",
    "recvmsg",
    "rename",
    "renameat2",
    "rmdir",
    "sched_setaffinity",
    "seccomp",
    "sendmsg",
    "sethostname",
    "setns",
    "setresgid",
    "setresuid",
    "setgroups",
    "setsid",
    "signalfd4",
    "socket",
    "socketpair",
    "statx",
    "symlinkat",
    "umount2",
    "unlink",
    "unlinkat",
    "unshare",
];
/// Calls of which one that fails is missed by nobody: the step would not be taken.
const NEEDED: [&str; 17] = [
    "capset",
    "clone3",
    "execve",
    "fsmount",
    "mkdirat",
    "mknodat",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "seccomp",
    "sethostname",
    "setns",
    "setresgid",
    "setresuid",
    "symlinkat",
    "umount2",
];
/// What the executable does by itself before it begins, and again afterwards where that failed.
const BEGINNING: [&str; 2] = ["mount_setattr", "open_tree"];
/// What a program says that has the whole container.
const RAN: &str = "it ran";

/// One command under faults.
struct Faults<'a> {
    bed: &'a Bed<'a>,
    arguments: &'a [&'a str],
}

impl Faults<'_> {
    /// The command, with strace's words before it. What strace has to tell goes to a file of the bed.
    fn traced(&self, words: &[&str]) -> Said {
        let command = self.bed.command(self.arguments);
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qq", "-o"]).arg(self.bed.path("trace")).args(words).arg(command.get_program()).args(command.get_args());
        // Where whoever runs tests has libraries looked up is no business of ours, and hundreds of calls.
        traced.current_dir(self.bed.path("bundle")).env_remove("LD_LIBRARY_PATH");
        Said::of(traced)
    }

    fn trace(&self) -> String {
        std::fs::read_to_string(self.bed.path("trace")).expect("strace wrote it")
    }

    /// How often the process that does it most often does each call.
    fn count(&self) -> Vec<(&'static str, usize)> {
        self.traced(&["-e", &format!("trace={}", CALLS.join(","))]).ok();
        let trace = self.trace();
        let most = |call: &str| {
            let mut pids: Vec<&str> = Vec::new();
            for line in trace.lines() {
                match line.split_once(' ') {
                    Some((pid, rest)) if rest.trim_start().starts_with(&format!("{call}(")) => pids.push(pid),
                    _ => {}
                }
            }
            pids.iter().map(|pid| pids.iter().filter(|other| other == &pid).count()).max().unwrap_or_default()
        };
        CALLS.iter().map(|call| (*call, most(call))).filter(|(_, count)| *count > 0).collect()
    }

    /// Fails each call in turn. `after` looks at what is left each time.
    fn sweep(&self, after: impl Fn(&str)) {
        let (mut failed, mut injected) = (0, 0);
        let counts = self.count();
        for (call, count) in &counts {
            for number in 1..=*count {
                let fault = format!("{call}:error=EIO:when={number}");
                let said = self.traced(&["-e", &format!("trace={call}"), "-e", &format!("inject={fault}")]);
                let happened = self.trace().contains("(INJECTED)");
                injected += u32::from(happened);
                if said.status.success() {
                    assert!(said.out.contains(RAN), "{fault}: {said:?}");
                    let is_needed = NEEDED.contains(call) && !(number == 1 && BEGINNING.contains(call));
                    assert!(!(happened && is_needed), "{fault}: the step was not taken, and nobody said so");
                } else {
                    failed += 1;
                    let sentence = said.refused();
                    assert!(sentence.len() > 20, "{fault}: {sentence:?}");
                }
                after(&fault);
            }
        }
        println!("{injected} calls made to fail, {failed} times it was refused: {counts:?}");
        assert!(counts.len() > 20 && injected > 100 && failed > 50, "{counts:?}, {injected}, {failed}");
    }
}

fn with_strace(sentence: impl Fn(&Runtime)) {
    match find_program("strace") {
        Some(_) => crate::bed::with(Kind::Ours, sentence),
        None => skip("strace"),
    }
}

fn runs_with_any_call_failing(bed: &Bed) {
    bed.script("echo it ran");
    Faults { bed, arguments: &["run", bed.id()] }.sweep(|fault| {
        let left = crate::bed::traces::of(bed);
        assert!(left.is_empty(), "{fault}: left behind:\n{}", left.join("\n"));
    });
}

#[test]
fn whichever_call_fails_while_a_container_is_made_nothing_of_it_is_left() {
    with_strace(|runtime| runs_with_any_call_failing(&Bed::new(runtime)));
}

#[test]
fn whichever_call_fails_while_a_container_with_its_own_users_is_made_nothing_of_it_is_left() {
    with_strace(|runtime| {
        let bed = Bed::new(runtime);
        bed.user_namespace();
        runs_with_any_call_failing(&bed);
    });
}

#[test]
fn namespaces_that_cannot_be_made_are_told_by_their_step_whatever_is_made_meanwhile() {
    with_strace(|runtime| {
        let bed = Bed::new(runtime);
        bed.script(&format!("echo {RAN}"));
        let faults = Faults { bed: &bed, arguments: &["run", bed.id()] };
        // At once, and after the maker has given the next turn.
        for delay in ["", ":delay_enter=300000"] {
            let said = faults.traced(&["-e", &format!("inject=unshare:error=ENOSPC:when=1{delay}")]).refused();
            assert!(said.contains("unshare ") && said.contains("ENOSPC") && !said.contains("hand over"), "{said}");
            bed.assert_nothing_left();
        }
    });
}

#[test]
fn whichever_call_fails_while_a_container_is_entered_the_container_stays_as_it_was() {
    with_strace(|runtime| {
        let bed = Bed::new(runtime);
        bed.sleeping();
        let alone = || bed.call(&["ps", "--format", "json", bed.id()]).line();
        let before = alone();
        Faults { bed: &bed, arguments: &["exec", bed.id(), "sh", "-c", "echo it ran"] }.sweep(|fault| {
            assert_eq!((bed.status(), alone()), ("running".to_owned(), before.clone()), "{fault}");
        });
        reap();
        bed.end();
        bed.delete().ok();
        bed.assert_nothing_left();
    });
}

/// Programs whose runtime could not wait for them are this process's children, and the container cannot end before they are reaped.
fn reap() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while !matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(_)) {}
}
