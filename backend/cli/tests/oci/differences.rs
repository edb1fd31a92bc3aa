//! Where runtimes answer differently, and why each of them may: the table of this suite. A sentence that holds for one
//! and not for another asks here, so that a difference is named, reasoned, printed and counted, and never a silence.

use crate::bed::Kind;

/// Makes the differences of their table: a name, which runtimes answer differently, and why.
macro_rules! differences {
    ($($name:ident: [$($kind:ident),+], $reason:literal;)+) => {
        /// One difference. The lint for dead code proves that each is asked for by a sentence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Difference {
            $($name),+
        }

        impl Difference {
            fn reason(self) -> (&'static [Kind], &'static str) {
                match self {
                    $(Self::$name => (&[$(Kind::$kind),+], $reason)),+
                }
            }
        }
    };
}

differences! {
    LooseIds: [Crun], "it takes any id without a slash; the allowed characters are runc's own rule";
    StatusOfPs: [Crun], "its ps ends with the errno as status";
    UnknownSignal: [Crun], "it sends signal 0 for a name that it does not know";
    ListenFds: [Crun], "it passes the sockets and LISTEN_PID, but not LISTEN_FDS";
    ListenFdsOfAnother: [Crun], "it passes descriptors that LISTEN_PID says are another process's";
    NoLandlock: [Runc, Crun], "they have no Landlock";
    SilentAbandon: [Crun], "it runs no poststop hook where a hook before the start failed";
    StateAsWritten: [Crun], "its state repeats root.path as it was written";
    IgnoredSignals: [Runc, Crun], "what its caller ignores, the container ignores; ours starts every program with signals as at boot";
    RecursiveShared: [Crun], "it makes no mount shared";
    LeftCgroups: [Crun], "it leaves the cgroups of a creation that failed";
    UnlimitedPids: [Crun], "it writes the number -1, which the kernel refuses";
    NotifyAlone: [Crun], "its detached run waits for more than READY=1";
    NullDocument: [Runc], "it dies of a nil pointer where the document is null";
    LooseDevice: [Crun], "it makes a device of a type that there is not";
    AnyVersion: [Runc], "it does not look at the version";
    SilentDebug: [Crun], "it has little to say";
    NoFeatures: [Crun], "it is older than features";
    NewerCalls: [Crun], "it gives every call that the profile does not know the profile's own error";
    PathlessDevice: [Runc, Crun], "they make nothing of a device without a path";
    PoststartAtCreate: [Runc], "it runs poststart hooks at the end of create";
    HookWithoutReading: [Crun], "it dies of SIGPIPE where a hook does not read the state";
    StopsAtPoststop: [Runc], "it runs no poststop hook after one that failed";
    RelativeHook: [Crun], "it takes a relative path";
    SharedRoot: [Runc, Crun], "they make the mount that the root is on private first, and so the root";
    LoosePropagation: [Crun], "it takes words that it does not know";
    HookTimeoutZero: [Crun], "no time is no limit to it";
    SilentPoststart: [Crun], "it says nothing of a poststart hook that failed";
    StatusOfHooks: [Runc, Crun], "they say created before it is, or while it runs";
    DanglingLink: [Crun], "it does not make the target of a link that leads nowhere";
    NoIdmap: [Runc, Crun], "they are older than mappings of a mount";
    NeedlessMappings: [Runc, Crun], "they ignore mappings that no user namespace uses";
    JoinedUserNamespace: [Runc], "it wants mappings, which the joined namespace already has";
    NoTimeNamespace: [Runc, Crun], "they are older than time namespaces";
    NoMountNamespace: [Runc, Crun], "they mount into the host's own table where the container has none; ours refuses that";
    RepeatedNamespace: [Crun], "it takes a namespace twice";
    LooseResume: [Crun], "it resumes what is not paused";
    CallersKeyring: [Crun], "its exec keeps the caller's session keyring";
    ExecKeyring: [Runc, Crun], "their exec has the caller's session keyring where the container was made with one; ours never has";
    ListenerAtStart: [Ours], "with no_new_privs the filter is the last thing before the program, and whoever answers is called then, when it is started";
    NobodyIsAsked: [Crun], "without listenerPath it makes a filter that asks nobody";
    SparseListener: [Crun], "of what enters, whoever listens is told neither the bundle nor the pid";
    ExecLimits: [Crun], "its exec from words has neither the container's rlimits nor its oom_score_adj";
    RaisedOpenFiles: [Runc], "the Go runtime in what enters raises open files to the hard limit when it begins, which may be after they were set from outside";
    ExecUmask: [Runc], "its exec does not know umask";
    ExecEnvironmentAlone: [Crun], "--env is the whole environment, not one more variable";
    ExecFolder: [Crun], "its exec starts at / where no folder is given";
    ExecCapAlone: [Crun], "--cap is the whole of the sets, not one more";
    LooseTypes: [Crun], "it takes text for numbers";
    WrappedUser: [Runc, Crun], "they take ids that do not fit, and wrap or truncate them";
    AdditionalGids: [Crun], "its exec has no option for supplementary groups";
    ExecWhilePaused: [Crun], "its exec enters the frozen cgroup and waits there";
    NeedlessConsole: [Crun], "it ignores a console socket that nobody needs";
    PsTable: [Crun], "its table has the pids alone";
    NoEvents: [Crun], "it has no events";
    LooseNumbers: [Crun], "it takes text for numbers, and numbers for objects";
    RelativeFolder: [Crun], "it takes a relative folder as below the root";
    RepeatedLimit: [Runc, Crun], "they take a limit twice, where the specification demands an error";
    SilentCapability: [Crun], "it drops unknown capabilities without a word";
    NoDomainName: [Runc, Crun], "they are older than domainname in the specification";
    NoPersonality: [Runc], "it is older than it learned personality";
    NoScheduler: [Runc, Crun], "they are older than process.scheduler";
    NoIoPriority: [Runc, Crun], "they are older than process.ioPriority";
    HalfUpdates: [Runc, Crun], "what came before the value that was refused stays";
    NoDeviceUpdates: [Runc, Crun], "their update drops devices";
    OpenStart: [Runc], "one of two starts may wait forever";
    OpenDelete: [Runc, Crun], "their start and delete do not keep each other out";
    OpenCreate: [Runc], "two creations of one id may undo each other's";
    SetupOfTheHost: [Runc], "unless all is rprivate or rslave, what it mounts is the host's too";
    UnknownToHooks: [Runc, Crun], "they know nothing of a container, nor of its hook, before it is created";
    FrozenKill: [Crun], "what it kills while it is frozen stays so, and alive";
    CreatedOutputs: [Runc], "its create leaves pipes to the host's root, where its run does not";
    ExecOutputs: [Crun], "its exec leaves pipes to the host's root, where its run does not";
    QueuesOfNobodysGroup: [Runc], "it makes the ipc namespace as the container's root, but with the host's group";
    GivenFiles: [Runc, Crun], "they give the caller's own files to the container's user";
    LinearShares: [Runc, Crun], "to them shares are a weight of version 2 on a straight line, on which the usual 1024 are not the usual 100";
    RefusedKernelMemory: [Crun], "it refuses the limit on version 2, where ours says that it is without effect, as on version 1";
    EscapingCgroup: [Crun], "on version 2 it makes the folder outside of the cgroups, and fails at what it does not find there";
    SilentKernelMemory: [Crun], "it writes the limit to a file that the kernel no longer looks at, and says nothing";
}

impl Difference {
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
