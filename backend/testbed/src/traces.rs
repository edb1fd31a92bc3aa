//! What a server left on the host: mounts, cgroups, processes, folders and rows. Two looks are compared; equal means
//! that whatever happened between them left nothing behind.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter, Write};
use std::fs;
use std::path::{Path, PathBuf};

use crate::process;
use crate::server::{Server, rows};

/// Everything of one server on the host, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Lines of `/proc/self/mountinfo` that name the server's folders.
    pub mounts: BTreeSet<String>,
    /// Folders below `<hierarchy>/<instance>`.
    pub cgroups: BTreeSet<String>,
    /// Processes in those cgroups, and processes whose command line names the server's folders.
    pub processes: BTreeSet<Process>,
    /// Files and folders below the data and run folders, without the database's own.
    pub files: BTreeSet<String>,
    /// Containers and images that the API lists.
    pub rows: BTreeSet<String>,
}

/// A process, which is the same one as long as pid and start are: its command line is for whoever reads of it, and changes
/// when it executes something else.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its pid, and the tick at which it started.
    pub identity: (i32, u64),
    /// Its command line when it was looked at.
    pub command: String,
}

impl Process {
    /// `None` where it is gone.
    fn look(pid: i32) -> Option<Self> {
        Some(Self { identity: (pid, process::start_ticks(pid)?), command: process::command_line(pid) })
    }
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Process {}

impl PartialOrd for Process {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Process {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity.cmp(&other.identity)
    }
}

impl Display for Process {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.identity.0, self.command)
    }
}

impl Traces {
    /// What is in one of the two but not in the other, one a line, for a failed test.
    pub fn difference(&self, before: &Traces) -> String {
        let mut text = String::new();
        compare(&mut text, "mount", &self.mounts, &before.mounts);
        compare(&mut text, "cgroup", &self.cgroups, &before.cgroups);
        compare(&mut text, "process", &self.processes, &before.processes);
        compare(&mut text, "file", &self.files, &before.files);
        compare(&mut text, "row", &self.rows, &before.rows);
        text
    }
}

fn compare<T: Ord + Display>(text: &mut String, kind: &str, now: &BTreeSet<T>, before: &BTreeSet<T>) {
    for one in now.difference(before) {
        let _infallible = writeln!(text, "  left behind: {kind} {one}");
    }
    for one in before.difference(now) {
        let _infallible = writeln!(text, "  missing: {kind} {one}");
    }
}

/// Looks at everything of `server`.
pub fn look(server: &Server) -> Traces {
    let folder = server.data_dir().parent().map(Path::to_owned).unwrap_or_default();
    let mut processes: BTreeSet<i32> = cgroup_processes(server.instance()).into_iter().collect();
    processes.extend(monitors(&folder.to_string_lossy()));
    Traces {
        mounts: mounts(&folder.to_string_lossy()),
        cgroups: cgroups(server.instance()).iter().map(|path| path.to_string_lossy().into_owned()).collect(),
        processes: processes.into_iter().filter_map(Process::look).collect(),
        files: files(&[server.data_dir(), server.run_dir()]),
        rows: listed(server),
    }
}

fn mounts(folder: &str) -> BTreeSet<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    mountinfo.lines().filter(|line| line.contains(folder)).map(str::to_owned).collect()
}

/// Mount points of every cgroup hierarchy, of version 1 and 2.
pub fn hierarchies() -> Vec<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    let is_cgroup = |line: &&str| line.split(" - ").nth(1).is_some_and(|rest| rest.starts_with("cgroup"));
    mountinfo.lines().filter(is_cgroup).filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect()
}

/// The cgroups of an instance in every hierarchy, parents before children, without the instance's own folder.
pub fn cgroups(instance: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in hierarchies() {
        descend(&hierarchy.join(instance), &mut |path, is_folder| {
            if is_folder {
                found.push(path.to_owned());
            }
        });
    }
    found
}

/// Processes in the cgroups of an instance; never that of the server, which is in none.
pub fn cgroup_processes(instance: &str) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let lists = cgroups(instance).into_iter().filter_map(|path| fs::read_to_string(path.join("cgroup.procs")).ok());
    let pids: BTreeSet<i32> = lists.flat_map(|list| list.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>()).collect();
    pids.into_iter().filter(|pid| *pid > 1 && *pid != own).collect()
}

/// Processes whose command line is a monitor's and names `folder`.
pub fn monitors(folder: &str) -> Vec<i32> {
    let is_monitor = |pid: &i32| {
        let command = process::command_line(*pid);
        command.contains("monitor") && command.contains(folder)
    };
    process::pids().into_iter().filter(is_monitor).collect()
}

/// Removes the cgroups of an instance, children first; those that are not empty stay.
pub fn remove_cgroups(instance: &str) {
    for path in cgroups(instance).iter().rev() {
        let _still_busy = fs::remove_dir(path);
    }
    for hierarchy in hierarchies() {
        let _absent_or_busy = fs::remove_dir(hierarchy.join(instance));
    }
}

fn files(folders: &[PathBuf]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in folders {
        descend(folder, &mut |path, _| {
            let name = path.to_string_lossy();
            if !name.contains("/belljar.db") {
                found.insert(name.into_owned());
            }
        });
    }
    found
}

/// Calls `visit` with everything below `folder` and whether it is a folder; what vanishes meanwhile is skipped. Layers
/// of images are named, not entered: they are thousands of files, and whole or absent.
fn descend(folder: &Path, visit: &mut dyn FnMut(&Path, bool)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        visit(&path, is_folder);
        let is_layer = folder.ends_with("images/layers") || folder.ends_with("images/host");
        if is_folder && !is_layer {
            descend(&path, visit);
        }
    }
}

fn listed(server: &Server) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for kind in ["containers", "images"] {
        let answer = server.api().get(&format!("/api/v1/{kind}")).expect(200).json();
        found.extend(rows(&answer).iter().map(|row| format!("{kind}: {} {}", row["name"], row["id"])));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(files: &[&str]) -> Traces {
        let none = BTreeSet::new();
        let files = files.iter().map(ToString::to_string).collect();
        Traces { mounts: none.clone(), cgroups: none.clone(), processes: BTreeSet::new(), files, rows: none }
    }

    #[test]
    fn what_is_left_and_what_is_missing_is_named() {
        let (before, after) = (traces(&["a", "b"]), traces(&["b", "c"]));
        assert_ne!(before, after);
        assert_eq!(after.difference(&before), "  left behind: file c\n  missing: file a\n");
    }

    #[test]
    fn a_process_stays_the_same_one_when_it_executes_something_else() {
        let process = |pid, start, command: &str| Process { identity: (pid, start), command: command.to_owned() };
        let with = |process| Traces { processes: BTreeSet::from([process]), ..traces(&[]) };
        let before = with(process(7, 1, "sh -c exec sleep 1d"));
        assert_eq!(with(process(7, 1, "sleep 1d")), before);
        let later = with(process(7, 2, "sleep 1d"));
        assert_eq!(later.difference(&before), "  left behind: process 7 sleep 1d\n  missing: process 7 sh -c exec sleep 1d\n");
    }

    #[test]
    fn an_instance_that_does_not_exist_has_no_traces() {
        assert!(cgroups("no-such-instance").is_empty());
        assert!(monitors("/no/such/folder").is_empty());
    }
}
