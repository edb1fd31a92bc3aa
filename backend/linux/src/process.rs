//! Processes: making one in new namespaces, recognising one again, ending one.
//!
//! A pid alone names nobody for long. Whoever wants to act on a process opens a *pidfd* first and then checks that the
//! process has the start time that was noted ([`open`]); from then on the descriptor cannot come to mean another one.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitIdOptions};

use crate::error::{Context, Error, Result};

/// `CLONE_INTO_CGROUP`: libc's constant is an `int` and overflows to 0, which would start the child in the wrong cgroup
/// without any error.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_PIDFD: u64 = 0x1000;

/// Which side of a clone this is.
#[derive(Debug)]
pub enum Cloned {
    /// The new process. Everything of the parent is there as a copy, at the same addresses.
    Child,
    /// The old one.
    Parent {
        /// The child's pid as this process sees it.
        pid: i32,
        /// A descriptor that means the child and nobody else.
        pidfd: OwnedFd,
    },
}

/// Whose child a new process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// This process.
    This,
    /// This process's own parent (`CLONE_PARENT`): the new one is its sibling.
    Its,
}

/// Makes a process in the new namespaces of `flags` (`CLONE_NEW*`), on v2 straight into a cgroup.
///
/// Where the kernel, or a filter over us, does not know `clone3(2)`, the older call does the same, and the child joins the
/// cgroup itself. Only a process with one thread may do so: locks that other threads hold would stay locked in the child
/// forever. This is checked, and fails with `EDEADLK` where it is not so.
pub fn clone(flags: u64, into_cgroup: Option<&OwnedFd>, parent: Parent) -> Result<Cloned> {
    require_one_thread()?;
    clone_alone(flags, into_cgroup, parent)
}

/// The same without new namespaces, where neither `/proc` nor a filter of system calls lets a process count its threads any more:
/// they are counted in the folder that was opened before.
pub fn clone_counted(threads: Threads, parent: Parent) -> Result<Cloned> {
    threads.require_one()?;
    clone_alone(0, None, parent)
}

/// With one thread, which was just checked.
fn clone_alone(flags: u64, into_cgroup: Option<&OwnedFd>, parent: Parent) -> Result<Cloned> {
    let flags = match parent {
        Parent::This => flags,
        Parent::Its => flags | libc::CLONE_PARENT as u64,
    };
    match by_clone3(flags, into_cgroup, parent) {
        Err(error) if matches!(error.errno, Errno::NOSYS | Errno::INVAL | Errno::TOOBIG) => by_clone(flags, into_cgroup),
        cloned => cloned,
    }
}

fn by_clone3(flags: u64, into_cgroup: Option<&OwnedFd>, parent: Parent) -> Result<Cloned> {
    let mut pidfd: i32 = -1;
    // SAFETY: clone_args is a plain structure of integers, for which all zeroes is a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags | CLONE_PIDFD;
    arguments.pidfd = &raw mut pidfd as u64;
    // A sibling tells its parent as we do; clone3 refuses a signal of its own beside CLONE_PARENT.
    arguments.exit_signal = if parent == Parent::This { libc::SIGCHLD as u64 } else { 0 };
    if let Some(cgroup) = into_cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: clone3(2) demands a valid clone_args of the given size, which lives on this stack, as does `pidfd`, which
    // the kernel writes before it returns. Neither CLONE_VM nor a stack is given, so the child goes on with a copy of this
    // stack as after fork(2); and there is one thread only, so no lock is held by a thread that the child lacks.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    // SAFETY: where the call succeeded in the parent, CLONE_PIDFD was given.
    unsafe { sides(pid, pidfd) }
}

/// By `clone(2)`, which knows CLONE_PIDFD since Linux 5.2.
fn by_clone(flags: u64, into_cgroup: Option<&OwnedFd>) -> Result<Cloned> {
    // Opened here, where the rights to it are; the child may have none.
    let joining = match into_cgroup {
        Some(cgroup) => {
            let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
            Some(rustix::fs::openat(cgroup, "cgroup.procs", flags, rustix::fs::Mode::empty()).context("open", || "cgroup.procs".into())?)
        }
        None => None,
    };
    let mut pidfd: i32 = -1;
    let flags = flags | CLONE_PIDFD | libc::SIGCHLD as u64;
    // SAFETY: clone(2) without CLONE_VM and with no stack makes a copy of this process as fork(2) does; CLONE_PIDFD demands
    // a writable int as third argument, which lives on this stack; the other two are null, which is allowed without the
    // flags that use them. There is one thread only, as above.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    // SAFETY: where the call succeeded in the parent, CLONE_PIDFD was given.
    let cloned = unsafe { sides(pid, pidfd) }?;
    if let (Cloned::Child, Some(joining)) = (&cloned, joining)
        && rustix::io::write(joining, b"0").is_err()
    {
        // Outside of its cgroup it may not go on; the parent sees that it ended.
        exit_now(1);
    }
    Ok(cloned)
}

