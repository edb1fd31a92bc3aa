//! Steps of a container's first process: how it is made, what it gives up, and what it becomes.

use std::path::PathBuf;

use belljar_model::container::ProcessRef;
use belljar_model::namespace::Kind;
use belljar_model::plan::Place;

use crate::seccomp;
pub use crate::spec::First;
use crate::spec::landlock::Landlock;
use crate::spec::{
    Capabilities, Clock, Hook, HookState, IdMaps, IoPriority, Keyring, Moment, Namespace, Rlimit, Scheduler, TerminalSize, TimeOffset, User,
};

/// One step of the process.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessStep {
    /// The maker enters a namespace, so that the first process is born in it.
    EnterNamespace {
        /// Which kind.
        kind: Kind,
        /// The file that means it.
        path: PathBuf,
        /// What its inode must be.
        inode: Option<u64>,
    },
    /// Gives the first process a time namespace with these clocks.
    SetClocks(Vec<TimeOffset>),
    /// Finds the first process of a container that runs.
    FindTarget(ProcessRef),
    /// Makes the FIFOs over which the start is told.
    PrepareStart {
        /// The folder that it is in.
        folder: PathBuf,
    },
    /// Makes the first process.
    Clone(Birth),
    /// The maker goes back to its own namespaces.
    LeaveNamespaces(Vec<Kind>),
    /// Gives the user namespace its ids.
    MapIds(IdMaps),
    /// How soon it is killed when memory is short.
    AdjustOomScore(i32),
    /// How it is scheduled.
    Schedule(Scheduler),
    /// How its input and output is scheduled.
    PrioritiseIo(IoPriority),
    /// Where it may run while it is made.
    Pin(Vec<u32>),
    /// Sets a resource limit.
    Limit(Rlimit),
    /// Runs a program of the host.
    RunHook(HookRun),

    /// Enters the other namespaces of the container, and its root with them.
    EnterTarget(Vec<Kind>),
    /// A session of its own, and a keyring.
    NewSession(Keyring),
    /// Becomes user 0 of its user namespace.
    BecomeNamespaceRoot,
    /// Makes new namespaces around itself.
    Unshare(Vec<Kind>),
    /// Sets the hostname.
    SetHostname(String),
    /// Sets the NIS domain name.
    SetDomainname(String),
    /// Brings the loopback device up.
    BringLoopbackUp,
    /// Makes a terminal of the container's own, and hands its other end outside.
    MakeTerminal {
        /// Its size.
        size: Option<TerminalSize>,
        /// Whether it is the container's console.
        console: Console,
    },
    /// Connects standard input to nothing, output and error to where they go.
    ConnectOutputs,
    /// Sets the execution domain.
    SetPersonality(u32),
    /// Says under which label of a security module the program runs.
    Label(Label),
    /// Sets the file mode creation mask.
    SetUmask(u32),
    /// Takes capabilities away for good.
    BoundCapabilities {
        /// Those that stay.
        keep: Vec<String>,
    },
    /// Becomes the user that the program runs as.
    BecomeUser(User),
    /// Sets the capabilities in force, inheritable and ambient.
    LimitCapabilities(Capabilities),
    /// Makes the working folder where it is missing, while it may.
    MakeWorkdir(String),
    /// Goes to the working folder, where that is open to root.
    EnterWorkdir(String),
    /// Goes there as the user, where it was not; then proves that it lies inside.
    VerifyWorkdir(String),
    /// No exec can gain privileges.
    ForbidNewPrivileges,
    /// No descriptor of ours reaches the program.
    CloseDescriptors {
        /// The first one that is ours.
        from: u32,
    },
    /// Looks for the program, which is executed only when it is told to: whoever makes the container learns at once that there
    /// is none.
    FindProgram {
        /// What is executed.
        program: String,
        /// Folders to look in, as in the variable `PATH`.
        path: String,
    },
    /// Waits until somebody says that the program is to begin.
    AwaitStart,
    /// Goes on as another process, in the pid namespace of a container that was entered.
    Appear,
    /// Where the program may run.
    PinProgram(Vec<u32>),
    /// Makes Landlock's rules, while every path can be opened.
    PrepareLandlock(Landlock),
    /// Puts them in force.
    EnforceLandlock,
    /// Loads the filter of system calls.
    LoadSeccomp(std::sync::Arc<seccomp::Prepared>),
    /// Whoever is to answer the calls that the filter does not answer itself gets what they are received by.
    HandOverListener(ListenerRun),
    /// Becomes the program.
    Exec {
        /// Its arguments, its name first.
        arguments: Vec<String>,
        /// Its environment.
        environment: Vec<String>,
        /// Who is PID 1.
        first: First,
    },
}

