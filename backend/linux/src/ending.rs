//! Whether a process is about to end, told from what the kernel says of it while it still has its name; and how it ended.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::WaitIdOptions;

use crate::error::{Context, Result};
use crate::process::{self, Ended};

/// Bit of SIGKILL in the sets of signals of `/proc/<pid>/status` (`signal(7)`: 9, counted from 0).
const SIGKILL: u64 = 1 << 8;
/// Being ended (`include/linux/sched.h`, `PF_EXITING`), or ended by a signal (`PF_SIGNALED`).
const EXITING_OR_SIGNALED: u64 = 0x4 | 0x400;

/// Whether this process was killed and has not quite ended, has ended and was not waited for, or is gone.
pub fn is_ending(pid: i32) -> bool {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (Ok(status), Ok(stat)) = (read("status"), read("stat")) else { return true };
    let state = process::parse_stat(&stat).map(|stat| stat.state);
    matches!(state, None | Some('Z' | 'X'))
        || has_kill_pending(&status)
        || flags(&stat).is_some_and(|flags| flags & EXITING_OR_SIGNALED != 0)
}

fn has_kill_pending(status: &str) -> bool {
    let sets = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    sets.filter_map(|set| u64::from_str_radix(set.trim(), 16).ok()).any(|set| set & SIGKILL != 0)
}

/// Field 9 of `/proc/<pid>/stat`; the name before it may hold anything, a bracket included.
fn flags(stat: &str) -> Option<u64> {
    stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().nth(6)?.parse().ok()
}

/// Reaps a child that has ended ([`process::wait`]), but tries for no longer than `limit`; `None` where it cannot be reaped by then,
/// because somebody else traces it and does not let it go (`ptrace(2)`).
pub fn wait_within(pidfd: impl AsFd, limit: Duration) -> Result<Option<Ended>> {
    let deadline = Instant::now() + limit;
    loop {
        let ended = reap(&pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
        if ended.is_some() || Instant::now() >= deadline {
            return Ok(ended);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `None` where it has not ended, or a signal came in between.
pub(crate) fn reap(pidfd: impl AsFd, options: WaitIdOptions) -> Result<Option<Ended>> {
    let status = match rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd.as_fd()), options) {
        Err(Errno::INTR) => None,
        other => other.context("wait for", || "child".into())?,
    };
    Ok(status.map(|status| match status.exit_status() {
        Some(code) => Ended::Exited(code as u8),
        None => Ended::Signaled(status.terminating_signal().unwrap_or(libc::SIGKILL)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lives_is_not_ending_and_who_was_killed_is() {
        assert!(!is_ending(std::process::id() as i32));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a child");
        let pid = child.id() as i32;
        assert!(!is_ending(pid));
        child.kill().expect("killed");
        assert!(is_ending(pid), "it was killed, and nobody has waited for it");
        child.wait().expect("waited for");
        assert!(is_ending(pid), "it is gone");
    }

    #[test]
    fn what_the_kernel_says_of_it_is_read() {
        assert!(has_kill_pending("Name:\tx\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n"));
        assert!(!has_kill_pending("SigPnd:\t0000000000004000\nShdPnd:\t0000000000000001\nSigBlk:\t0000000000000100\n"));
        assert_eq!(flags("7 (a) b) R 1 7 7 0 -1 4194560 106 0"), Some(4_194_560));
    }
}
