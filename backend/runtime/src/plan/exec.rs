//! The order of the steps of an exec: into the container's cgroup and namespaces, then the same as for its first program.
//!
//! ```text
//! maker ──clones──▶ process of the host's pid namespace: nobody inside can see it
//!                     joins cgroup and namespaces, drops rights, becomes the user
//!                     clones ──▶ process of the container's pid namespace, and ends
//!                                  has what the program will have, and of ours a way into the cgroup
//!                                  joins the cgroup that counts processes, becomes the program
//! ```
//! What is in the container already can see the second one from its first moment on, and where it may trace, could make it do
//! things (CVE-2016-9962): there is nothing left then that it could not do itself. The second clone is the price, a tenth of a
//! millisecond. Even the filter stands before, unless it forbids what is still to be done, or somebody is to answer for it who
//! has to be told of the process that the program will be: then it is loaded right after.
//!
//! Whoever is at its limit of processes can be entered all the same, as one may want to just then: the kernel refuses forks beyond
//! the limit (`pids.max`), and nobody who comes from elsewhere. So what counts processes is joined after the last fork, and before
//! the program. Until then the second process is in all else of the container's cgroup. On v2 that is one and the same cgroup,
//! and moving there takes milliseconds, where being born there takes none: so it is done only where room is short. What may
//! trace the second process before it has joined could make it fork uncounted: that takes `CAP_SYS_PTRACE` over the host's user
//! namespace, and then is still among what dies with the container.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use belljar_linux::{Result as KernelResult, file, namespace};
use belljar_model::Invalid;
use belljar_model::cgroup::Version;
use belljar_model::namespace::Kind;

use super::process::{self, Told};
use super::{Plan, Steps};
use crate::cgroup::{Cgroup, Hierarchies, Part};
use crate::seccomp::arch::Arch;
use crate::seccomp::machine::{Call, run};
use crate::seccomp::rules::Verdict;
use crate::seccomp::{Listener, Prepared};
use crate::spec::{Exec, First, Moment};
use crate::step::process::{Birth, Console, Joining};
use crate::step::{CgroupStep, ProcessStep};

/// Where there is room for fewer processes than this, nobody is made in the cgroup: a fork could be refused. More than the two of an
/// exec, since the container makes processes meanwhile.
const ROOM: u64 = 16;
/// With which flags [`belljar_linux::process::clone`] makes a sibling.
const SIBLING: u64 = (libc::CLONE_PIDFD | libc::CLONE_PARENT | libc::SIGCHLD) as u64;
/// What is called beside that from the second clone to the program.
const TO_BE_DONE: [&str; 7] = ["setsid", "ioctl", "prctl", "write", "close", "execve", "exit_group"];

/// What of the host and of the container decides about the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecFacts {
    /// The host's cgroup hierarchies.
    pub hierarchies: Hierarchies,
    /// Kinds of namespaces in which the container's first process is not in ours.
    pub entered: Vec<Kind>,
    /// Where in the v2 hierarchy it is, from the root of that: `/belljar/<id>`, or deeper.
    pub unified: Option<PathBuf>,
    /// How much room for processes there is.
    pub room: Room,
    /// The filter of system calls, where it was prepared before; otherwise it is compiled now.
    pub filter: Option<Arc<Prepared>>,
}

/// How many more processes a v2 cgroup takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Enough for an exec and what the container makes meanwhile.
    Enough,
    /// So few that making one there may be refused.
    Short,
}

impl ExecFacts {
    /// Asks the kernel, as it is now.
    pub fn of(exec: &Exec, hierarchies: Hierarchies) -> KernelResult<Self> {
        let first = exec.first;
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
        let facts = Self { hierarchies, entered, unified, room: Room::Enough, filter: None };
        let room = match joining(&exec.cgroup.cgroup(&facts.hierarchies), &facts) {
            Joining::AtBirth(folder) => Room::of(&folder),
            Joining::Later => Room::Enough,
        };
        Ok(Self { room, ..facts })
    }
}

