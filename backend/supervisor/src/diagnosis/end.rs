//! Why a container died: its exit, as a finding with advice.
//!
//! As [`super::findings`], it knows facts alone.

use belljar_model::diagnosis::{Finding, FindingKind, Gravity};
use belljar_model::exit::{Cause, Exit, Failure, OutOfMemory};
use belljar_model::{Signal, Wanted, size};

use super::findings::{Facts, more_memory};
use super::words::{ago, times};

/// An earlier life is worth a sentence for so long, in milliseconds.
const EARLIER_MS_MAX: i64 = 3_600_000;
/// Exit codes above this are, by a shell's custom, the number of a signal that ended a program of it.
const SIGNAL_CODE: u8 = 128;

/// What ended a container that rests.
pub(super) fn finding(facts: &Facts<'_>) -> Option<Finding> {
    let exit = facts.container.exit.as_ref()?;
    let asked = was_asked_for(facts, exit);
    let text = format!("{}, {}", clause(exit), ago(exit.at_ms, facts.now_ms));
    Some(Finding {
        kind: kind(exit),
        gravity: if asked { Gravity::Note } else { gravity(exit) },
        text,
        advice: advice(facts, exit),
        sources: sources(exit),
    })
}

/// Whether a person wanted it to end. One that never started is left alone afterwards, but nobody wanted that.
fn was_asked_for(facts: &Facts<'_>, exit: &Exit) -> bool {
    let ran = matches!(exit.cause, Cause::Exited { .. } | Cause::Signaled { .. });
    let killed = exit.out_of_memory.as_ref().is_some_and(|kill| !kill.went_on);
    facts.container.wanted == Wanted::Stopped && ran && !killed
}

/// How the life before this one ended, where the restart policy began this one not long ago.
pub(super) fn earlier_life(facts: &Facts<'_>) -> Option<Finding> {
    let container = facts.container;
    let exit = container.exit.as_ref().filter(|exit| facts.now_ms.saturating_sub(exit.at_ms) < EARLIER_MS_MAX)?;
    if container.restarts == 0 {
        return None;
    }
    let again = times(u64::from(container.restarts));
    let text =
        format!("was started again {again} by its restart policy; its last life: {}, {}", clause(exit), ago(exit.at_ms, facts.now_ms));
    let gravity = if exit.is_success() { Gravity::Note } else { Gravity::Warning };
    Some(Finding { kind: kind(exit), gravity, text, advice: advice(facts, exit), sources: sources(exit) })
}

fn kind(exit: &Exit) -> FindingKind {
    if exit.is_out_of_memory() { FindingKind::OutOfMemory } else { FindingKind::Ended }
}

fn gravity(exit: &Exit) -> Gravity {
    if exit.is_success() && exit.out_of_memory.is_none() { Gravity::Note } else { Gravity::Error }
}

fn sources(exit: &Exit) -> Vec<String> {
    // The folder of these files is gone with the container; who looks there finds out only what they were called.
    let files = ["oom_kill of memory.oom_control or memory.events", "memory.max_usage_in_bytes or memory.peak"];
    exit.out_of_memory.iter().flat_map(|_| files).map(str::to_owned).collect()
}

/// `killed by OOM at 512 MiB, by java (pid 7)`, or how else it ended.
fn clause(exit: &Exit) -> String {
    match &exit.out_of_memory {
        Some(kill) if exit.is_out_of_memory() => killed(kill),
        Some(kill) => format!("{}; before that a process of it was {}", bare(exit), killed(kill)),
        None => exit.to_string(),
    }
}

/// Without the kill that it tells of as well.
fn bare(exit: &Exit) -> String {
    Exit { out_of_memory: None, ..exit.clone() }.to_string()
}

fn killed(kill: &OutOfMemory) -> String {
    let place = kill.limit_bytes.map_or(", of the whole host".to_owned(), |limit| format!(" at {}", size::display(limit)));
    let victim = kill.victim.as_ref().map_or(String::new(), |victim| format!(", by {} (pid {})", victim.command, victim.pid));
    format!("killed by OOM{place}{victim}")
}

fn advice(facts: &Facts<'_>, exit: &Exit) -> String {
    let container = facts.container;
    match &exit.cause {
        _ if was_asked_for(facts, exit) => String::new(),
        _ if exit.out_of_memory.is_some() => more_memory(container),
        Cause::Exited { code: 0 } => String::new(),
        Cause::Exited { code } => of_code(*code),
        Cause::Signaled { signal } => of_signal(*signal).to_owned(),
        Cause::NeverStarted(failure) => of_failure(failure).to_owned(),
        Cause::Lost { .. } => "its log and the host's may say more".to_owned(),
    }
}

fn of_code(code: u8) -> String {
    let signal = code.checked_sub(SIGNAL_CODE).and_then(|number| Signal::from_number(i32::from(number)));
    match (code, signal) {
        (126, _) => "126 is how a shell says that it could not execute a program: look at its rights and its format".to_owned(),
        (127, _) => "127 is how a shell says that there is no such program: look at its name and at PATH".to_owned(),
        (code, Some(signal)) => format!("{code} is how a shell says that a program was ended by {signal}"),
        _ => "its log says why".to_owned(),
    }
}

fn of_signal(signal: Signal) -> &'static str {
    match signal {
        Signal::KILL => "the kernel counted no lack of memory in it: somebody on the host, or a process of its own, killed it",
        Signal::TERM => "somebody on the host, or a process of its own, asked it to end",
        _ => "where nobody sent the signal, it is a mistake in the program; its log may say more",
    }
}

fn of_failure(failure: &Failure) -> &'static str {
    match (failure.step.as_str(), failure.cause.split(':').next().unwrap_or_default()) {
        ("exec", "ENOENT") => "the program is not in the image, or the interpreter that it names is not",
        ("exec", "EACCES") => "the program is there, but may not be executed by this user",
        ("exec", "ENOEXEC") => "the program is of another processor's kind, or a script without its first line",
        (_, "ENOSPC") => "there is no room left: on a disk, or in a table of the kernel",
        _ => "belljar plan shows the steps before it",
    }
}
