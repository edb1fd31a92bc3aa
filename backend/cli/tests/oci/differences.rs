//! Where runtimes answer differently, and why each of them may: the table of this suite. A sentence that holds for one
//! and not for another asks here, so that a difference is named, reasoned, printed and counted, and never a silence.

use crate::bed::Kind;

/// Both oracles.
const PEERS: &[Kind] = &[Kind::Runc, Kind::Crun];

/// One difference. The lint for dead code proves that each is asked for by a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    LooseIds,
    StatusOfPs,
    UnknownSignal,
    ListenFds,
    ListenFdsOfAnother,
    NoLandlock,
    SilentAbandon,
    StateAsWritten,
    IgnoredSignals,
    RecursiveShared,
    LeftCgroups,
    UnlimitedPids,
    NotifyAlone,
    NullDocument,
    LooseDevice,
    AnyVersion,
    SilentDebug,
    NoFeatures,
    NewerCalls,
    PathlessDevice,
    PoststartAtCreate,
    HookWithoutReading,
    StopsAtPoststop,
    RelativeHook,
    SharedRoot,
    LoosePropagation,
    HookTimeoutZero,
    SilentPoststart,
    StatusOfHooks,
    DanglingLink,
    NoIdmap,
    NeedlessMappings,
    JoinedUserNamespace,
    NoTimeNamespace,
    NoMountNamespace,
    RepeatedNamespace,
    LooseResume,
    CallersKeyring,
    ExecKeyring,
    ListenerAtStart,
    NobodyIsAsked,
    SparseListener,
    ExecLimits,
    RaisedOpenFiles,
    ExecUmask,
    ExecEnvironmentAlone,
    ExecFolder,
    ExecCapAlone,
    LooseTypes,
    WrappedUser,
    AdditionalGids,
    ExecWhilePaused,
    NeedlessConsole,
    PsTable,
    NoEvents,
    LooseNumbers,
    RelativeFolder,
    RepeatedLimit,
    SilentCapability,
    NoDomainName,
    NoPersonality,
    NoScheduler,
    NoIoPriority,
    HalfUpdates,
    NoDeviceUpdates,
    OpenStart,
    OpenDelete,
    OpenCreate,
}

