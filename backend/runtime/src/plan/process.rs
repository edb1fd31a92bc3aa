//! The order of the steps of the process: how it is born, what surrounds it, and how its privileges go, each when it was last
//! needed.

use std::sync::Arc;

use belljar_linux::attributes;
use belljar_model::Invalid;
use belljar_model::namespace::Kind;

use super::is_new;
use crate::seccomp::{self, Listener, Prepared};
use crate::spec::{First, HookState, IdMaps, Moment, Namespace, Process, Source, Spec, Start, Terminal};
use crate::step::ProcessStep;
use crate::step::process::{Birth, Console, HookRun, Joining, Label, ListenerRun};

/// File mode creation mask where none was asked for.
const UMASK: u32 = 0o022;

/// Refuses what no order of steps could make, by its field.
pub(super) fn check(spec: &Spec) -> Result<(), Invalid> {
    if is_new(spec, Kind::User) && spec.ids.as_ref().is_none_or(|ids| ids.uids.is_empty() || ids.gids.is_empty()) {
        return Err(Invalid::new("ids", "must map users and groups: nobody would exist in its new user namespace"));
    }
    if spec.ids.is_some() && spec.namespace(Kind::User).is_none() {
        return Err(Invalid::new("ids", "are those of a user namespace, and it has none of its own"));
    }
    if is_new(spec, Kind::User) && spec.namespace(Kind::Mnt).is_some_and(|namespace| namespace.source != Source::New) {
        return Err(Invalid::new("namespaces", "join a mount namespace, which a new user namespace has no right to"));
    }
    let needs_uts = spec.hostname.is_some() || spec.domainname.is_some();
    if needs_uts && spec.namespace(Kind::Uts).is_none() {
        return Err(Invalid::new("hostname", "would be the host's: it needs a UTS namespace"));
    }
    if !spec.time_offsets.is_empty() && !is_new(spec, Kind::Time) {
        return Err(Invalid::new("time_offsets", "are those of a new time namespace, and it has none"));
    }
    check_process(&spec.process)
}

/// As [`check`], of what an exec has too.
pub(super) fn check_process(process: &Process) -> Result<(), Invalid> {
    if process.arguments.first().is_none_or(String::is_empty) {
        return Err(Invalid::new("process.arguments", "must begin with the program"));
    }
    if let Some(landlock) = &process.landlock {
        landlock.check().map_err(|invalid| Invalid::new(format!("process.{}", invalid.field), invalid.problem))?;
        if !process.no_new_privileges {
            return Err(Invalid::new("process.landlock", "needs no_new_privileges: its rules hold for good, also for set-uid programs"));
        }
    }
    match process.rlimits.iter().find(|limit| !attributes::is_resource(&limit.resource)) {
        Some(unknown) => Err(Invalid::new("process.rlimits", format!("name {}, which is no resource limit", unknown.resource))),
        None => Ok(()),
    }
}

/// From what the maker enters to what it can set of the new process by its pid.
pub(super) fn birth(spec: &Spec, cgroup: Joining) -> Vec<ProcessStep> {
    let (entered, by_child) = joined(&spec.namespaces);
    let enter = |namespace: &&Namespace| match &namespace.source {
        Source::Path { path, inode } => Some(ProcessStep::EnterNamespace { kind: namespace.kind, path: path.clone(), inode: *inode }),
        Source::New => None,
    };
    let mut steps: Vec<ProcessStep> = entered.iter().filter_map(enter).collect();
    let mut left: Vec<Kind> = entered.iter().map(|namespace| namespace.kind).collect();
    if is_new(spec, Kind::Time) {
        steps.push(ProcessStep::SetClocks(spec.time_offsets.clone()));
        left.push(Kind::Time);
    }
    if spec.start == Start::WhenTold {
        steps.push(ProcessStep::PrepareStart { folder: spec.state_dir.clone() });
    }
    // The cgroup namespace comes once the process is in its cgroup, which then is the root of what it sees; the time
    // namespace is there already.
    let later = |kind: Kind| matches!(kind, Kind::Cgroup | Kind::Time) || (kind == Kind::Ipc && unshares_ipc(spec));
    let new = spec.namespaces.iter().filter(|namespace| namespace.source == Source::New && !later(namespace.kind));
    let new = new.map(|namespace| namespace.kind);
    // One that enters other namespaces first makes its own there, as the user that it is by then.
    let enters = !by_child.is_empty();
    let (at_birth, beside): (Vec<_>, Vec<_>) = new.partition(|kind| enters || is_of_birth(*kind));
    steps.push(ProcessStep::Clone(Birth {
        namespaces: at_birth,
        entered: by_child.into_iter().cloned().collect(),
        owner: spec.ids.as_ref().filter(|_| !enters && is_new(spec, Kind::User)).and_then(IdMaps::root_uid),
        cgroup,
    }));
    if !beside.is_empty() {
        steps.push(ProcessStep::Unshare(beside));
    }
    if !left.is_empty() {
        steps.push(ProcessStep::LeaveNamespaces(left));
    }
    if is_new(spec, Kind::User) {
        steps.extend(spec.ids.clone().map(ProcessStep::MapIds));
    }
    steps.extend(by_pid(&spec.process));
    steps
}

