//! What `/proc` says of processes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Every process id on the host.
pub fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc can be listed").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The words of a process's command line, joined by spaces; "" where it is gone or a kernel thread.
pub fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// The value of `field` in `/proc/<pid>/status`.
pub fn status_field(pid: i32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(|value| value.trim().to_owned())
}

/// The parent of a process.
pub fn parent(pid: i32) -> Option<i32> {
    status_field(pid, "PPid")?.parse().ok()
}

/// Field 22 of `/proc/<pid>/stat`: clock ticks between boot and the process's start. With the pid it means one process only.
pub fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, second, stands in brackets, and may have any characters.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether the process exists and is not a zombie.
pub fn is_alive(pid: i32) -> bool {
    status_field(pid, "State").is_some_and(|state| !state.starts_with('Z'))
}

/// The inode of a namespace (`mnt`, `pid`, `uts`, …) that a process is in.
pub fn namespace_inode(pid: i32, kind: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let path = format!("/proc/{pid}/ns/{kind}");
    fs::metadata(Path::new(&path)).unwrap_or_else(|error| panic!("{path}: {error}")).ino()
}

/// Proportional set size in bytes: private memory, and the process's share of what is shared (`proc_pid_smaps(5)`).
pub fn pss_bytes(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib: u64 = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The most memory that a process had at once, in bytes (`VmHWM` of `proc_pid_status(5)`).
pub fn peak_bytes(pid: i32) -> Option<u64> {
    let kib: u64 = status_field(pid, "VmHWM")?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Processor time of a process so far, of all its threads: fields 14 and 15 of its line (`proc_pid_stat(5)`), in ticks of 10 ms.
pub fn processor_time(pid: i32) -> Option<Duration> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = line.rsplit_once(')')?.1.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Duration::from_millis(ticks * 10))
}

/// SIGKILL to one process that this test caused to exist; one that is already gone is fine.
pub fn kill_hard(pid: i32) {
    let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// SIGTERM to one process that this test started; one that is already gone is fine.
pub fn terminate(pid: i32) {
    let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_parent_memory_and_namespaces() {
        let own = i32::try_from(std::process::id()).expect("a pid fits i32");
        assert!(pids().contains(&own) && is_alive(own));
        assert_eq!(parent(own), Some(nix::unistd::getppid().as_raw()));
        assert!(pss_bytes(own).is_some_and(|bytes| bytes > 0));
        assert!(peak_bytes(own) >= pss_bytes(own) && processor_time(own).is_some() && processor_time(0).is_none());
        assert!(namespace_inode(own, "uts") > 0);
        assert!(start_ticks(own).is_some_and(|ticks| ticks > 0) && start_ticks(0).is_none());
    }
}
