//! Control groups, v1 and v2 and both at once: found, made, limited, read, frozen, killed, removed.
//!
//! Which controller lives in which hierarchy is asked from the kernel each time ([`Hierarchies::probe`]): another engine
//! that starts may mount one meanwhile. A container has one folder of the same name in every hierarchy ([`Cgroup`]).
//! Start reading at [`hierarchy`]; [`resources`] is what can be asked, [`writes()`] turns it into files and values,
//! [`devices`] into rules, [`figures`] turns files into what is shown, each with its source,
//! and [`usage`] into what is measured again and again.

mod claim;
pub mod devices;
pub mod disks;
mod enforced;
pub mod events;
pub mod everybody;
pub mod figures;
pub mod hierarchy;
mod life;
pub mod limits;
mod nest;
pub mod place;
pub mod present;
mod raw;
pub mod resources;
pub mod support;
pub mod systemd;
#[cfg(test)]
pub(crate) mod testing;
pub mod update;
pub mod usage;
pub mod weights;
pub mod writes;

use std::path::{Path, PathBuf};

use belljar_linux::Result;
use belljar_linux::error::Context;
use belljar_model::cgroup::Version;
use serde::{Deserialize, Serialize};

pub use claim::Claim;
pub use hierarchy::{Hierarchies, Hierarchy};
pub use nest::Nest;
pub use place::CgroupPlace;
pub use resources::Resources;
pub use update::update;
pub use usage::UsageFiles;
pub use writes::{Write, writes};

/// How long a freeze, or the end of killed processes, may take before it is an error.
pub const SETTLE_MS_MAX: u64 = 5_000;

/// The folders of one container, one in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Its name from each hierarchy's root: `belljar/<id>`.
    name: String,
    parts: Vec<Part>,
    /// The unit of systemd that it is, where it is one: `libpod-abc.scope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

/// One folder of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which kind of hierarchy.
    pub version: Version,
    /// What it controls; empty for a v2 hierarchy whose controllers are all v1.
    pub controllers: Vec<String>,
    /// Where its hierarchy is mounted.
    pub point: PathBuf,
    /// The folder.
    pub path: PathBuf,
}

impl Part {
    /// Whether it controls nothing, and is only known by its name: systemd's own.
    pub fn is_named(&self) -> bool {
        self.controllers.iter().any(|name| name.contains('='))
    }

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
    /// The cgroup of this name below each hierarchy's root; nothing is made or read yet.
    pub fn at(hierarchies: &Hierarchies, name: &str) -> Self {
        let below_root = |hierarchy: &Hierarchy| hierarchy.point.join(name);
        Self::of(hierarchies, name, below_root)
    }

    fn of(hierarchies: &Hierarchies, name: &str, folder: impl Fn(&Hierarchy) -> PathBuf) -> Self {
        let part = |hierarchy: &Hierarchy| Part {
            version: hierarchy.version,
            controllers: hierarchy.controllers.clone(),
            point: hierarchy.point.clone(),
            path: folder(hierarchy),
        };
        Self { name: name.to_owned(), parts: hierarchies.all().iter().map(part).collect(), unit: None }
    }

    /// The same as a unit of systemd, which is told of every change and of the end.
    fn with_unit(mut self, unit: Option<String>) -> Self {
        self.unit = unit;
        self
    }

    /// The same in some of its hierarchies only, which are then nobody's but ours.
    pub fn only(mut self, wanted: impl FnMut(&Part) -> bool) -> Self {
        self.parts.retain(wanted);
        self.with_unit(None)
    }

    /// Its folders.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// One below it, of this name in each hierarchy.
    pub fn below(&self, name: &str) -> Self {
        let part = |part: &Part| Part { path: part.path.join(name), ..part.clone() };
        Self { name: format!("{}/{name}", self.name), parts: self.parts.iter().map(part).collect(), unit: None }
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
        belljar_linux::file::read(self.part(controller)?.path.join(file)).ok()
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

/// Writes one value to a cgroup file.
pub fn write(path: &Path, value: &str) -> Result<()> {
    std::fs::write(path, value).context("write", || format!("{value} to {}", path.display()))
}

/// The number after `name` in a file of `name number` lines.
fn key(path: &Path, name: &str) -> Option<u64> {
    let text = belljar_linux::file::read(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