impl Room {
    /// Of a v2 folder: what it and those above it leave. A folder without the files has no limit of its own.
    fn of(folder: &Path) -> Self {
        let number = |level: &Path, name: &str| file::read(level.join(name)).ok()?.trim().parse::<u64>().ok();
        let is_short = |level: &Path| {
            let (most, now) = (number(level, "pids.max"), number(level, "pids.current"));
            most.zip(now).is_some_and(|(most, now)| most.saturating_sub(now) < ROOM)
        };
        if folder.ancestors().any(is_short) { Self::Short } else { Self::Enough }
    }
}

/// The steps that make one more program in a container.
pub fn make_exec(exec: &Exec, facts: &ExecFacts) -> Result<Plan, Invalid> {
    process::check_process(&exec.process)?;
    let cgroup = exec.cgroup.cgroup(&facts.hierarchies);
    let told = Told { id: &exec.id, state: &exec.state, moment: Moment::Poststart, filter: facts.filter.as_ref() };
    let appears = facts.entered.contains(&Kind::Pid);
    let joined = Joined::of(&cgroup, facts);
    let mut steps = Steps::default();
    steps.add([ProcessStep::FindTarget(exec.first)]);
    steps.add([ProcessStep::Clone(Birth { namespaces: Vec::new(), entered: Vec::new(), owner: None, cgroup: joined.birth })]);
    steps.add(process::by_pid(&exec.process));

    steps.add([CgroupStep::Join { files: joined.files }]);
    if !appears {
        // It has made its last process, which is itself.
        steps.add(joined.counting.clone());
    }
    steps.add([ProcessStep::EnterTarget(facts.entered.clone())]);
    if facts.entered.contains(&Kind::User) {
        steps.add([ProcessStep::BecomeNamespaceRoot]);
    }
    steps.add(process::session(&exec.process));
    steps.add([process::streams(&exec.process, Console::None)]);
    steps.add(process::privileges(&exec.process, &told)?);
    let mut program = process::program(&exec.process, First::Program, &told)?;
    if appears {
        let is_late = |step: &ProcessStep| match step {
            ProcessStep::LoadSeccomp(filter) => !lets_appear(filter),
            step => matches!(step, ProcessStep::Exec { .. }),
        };
        let late = program.split_off(program.iter().position(is_late).unwrap_or(program.len()));
        steps.add(program);
        steps.add([ProcessStep::Appear]);
        steps.add(joined.counting);
        program = late;
    }
    steps.add(program);
    Ok(Plan { steps: steps.list })
}

/// How the container's cgroup is joined.
struct Joined {
    /// What is joined by being born in it.
    birth: Joining,
    /// Files of what is joined first of all.
    files: Vec<PathBuf>,
    /// What is joined when no process is to be made any more.
    counting: Option<CgroupStep>,
}

impl Joined {
    fn of(cgroup: &Cgroup, facts: &ExecFacts) -> Self {
        let counts = |part: &&Part| part.controllers.iter().any(|name| name == "pids");
        let (counting, others): (Vec<&Part>, Vec<&Part>) =
            cgroup.parts().iter().filter(|part| part.version == Version::V1).partition(counts);
        let files = |parts: Vec<&Part>| parts.into_iter().map(Part::joining_file).collect::<Vec<_>>();
        let (birth, counting) = match (joining(cgroup, facts), facts.room) {
            (Joining::AtBirth(folder), Room::Short) => (Joining::Later, vec![folder.join("cgroup.procs")]),
            (birth, _) => (birth, files(counting)),
        };
        let counting = (!counting.is_empty()).then_some(CgroupStep::Join { files: counting });
        Self { birth, files: files(others), counting }
    }
}

