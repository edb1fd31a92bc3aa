//! How a process is treated: its limits, and how it is scheduled. Others may set most of this by its pid, which is how a
//! container gets what it has no right to give itself.

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit};
use rustix::thread::CpuSet;

use crate::capability::{self, CapabilitySet};
use crate::error::{Context, Error, Result};

/// Resource limits by name (`setrlimit(2)`, without `RLIMIT_`).
const RESOURCES: [(&str, Resource); 16] = [
    ("AS", Resource::As),
    ("CORE", Resource::Core),
    ("CPU", Resource::Cpu),
    ("DATA", Resource::Data),
    ("FSIZE", Resource::Fsize),
    ("LOCKS", Resource::Locks),
    ("MEMLOCK", Resource::Memlock),
    ("MSGQUEUE", Resource::Msgqueue),
    ("NICE", Resource::Nice),
    ("NOFILE", Resource::Nofile),
    ("NPROC", Resource::Nproc),
    ("RSS", Resource::Rss),
    ("RTPRIO", Resource::Rtprio),
    ("RTTIME", Resource::Rttime),
    ("SIGPENDING", Resource::Sigpending),
    ("STACK", Resource::Stack),
];

/// Whether there is a resource limit of this name.
pub fn is_resource(name: &str) -> bool {
    resource(name).is_some()
}

fn resource(name: &str) -> Option<Resource> {
    RESOURCES.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource)
}

/// Sets a resource limit of a process; `u64::MAX` is no limit.
pub fn limit(pid: i32, name: &str, soft: u64, hard: u64) -> Result<()> {
    replace_limit(pid, name, (soft, hard)).map(drop)
}

/// Sets a resource limit of a process, and says what held before; `u64::MAX` is no limit.
pub fn replace_limit(pid: i32, name: &str, (soft, hard): (u64, u64)) -> Result<(u64, u64)> {
    let resource = resource(name).ok_or_else(|| Error::new("find", format!("resource limit {name}"), rustix::io::Errno::INVAL))?;
    let bound = |value: u64| (value != u64::MAX).then_some(value);
    let limit = Rlimit { current: bound(soft), maximum: bound(hard) };
    let before = rustix::process::prlimit(Pid::from_raw(pid), resource, limit).map_err(|errno| {
        // Who lacks it may neither raise a hard limit nor touch a process of another user.
        let lacks = errno == Errno::PERM && !capability::holds(CapabilitySet::SYS_RESOURCE);
        let needs = if lacks { ", which needs CAP_SYS_RESOURCE" } else { "" };
        Error::new("limit", format!("{name} to {soft}:{hard}{needs}"), errno)
    })?;
    Ok((before.current.unwrap_or(u64::MAX), before.maximum.unwrap_or(u64::MAX)))
}

/// What `/proc/<pid>/limits` calls them (`fs/proc/base.c`); by which they can be read without being set.
const NAMES: [(&str, &str); 16] = [
    ("AS", "Max address space"),
    ("CORE", "Max core file size"),
    ("CPU", "Max cpu time"),
    ("DATA", "Max data size"),
    ("FSIZE", "Max file size"),
    ("LOCKS", "Max file locks"),
    ("MEMLOCK", "Max locked memory"),
    ("MSGQUEUE", "Max msgqueue size"),
    ("NICE", "Max nice priority"),
    ("NOFILE", "Max open files"),
    ("NPROC", "Max processes"),
    ("RSS", "Max resident set"),
    ("RTPRIO", "Max realtime priority"),
    ("RTTIME", "Max realtime timeout"),
    ("SIGPENDING", "Max pending signals"),
    ("STACK", "Max stack size"),
];

/// A resource limit of a process, soft and hard; `u64::MAX` is no limit. `None` where it cannot be read.
pub fn limit_of(pid: i32, name: &str) -> Option<(u64, u64)> {
    let (_, line) = NAMES.iter().find(|(known, _)| *known == name)?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let mut words = text.lines().find_map(|text| text.strip_prefix(line))?.split_ascii_whitespace();
    let mut bound = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    Some((bound()?, bound()?))
}

/// A raised limit of open files of this process; dropped, it is again what it was, which is what programs expect to inherit.
#[derive(Debug)]
pub struct MoreFiles {
    before: Rlimit,
}

/// Lets this process open so many files, as far as its hard limit allows; `None` where nothing was changed.
pub fn allow_files(needed: u64) -> Option<MoreFiles> {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let needed = before.maximum.map_or(needed, |maximum| needed.min(maximum));
    if before.current.is_none_or(|current| current >= needed) {
        return None;
    }
    let raised = Rlimit { current: Some(needed), ..before };
    rustix::process::setrlimit(Resource::Nofile, raised).ok().map(|()| MoreFiles { before })
}

