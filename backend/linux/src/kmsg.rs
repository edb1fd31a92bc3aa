//! The kernel's log, read for one thing: which process was killed for memory, and in which cgroup.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use crate::error::{Context, Result};

/// A process that the kernel killed because a memory limit was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Its pid as the host saw it.
    pub pid: i32,
    /// Its name.
    pub command: String,
    /// Cgroup of the killed process, from the root of its hierarchy.
    pub cgroup: String,
}

/// The last memory kill of a process in `cgroup` (a path as in `/proc/<pid>/cgroup`) or below it. `None` where the log has none.
/// Needs `CAP_SYSLOG`; the error says where the log cannot be read.
pub fn last_kill(cgroup: &str) -> Result<Option<Kill>> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open("/dev/kmsg");
    let mut file = file.context("open", || "/dev/kmsg".into())?;
    let mut found = None;
    // One read is one record; the kernel's longest is 8 KiB (CONSOLE_EXT_LOG_MAX).
    let mut record = [0; 8192];
    loop {
        match file.read(&mut record) {
            Ok(0) => return Ok(found),
            Ok(length) => {
                let kill = parse(&String::from_utf8_lossy(&record[..length])).filter(|kill| within(&kill.cgroup, cgroup));
                found = kill.or(found);
            }
            // EPIPE: records were overwritten while we read; the next read goes on with the oldest that is left.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(found),
            other => return other.context("read", || "/dev/kmsg".into()).map(|_| found),
        }
    }
}

fn within(cgroup: &str, parent: &str) -> bool {
    cgroup.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads `oom-kill:constraint=CONSTRAINT_MEMCG,…,task_memcg=/a/b,task=tail,pid=77,uid=0` (`mm/oom_kill.c`, Linux 4.19).
fn parse(record: &str) -> Option<Kill> {
    let fields = record.split_once("oom-kill:")?.1.lines().next()?;
    // A path or a name may hold commas, so a field ends where the next known one begins.
    let (_, rest) = fields.split_once("task_memcg=")?;
    let (cgroup, rest) = rest.split_once(",task=")?;
    let (command, rest) = rest.rsplit_once(",pid=")?;
    let pid = rest.split(',').next()?.parse().ok()?;
    Some(Kill { pid, command: command.to_owned(), cgroup: cgroup.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_kernel_is_read() {
        let record = "4,1201,99,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/belljar/ab,\
                      task_memcg=/belljar/ab,task=ta,il,pid=4711,uid=0\n SUBSYSTEM=x\n";
        let kill = Kill { pid: 4711, command: "ta,il".into(), cgroup: "/belljar/ab".into() };
        assert_eq!(parse(record), Some(kill));
        assert_eq!(parse("6,1,1,-;eth0: up"), None);
    }

    #[test]
    fn a_neighbour_whose_name_begins_alike_is_another() {
        assert!(within("/belljar/ab", "/belljar/ab") && within("/belljar/ab/c", "/belljar/ab"));
        assert!(!within("/belljar/abc", "/belljar/ab"));
    }
}
