//! How a container's program ended, told as a sentence. An exit is data, not a number.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Signal, size};

/// How and when a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// What ended it.
    pub cause: Cause,
    /// What the kernel counted of memory kills while it ran; `None` where there were none.
    pub out_of_memory: Option<OutOfMemory>,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
}

/// What ended a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// Its first process called `exit`.
    Exited {
        /// Exit status, 0 to 255.
        code: u8,
    },
    /// Its first process was ended by a signal.
    Signaled {
        /// The signal.
        signal: Signal,
    },
    /// Its program never began.
    NeverStarted(Failure),
    /// The machine or its monitor went away, and nobody saw how it ended.
    Lost {
        /// What is known.
        why: String,
    },
}

/// A failure told as *step, object, cause*.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step} {object}: {cause}")]
pub struct Failure {
    /// The step of the plan, by its verb: `mount`, `exec`.
    pub step: String,
    /// What it was done to: `proc at /proc`.
    pub object: String,
    /// Why it failed: the kernel's word and its meaning, `EPERM: operation not permitted`.
    pub cause: String,
}

/// Kills by the kernel because a memory limit was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfMemory {
    /// Processes killed: `oom_kill` of `memory.oom_control` (v1) or `memory.events` (v2).
    pub kills: u64,
    /// The limit at that time, in bytes; `None` where the container had none and the host ran out.
    pub limit_bytes: Option<u64>,
    /// Most memory that it ever had, in bytes: `memory.max_usage_in_bytes` (v1), `memory.peak` (v2, Linux 5.19).
    pub peak_bytes: Option<u64>,
    /// The last process killed, from the kernel's log; `None` where that cannot be read.
    pub victim: Option<Victim>,
    /// Whether somebody saw the container go on after the last of them: then they are not what ended it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub went_on: bool,
}

/// A process that the kernel killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victim {
    /// Process id as the host saw it.
    pub pid: i32,
    /// Its name, as in `/proc/<pid>/comm`.
    pub command: String,
}

impl Exit {
    /// Whether the end itself was a memory kill, rather than one of several processes on the way.
    pub fn is_out_of_memory(&self) -> bool {
        let killed = matches!(self.cause, Cause::Signaled { signal: Signal::KILL } | Cause::Exited { code: 137 });
        killed && self.out_of_memory.as_ref().is_some_and(|kill| !kill.went_on)
    }

    /// Whether its program ended by itself with status 0.
    pub fn is_success(&self) -> bool {
        self.cause == Cause::Exited { code: 0 }
    }

    /// One word for the kind of end: `exited`, `signaled`, `out_of_memory`, `never_started`, `lost`.
    pub fn kind(&self) -> &'static str {
        match self.cause {
            _ if self.is_out_of_memory() => "out_of_memory",
            Cause::Exited { .. } => "exited",
            Cause::Signaled { .. } => "signaled",
            Cause::NeverStarted(_) => "never_started",
            Cause::Lost { .. } => "lost",
        }
    }

    /// The number that a shell would show: the exit code, 128 + signal, 127/126 or 125 for what never started.
    pub fn shell_code(&self) -> Option<u8> {
        match &self.cause {
            Cause::Exited { code } => Some(*code),
            Cause::Signaled { signal } => u8::try_from(128 + signal.number()).ok(),
            Cause::NeverStarted(failure) if failure.step != "exec" => Some(125),
            Cause::NeverStarted(failure) if failure.cause.starts_with("ENOENT") => Some(127),
            Cause::NeverStarted(_) => Some(126),
            Cause::Lost { .. } => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cause, &self.out_of_memory) {
            (_, Some(kill)) if self.is_out_of_memory() => write!(formatter, "out of memory, {kill}"),
            (Cause::Exited { code }, None) => write!(formatter, "exited with code {code}"),
            (Cause::Exited { code }, Some(kill)) => write!(formatter, "exited with code {code}; before that out of memory, {kill}"),
            (Cause::Signaled { signal }, None) => write!(formatter, "ended by {signal}"),
            (Cause::Signaled { signal }, Some(kill)) => write!(formatter, "ended by {signal}; before that out of memory, {kill}"),
            (Cause::NeverStarted(failure), _) => write!(formatter, "never started: {failure}"),
            (Cause::Lost { why }, _) => write!(formatter, "lost: {why}"),
        }
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit_bytes {
            Some(limit) => write!(formatter, "limit {}", size::display(limit))?,
            None => formatter.write_str("no limit of its own: the host ran out")?,
        }
        match self.peak_bytes {
            Some(peak) => write!(formatter, ", peak {}", size::display(peak))?,
            None => formatter.write_str(", peak unknown")?,
        }
        match &self.victim {
            Some(victim) => write!(formatter, ", process {} (pid {})", victim.command, victim.pid),
            None => formatter.write_str(", process unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(limit_bytes: Option<u64>) -> Option<OutOfMemory> {
        let victim = Some(Victim { pid: 7, command: "tail".into() });
        Some(OutOfMemory { kills: 1, limit_bytes, peak_bytes: Some(4 << 20), victim, went_on: false })
    }

    #[test]
    fn an_end_by_memory_says_limit_peak_and_process() {
        let exit = Exit { cause: Cause::Signaled { signal: Signal::KILL }, out_of_memory: kill(Some(4 << 20)), at_ms: 0 };
        assert_eq!(exit.to_string(), "out of memory, limit 4 MiB, peak 4 MiB, process tail (pid 7)");
        assert_eq!((exit.kind(), exit.shell_code()), ("out_of_memory", Some(137)));
    }

    #[test]
    fn a_child_killed_on_the_way_does_not_hide_how_the_program_ended() {
        let exit = Exit { cause: Cause::Exited { code: 3 }, out_of_memory: kill(None), at_ms: 0 };
        assert_eq!(exit.kind(), "exited");
        assert!(exit.to_string().starts_with("exited with code 3; before that out of memory"));
    }

    #[test]
    fn a_kill_that_the_container_outlived_is_not_what_ended_it() {
        let out_of_memory = kill(Some(4 << 20)).map(|kill| OutOfMemory { went_on: true, ..kill });
        let exit = Exit { cause: Cause::Signaled { signal: Signal::KILL }, out_of_memory, at_ms: 0 };
        assert_eq!(exit.kind(), "signaled");
        assert!(exit.to_string().starts_with("ended by SIGKILL; before that out of memory, limit 4 MiB"));
        let written = serde_json::to_string(&kill(None)).expect("JSON");
        assert!(!written.contains("went_on"), "what is not so is not written: {written}");
    }

    #[test]
    fn a_program_that_never_began_names_its_step() {
        let failure = Failure { step: "exec".into(), object: "nope".into(), cause: "ENOENT: no such file or directory".into() };
        let exit = Exit { cause: Cause::NeverStarted(failure), out_of_memory: None, at_ms: 0 };
        assert_eq!(exit.to_string(), "never started: exec nope: ENOENT: no such file or directory");
        assert_eq!(exit.shell_code(), Some(127));
    }
}
