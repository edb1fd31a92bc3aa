//! The order of the steps of an exec: into the container's cgroup and namespaces, then the same as for its first program.
//!
//! ```text
//! maker ──clones──▶ process of the host's pid namespace: nobody inside can see it
//!                     joins cgroup and namespaces, drops rights, becomes the user
//!                     clones ──▶ process of the container's pid namespace, and ends
//!                                  has what the program will have, and nothing else of ours
//!                                  loads the filter, becomes the program
//! ```
//! What is in the container already can see the second one from its first moment on, and where it may trace, could make it do
//! things (CVE-2016-9962): there is nothing left then that it could not do itself. The second clone is the price, a tenth of a
//! millisecond.

use std::path::{Path, PathBuf};

use belljar_linux::{Result as KernelResult, namespace};
use belljar_model::Invalid;
use belljar_model::cgroup::Version;
use belljar_model::container::ProcessRef;
use belljar_model::namespace::Kind;

use super::process::{self, Told};
use super::{Plan, Steps};
use crate::cgroup::{Cgroup, Hierarchies};
use crate::spec::{Exec, First, Moment};
use crate::step::process::{Birth, Console, Joining};
use crate::step::{CgroupStep, ProcessStep};

/// What of the host and of the container decides about the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecFacts {
    /// The host's cgroup hierarchies.
    pub hierarchies: Hierarchies,
    /// Kinds of namespaces in which the container's first process is not in ours.
    pub entered: Vec<Kind>,
    /// Where in the v2 hierarchy it is, from the root of that: `/belljar/<id>`, or deeper.
    pub unified: Option<PathBuf>,
}

impl ExecFacts {
    /// Asks the kernel, as it is now.
    pub fn of(first: ProcessRef, hierarchies: Hierarchies) -> KernelResult<Self> {
        let mut entered = Vec::new();
        let own = std::process::id() as i32;
        for kind in Kind::ALL {
            // A kind that this kernel does not have is nobody's.
            let Ok(ours) = namespace::inode(own, kind.as_str()) else { continue };
            if namespace::inode(first.pid, kind.as_str())? != ours {
                entered.push(kind);
            }
        }
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", first.pid)).unwrap_or_default();
        let unified = text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from);
        Ok(Self { hierarchies, entered, unified })
    }
}

/// The steps that make one more program in a container.
pub fn make_exec(exec: &Exec, facts: &ExecFacts) -> Result<Plan, Invalid> {
    process::check_process(&exec.process)?;
    let cgroup = exec.cgroup.cgroup(&facts.hierarchies);
    let told = Told { id: &exec.id, state: &exec.state, moment: Moment::Poststart };
    let mut steps = Steps::default();
    steps.add([ProcessStep::FindTarget(exec.first)]);
    steps.add([ProcessStep::Clone(Birth { namespaces: Vec::new(), entered: Vec::new(), owner: None, cgroup: joining(&cgroup, facts) })]);
    steps.add(process::by_pid(&exec.process));

    steps.add([CgroupStep::Join { files: super::cgroup::joining_files(&cgroup) }]);
    steps.add([ProcessStep::EnterTarget(facts.entered.clone())]);
    if facts.entered.contains(&Kind::User) {
        steps.add([ProcessStep::BecomeNamespaceRoot]);
    }
    steps.add(process::session(&exec.process));
    steps.add([process::streams(&exec.process, Console::None)]);
    steps.add(process::privileges(&exec.process, &told)?);
    if facts.entered.contains(&Kind::Pid) {
        steps.add([ProcessStep::Appear]);
    }
    steps.add(process::program(&exec.process, First::Program, &told)?);
    Ok(Plan { steps: steps.list })
}

/// Where the first process is, which may be below the container's own folder: one with controllers handed down further takes
/// no processes itself. Elsewhere than below it, it is not looked for.
fn joining(cgroup: &Cgroup, facts: &ExecFacts) -> Joining {
    let Some(part) = cgroup.parts().iter().find(|part| part.version == Version::V2) else { return Joining::Later };
    let own = Path::new("/").join(part.path.strip_prefix(&part.point).unwrap_or(Path::new("")));
    let below = facts.unified.as_ref().and_then(|path| path.strip_prefix(&own).ok());
    Joining::AtBirth(below.map_or_else(|| part.path.clone(), |below| part.path.join(below)))
}
