//! The words that a document may use where the specification has a closed list. Anything else is refused by name.

/// An enum of words: each variant has exactly one spelling.
macro_rules! words {
    ($(#[$about:meta])* $name:ident ($what:literal) { $($(#[$note:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$note])* $variant),* }

        impl $name {
            /// Every one, in the specification's order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As the specification spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                let known = Self::ALL.iter().find(|known| known.as_str() == word);
                known.copied().ok_or_else(|| serde::de::Error::custom(format_args!("unknown {} {word:?}", $what)))
            }
        }
    };
}

words! {
    /// A kind of namespace.
    NamespaceKind ("namespace") {
        /// Process ids.
        Pid = "pid",
        /// Network devices and addresses.
        Network = "network",
        /// Mount points.
        Mount = "mount",
        /// System V and POSIX message queues.
        Ipc = "ipc",
        /// Hostname and domain name.
        Uts = "uts",
        /// User and group ids.
        User = "user",
        /// Root of the cgroup tree.
        Cgroup = "cgroup",
        /// Boot and monotonic clocks.
        Time = "time",
    }
}

words! {
    /// A clock of a time namespace.
    Clock ("clock") {
        /// Since some point, without what the machine slept.
        Monotonic = "monotonic",
        /// Since the boot, with what it slept.
        Boottime = "boottime",
    }
}

words! {
    /// A kind of device node.
    DeviceKind ("kind of device") {
        /// Character.
        Character = "c",
        /// Block.
        Block = "b",
        /// Character, unbuffered: the same as `c` on Linux.
        Unbuffered = "u",
        /// A pipe with a name.
        Fifo = "p",
    }
}

words! {
    /// How mounts and unmounts spread.
    Propagation ("propagation") {
        /// Both ways.
        Shared = "shared",
        /// Into it only.
        Slave = "slave",
        /// Not at all.
        Private = "private",
        /// Not at all, and it cannot be bound.
        Unbindable = "unbindable",
        /// Both ways, all below too.
        RecursivelyShared = "rshared",
        /// Into it only, all below too.
        RecursivelySlave = "rslave",
        /// Not at all, all below too.
        RecursivelyPrivate = "rprivate",
        /// Not at all and not bound, all below too.
        RecursivelyUnbindable = "runbindable",
    }
}

words! {
    /// A resource with a limit for each process (`getrlimit(2)`).
    RlimitKind ("rlimit") {
        /// Address space, bytes.
        As = "RLIMIT_AS",
        /// Core file, bytes.
        Core = "RLIMIT_CORE",
        /// Processor time, seconds.
        Cpu = "RLIMIT_CPU",
        /// Data segment, bytes.
        Data = "RLIMIT_DATA",
        /// Largest file, bytes.
        Fsize = "RLIMIT_FSIZE",
        /// File locks.
        Locks = "RLIMIT_LOCKS",
        /// Memory locked, bytes.
        Memlock = "RLIMIT_MEMLOCK",
        /// Bytes in POSIX message queues.
        Msgqueue = "RLIMIT_MSGQUEUE",
        /// Highest niceness.
        Nice = "RLIMIT_NICE",
        /// Open files.
        Nofile = "RLIMIT_NOFILE",
        /// Processes of the user.
        Nproc = "RLIMIT_NPROC",
        /// Memory in use, bytes.
        Rss = "RLIMIT_RSS",
        /// Highest real-time priority.
        Rtprio = "RLIMIT_RTPRIO",
        /// Real-time processor time, microseconds.
        Rttime = "RLIMIT_RTTIME",
        /// Signals queued.
        Sigpending = "RLIMIT_SIGPENDING",
        /// Stack, bytes.
        Stack = "RLIMIT_STACK",
    }
}

words! {
    /// A scheduling policy (`sched(7)`).
    SchedulerPolicy ("scheduling policy") {
        /// Time sharing.
        Other = "SCHED_OTHER",
        /// First in, first out.
        Fifo = "SCHED_FIFO",
        /// Round robin.
        RoundRobin = "SCHED_RR",
        /// For what nobody waits for.
        Batch = "SCHED_BATCH",
        /// Reserved by the kernel, never implemented.
        Iso = "SCHED_ISO",
        /// When nothing else wants to.
        Idle = "SCHED_IDLE",
        /// With a deadline.
        Deadline = "SCHED_DEADLINE",
    }
}

words! {
    /// A flag of scheduling (`sched_setattr(2)`).
    SchedulerFlag ("scheduling flag") {
        /// Children begin with the default policy.
        ResetOnFork = "SCHED_FLAG_RESET_ON_FORK",
        /// Unused time goes to others.
        Reclaim = "SCHED_FLAG_RECLAIM",
        /// Overruns are signalled.
        DeadlineOverrun = "SCHED_FLAG_DL_OVERRUN",
        /// The policy stays.
        KeepPolicy = "SCHED_FLAG_KEEP_POLICY",
        /// The parameters stay.
        KeepParams = "SCHED_FLAG_KEEP_PARAMS",
        /// A least utilisation.
        UtilClampMin = "SCHED_FLAG_UTIL_CLAMP_MIN",
        /// A highest utilisation.
        UtilClampMax = "SCHED_FLAG_UTIL_CLAMP_MAX",
    }
}

words! {
    /// A class of input and output (`ioprio_set(2)`).
    IoClass ("class of io priority") {
        /// First of all.
        RealTime = "IOPRIO_CLASS_RT",
        /// The default.
        BestEffort = "IOPRIO_CLASS_BE",
        /// When nobody else wants to.
        Idle = "IOPRIO_CLASS_IDLE",
    }
}

words! {
    /// An execution domain (`personality(2)`).
    PersonalityDomain ("execution domain") {
        /// The machine's own.
        Linux = "LINUX",
        /// Its 32-bit name.
        Linux32 = "LINUX32",
    }
}
