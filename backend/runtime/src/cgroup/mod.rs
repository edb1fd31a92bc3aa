//! Control groups, v1 and v2 and both at once: found, made, limited, read, frozen, killed, removed.
//!
//! Which controller lives in which hierarchy is asked from the kernel each time ([`Hierarchies::probe`]): another engine
//! that starts may mount one meanwhile. A container has one folder of the same name in every hierarchy ([`Cgroup`]).
//! Start reading at [`hierarchy`]; [`resources`] is what can be asked, [`writes()`] turns it into files and values,
//! [`devices`] into rules, [`figures`] turns files into what is shown, each with its source.

pub mod devices;
pub mod figures;
pub mod hierarchy;
pub mod limits;
pub mod resources;
pub mod writes;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use belljar_linux::error::Context;
use belljar_linux::{Error, Result};
use belljar_model::cgroup::Version;
use rustix::io::Errno;

pub use hierarchy::{Hierarchies, Hierarchy};
pub use resources::Resources;
pub use writes::{Write, writes};

/// How long a freeze, or the end of killed processes, may take before it is an error.
pub const SETTLE_MS_MAX: u64 = 5_000;

/// The folders of one container, one in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Its name from each hierarchy's root: `belljar/<id>`.
    name: String,
    parts: Vec<Part>,
}

/// One folder of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which kind of hierarchy.
    pub version: Version,
    /// What it controls; empty for a v2 hierarchy whose controllers are all v1.
    pub controllers: Vec<String>,
    /// The folder.
    pub path: PathBuf,
}

impl Part {
    /// The file through which a process joins by writing `0` to it. On v1 that is `tasks`: a write to `cgroup.procs` takes a
    /// global lock for milliseconds, a thread moving itself does not.
    pub fn joining_file(&self) -> PathBuf {
        self.path.join(match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        })
    }
}

impl Cgroup {
    /// The cgroup of this name; nothing is made or read yet.
    pub fn at(hierarchies: &Hierarchies, name: &str) -> Self {
        let part = |hierarchy: &Hierarchy| Part {
            version: hierarchy.version,
            controllers: hierarchy.controllers.clone(),
            path: hierarchy.point.join(name),
        };
        Self { name: name.to_owned(), parts: hierarchies.all().iter().map(part).collect() }
    }

    /// Its folders.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its path as in `/proc/<pid>/cgroup`.
    pub fn kernel_path(&self) -> String {
        format!("/{}", self.name)
    }

