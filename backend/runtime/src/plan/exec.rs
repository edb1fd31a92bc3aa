//! The order of the steps of an exec: into the container's cgroup and namespaces, then the same as for its first program.
//!
//! ```text
//! maker ──clones──▶ process of the host's pid namespace: nobody inside can see it
//!                     joins cgroup and namespaces, drops rights, becomes the user
//!                     clones ──▶ process of the container's pid namespace, and ends
//!                                  has what the program will have, and nothing else of ours
//!                                  becomes the program
//! ```
//! What is in the container already can see the second one from its first moment on, and where it may trace, could make it do
//! things (CVE-2016-9962): there is nothing left then that it could not do itself. The second clone is the price, a tenth of a
//! millisecond. Even the filter stands before, unless it forbids what is still to be done, or somebody is to answer for it who
//! has to be told of the process that the program will be: then it is loaded right after.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use belljar_linux::{Result as KernelResult, file, namespace};
use belljar_model::Invalid;
use belljar_model::cgroup::Version;
use belljar_model::container::ProcessRef;
use belljar_model::namespace::Kind;

use super::process::{self, Told};
use super::{Plan, Steps};
use crate::cgroup::{Cgroup, Hierarchies};
use crate::seccomp::arch::Arch;
use crate::seccomp::machine::{Call, run};
use crate::seccomp::rules::Verdict;
use crate::seccomp::{Listener, Prepared};
use crate::spec::{Exec, First, Moment};
use crate::step::ProcessStep;
use crate::step::process::{Birth, Console, Joining};

/// With which flags [`belljar_linux::process::clone`] makes a sibling.
const SIBLING: u64 = (libc::CLONE_PIDFD | libc::CLONE_PARENT | libc::SIGCHLD) as u64;
/// What is called beside that from the second clone to the program.
const TO_BE_DONE: [libc::c_long; 7] =
    [libc::SYS_setsid, libc::SYS_ioctl, libc::SYS_prctl, libc::SYS_write, libc::SYS_close, libc::SYS_execve, libc::SYS_exit_group];

/// What of the host and of the container decides about the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecFacts {
    /// The host's cgroup hierarchies.
    pub hierarchies: Hierarchies,
    /// Kinds of namespaces in which the container's first process is not in ours.
    pub entered: Vec<Kind>,
    /// Where in the v2 hierarchy it is, from the root of that: `/belljar/<id>`, or deeper.
    pub unified: Option<PathBuf>,
    /// The filter of system calls, where it was prepared before; otherwise it is compiled now.
    pub filter: Option<Arc<Prepared>>,
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
        let text = file::read(format!("/proc/{}/cgroup", first.pid)).unwrap_or_default();
        let unified = text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from);
        Ok(Self { hierarchies, entered, unified, filter: None })
    }
}

/// The steps that make one more program in a container.
pub fn make_exec(exec: &Exec, facts: &ExecFacts) -> Result<Plan, Invalid> {
    process::check_process(&exec.process)?;
    let cgroup = exec.cgroup.cgroup(&facts.hierarchies);
    let told = Told { id: &exec.id, state: &exec.state, moment: Moment::Poststart, filter: facts.filter.as_ref() };
    let mut steps = Steps::default();
    steps.add([ProcessStep::FindTarget(exec.first)]);
    steps.add([ProcessStep::Clone(Birth { namespaces: Vec::new(), entered: Vec::new(), owner: None, cgroup: joining(&cgroup, facts) })]);
    steps.add(process::by_pid(&exec.process));

    steps.add(super::cgroup::join(&cgroup));
    steps.add([ProcessStep::EnterTarget(facts.entered.clone())]);
    if facts.entered.contains(&Kind::User) {
        steps.add([ProcessStep::BecomeNamespaceRoot]);
    }
    steps.add(process::session(&exec.process));
    steps.add([process::streams(&exec.process, Console::None)]);
    steps.add(process::privileges(&exec.process, &told)?);
    let mut program = process::program(&exec.process, First::Program, &told)?;
    if facts.entered.contains(&Kind::Pid) {
        let is_late = |step: &ProcessStep| match step {
            ProcessStep::LoadSeccomp(filter) => !lets_appear(filter),
            step => matches!(step, ProcessStep::Exec { .. }),
        };
        let place = program.iter().position(is_late).unwrap_or(program.len());
        program.insert(place, ProcessStep::Appear);
    }
    steps.add(program);
    Ok(Plan { steps: steps.list })
}