/// How the first process comes to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Birth {
    /// Its new namespaces, or those of them that nobody can make around itself.
    pub namespaces: Vec<Kind>,
    /// Namespaces that it has to enter itself: a user namespace, and then those that are new belong to that one; a mount
    /// namespace, where the maker would lose its own paths.
    pub entered: Vec<Namespace>,
    /// Whom a new user namespace belongs to outside: the host's user that its root is.
    pub owner: Option<u32>,
    /// Whether it begins in the v2 cgroup.
    pub cgroup: Joining,
}

/// How a process gets into its cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joining {
    /// It begins in this v2 folder (`CLONE_INTO_CGROUP`).
    AtBirth(PathBuf),
    /// It moves there.
    Later,
}

/// One run of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRun {
    /// When.
    pub moment: Moment,
    /// Which of that moment's list.
    pub index: usize,
    /// What.
    pub hook: Hook,
    /// Identifier of the container.
    pub id: String,
    /// What it is told beside it.
    pub state: HookState,
}

/// One handing over of a filter's listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerRun {
    /// The socket of whoever answers.
    pub path: String,
    /// What the profile has to say to it.
    pub metadata: Option<String>,
    /// Identifier of the container.
    pub id: String,
    /// Its status meanwhile.
    pub status: &'static str,
    /// What it is told beside.
    pub state: HookState,
}

/// Whether a terminal is the container's console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// It is what `/dev/console` means.
    Bound,
    /// It is one more.
    None,
}

/// A label of a security module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// AppArmor's profile of the program.
    Apparmor(String),
    /// SELinux's context of the program.
    Selinux(String),
    /// SELinux's context of keyrings.
    SelinuxKeyring(String),
}

impl ProcessStep {
    /// Who takes it.
    pub fn place(&self) -> Place {
        match self {
            ProcessStep::EnterNamespace { .. }
            | ProcessStep::SetClocks(_)
            | ProcessStep::FindTarget(_)
            | ProcessStep::PrepareStart { .. }
            | ProcessStep::Clone(_)
            | ProcessStep::LeaveNamespaces(_)
            | ProcessStep::MapIds(_)
            | ProcessStep::AdjustOomScore(_)
            | ProcessStep::Schedule(_)
            | ProcessStep::PrioritiseIo(_)
            | ProcessStep::Pin(_)
            | ProcessStep::Limit(_)
            | ProcessStep::HandOverListener(_) => Place::Outside,
            ProcessStep::RunHook(run) => run.moment.place(),
            _ => Place::Inside,
        }
    }