    /// The part that has this controller.
    pub fn part(&self, controller: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.controllers.iter().any(|name| name == controller))
    }

    pub(crate) fn unified(&self) -> Option<&Part> {
        self.parts.iter().find(|part| part.version == Version::V2)
    }

    /// Content of a file of a controller; `None` where controller or file is missing.
    pub fn read(&self, controller: &str, file: &str) -> Option<String> {
        std::fs::read_to_string(self.part(controller)?.path.join(file)).ok()
    }

    /// Freezes all its processes, and returns when the kernel says that they are.
    pub fn freeze(&self) -> Result<()> {
        match self.unified() {
            Some(part) => {
                write(&part.path.join("cgroup.freeze"), "1")?;
                settle("freeze", &part.path, || key(&part.path.join("cgroup.events"), "frozen") == Some(1))
            }
            None => self.set_freezer("FROZEN"),
        }
    }

    /// Lets its processes go on.
    pub fn thaw(&self) -> Result<()> {
        match self.unified() {
            Some(part) => {
                write(&part.path.join("cgroup.freeze"), "0")?;
                settle("thaw", &part.path, || key(&part.path.join("cgroup.events"), "frozen") == Some(0))
            }
            None => self.set_freezer("THAWED"),
        }
    }

    /// v1: a freeze can hang half-way when processes are made meanwhile, so the word is written again until it holds.
    fn set_freezer(&self, word: &str) -> Result<()> {
        let missing = || Error::new("freeze", "container (no freezer controller)", Errno::OPNOTSUPP);
        let file = self.part("freezer").ok_or_else(missing)?.path.join("freezer.state");
        settle("set", &file, || write(&file, word).is_ok() && std::fs::read_to_string(&file).is_ok_and(|state| state.trim() == word))
    }

    /// Whether its processes are frozen.
    pub fn is_frozen(&self) -> bool {
        match self.unified() {
            Some(part) => key(&part.path.join("cgroup.events"), "frozen") == Some(1),
            None => self.read("freezer", "freezer.state").is_some_and(|state| state.trim() != "THAWED"),
        }
    }

    /// Pids (as this process sees them) of all its processes.
    pub fn processes(&self) -> Vec<i32> {
        let list = |part: &Part| std::fs::read_to_string(part.path.join("cgroup.procs")).ok();
        let text = self.parts.iter().find_map(list).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
    }

    /// Kills all its processes, frozen or not, and returns when there are none left. A cgroup that is gone has none.
    pub fn kill_all(&self) -> Result<()> {
        let kill_file = self.unified().map(|part| part.path.join("cgroup.kill")).filter(|file| file.exists());
        settle("kill", Path::new(&self.name), || {
            if let Some(file) = &kill_file {
                // Fails only where the cgroup is gone, which the count below sees.
                let _ = write(file, "1");
                // What somebody froze in a v1 freezer beside it does not die before it is thawed.
                if let Some(part) = self.part("freezer").filter(|part| part.version == Version::V1) {
                    let _ = write(&part.path.join("freezer.state"), "THAWED");
                }
            } else {
                self.kill_frozen();
            }
            self.parts.iter().all(|part| is_empty(&part.path))
        })
    }

    /// v1, or v2 before Linux 5.14: nothing may be made while the list is worked through, hence the freezer. Frozen v1
    /// processes die only when thawed.
    fn kill_frozen(&self) {
        let _ = self.freeze();
        for part in &self.parts {
            for pid in std::fs::read_to_string(part.path.join("cgroup.procs")).unwrap_or_default().lines() {
                if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        }
        let _ = self.thaw();
    }

    /// Removes its folders, and those below that the container may have made. Processes must be gone.
    pub fn remove(&self) -> Result<()> {
        for part in &self.parts {
            remove_below(&part.path)?;
        }
        Ok(())
    }

    /// Whether any of its folders exists.
    pub fn exists(&self) -> bool {
        self.parts.iter().any(|part| part.path.exists())
    }
}

/// Names of the cgroups right below `parent` in any hierarchy: what an instance has, or has left behind.
pub fn children(hierarchies: &Hierarchies, parent: &str) -> Vec<String> {
    let mut names = std::collections::BTreeSet::new();
    for hierarchy in hierarchies.all() {
        let folder = std::fs::read_dir(hierarchy.point.join(parent)).into_iter().flatten().flatten();
        names.extend(folder.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().to_string_lossy().into_owned()));
    }
    names.into_iter().collect()
}

fn is_empty(path: &Path) -> bool {
    std::fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|list| list.trim().is_empty()) || !path.exists()
}

fn remove_below(path: &Path) -> Result<()> {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_below(&entry.path())?;
    }
    let removed = || match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Some(Ok(())),
        // The kernel lets go of the last process a moment after it was reaped.
        Err(Errno::BUSY) => None,
        Err(errno) => Some(Err(Error::new("remove", path.display().to_string(), errno))),
    };
    let mut outcome = None;
    settle("remove", path, || {
        outcome = removed();
        outcome.is_some()
    })?;
    outcome.unwrap_or(Ok(()))
}

/// Tries until it holds, in steps that begin at 50 µs and double to 10 ms; `ETIMEDOUT` after [`SETTLE_MS_MAX`].
fn settle(operation: &'static str, subject: &Path, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_millis(SETTLE_MS_MAX);
    let mut pause = Duration::from_micros(50);
    while !holds() {
        if Instant::now() > deadline {
            return Err(Error::new(operation, subject.display().to_string(), Errno::TIMEDOUT));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(())
}

/// Writes one value to a cgroup file.
pub fn write(path: &Path, value: &str) -> Result<()> {
    std::fs::write(path, value).context("write", || format!("{value} to {}", path.display()))
}

/// The number after `name` in a file of `name number` lines.
fn key(path: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
