//! One more program in a container that runs.

use std::path::PathBuf;

use belljar_model::container::ProcessRef;
use serde::{Deserialize, Serialize};

use super::{CgroupPlace, HookState, Process};
use crate::cgroup::{Cgroup, Hierarchies};

/// A program that is to run in a container, as strictly as its first one: same namespaces, same cgroup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Identifier of the container.
    pub id: String,
    /// Its first process, by pid and start: a pid alone may be another's by now.
    pub first: ProcessRef,
    /// Its cgroup.
    pub cgroup: ExecCgroup,
    /// The program.
    pub process: Process,
    /// What an agent of its filter is told of the container.
    pub state: HookState,
    /// Folder of compiled filters, where there is one.
    pub filters: Option<PathBuf>,
}

/// The cgroup that a program joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecCgroup {
    /// Where it is by its name.
    Place(CgroupPlace),
    /// The same, with a folder of its own in it ([`Nest`](crate::cgroup::Nest)), so that nothing of it outlives it unasked.
    Nest(CgroupPlace),
    /// Its folders, as they were found when it was made: where a relative path leads depends on who asks.
    Found(Cgroup),
}

impl ExecCgroup {
    /// The same with a folder of its own.
    pub fn nested(self) -> Self {
        match self {
            ExecCgroup::Place(place) => ExecCgroup::Nest(place),
            other => other,
        }
    }

    /// Its folders on this host.
    pub fn cgroup(&self, hierarchies: &Hierarchies) -> Cgroup {
        match self {
            ExecCgroup::Place(place) | ExecCgroup::Nest(place) => place.cgroup(hierarchies),
            ExecCgroup::Found(cgroup) => cgroup.clone(),
        }
    }
}