/// Whether a process can be in a new one of these from its birth only, or has to be for what else is to belong to it. All others
/// it makes around itself while the maker goes on: a network namespace takes the kernel as long as everything else of a birth.
fn is_of_birth(kind: Kind) -> bool {
    matches!(kind, Kind::Pid | Kind::User)
}

/// Whether its ipc namespace is made only once it is root of its user namespace: the file system of message queues comes with
/// it, and its root belongs to whoever makes it. The host's root would be nobody inside, and could not be given away from there.
pub(super) fn unshares_ipc(spec: &Spec) -> bool {
    spec.has_own_users() && is_new(spec, Kind::Ipc)
}

/// Namespaces by path: those that the maker enters for the first process, with the host's rights, and those that the process
/// enters itself.
fn joined(namespaces: &[Namespace]) -> (Vec<&Namespace>, Vec<&Namespace>) {
    let paths = namespaces.iter().filter(|namespace| namespace.source != Source::New);
    let (mut by_child, by_maker): (Vec<_>, Vec<_>) = paths.partition(|namespace| matches!(namespace.kind, Kind::User | Kind::Mnt));
    // The user namespace first: it gives the right to the other.
    by_child.sort_by_key(|namespace| namespace.kind != Kind::User);
    (by_maker, by_child)
}

/// What the maker sets by the new process's pid: in a user namespace of its own it has no right to give itself more.
pub(super) fn by_pid(process: &Process) -> Vec<ProcessStep> {
    let mut steps = Vec::new();
    steps.extend(process.oom_score_adj.map(ProcessStep::AdjustOomScore));
    steps.extend(process.scheduler.clone().map(ProcessStep::Schedule));
    steps.extend(process.io_priority.map(ProcessStep::PrioritiseIo));
    steps.extend(process.cpu_affinity.initial.clone().map(ProcessStep::Pin));
    steps
}

pub(super) fn session(process: &Process) -> Vec<ProcessStep> {
    let label = process.selinux_label.clone().map(|label| ProcessStep::Label(Label::SelinuxKeyring(label)));
    label.into_iter().chain([ProcessStep::NewSession(process.keyring)]).collect()
}

/// Programs of the host at a moment.
pub(super) fn hooks(spec: &Spec, moment: Moment) -> impl Iterator<Item = ProcessStep> + '_ {
    let state = &spec.hooks.state;
    spec.hooks.at(moment).iter().enumerate().map(move |(index, hook)| {
        ProcessStep::RunHook(HookRun { moment, index, hook: hook.clone(), id: spec.id.clone(), state: state.clone() })
    })
}

/// What is set around the program while the container's tree is complete and the host's still there: names, network, where its
/// output goes.
pub(super) fn surroundings(spec: &Spec) -> Vec<ProcessStep> {
    let mut steps: Vec<ProcessStep> = spec.hostname.clone().map(ProcessStep::SetHostname).into_iter().collect();
    steps.extend(spec.domainname.clone().map(ProcessStep::SetDomainname));
    if is_new(spec, Kind::Net) {
        steps.push(ProcessStep::BringLoopbackUp);
    }
    // While the root can be written to.
    steps.push(ProcessStep::MakeWorkdir(spec.process.workdir.clone()));
    steps
}

/// Its terminal, or where its output goes.
pub(super) fn streams(process: &Process, console: Console) -> ProcessStep {
    match process.terminal {
        Terminal::Pty { size } => ProcessStep::MakeTerminal { size, console },
        Terminal::None => ProcessStep::ConnectOutputs,
    }
}

