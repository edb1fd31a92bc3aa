//! For tests: a real cgroup of this machine with real processes in it, that goes away whatever the test does.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use belljar_model::cgroup::Version;

use super::{Cgroup, Hierarchies, Part, write};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A cgroup of the test's own in every hierarchy.
pub(crate) struct Living {
    pub(crate) hierarchies: Hierarchies,
    pub(crate) cgroup: Cgroup,
    whole: Cgroup,
    children: Vec<Child>,
}

impl Living {
    /// Makes one; `None`, told, where this process may not.
    pub(crate) fn new(word: &str) -> Option<Self> {
        let name = format!("belljar-{word}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let Ok(hierarchies) = Hierarchies::probe() else {
            println!("skipped: needs cgroup hierarchies");
            return None;
        };
        let cgroup = Cgroup::at(&hierarchies, &name);
        let living = Self { hierarchies, whole: cgroup.clone(), cgroup, children: Vec::new() };
        for part in living.cgroup.parts() {
            if let Err(error) = part.make(&[]) {
                println!("skipped: needs a cgroup of its own ({error})");
                return None;
            }
        }
        Some(living)
    }

    /// Whether the controller is one of v1 here; told where it is not.
    pub(crate) fn has_v1(&self, controller: &str) -> bool {
        let has = self.cgroup.part(controller).is_some_and(|part| part.version == Version::V1);
        if !has {
            println!("skipped: needs the v1 controller {controller}");
        }
        has
    }

    /// From now on the cgroup looks as on a host without v2.
    pub(crate) fn hide_unified(&mut self) {
        self.cgroup.parts.retain(|part| part.version == Version::V1);
    }

    /// Gives processors and memory to cpusets below, which v1 makes without any.
    pub(crate) fn fill_cpusets(&self) {
        if let Some(part) = self.cgroup.part("cpuset").filter(|part| part.version == Version::V1) {
            for level in ["inner", "inner/most"] {
                Part { path: part.path.join(level), ..part.clone() }.make(&[]).unwrap();
            }
        }
    }

    /// Runs a shell script in the cgroup, or in these folders instead; its number.
    pub(crate) fn run(&mut self, folders: &[PathBuf], script: &str) -> usize {
        let own: Vec<PathBuf> = self.whole.parts().iter().map(|part| part.path.clone()).collect();
        let folders = if folders.is_empty() { &own[..] } else { folders };
        let mut command = Command::new("/bin/sh");
        // Only once it is in its cgroup may the script begin.
        command.args(["-c", &format!("read go; {script}")]).stdin(std::process::Stdio::piped());
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        for folder in folders {
            write(&folder.join("cgroup.procs"), &child.id().to_string()).unwrap();
        }
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"go\n").unwrap();
        self.children.push(child);
        self.children.len() - 1
    }

    /// Runs a script to its end; what it printed.
    pub(crate) fn output(&mut self, script: &str) -> String {
        let number = self.run(&[], script);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.children[number].stdout.take().unwrap(), &mut text).unwrap();
        self.reap(&[number]);
        text
    }

    /// Waits until a script printed its first line.
    pub(crate) fn first_line(&mut self, number: usize) -> String {
        let output = self.children[number].stdout.as_mut().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        line
    }

    /// A process that does nothing for a minute.
    pub(crate) fn sleeper(&mut self, folders: &[PathBuf]) -> usize {
        self.run(folders, "exec sleep 60")
    }

    /// Waits for the end of processes.
    pub(crate) fn reap(&mut self, numbers: &[usize]) {
        numbers.iter().for_each(|number| drop(self.children[*number].wait()));
    }

    /// What a file of a controller says, trimmed.
    pub(crate) fn read(&self, controller: &str, file: &str) -> String {
        self.cgroup.read(controller, file).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let _ = self.whole.thaw();
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.whole.kill_all();
        let _ = self.whole.remove();
    }
}