/// Which side this is, by what a clone returned.
///
/// # Safety
/// Where `pid` is positive, `pidfd` must be a descriptor that the kernel just made and nobody owns.
unsafe fn sides(pid: libc::c_long, pidfd: i32) -> Result<Cloned> {
    match pid {
        -1 => Err(Error::last("clone", "process")),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: as the caller promises.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid: pid as i32, pidfd })
        }
    }
}

/// The pid, as this process sees it, of the process that a pidfd means; `ESRCH` where it is gone.
pub fn pid_of(pidfd: impl AsFd) -> Result<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = crate::file::read(&path).context("read", || path)?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0).ok_or_else(|| Error::new("find", "process of a pidfd", Errno::SRCH))
}

/// Makes a process that is a copy of this one, by the plain old call: for where a filter of system calls answers
/// `clone3` with `ENOSYS`. Returns the child's pid, or `None` in the child. The same condition as in [`clone`] holds.
pub fn fork() -> Result<Option<i32>> {
    require_one_thread()?;
    // SAFETY: fork(2) is safe for a process with one thread, which was just checked: no lock is held by a thread that the
    // child lacks.
    match unsafe { nix::unistd::fork() }.context("fork", || "process".into())? {
        nix::unistd::ForkResult::Child => Ok(None),
        nix::unistd::ForkResult::Parent { child } => Ok(Some(child.as_raw())),
    }
}

/// Asked without `/proc`, which may be a container's or none: to leave the threads of a process that has no others changes
/// nothing, and is refused where it has (`unshare(2)`). A filter of system calls may forbid to ask.
pub(crate) fn require_one_thread() -> Result<()> {
    let many = || Error::new("clone", "process with several threads", Errno::DEADLK);
    // SAFETY: unshare(2) takes flags only; with one thread CLONE_THREAD does nothing, with more it fails.
    let alone = unsafe { libc::unshare(libc::CLONE_THREAD) } == 0;
    match std::io::Error::last_os_error().raw_os_error() {
        _ if alone => Ok(()),
        Some(libc::EINVAL) => Err(many()),
        _ => Threads::open()?.require_one(),
    }
}

/// The folder of a process's own threads in `/proc`, opened where that is known to be the host's.
#[derive(Debug)]
pub struct Threads {
    folder: OwnedFd,
    process: u32,
}

impl Threads {
    /// Those of this process.
    pub fn open() -> Result<Self> {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let folder = rustix::fs::open("/proc/self/task", flags, rustix::fs::Mode::empty()).context("count", || "threads".into())?;
        Ok(Self { folder, process: std::process::id() })
    }

    /// Closes the folder too: what is cloned next must not have it.
    fn require_one(self) -> Result<()> {
        // A folder has a link for itself, one for its name, and here one for each thread.
        let links = rustix::fs::fstat(&self.folder).context("count", || "threads".into())?.st_nlink;
        let is_own = self.process == std::process::id();
        if links == 3 && is_own { Ok(()) } else { Err(Error::new("clone", "process with several threads", Errno::DEADLK)) }
    }
}

/// Ends this process at once: no destructors, no buffers of the parent flushed a second time.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes an integer and does not return; skipping destructors is the point.
    unsafe { libc::_exit(code) }
}

/// Field 22 of `/proc/<pid>/stat`: clock ticks between boot and the process's start. `ESRCH` where there is none.
pub fn start_ticks(pid: i32) -> Result<u64> {
    let stat = crate::file::read(format!("/proc/{pid}/stat")).map_err(|_| gone(pid))?;
    parse_stat(&stat).map(|stat| stat.start_ticks).ok_or_else(|| gone(pid))
}

fn gone(pid: i32) -> Error {
    Error::new("find", format!("process {pid}"), rustix::io::Errno::SRCH)
}

/// What `/proc/<pid>/stat` says of a process, as far as it is used here (`proc_pid_stat(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its name, at most 15 bytes; whatever the program chose.
    pub command: String,
    /// `R`, `S`, `D`, `Z`, `T`, ….
    pub state: char,
    /// Parent.
    pub ppid: i32,
    /// Processor time in user and kernel mode, in clock ticks.
    pub cpu_ticks: u64,
    /// Clock ticks between boot and its start.
    pub start_ticks: u64,
    /// Pages in memory.
    pub rss_pages: u64,
}

