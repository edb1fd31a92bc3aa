//! Counting what a filter refuses, without weakening it.
//!
//! The kernel's log could tell (`SECCOMP_RET_LOG`), but drops lines where they come fast, is closed to whoever lives in a
//! container, and goes to auditd where that runs. So the calls that a filter would refuse with an errno are handed to the
//! monitor, which asks the *same* filter, as a program run over the call's numbers, and gives the caller that answer:
//!
//! ```text
//! program with "ask" in place of errnos ──▶ monitor: strict program says EPERM ──▶ count ──▶ EPERM
//! ```
//!
//! Nothing is read of the caller's memory, so nothing can be changed under the decision. A monitor that dies leaves callers
//! with `ENOSYS`, never with a permission. What ends a process stays in the program: no listener could answer so.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use belljar_linux::error::Context;
use belljar_linux::seccomp::notify::{self, Answer};
pub use belljar_model::recorded::Recorded;
use belljar_model::recorded::RecordedCall;
use libc::sock_filter;
use rustix::event::{PollFd, PollFlags};

use super::arch::Arch;
use super::machine::{Call, run};
use super::rules::{Case, Decision, Rules, Verdict};
use super::{Listener, Prepared, Record};

/// Calls told apart in one container; what comes beyond is counted together.
pub const CALLS_RECORDED_MAX: usize = 512;

/// Calls answered before the monitor looks at the container's outputs again.
const ANSWERED_AT_ONCE_MAX: usize = 64;

/// What a container's first process itself may call between loading the filter and becoming the program: nobody answers yet.
pub(super) const BEFORE_THE_PROGRAM: [&str; 15] = [
    "brk",
    "close",
    "close_range",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fcntl",
    "mmap",
    "munmap",
    "openat",
    "rt_sigprocmask",
    "write",
];

/// What it calls until the listener was taken from it. Whoever answers for a container may answer that too: it waits.
const UNTIL_TAKEN: &str = "read";

/// The rules with every refusal by errno handed to a listener.
pub fn asking(rules: &Rules) -> Rules {
    let ask = |verdict: Verdict| if matches!(verdict, Verdict::Errno(_)) { Verdict::Notify } else { verdict };
    let decision = |decision: &Decision| match decision {
        Decision::Plain(verdict) => Decision::Plain(ask(*verdict)),
        Decision::ByArguments(cases) => {
            let asking = |case: &Case| Case { conditions: case.conditions.clone(), verdict: ask(case.verdict) };
            Decision::ByArguments(cases.iter().map(asking).collect())
        }
    };
    let mut asked = rules.clone();
    asked.default = ask(rules.default);
    asked.newer = ask(rules.newer);
    asked.foreign = ask(rules.foreign);
    for part in &mut asked.parts {
        let own: Vec<u32> = BEFORE_THE_PROGRAM.iter().chain(&[UNTIL_TAKEN]).filter_map(|name| part.arch.number(name)).collect();
        for (number, found) in part.calls.iter_mut().filter(|(number, _)| !own.contains(number)) {
            debug_assert!(part.arch.calls().contains_key(number));
            *found = decision(found);
        }
        for number in own {
            let newer = part.newest.is_some_and(|newest| number > newest);
            part.calls.entry(number).or_insert(Decision::Plain(if newer { rules.newer } else { rules.default }));
        }
    }
    asked
}

/// Counts, and answers. One for a container, in its monitor.
#[derive(Debug)]
pub struct Recorder {
    strict: Vec<sock_filter>,
    record: Record,
    calls: BTreeMap<(u32, u32), Counted>,
    others: u64,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    count: u64,
    errno: u16,
    first_ms: i64,
    last_ms: i64,
}

/// What became of a look at the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// This many calls were answered.
    Answered(usize),
    /// No process has the filter any more.
    Over,
}

impl Recorder {
    /// The one of a filter that is counted.
    pub fn of(filter: &Prepared) -> Option<Self> {
        match &filter.listener {
            Listener::Recorder { strict, record } => Some(Self::new(strict.clone(), *record)),
            Listener::None | Listener::Agent { .. } => None,
        }
    }

    /// One that answers by `strict`.
    pub fn new(strict: Vec<sock_filter>, record: Record) -> Self {
        Self { strict, record, calls: BTreeMap::new(), others: 0 }
    }

    /// Answers the calls that wait, some at once and never waiting for more: for a poll loop, when the listener is ready.
    pub fn serve(&mut self, listener: &OwnedFd, now_ms: i64) -> belljar_linux::Result<Served> {
        for answered in 0..ANSWERED_AT_ONCE_MAX {
            let mut polled = [PollFd::new(listener, PollFlags::IN)];
            let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&none)))
                .context("wait for", || "seccomp notification".into())?;
            let ready = polled[0].revents();
            if !ready.contains(PollFlags::IN) {
                return Ok(if ready.is_empty() { Served::Answered(answered) } else { Served::Over });
            }
            if let Some(call) = notify::receive(listener.as_fd())? {
                notify::respond(listener.as_fd(), call.id, self.answer(&call, now_ms))?;
            }
        }
        Ok(Served::Answered(ANSWERED_AT_ONCE_MAX))
    }

    /// Counts a call and says what its caller gets.
    pub fn answer(&mut self, call: &notify::Call, now_ms: i64) -> Answer {
        let (verdict, _) = run(&self.strict, &Call { audit: call.architecture, number: call.number, arguments: call.arguments });
        // What the strict program would let through was not asked for: this cannot be, and is refused.
        let errno = if let Verdict::Errno(errno) = verdict { errno } else { libc::EPERM as u16 };
        self.count((call.architecture, call.number), errno, now_ms);
        if self.record == Record::LetThrough { Answer::Continue } else { Answer::Fail(errno) }
    }

    fn count(&mut self, call: (u32, u32), errno: u16, now_ms: i64) {
        let room = self.calls.len() < CALLS_RECORDED_MAX;
        match self.calls.get_mut(&call) {
            Some(counted) => *counted = Counted { count: counted.count + 1, errno, last_ms: now_ms, ..*counted },
            None if room => drop(self.calls.insert(call, Counted { count: 1, errno, first_ms: now_ms, last_ms: now_ms })),
            None => self.others += 1,
        }
    }

    /// What was counted so far, in the start `attempt`.
    pub fn recorded(&self, attempt: u64) -> Recorded {
        let mut calls: Vec<RecordedCall> = self.calls.iter().map(|((audit, number), counted)| counted.told(*audit, *number)).collect();
        calls.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name)));
        Recorded { attempt, let_through: self.record == Record::LetThrough, calls, others: self.others }
    }
}

impl Counted {
    fn told(&self, audit: u32, number: u32) -> RecordedCall {
        let arch = Arch::of_call(audit, number);
        let name = arch.and_then(|arch| arch.call(number)).map_or_else(|| format!("#{number}"), str::to_owned);
        let arch = arch.map_or_else(|| format!("{audit:#x}"), |arch| arch.short().to_owned());
        RecordedCall { name, arch, count: self.count, errno: self.errno, first_ms: self.first_ms, last_ms: self.last_ms }
    }
}
