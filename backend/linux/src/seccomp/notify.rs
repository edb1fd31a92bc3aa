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