/// Reads a line of `/proc/<pid>/stat`. The name may contain spaces and brackets, so the *last* `)` ends it.
pub fn parse_stat(line: &str) -> Option<Stat> {
    let (open, close) = (line.find('(')?, line.rfind(')')?);
    let command = line.get(open + 1..close)?.to_owned();
    let fields: Vec<&str> = line.get(close + 2..)?.split_ascii_whitespace().collect();
    // Fields are counted from 3 (state) here: `fields[n - 3]` is field n of the manual page.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        command,
        state: fields.first()?.chars().next()?,
        ppid: fields.get(1)?.parse().ok()?,
        cpu_ticks: number(14)? + number(15)?,
        start_ticks: number(22)?,
        rss_pages: number(24)?,
    })
}

/// Whether the process that had this pid and start time still exists (a zombie does not count).
pub fn is_alive(pid: i32, ticks: u64) -> bool {
    let stat = crate::file::read(format!("/proc/{pid}/stat")).ok();
    stat.and_then(|line| parse_stat(&line)).is_some_and(|stat| stat.start_ticks == ticks && !matches!(stat.state, 'Z' | 'X'))
}

/// The children of a process. They stay these, as pids too, only as long as it neither starts nor awaits any.
pub fn children(pid: i32) -> Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc").context("list", || "/proc".into())?;
    let is_child = |child: &i32| {
        let stat = crate::file::read(format!("/proc/{child}/stat")).ok();
        stat.and_then(|line| parse_stat(&line)).is_some_and(|stat| stat.ppid == pid)
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_child).collect())
}

/// Whether the process was stopped by a signal, or is traced.
pub fn stands_still(pid: i32) -> bool {
    let stat = crate::file::read(format!("/proc/{pid}/stat")).ok();
    stat.and_then(|line| parse_stat(&line)).is_some_and(|stat| matches!(stat.state, 'T' | 't'))
}

/// A pidfd of exactly the process that had this pid and start time; `ESRCH` where it is gone.
pub fn open(pid: i32, ticks: u64) -> Result<OwnedFd> {
    let named = Pid::from_raw(pid).ok_or_else(|| gone(pid))?;
    let pidfd = rustix::process::pidfd_open(named, PidfdFlags::empty()).context("open", || format!("process {pid}"))?;
    // Checked after opening: had the pid been given to another before, the start time would differ.
    if start_ticks(pid)? == ticks { Ok(pidfd) } else { Err(gone(pid)) }
}

/// A pidfd of a process that cannot have been reaped by anybody else, so that its pid is its own.
pub fn open_child(pid: i32) -> Result<OwnedFd> {
    let named = Pid::from_raw(pid).ok_or_else(|| gone(pid))?;
    rustix::process::pidfd_open(named, PidfdFlags::empty()).context("open", || format!("process {pid}"))
}

/// A copy of a descriptor of another process, closed on exec (Linux 5.6). Needs the right to trace it.
pub fn take_descriptor(pidfd: impl AsFd, number: i32) -> Result<OwnedFd> {
    rustix::process::pidfd_getfd(pidfd, number, rustix::process::PidfdGetfdFlags::empty())
        .context("take", || format!("descriptor {number}"))
}

/// Sends a signal (1 to 64) to the process of a pidfd.
pub fn signal(pidfd: impl AsFd, number: i32) -> Result<()> {
    // SAFETY: pidfd_send_signal(2) takes a descriptor, which is borrowed for the call, a number that it checks itself, and a
    // null siginfo, which it allows.
    let done =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_fd().as_raw_fd(), number, std::ptr::null::<libc::siginfo_t>(), 0) };
    if done == 0 { Ok(()) } else { Err(Error::last("signal", format!("process with {number}"))) }
}

/// Waits for any signal, all of which must be blocked, and takes it. A number, since half of them (`SIGRTMIN` and above, by which
/// systemd is told to shut down) have no names.
pub fn wait_signal() -> Result<i32> {
    // All ones, in the size of the kernel's own set: the C library's calls leave out two.
    let all = u64::MAX;
    let null = std::ptr::null::<libc::c_void>();
    loop {
        // SAFETY: rt_sigtimedwait(2) demands a readable set of the size that is named, which `all` is and outlives the call;
        // null for the details and for the time limit is allowed.
        let number = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const all, null, null, size_of::<u64>()) };
        if number > 0 {
            return Ok(number as i32);
        }
        match Error::last("wait for", "signal") {
            error if error.errno == Errno::INTR || error.errno == Errno::AGAIN => {}
            error => return Err(error),
        }
    }
}

