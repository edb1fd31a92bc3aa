//! The other side of a filter's `SECCOMP_RET_USER_NOTIF` (`seccomp_unotify(2)`): a listener receives each such call, while
//! its caller waits, and answers it.
//!
//! ```text
//! caller ──call──▶ filter: "ask" ──▶ listener: receive ─ decide ─▶ respond ──▶ caller returns
//!                                    listener closed ─────────────────────────▶ caller gets ENOSYS
//! ```
//!
//! What an argument *points at* belongs to the caller and can change at any time: an answer must never rest on it. Numbers
//! in the arguments are copies and stay as they are.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use crate::error::{Error, Result};

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Which one, for [`respond`].
    pub id: u64,
    /// The caller's thread id, as this process sees it; 0 where it cannot.
    pub pid: u32,
    /// The system call's number.
    pub number: u32,
    /// The architecture of the call (`AUDIT_ARCH_*`).
    pub architecture: u32,
    /// Where the call was made.
    pub instruction_pointer: u64,
    /// Its six arguments.
    pub arguments: [u64; 6],
}

/// What the caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The call fails with this errno, and is not made.
    Fail(u16),
    /// The call is made as if there were no listener. A listener must only say so for calls that would be harmless anyway,
    /// or where somebody has decided to let everything through: the arguments may have changed since.
    Continue,
}

/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const FLAG_CONTINUE: u32 = 1;

/// Waits for the next call and takes it; callers poll first where they must not wait. `None`: its caller has died, or was
/// interrupted, before it could be taken.
pub fn receive(listener: impl AsFd) -> Result<Option<Call>> {
    // SAFETY: the structure is plain numbers, for which all zeros is a value; the kernel demands that it be zeroed.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request demands a pointer to a writable seccomp_notif, which `notification` is for the whole call, and whose
    // size is part of the request's number, so a kernel with another layout refuses it.
    let done = unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification) };
    if done == 0 {
        let data = &notification.data;
        return Ok(Some(Call {
            id: notification.id,
            pid: notification.pid,
            number: data.nr as u32,
            architecture: data.arch,
            instruction_pointer: data.instruction_pointer,
            arguments: data.args,
        }));
    }
    let error = Error::last("receive", "seccomp notification");
    if matches!(error.errno, Errno::NOENT | Errno::INTR) { Ok(None) } else { Err(error) }
}

/// Answers a call. That its caller has died meanwhile is no error.
pub fn respond(listener: impl AsFd, id: u64, answer: Answer) -> Result<()> {
    let (error, flags) = match answer {
        Answer::Fail(errno) => (-i32::from(errno), 0),
        Answer::Continue => (0, FLAG_CONTINUE),
    };
    let mut response = libc::seccomp_notif_resp { id, val: 0, error, flags };
    // SAFETY: the request demands a pointer to a readable seccomp_notif_resp, which `response` is for the whole call.
    let done = unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) };
    if done == 0 {
        return Ok(());
    }
    let error = Error::last("answer", "seccomp notification");
    if error.errno == Errno::NOENT { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::{Flags, load_with_listener};
    use crate::{fd, process};
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    /// Asks for `sethostname` and `setdomainname`, allows everything else.
    fn asking() -> Vec<sock_filter> {
        let put = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
        vec![
            put(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
            put(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, libc::SYS_sethostname as u32),
            put(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, libc::SYS_setdomainname as u32),
            put(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
            put(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ]
    }

    #[test]
    fn a_call_that_is_handed_out_gets_the_answer_it_is_given() {
        let (ours, theirs) = fd::message_pair().unwrap();
        let script = "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n\
            for call in (libc.sethostname, libc.setdomainname): ctypes.set_errno(0); call(b'x' * 99, 99); print(ctypes.get_errno())";
        let mut python = Command::new("python3");
        python.args(["-c", script]).stdout(Stdio::piped());
        let hand_out = move || {
            process::forbid_new_privileges().map_err(|error| std::io::Error::from(error.errno))?;
            let listener = load_with_listener(&asking(), Flags::WAIT_KILLABLE_RECV).map_err(|error| std::io::Error::from(error.errno))?;
            fd::send(&theirs, b"listener", &[listener.as_fd()]).map_err(|error| std::io::Error::from(error.errno))
        };
        // SAFETY: pre_exec demands that what runs between fork and exec is safe in a copy of a process with threads: these are
        // system calls, and a vector of five instructions, whose allocator glibc makes usable after a fork.
        unsafe { python.pre_exec(hand_out) };
        let Ok(child) = python.spawn() else {
            println!("skipped: needs python3, and to be nobody else's listener's child");
            return;
        };
        drop(python);
        let (_, mut passed) = fd::receive(&ours, &mut [0; 16]).unwrap();
        let listener = passed.pop().unwrap();
        let mut numbers = Vec::new();
        for answer in [Answer::Fail(libc::EDOM as u16), Answer::Continue] {
            let call = receive(&listener).unwrap().expect("it waits");
            assert_eq!((call.arguments[1], call.pid), (99, child.id()));
            numbers.push(i64::from(call.number));
            respond(&listener, call.id, answer).unwrap();
        }
        assert_eq!(numbers, [libc::SYS_sethostname, libc::SYS_setdomainname]);
        let output = child.wait_with_output().unwrap();
        let lines: Vec<i32> = String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        // The second was really made: the kernel itself refuses such a name.
        assert_eq!(lines, [libc::EDOM, libc::EINVAL]);
    }
}