    /// What is done.
    pub fn verb(&self) -> &'static str {
        match self {
            ProcessStep::EnterNamespace { .. } | ProcessStep::EnterTarget(_) | ProcessStep::EnterWorkdir(_) => "enter",
            ProcessStep::FindTarget(_) | ProcessStep::FindProgram { .. } => "find",
            ProcessStep::SetClocks(_)
            | ProcessStep::SetHostname(_)
            | ProcessStep::SetDomainname(_)
            | ProcessStep::SetPersonality(_)
            | ProcessStep::SetUmask(_) => "set",
            ProcessStep::PrepareStart { .. } | ProcessStep::MakeTerminal { .. } | ProcessStep::MakeWorkdir(_) => "make",
            ProcessStep::Clone(_) => "clone",
            ProcessStep::LeaveNamespaces(_) => "leave",
            ProcessStep::MapIds(_) => "map",
            ProcessStep::AdjustOomScore(_) => "adjust",
            ProcessStep::Schedule(_) => "schedule",
            ProcessStep::PrioritiseIo(_) => "prioritise",
            ProcessStep::Pin(_) | ProcessStep::PinProgram(_) => "pin",
            ProcessStep::Limit(_) | ProcessStep::LimitCapabilities(_) => "limit",
            ProcessStep::RunHook(_) => "run",
            ProcessStep::NewSession(_) => "begin",
            ProcessStep::BecomeNamespaceRoot | ProcessStep::BecomeUser(_) => "become",
            ProcessStep::Unshare(_) => "unshare",
            ProcessStep::BringLoopbackUp => "bring up",
            ProcessStep::ConnectOutputs => "connect",
            ProcessStep::Label(_) => "label",
            ProcessStep::BoundCapabilities { .. } => "drop",
            ProcessStep::VerifyWorkdir(_) => "verify",
            ProcessStep::ForbidNewPrivileges => "forbid",
            ProcessStep::CloseDescriptors { .. } => "close",
            ProcessStep::AwaitStart => "await",
            ProcessStep::PrepareLandlock(_) => "prepare",
            ProcessStep::EnforceLandlock => "enforce",
            ProcessStep::Appear => "appear",
            ProcessStep::LoadSeccomp(_) => "load",
            ProcessStep::HandOverListener(_) => "hand over",
            ProcessStep::Exec { .. } => "exec",
        }
    }

    /// What it is done to.
    pub fn object(&self) -> String {
        match self {
            ProcessStep::EnterNamespace { kind, path, .. } => format!("{} namespace {}", kind.as_str(), path.display()),
            ProcessStep::SetClocks(offsets) => clocks(offsets),
            ProcessStep::FindTarget(target) => format!("first process of the container ({})", target.pid),
            ProcessStep::EnterTarget(kinds) => format!("namespaces of the container ({})", words(kinds)),
            ProcessStep::PrepareStart { .. } => "FIFOs for the start".into(),
            ProcessStep::Clone(birth) => birth.words(),
            ProcessStep::LeaveNamespaces(kinds) => format!("entered namespaces ({})", words(kinds)),
            ProcessStep::MapIds(ids) => mapped(ids),
            ProcessStep::AdjustOomScore(score) => format!("out-of-memory score by {score}"),
            ProcessStep::Schedule(scheduler) => format!("process by policy {}, nice {}", scheduler.policy, scheduler.nice),
            ProcessStep::PrioritiseIo(priority) => format!("input and output as class {}, level {}", priority.class, priority.level),
            ProcessStep::Pin(processors) => format!("first process to processors {processors:?}"),
            ProcessStep::PinProgram(processors) => format!("program to processors {processors:?}"),
            ProcessStep::Limit(limit) => format!("{} to {}:{}", limit.resource, bound(limit.soft), bound(limit.hard)),
            ProcessStep::RunHook(run) => format!("hooks.{}[{}] {}", run.moment.as_str(), run.index, run.hook.path.display()),
            ProcessStep::NewSession(Keyring::New) => "session and keyring".into(),
            ProcessStep::NewSession(Keyring::Inherited) => "session".into(),
            ProcessStep::BecomeNamespaceRoot => "root of the user namespace".into(),
            ProcessStep::Unshare(kinds) => format!("{} namespace{}", words(kinds), if kinds.len() == 1 { "" } else { "s" }),
            ProcessStep::SetHostname(name) => format!("hostname {name}"),
            ProcessStep::SetDomainname(name) => format!("domain name {name}"),
            ProcessStep::BringLoopbackUp => "lo".into(),
            ProcessStep::MakeTerminal { console: Console::Bound, .. } => "terminal and console".into(),
            ProcessStep::MakeTerminal { console: Console::None, .. } => "terminal".into(),
            ProcessStep::ConnectOutputs => "standard input, output and error".into(),
            ProcessStep::SetPersonality(persona) => format!("personality {persona:#x}"),
            ProcessStep::Label(label) => label.words(),
            ProcessStep::SetUmask(mask) => format!("file mode mask {mask:04o}"),
            ProcessStep::BoundCapabilities { keep } => format!("all capabilities but {}", keep.len()),
            ProcessStep::BecomeUser(user) => named(user),
            ProcessStep::LimitCapabilities(_) => "capabilities in force, inheritable and ambient".into(),
            ProcessStep::MakeWorkdir(path) => format!("working folder {path}"),
            ProcessStep::EnterWorkdir(path) => path.clone(),
            ProcessStep::VerifyWorkdir(path) => format!("working folder {path}"),
            ProcessStep::ForbidNewPrivileges => "new privileges".into(),
            ProcessStep::CloseDescriptors { from } => format!("every descriptor from {from} on exec"),
            ProcessStep::FindProgram { program, .. } => format!("program {program}"),
            ProcessStep::AwaitStart => "start".into(),
            ProcessStep::PrepareLandlock(rules) => format!("Landlock rules ({} paths)", rules.paths.len()),
            ProcessStep::EnforceLandlock => "Landlock rules".into(),
            ProcessStep::Appear => "in the pid namespace of the container".into(),
            ProcessStep::LoadSeccomp(filter) => format!("seccomp filter ({filter})"),
            ProcessStep::HandOverListener(run) => format!("listener of the filter to {}", run.path),
            ProcessStep::Exec { arguments, first: First::Program, .. } => program(arguments).to_owned(),
            ProcessStep::Exec { arguments, first: First::Init, .. } => format!("{} below a minimal init", program(arguments)),
        }
    }
}