/// Sends a signal (1 to 64) to a child that was not waited for yet, so that its pid is its own.
pub fn signal_child(pid: i32, number: i32) -> Result<()> {
    // SAFETY: kill(2) takes two integers.
    let done = unsafe { libc::kill(pid, number) };
    if done == 0 { Ok(()) } else { Err(Error::last("signal", format!("child {pid} with {number}"))) }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By `exit` with this status.
    Exited(u8),
    /// By this signal.
    Signaled(i32),
}

/// Waits until the child of a pidfd has ended, and reaps it.
pub fn wait(pidfd: impl AsFd) -> Result<Ended> {
    loop {
        if let Some(ended) = crate::ending::reap(&pidfd, WaitIdOptions::EXITED)? {
            return Ok(ended);
        }
    }
}

/// Reaps one child that has ended already; `None` where none has. For the reaper that is PID 1 of a container.
pub fn wait_any_now() -> Result<Option<(i32, Ended)>> {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Ok(Some((pid.as_raw(), Ended::Exited(code as u8)))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => return Ok(Some((pid.as_raw(), Ended::Signaled(signal as i32)))),
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(None),
            Err(nix::errno::Errno::EINTR) | Ok(_) => {}
            Err(errno) => return Err(errno).context("wait for", || "children".into()),
        }
    }
}

/// How children of this process are treated when they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// The kernel reaps them at once; nobody can wait for them.
    Forgotten,
    /// They stay until somebody waits for them: how every program starts.
    Awaited,
}

/// Sets how children of this process are treated (`SIGCHLD`'s disposition, `sigaction(2)`).
pub fn treat_children(children: Children) -> Result<()> {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    let handler = match children {
        Children::Forgotten => SigHandler::SigIgn,
        Children::Awaited => SigHandler::SigDfl,
    };
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: sigaction(2) demands that a handler be safe to run at any time; none is installed, only ignored or default.
    unsafe { sigaction(Signal::SIGCHLD, &action) }.context("set", || "SIGCHLD".into()).map(drop)
}

/// Puts every signal back to its default and unblocks all: what a new program expects (`execve(2)` keeps ignored ones). All
/// 64: the C library's own call refuses the two that it uses itself, which whoever started us may have ignored.
pub fn reset_signals() -> Result<()> {
    use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
    /// `struct sigaction` of the kernel is at most four words; all zeroes is the default action with nothing blocked.
    const DEFAULT: [u64; 4] = [0; 4];
    /// Bytes of the kernel's signal set.
    const SET_BYTES: usize = 8;
    for signal in (1..=64).filter(|signal| !matches!(*signal, libc::SIGKILL | libc::SIGSTOP)) {
        // SAFETY: rt_sigaction(2) demands a readable `struct sigaction`, which DEFAULT covers on every architecture, null for
        // the old one, and the size of its set. Only the default disposition is installed, so no handler can run.
        let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), std::ptr::null::<u64>(), SET_BYTES) };
        if done != 0 {
            return Err(Error::last("reset", format!("signal {signal}")));
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).context("unblock", || "signals".into())
}

/// Kills this process when its parent goes away (`PR_SET_PDEATHSIG`), until the next exec.
pub fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("set", || "parent death signal".into())
}

/// Names this process, as `ps -o comm` shows it; at most 15 bytes.
pub fn set_name(name: &std::ffi::CStr) -> Result<()> {
    rustix::thread::set_name(name).context("name", || "process".into())
}

/// Whether other processes of the same user may look into this one (`PR_SET_DUMPABLE`): its memory, its descriptors, its
/// executable.
pub fn forbid_inspection() -> Result<()> {
    // SAFETY: PR_SET_DUMPABLE takes plain integers.
    let done = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    if done == 0 { Ok(()) } else { Err(Error::last("forbid", "inspection")) }
}

/// Sets `no_new_privs`: from now on no exec can gain privileges, whatever set-uid bits the file has.
pub fn forbid_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true).context("set", || "no_new_privs".into())
}

/// Leaves a joined session keyring behind for a new, empty one (`keyctl(2)`): keys of the host's session stay outside.
/// A kernel without keyrings has nothing to leave behind.
pub fn new_session_keyring() -> Result<()> {
    // SAFETY: KEYCTL_JOIN_SESSION_KEYRING takes a name or null for an anonymous one, and no other pointers.
    let done = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if done >= 0 {
        return Ok(());
    }
    match Error::last("join", "new session keyring") {
        error if error.errno == rustix::io::Errno::NOSYS => Ok(()),
        error => Err(error),
    }
}