impl Difference {
    /// Which runtimes answer differently, and why.
    fn reason(self) -> (&'static [Kind], &'static str) {
        match self {
            Self::LooseIds => (&[Kind::Crun], "it takes any id without a slash; the allowed characters are runc's own rule"),
            Self::StateAsWritten => (&[Kind::Crun], "its state repeats root.path as it was written"),
            Self::IgnoredSignals => {
                (PEERS, "what its caller ignores, the container ignores; ours starts every program with signals as at boot")
            }
            Self::StatusOfPs => (&[Kind::Crun], "its ps ends with the errno as status"),
            Self::UnknownSignal => (&[Kind::Crun], "it sends signal 0 for a name that it does not know"),
            Self::ListenFds => (&[Kind::Crun], "it passes the sockets and LISTEN_PID, but not LISTEN_FDS"),
            Self::ListenFdsOfAnother => (&[Kind::Crun], "it passes descriptors that LISTEN_PID says are another process's"),
            Self::NoLandlock => (PEERS, "they have no Landlock"),
            Self::SilentAbandon => (&[Kind::Crun], "it runs no poststop hook where a hook before the start failed"),
            Self::LooseResume => (&[Kind::Crun], "it resumes what is not paused"),
            Self::ExecLimits => (&[Kind::Crun], "its exec from words has neither the container's rlimits nor its oom_score_adj"),
            Self::CallersKeyring => (&[Kind::Crun], "its exec keeps the caller's session keyring"),
            Self::ExecKeyring => {
                (PEERS, "their exec has the caller's session keyring where the container was made with one; ours never has")
            }
            Self::ListenerAtStart => (
                &[Kind::Ours],
                "with no_new_privs the filter is the last thing before the program, and whoever answers is called then, when it is started",
            ),
            Self::SparseListener => (&[Kind::Crun], "of what enters, whoever listens is told neither the bundle nor the pid"),
            Self::NobodyIsAsked => (&[Kind::Crun], "without listenerPath it makes a filter that asks nobody"),
            Self::RaisedOpenFiles => (
                &[Kind::Runc],
                "the Go runtime in what enters raises open files to the hard limit when it begins, which may be after they were set from outside",
            ),
            Self::ExecUmask => (&[Kind::Runc], "its exec does not know umask"),
            Self::ExecEnvironmentAlone => (&[Kind::Crun], "--env is the whole environment, not one more variable"),
            Self::ExecFolder => (&[Kind::Crun], "its exec starts at / where no folder is given"),
            Self::ExecCapAlone => (&[Kind::Crun], "--cap is the whole of the sets, not one more"),
            Self::LooseTypes => (&[Kind::Crun], "it takes text for numbers"),
            Self::WrappedUser => (PEERS, "they take ids that do not fit, and wrap or truncate them"),
            Self::AdditionalGids => (&[Kind::Crun], "its exec has no option for supplementary groups"),
            Self::ExecWhilePaused => (&[Kind::Crun], "its exec enters the frozen cgroup and waits there"),
            Self::NeedlessConsole => (&[Kind::Crun], "it ignores a console socket that nobody needs"),
            Self::PsTable => (&[Kind::Crun], "its table has the pids alone"),
            Self::NoEvents => (&[Kind::Crun], "it has no events"),
            Self::LooseNumbers => (&[Kind::Crun], "it takes text for numbers, and numbers for objects"),
            Self::RelativeFolder => (&[Kind::Crun], "it takes a relative folder as below the root"),
            Self::RepeatedLimit => (PEERS, "they take a limit twice, where the specification demands an error"),
            Self::SilentCapability => (&[Kind::Crun], "it drops unknown capabilities without a word"),
            Self::NoDomainName => (PEERS, "they are older than domainname in the specification"),
            Self::NoPersonality => (&[Kind::Runc], "it is older than it learned personality"),
            Self::NoScheduler => (PEERS, "they are older than process.scheduler"),
            Self::NoIoPriority => (PEERS, "they are older than process.ioPriority"),
            Self::RepeatedNamespace => (&[Kind::Crun], "it takes a namespace twice"),
            Self::NoMountNamespace => (PEERS, "they mount into the host's own table where the container has none; ours refuses that"),
            Self::NoTimeNamespace => (PEERS, "they are older than time namespaces"),
            Self::JoinedUserNamespace => (&[Kind::Runc], "it wants mappings, which the joined namespace already has"),
            Self::NeedlessMappings => (PEERS, "they ignore mappings that no user namespace uses"),
            Self::NoIdmap => (PEERS, "they are older than mappings of a mount"),
            Self::DanglingLink => (&[Kind::Crun], "it does not make the target of a link that leads nowhere"),
            Self::StatusOfHooks => (PEERS, "they say created before it is, or while it runs"),
            Self::SilentPoststart => (&[Kind::Crun], "it says nothing of a poststart hook that failed"),
            Self::HookTimeoutZero => (&[Kind::Crun], "no time is no limit to it"),
            Self::LoosePropagation => (&[Kind::Crun], "it takes words that it does not know"),
            Self::SharedRoot => (PEERS, "they make the mount that the root is on private first, and so the root"),
            Self::RelativeHook => (&[Kind::Crun], "it takes a relative path"),
            Self::StopsAtPoststop => (&[Kind::Runc], "it runs no poststop hook after one that failed"),
            Self::HookWithoutReading => (&[Kind::Crun], "it dies of SIGPIPE where a hook does not read the state"),
            Self::PoststartAtCreate => (&[Kind::Runc], "it runs poststart hooks at the end of create"),
            Self::PathlessDevice => (PEERS, "they make nothing of a device without a path"),
            Self::NewerCalls => (&[Kind::Crun], "it gives every call that the profile does not know the profile's own error"),
            Self::NoFeatures => (&[Kind::Crun], "it is older than features"),
            Self::SilentDebug => (&[Kind::Crun], "it has little to say"),
            Self::AnyVersion => (&[Kind::Runc], "it does not look at the version"),
            Self::LooseDevice => (&[Kind::Crun], "it makes a device of a type that there is not"),
            Self::NullDocument => (&[Kind::Runc], "it dies of a nil pointer where the document is null"),
            Self::NotifyAlone => (&[Kind::Crun], "its detached run waits for more than READY=1"),
            Self::UnlimitedPids => (&[Kind::Crun], "it writes the number -1, which the kernel refuses"),
            Self::LeftCgroups => (&[Kind::Crun], "it leaves the cgroups of a creation that failed"),
            Self::HalfUpdates => (PEERS, "what came before the value that was refused stays"),
            Self::NoDeviceUpdates => (PEERS, "their update drops devices"),
            Self::OpenStart => (&[Kind::Runc], "one of two starts may wait forever"),
            Self::OpenDelete => (PEERS, "their start and delete do not keep each other out"),
            Self::OpenCreate => (&[Kind::Runc], "two creations of one id may undo each other's"),
            Self::RecursiveShared => (&[Kind::Crun], "it makes no mount shared"),
        }
    }

    /// Whether `kind` answers differently; then prints the reason, which `cargo xtask test` counts.
    pub(crate) fn holds_for(self, kind: Kind) -> bool {
        let (kinds, reason) = self.reason();
        let differs = kinds.contains(&kind);
        if differs {
            println!("differs: {kind:?}: {reason}");
        }
        differs
    }
}
