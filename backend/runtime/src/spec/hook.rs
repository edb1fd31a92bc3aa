//! Programs of the host that are run at moments of a container's life (OCI runtime specification, *POSIX-platform Hooks*).

use std::collections::BTreeMap;
use std::path::PathBuf;

use belljar_model::plan::Place;
use serde::{Deserialize, Serialize};

/// The hooks of a container, each list in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// Those of an older name, which run right before the next ones.
    pub prestart: Vec<Hook>,
    /// Run outside once namespaces and mounts are there, before the root is changed.
    pub create_runtime: Vec<Hook>,
    /// Run in the container's namespaces before the root is changed: paths are still the host's.
    pub create_container: Vec<Hook>,
    /// Run inside right before the program.
    pub start_container: Vec<Hook>,
    /// Run outside after the program was started; a failure is a warning.
    pub poststart: Vec<Hook>,
    /// Run outside after the container was deleted; a failure is a warning.
    pub poststop: Vec<Hook>,
    /// What of the container's state every hook is told, beside its id, status and pid.
    pub state: HookState,
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The program, an absolute path.
    pub path: PathBuf,
    /// Its arguments, its name first; empty means the path alone.
    pub arguments: Vec<String>,
    /// Its whole environment, `KEY=value`.
    pub environment: Vec<String>,
    /// After how many seconds it is killed.
    pub timeout_seconds: Option<u32>,
}

/// What hooks are told on their standard input (OCI runtime specification, *State*).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookState {
    /// Version of the specification that the container was asked for in.
    pub oci_version: String,
    /// Folder of the bundle.
    pub bundle: PathBuf,
    /// Annotations of the container.
    pub annotations: BTreeMap<String, String>,
}

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// As the next, right before it: what the specification called it first.
    Prestart,
    /// Outside, before the root is changed.
    CreateRuntime,
    /// In the container's namespaces, before the root is changed.
    CreateContainer,
    /// Inside, right before the program.
    StartContainer,
    /// Outside, after the program was started.
    Poststart,
    /// Outside, after the container was deleted.
    Poststop,
}

impl Hooks {
    /// Those of a moment.
    pub fn at(&self, moment: Moment) -> &[Hook] {
        match moment {
            Moment::Prestart => &self.prestart,
            Moment::CreateRuntime => &self.create_runtime,
            Moment::CreateContainer => &self.create_container,
            Moment::StartContainer => &self.start_container,
            Moment::Poststart => &self.poststart,
            Moment::Poststop => &self.poststop,
        }
    }
}

impl Moment {
    /// Its name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Moment::Prestart => "prestart",
            Moment::CreateRuntime => "createRuntime",
            Moment::CreateContainer => "createContainer",
            Moment::StartContainer => "startContainer",
            Moment::Poststart => "poststart",
            Moment::Poststop => "poststop",
        }
    }

    /// Who runs it.
    pub fn place(self) -> Place {
        match self {
            Moment::Prestart | Moment::CreateRuntime | Moment::Poststart | Moment::Poststop => Place::Outside,
            Moment::CreateContainer | Moment::StartContainer => Place::Inside,
        }
    }

    /// The container's status at that moment, as the specification names it.
    pub fn status(self) -> &'static str {
        match self {
            Moment::Prestart | Moment::CreateRuntime | Moment::CreateContainer => "creating",
            Moment::StartContainer => "created",
            Moment::Poststart => "running",
            Moment::Poststop => "stopped",
        }
    }
}