/// Everything that ends before the start is awaited. A filter without `no_new_privs` needs a right that is dropped right after,
/// so it has to allow the rest of these; otherwise it comes last, and need not allow what we still do.
pub(super) fn privileges(process: &Process, told: &Told<'_>) -> Result<Vec<ProcessStep>, Invalid> {
    let mut steps: Vec<ProcessStep> = process.personality.map(ProcessStep::SetPersonality).into_iter().collect();
    steps.extend(process.apparmor.clone().map(|profile| ProcessStep::Label(Label::Apparmor(profile))));
    steps.extend(process.selinux_label.clone().map(|context| ProcessStep::Label(Label::Selinux(context))));
    steps.push(ProcessStep::EnterWorkdir(process.workdir.clone()));
    steps.push(ProcessStep::SetUmask(process.umask.unwrap_or(UMASK)));
    steps.extend(process.landlock.clone().map(ProcessStep::PrepareLandlock));
    if process.no_new_privileges {
        steps.push(ProcessStep::ForbidNewPrivileges);
    } else {
        steps.extend(filter(process, told)?);
    }
    steps.push(ProcessStep::BoundCapabilities { keep: process.capabilities.bounding.clone() });
    // Outside, and late: a limit of open files or processes binds us as well. Yet before it is another user's process, which an
    // ordinary root has no right to limit, and whose number of processes the kernel looks at when it becomes that user's.
    steps.extend(process.rlimits.iter().cloned().map(ProcessStep::Limit));
    steps.extend([
        ProcessStep::BecomeUser(process.user.clone()),
        ProcessStep::LimitCapabilities(process.capabilities.clone()),
        ProcessStep::VerifyWorkdir(process.workdir.clone()),
        ProcessStep::CloseDescriptors { from: 3 + process.preserved_descriptors },
    ]);
    Ok(steps)
}

/// Before the wait for a start, which would tell too late that there is no such program.
pub(super) fn lookup(spec: &Spec) -> Option<ProcessStep> {
    let path = spec.process.environment.iter().find_map(|pair| pair.strip_prefix("PATH=")).unwrap_or(crate::spec::DEFAULT_PATH);
    let program = spec.process.arguments.first().filter(|_| spec.start == Start::WhenTold)?;
    Some(ProcessStep::FindProgram { program: program.clone(), path: path.to_owned() })
}

/// From the start on: what is told to a container that waits, or follows at once.
pub(super) fn beginning(spec: &Spec, told: &Told<'_>) -> Result<Vec<ProcessStep>, Invalid> {
    let mut steps = Vec::new();
    if spec.start == Start::WhenTold {
        steps.push(ProcessStep::AwaitStart);
    }
    steps.extend(hooks(spec, Moment::StartContainer));
    steps.extend(program(&spec.process, spec.first, told)?);
    Ok(steps)
}

/// The last steps inside.
pub(super) fn program(process: &Process, first: First, told: &Told<'_>) -> Result<Vec<ProcessStep>, Invalid> {
    let mut steps: Vec<ProcessStep> = process.cpu_affinity.last.clone().map(ProcessStep::PinProgram).into_iter().collect();
    // After the hooks, which are the host's or the image's and not the program; before the filter, which need not allow it.
    steps.extend(process.landlock.as_ref().map(|_| ProcessStep::EnforceLandlock));
    if process.no_new_privileges {
        steps.extend(filter(process, told)?);
    }
    steps.push(ProcessStep::Exec { arguments: process.arguments.clone(), environment: process.environment.clone(), first });
    Ok(steps)
}

/// What an agent is told of the container whose calls it answers; and the filter, where it was prepared before.
pub(super) struct Told<'a> {
    pub(super) id: &'a str,
    pub(super) state: &'a HookState,
    pub(super) moment: Moment,
    pub(super) filter: Option<&'a Arc<Prepared>>,
}

impl<'a> Told<'a> {
    pub(super) fn of(spec: &'a Spec, filter: Option<&'a Arc<Prepared>>) -> Self {
        // Without `no_new_privs` the filter is loaded before the start is awaited.
        let is_late = spec.start == Start::WhenTold && spec.process.no_new_privileges;
        let moment = if is_late { Moment::StartContainer } else { Moment::CreateContainer };
        Self { id: &spec.id, state: &spec.hooks.state, moment, filter }
    }
}

/// The filter of a process. Compiled before anything is made: a profile that cannot be is refused by its field.
pub(super) fn prepared(process: &Process, told: &Told<'_>) -> Result<Option<Arc<Prepared>>, Invalid> {
    match told.filter {
        Some(filter) if process.seccomp.is_some() => Ok(Some(filter.clone())),
        _ => seccomp::of_process(process, None),
    }
}

/// Whoever is to answer for it is there before anything is asked.
fn filter(process: &Process, told: &Told<'_>) -> Result<Vec<ProcessStep>, Invalid> {
    let Some(filter) = prepared(process, told)? else { return Ok(Vec::new()) };
    let handed = match &filter.listener {
        Listener::Agent { path, metadata } => Some(ProcessStep::HandOverListener(ListenerRun {
            path: path.clone(),
            metadata: metadata.clone(),
            id: told.id.to_owned(),
            status: told.moment.status(),
            state: told.state.clone(),
        })),
        Listener::None | Listener::Recorder { .. } => None,
    };
    Ok(std::iter::once(ProcessStep::LoadSeccomp(filter)).chain(handed).collect())
}