impl Birth {
    fn words(&self) -> String {
        let mut words = match self.namespaces.as_slice() {
            [] => "process".to_owned(),
            new => format!("first process into new {}", words(new)),
        };
        for namespace in &self.entered {
            if let crate::spec::Source::Path { path, .. } = &namespace.source {
                words += &format!(", {} namespace {}", namespace.kind.as_str(), path.display());
            }
        }
        if matches!(self.cgroup, Joining::AtBirth(_)) {
            words += ", and its cgroup";
        }
        words
    }
}

impl Label {
    fn words(&self) -> String {
        match self {
            Label::Apparmor(profile) => format!("program with AppArmor profile {profile}"),
            Label::Selinux(context) => format!("program with SELinux context {context}"),
            Label::SelinuxKeyring(context) => format!("keyring with SELinux context {context}"),
        }
    }
}

fn clocks(offsets: &[TimeOffset]) -> String {
    let clock = |offset: &TimeOffset| {
        let name = match offset.clock {
            Clock::Monotonic => "monotonic",
            Clock::Boottime => "boot time",
        };
        format!("{name} {:+} s", offset.seconds)
    };
    let all: Vec<String> = offsets.iter().map(clock).collect();
    if all.is_empty() { "clocks of its own".to_owned() } else { format!("clocks of its own: {}", all.join(", ")) }
}

fn bound(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
}

fn program(arguments: &[String]) -> &str {
    arguments.first().map_or("nothing", String::as_str)
}

fn words(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

fn named(user: &User) -> String {
    match user {
        User::LookUp { user, groups } => {
            let user = user.as_ref().map_or_else(|| "user 0:0".to_owned(), |user| format!("user {user}"));
            if groups.is_empty() { user } else { format!("{user} with {}", groups.join(", ")) }
        }
        User::Ids { uid, gid, groups } if groups.is_empty() => format!("user {uid}:{gid}"),
        User::Ids { uid, gid, groups } => format!("user {uid}:{gid} with {} more groups", groups.len()),
    }
}

/// `user and group ids 0-65535 to 536870912-536936447`, one range after the other.
fn mapped(ids: &IdMaps) -> String {
    let ranges = |maps: &[crate::spec::IdMap]| {
        let last = |first: u32, count: u32| u64::from(first) + u64::from(count.max(1)) - 1;
        let range = |map: &crate::spec::IdMap| {
            format!("{}-{} to {}-{}", map.inside, last(map.inside, map.count), map.outside, last(map.outside, map.count))
        };
        maps.iter().map(range).collect::<Vec<_>>().join(", ")
    };
    if ids.uids == ids.gids {
        format!("user and group ids {}", ranges(&ids.uids))
    } else {
        format!("user ids {}; group ids {}", ranges(&ids.uids), ranges(&ids.gids))
    }
}