/// Whether a process that has this filter can still do what is to be done before it is the program, by asking the filter itself.
fn lets_appear(filter: &Prepared) -> bool {
    let answer = |name: &str, first: u64| {
        let call = |number| Call { audit: Arch::NATIVE.audit(), number, arguments: [first, 0, 0, 0, 0, 0] };
        Arch::NATIVE.number(name).map_or(Verdict::KillThread, |number| run(&filter.program, &call(number)).0)
    };
    let allows = |name: &str, first: u64| matches!(answer(name, first), Verdict::Allow | Verdict::Log);
    // Where the newer call is said not to exist, the older one is taken.
    let clones = matches!(answer("clone3", 0), Verdict::Allow | Verdict::Log)
        || (answer("clone3", 0) == Verdict::Errno(libc::ENOSYS as u16) && allows("clone", SIBLING));
    let told = matches!(filter.listener, Listener::Agent { .. });
    !told && clones && TO_BE_DONE.iter().all(|name| allows(name, 0))
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
    use belljar_model::container::ProcessRef;

    use super::*;
    use crate::seccomp::Choice;
    use crate::spec::{ExecCgroup, HookState, Process};

    fn plan(process: Process, facts: &ExecFacts) -> Plan {
        let cgroup = ExecCgroup::Found(Cgroup::at(&facts.hierarchies, "x"));
        let first = ProcessRef { pid: 1, start_ticks: 1 };
        make_exec(&Exec { id: "x".into(), first, cgroup, process, state: HookState::default(), filters: None }, facts).unwrap()
    }

    fn facts(hierarchies: Hierarchies, entered: &[Kind]) -> ExecFacts {
        ExecFacts { hierarchies, entered: entered.to_vec(), unified: None, room: Room::Enough, filter: None }
    }

    fn steps(seccomp: &str) -> Vec<&'static str> {
        let mut process = Process::of(&["true"]);
        process.seccomp = Some(match seccomp {
            "" => Choice::default(),
            text => Choice::of(serde_json::from_str(text).unwrap()),
        });
        let plan = plan(process, &facts(Hierarchies::of_list(Vec::new()), &[Kind::Pid]));
        plan.steps.iter().map(crate::step::Step::verb).filter(|verb| ["appear", "load", "hand over", "exec"].contains(verb)).collect()
    }

    /// Steps that make a process or join a cgroup.
    fn joining_steps(version: Version, entered: &[Kind], room: Room) -> Vec<String> {
        let hierarchies = crate::plan::tests::facts(version).hierarchies;
        let plan = plan(Process::of(&["true"]), &ExecFacts { room, ..facts(hierarchies, entered) });
        let wanted = |step: &&crate::step::Step| ["clone", "join", "appear", "exec"].contains(&step.verb());
        plan.steps.iter().filter(wanted).map(ToString::to_string).collect()
    }

    #[test]
    fn what_counts_processes_is_joined_when_the_last_one_was_made() {
        let appear = "appear in the pid namespace of the container";
        let of = |version, room| joining_steps(version, &[Kind::Pid], room);
        let v1 = ["clone process", "join 3 cgroups", appear, "join cgroup /cg/pids/x", "exec true"];
        assert_eq!(of(Version::V1, Room::Enough), v1);
        assert_eq!(of(Version::V2, Room::Enough), ["clone process, and its cgroup", "join 0 cgroups", appear, "exec true"]);
        assert_eq!(of(Version::V2, Room::Short), ["clone process", "join 0 cgroups", appear, "join cgroup /cg/x", "exec true"]);
        let alone = ["clone process", "join 3 cgroups", "join cgroup /cg/pids/x", "exec true"];
        assert_eq!(joining_steps(Version::V1, &[], Room::Enough), alone);
    }

    #[test]
    fn room_is_what_every_folder_above_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let set = |level: &Path, most: &str, now: &str| {
            std::fs::write(level.join("pids.max"), most).unwrap();
            std::fs::write(level.join("pids.current"), now).unwrap();
        };
        assert_eq!(Room::of(&inner), Room::Enough, "nobody counts");
        set(&inner, "max\n", "5000\n");
        set(&folder.path().join("a"), "116\n", "100\n");
        assert_eq!(Room::of(&inner), Room::Enough);
        set(&folder.path().join("a"), "115\n", "100\n");
        assert_eq!(Room::of(&inner), Room::Short);
        set(&inner, "1\n", "2\n");
        set(&folder.path().join("a"), "max\n", "100\n");
        assert_eq!(Room::of(&inner), Room::Short, "more are in it than may be");
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
