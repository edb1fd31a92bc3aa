//! What a container left on the host, and its removal. Everything of a bed carries the bed's id: its folder, its
//! cgroups, and so its processes and mounts.

use std::fs;
use std::path::{Path, PathBuf};

use belljar_testbed::process::{command_line, is_alive, kill_hard, pids};
use belljar_testbed::wait::try_wait;
use nix::mount::{MntFlags, umount2};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::{Bed, said};

/// How deep cgroups of a container are looked for.
const DEPTH: usize = 4;

/// One line for each thing that is left of the bed's containers.
pub(crate) fn of(bed: &Bed) -> Vec<String> {
    // The last moments of a process that was killed are the kernel's.
    try_wait(said::LIMIT / 3, || look(bed).is_empty().then_some(()));
    look(bed)
}

fn look(bed: &Bed) -> Vec<String> {
    let states = fs::read_dir(bed.states()).into_iter().flatten().flatten();
    // Compiled filters are kept for the next container, as a cache, under a name that no container can have.
    let states = states.filter(|entry| entry.file_name() != "@filters");
    let mut left: Vec<String> = states.map(|entry| format!("state {}", entry.path().display())).collect();
    left.extend(cgroups(bed.id()).iter().map(|path| format!("cgroup {}", path.display())));
    left.extend(processes(bed).iter().map(|pid| format!("process {pid} {}", command_line(*pid))));
    left.extend(mounts(bed).iter().map(|path| format!("mount {}", path.display())));
    left
}

/// Folders named after the bed, below every hierarchy.
pub(crate) fn cgroups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    find(Path::new("/sys/fs/cgroup"), id, DEPTH, &mut found);
    found
}

fn find(folder: &Path, id: &str, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if names(&entry.file_name().to_string_lossy(), id) {
            found.push(entry.path());
        } else if depth > 1 {
            find(&entry.path(), id, depth - 1, found);
        }
    }
}

/// Processes in a cgroup of the bed, or that name its folder.
pub(crate) fn processes(bed: &Bed) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).expect("a pid fits i32");
    let of_bed = |pid: i32| {
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        names(&cgroup, bed.id()) || names(&command_line(pid), bed.id())
    };
    pids().into_iter().filter(|pid| *pid != own && is_alive(*pid) && of_bed(*pid)).collect()
}

/// Whether `text` has the id, and not only one that is longer by a digit.
fn names(text: &str, id: &str) -> bool {
    text.match_indices(id).any(|(at, _)| !text[at + id.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

/// What is mounted below the bed's folder in this process's mount namespace, the innermost first.
fn mounts(bed: &Bed) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let folder = bed.path("");
    let targets = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut found: Vec<PathBuf> = targets.filter(|target| target.starts_with(&folder)).collect();
    found.reverse();
    found
}

/// Ends and removes all of it.
pub(crate) fn remove(bed: &Bed) {
    for freezer in cgroups(bed.id()) {
        let _not_a_freezer = fs::write(freezer.join("freezer.state"), "THAWED");
        let _not_version_2 = fs::write(freezer.join("cgroup.freeze"), "0");
    }
    try_wait(said::LIMIT / 3, || {
        let left = processes(bed);
        left.iter().for_each(|pid| kill_hard(*pid));
        if left.is_empty() {
            return Some(());
        }
        // The first process of a pid namespace ends after everybody in it was waited for (`zap_pid_ns_processes`), and whoever
        // entered is a child of this process.
        reap(bed);
        None
    });
    for target in mounts(bed) {
        let _gone = umount2(&target, MntFlags::MNT_DETACH);
    }
    remove_cgroups(bed.id());
}

/// Waits for whoever ended in a cgroup of the bed; one that is no child of this process is somebody else's to wait for.
fn reap(bed: &Bed) {
    let ended = |pid: &i32| !is_alive(*pid) && fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|own| names(&own, bed.id()));
    for pid in pids().into_iter().filter(ended) {
        let _not_ours = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
    }
}

/// Removes every cgroup of this name, with those below; nobody is in them any more.
pub(crate) fn remove_cgroups(id: &str) {
    cgroups(id).iter().for_each(|cgroup| remove_cgroup(cgroup));
}

fn remove_cgroup(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    try_wait(said::LIMIT / 30, || (fs::remove_dir(folder).is_ok() || !folder.exists()).then_some(()));
}
