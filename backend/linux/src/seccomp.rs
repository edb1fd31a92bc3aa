//! Seccomp filters as the kernel takes them (`seccomp(2)`): programs of classic BPF, loaded into this process for good.
//!
//! This module must never know which calls are good or bad: programs are made elsewhere, from profiles. What answers the
//! calls that a program hands to somebody outside is [`notify`].

use std::os::fd::{FromRawFd, OwnedFd};

use libc::{sock_filter, sock_fprog};

use crate::error::{Error, Result};

pub mod notify;

/// What a load can ask for beside the program (`SECCOMP_FILTER_FLAG_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// Every thread of this process gets the program too.
    pub const TSYNC: Self = Self(1);
    /// Answers other than *allow* are written to the kernel's audit log.
    pub const LOG: Self = Self(1 << 1);
    /// The guard against Speculative Store Bypass is not forced on.
    pub const SPEC_ALLOW: Self = Self(1 << 2);
    /// Once a listener has received a call, only a fatal signal ends the caller's wait.
    pub const WAIT_KILLABLE_RECV: Self = Self(1 << 5);
    const NEW_LISTENER: Self = Self(1 << 3);
    const TSYNC_ESRCH: Self = Self(1 << 4);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Loads a program into this process and all that come of it. Needs `no_new_privs` or `CAP_SYS_ADMIN`.
pub fn load(program: &[sock_filter], flags: Flags) -> Result<()> {
    // The kernel refuses the flag where nobody listens.
    seccomp(program, flags.without(Flags::WAIT_KILLABLE_RECV)).map(drop)
}

/// Loads a program and returns what receives the calls that the program hands out (`SECCOMP_RET_USER_NOTIF`); see
/// [`notify`]. The kernel allows one listener among all filters of a process: `EBUSY` where somebody outside has one already.
pub fn load_with_listener(program: &[sock_filter], flags: Flags) -> Result<OwnedFd> {
    let flags = flags.with(Flags::NEW_LISTENER);
    // With both, a plain success and a thread's id could not be told from a descriptor, unless threads fail with ESRCH.
    let flags = if flags.has(Flags::TSYNC) { flags.with(Flags::TSYNC_ESRCH) } else { flags };
    let number = seccomp(program, flags)?;
    // SAFETY: from_raw_fd demands an open descriptor that nobody else owns; with SECCOMP_FILTER_FLAG_NEW_LISTENER the kernel
    // returns one that it has just made, with close-on-exec set, and it has been given to nobody yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn seccomp(program: &[sock_filter], flags: Flags) -> Result<i32> {
    let Ok(len) = u16::try_from(program.len()) else {
        return Err(Error::new("load", "seccomp filter", rustix::io::Errno::TOOBIG));
    };
    let header = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: SECCOMP_SET_MODE_FILTER demands a sock_fprog whose pointer and length describe readable instructions; they
    // are those of `program`, borrowed for the call, and the kernel copies and checks them.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.0, &raw const header) };
    if done < 0 {
        return Err(Error::last("load", "seccomp filter"));
    }
    if flags.has(Flags::TSYNC) && !flags.has(Flags::NEW_LISTENER) && done > 0 {
        return Err(Error::new("load", format!("seccomp filter into thread {done}"), rustix::io::Errno::SRCH));
    }
    Ok(i32::try_from(done).unwrap_or(-1))
}