/// Whether a process that has this filter can still do what is to be done before it is the program, by asking the filter itself.
fn lets_appear(filter: &Prepared) -> bool {
    let answer = |number: libc::c_long, first: u64| {
        let call = |number| Call { audit: Arch::NATIVE.audit(), number, arguments: [first, 0, 0, 0, 0, 0] };
        u32::try_from(number).map_or(Verdict::KillThread, |number| run(&filter.program, &call(number)).0)
    };
    let allows = |number, first| matches!(answer(number, first), Verdict::Allow | Verdict::Log);
    // Where the newer call is said not to exist, the older one is taken.
    let clones = allows(libc::SYS_clone3, 0)
        || (answer(libc::SYS_clone3, 0) == Verdict::Errno(libc::ENOSYS as u16) && allows(libc::SYS_clone, SIBLING));
    let told = matches!(filter.listener, Listener::Agent { .. });
    !told && clones && TO_BE_DONE.iter().all(|number| allows(*number, 0))
}

/// Where the first process is, which may be below the container's own folder: one with controllers handed down further takes
/// no processes itself. Elsewhere than below it, it is not looked for.
fn joining(cgroup: &Cgroup, facts: &ExecFacts) -> Joining {
    let Some(part) = cgroup.parts().iter().find(|part| part.version == Version::V2) else { return Joining::Later };
    let own = Path::new("/").join(part.path.strip_prefix(&part.point).unwrap_or(Path::new("")));
    let below = facts.unified.as_ref().and_then(|path| path.strip_prefix(&own).ok());
    Joining::AtBirth(below.map_or_else(|| part.path.clone(), |below| part.path.join(below)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::Choice;
    use crate::spec::{ExecCgroup, HookState, Process};

    fn steps(seccomp: &str) -> Vec<&'static str> {
        let mut process = Process::of(&["true"]);
        process.seccomp = Some(match seccomp {
            "" => Choice::default(),
            text => Choice::of(serde_json::from_str(text).unwrap()),
        });
        let cgroup = ExecCgroup::Found(Cgroup::at(&Hierarchies::of_list(Vec::new()), "x"));
        let first = ProcessRef { pid: 1, start_ticks: 1 };
        let exec = Exec { id: "x".into(), first, cgroup, process, state: HookState::default(), filters: None };
        let facts = ExecFacts { hierarchies: Hierarchies::of_list(Vec::new()), entered: vec![Kind::Pid], unified: None, filter: None };
        let plan = make_exec(&exec, &facts).unwrap();
        plan.steps.iter().map(crate::step::Step::verb).filter(|verb| ["appear", "load", "hand over", "exec"].contains(verb)).collect()
    }

    #[test]
    fn the_filter_stands_before_anybody_inside_can_see_the_process() {
        assert_eq!(steps(""), ["load", "appear", "exec"]);
    }

    #[test]
    fn a_filter_that_forbids_what_is_still_to_be_done_comes_right_after() {
        let only = |call: &str, action: &str| {
            let rule = format!(r#"{{"names":["{call}"],"action":"{action}"}}"#);
            format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x","syscalls":[{rule}]}}"#)
        };
        assert_eq!(steps(&only("setsid", "SCMP_ACT_ERRNO")), ["appear", "load", "exec"]);
        assert_eq!(steps(&only("clone3", "SCMP_ACT_ERRNO")), ["appear", "load", "exec"], "it is refused by another word than absent");
        assert_eq!(steps(&only("mount", "SCMP_ACT_NOTIFY")), ["appear", "load", "hand over", "exec"], "whoever answers is told its pid");
        assert_eq!(steps(&only("mount", "SCMP_ACT_ERRNO")), ["load", "appear", "exec"]);
    }
}
