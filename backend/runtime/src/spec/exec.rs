//! One more program in a container that runs.

use belljar_model::container::ProcessRef;
use serde::{Deserialize, Serialize};

use super::{CgroupPlace, HookState, Process};

/// A program that is to run in a container, as strictly as its first one: same namespaces, same cgroup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Identifier of the container.
    pub id: String,
    /// Its first process, by pid and start: a pid alone may be another's by now.
    pub first: ProcessRef,
    /// Its cgroup.
    pub cgroup: CgroupPlace,
    /// The program.
    pub process: Process,
    /// What an agent of its filter is told of the container.
    pub state: HookState,
}