impl Drop for MoreFiles {
    fn drop(&mut self) {
        // The hard limit never changed, so the kernel has no reason to refuse.
        let _ = rustix::process::setrlimit(Resource::Nofile, self.before);
    }
}

/// `struct sched_attr` of `sched_setattr(2)`, in its first size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Schedule {
    /// Bytes of this structure; set by [`schedule`].
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For the ordinary policies: -20, which gets most, to 19.
    pub nice: i32,
    /// For FIFO and RR: 1 to 99, the highest first.
    pub priority: u32,
    /// For deadline: processor time that it gets in each period, in nanoseconds.
    pub runtime: u64,
    /// For deadline: by when after a period's begin it has got that time, in nanoseconds.
    pub deadline: u64,
    /// For deadline: length of a period, in nanoseconds; 0 is as long as `deadline`.
    pub period: u64,
}

/// Says how a process is scheduled.
pub fn schedule(pid: i32, schedule: Schedule) -> Result<()> {
    let schedule = Schedule { size: size_of::<Schedule>() as u32, ..schedule };
    // SAFETY: sched_setattr(2) demands a readable sched_attr of the size that it names, which `schedule` is: its layout is C's,
    // and SCHED_ATTR_SIZE_VER0 is 48 bytes, as this. It is borrowed for the call.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const schedule, 0) };
    if done == 0 { Ok(()) } else { Err(Error::last("schedule", format!("process by policy {}", schedule.policy))) }
}

/// Says how a process's input and output is scheduled: class 1 to 3, level 0 to 7.
pub fn prioritise_io(pid: i32, class: u8, level: u8) -> Result<()> {
    const WHO_PROCESS: i32 = 1;
    const CLASS_SHIFT: i32 = 13;
    let priority = i32::from(class) << CLASS_SHIFT | i32::from(level);
    // SAFETY: ioprio_set(2) takes plain integers.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, pid, priority) };
    if done == 0 { Ok(()) } else { Err(Error::last("set", format!("io priority {class}:{level}"))) }
}

/// Says on which processors a process may run (0 is the caller); the kernel refuses a list without one that it has.
pub fn pin(pid: i32, processors: &[u32]) -> Result<()> {
    let mut set = CpuSet::new();
    for processor in processors {
        let number = *processor as usize;
        if number >= CpuSet::MAX_CPU {
            return Err(Error::new("pin to", format!("processor {number}"), rustix::io::Errno::INVAL));
        }
        set.set(number);
    }
    rustix::thread::sched_setaffinity(Pid::from_raw(pid), &set).context("pin to", || format!("processors {processors:?}"))
}

/// How soon a process is killed when memory is short, -1000 to 1000.
pub fn adjust_oom_score(pid: i32, score: i32) -> Result<()> {
    let path = format!("/proc/{pid}/oom_score_adj");
    std::fs::write(&path, score.to_string()).map_err(|source| {
        let errno = Errno::from_io_error(&source).unwrap_or(Errno::IO);
        // Below what it began with, `oom_score_adj_min` of the kernel.
        let lacks = errno == Errno::ACCESS && !capability::holds(CapabilitySet::SYS_RESOURCE);
        let needs = if lacks { ", which needs CAP_SYS_RESOURCE" } else { "" };
        Error::new("write", format!("{score} to {path}{needs}"), errno)
    })
}

/// Sets this process's execution domain (`personality(2)`).
pub fn set_personality(persona: u32) -> Result<()> {
    // SAFETY: personality(2) takes a number; it changes how later calls answer, and no memory of this process.
    let before = unsafe { libc::personality(libc::c_ulong::from(persona)) };
    if before == -1 { Err(Error::last("set", format!("personality {persona:#x}"))) } else { Ok(()) }
}

/// Sets the NIS domain name of this process's UTS namespace.
pub fn set_domainname(name: &str) -> Result<()> {
    rustix::system::setdomainname(name.as_bytes()).context("set", || name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_limited_and_scheduled_by_its_pid() {
        let child = std::process::Command::new("/bin/sh").args(["-c", "read line"]).stdin(std::process::Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let pid = child.id() as i32;
        limit(pid, "CORE", 4096, 8192).unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        assert!(limits.lines().any(|line| line.starts_with("Max core file size") && line.contains("4096") && line.contains("8192")));
        schedule(pid, Schedule { policy: 3, nice: 5, ..Schedule::default() }).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        assert_eq!((fields[16], fields[38]), ("5", "3"), "nice and policy");
        prioritise_io(pid, 2, 7).unwrap();
        pin(pid, &[0]).unwrap();
        assert!(pin(pid, &[]).is_err() && pin(pid, &[5000]).is_err());
        adjust_oom_score(pid, 999).unwrap();
        assert!(limit(pid, "NOPE", 1, 1).is_err() && !is_resource("NOPE"));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