/// Whether capabilities survive the change to a user other than root (`PR_SET_KEEPCAPS`), until the next exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capabilities {
    /// They do.
    Kept,
    /// They go.
    Dropped,
}

/// Says what becomes of capabilities when this process's user changes.
pub fn treat_capabilities(treatment: Capabilities) -> Result<()> {
    rustix::thread::set_keep_capabilities(treatment == Capabilities::Kept).context("keep", || "capabilities".into())
}

/// Sets supplementary groups, group and user of this process, in all their kinds. Afterwards there is no way back except
/// by a capability that is still held.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let all: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&all).context("set", || "supplementary groups".into())?;
    let gid = Gid::from_raw(gid);
    setresgid(gid, gid, gid).context("set", || format!("group {gid}"))?;
    let uid = Uid::from_raw(uid);
    setresuid(uid, uid, uid).context("set", || format!("user {uid}"))
}

/// Does `work` with other ids for files (`setfsuid(2)`), and with the capabilities for files, which the kernel takes away
/// when those ids leave 0. For a file system that is to act as somebody who owns its files: a mount with mapped owners
/// has none for the host's root.
pub fn with_file_ids<T>(id: u32, work: impl FnOnce() -> Result<T>) -> Result<T> {
    use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
    let before = rustix::thread::capabilities(None).context("read", || "capabilities".into())?;
    let (old_uid, old_gid) = (setfsuid(Uid::from_raw(id)), setfsgid(Gid::from_raw(id)));
    let raised = rustix::thread::set_capabilities(None, before).context("keep", || "capabilities".into());
    let done = raised.and_then(|()| work());
    setfsgid(old_gid);
    setfsuid(old_uid);
    rustix::thread::set_capabilities(None, before).context("restore", || "capabilities".into())?;
    done
}

/// What a process would do with a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// It has a handler for it.
    Catches,
    /// It blocks it: to fetch it itself, or only for a moment, as shells do while they fork.
    Blocks,
    /// Neither: PIDs 1 of containers never see such a signal, the kernel drops it (`pid_namespaces(7)`).
    None,
}

/// What the process of this pid would do with the signal, by `SigCgt` and `SigBlk` of `/proc/<pid>/status`. What cannot be
/// read counts as caught.
pub fn attention(pid: i32, signal: i32) -> Attention {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let has = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        u64::from_str_radix(line.trim(), 16).ok().map(|mask| mask >> (signal - 1) & 1 == 1)
    };
    match (has("SigCgt:"), has("SigBlk:")) {
        (Some(false), Some(true)) => Attention::Blocks,
        (Some(false), Some(false)) => Attention::None,
        _ => Attention::Catches,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 7 3 0 0 20 0 1 0 12345 1000 250 18446744073709551615 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.command.as_str(), stat.state, stat.ppid), ("a) b (c", 'S', 1));
        assert_eq!((stat.cpu_ticks, stat.start_ticks, stat.rss_pages), (10, 12345, 250));
    }

    #[test]
    fn a_process_is_recognised_by_its_start_time() {
        let me = std::process::id() as i32;
        let ticks = start_ticks(me).unwrap();
        assert!(is_alive(me, ticks));
        assert!(!is_alive(me, ticks + 1));
        assert!(open(me, ticks).is_ok());
        assert_eq!(open(me, ticks + 1).map(drop).map_err(|error| error.errno), Err(rustix::io::Errno::SRCH));
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaped by the function under test")]
    fn a_child_that_ended_tells_how() {
        for (script, ended) in [("exit 3", Ended::Exited(3)), ("kill -9 $$", Ended::Signaled(9))] {
            let child = std::process::Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
            let pid = Pid::from_raw(child.id() as i32).unwrap();
            let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
            assert_eq!(wait(&pidfd).unwrap(), ended);
        }
    }

    #[test]
    fn threads_are_counted_in_a_folder_that_was_opened_before() {
        let threads = Threads::open().expect("/proc is there");
        // The harness runs each test in a thread beside its first.
        assert_eq!(threads.require_one().map_err(|error| error.errno), Err(Errno::DEADLK));
    }

    #[test]
    fn cloning_with_threads_is_refused() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || stopped.recv());
        assert_eq!(clone(0, None, Parent::This).map(drop).map_err(|error| error.errno), Err(rustix::io::Errno::DEADLK));
        drop(stop);
        let _ = other.join();
    }
}
