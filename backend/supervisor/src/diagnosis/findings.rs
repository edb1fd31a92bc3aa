//! From what is known of a container to what a person would want to know: one pure function, [`findings`].
//!
//! It must never know where its facts come from, nor ask for more: no file, no clock, no database. What ended is told by
//! [`super::end`]; what still runs is judged here.

use std::collections::BTreeMap;

use belljar_model::diagnosis::{Finding, FindingKind, Gravity};
use belljar_model::health::{Health, HealthStatus};
use belljar_model::overlay::LayerQuota;
use belljar_model::{Container, State, size};

use super::end;
use super::layer;
use super::minute::Minute;
use super::words::{ago, in_the_last, of_the_last, percent, times};
use crate::task::command_words;

/// From this share of its time on, what holds a container up is worth a sentence, in percent.
pub(super) const WAITING_PERCENT_MIN: f64 = 10.0;
/// From this share of its limit on, a container is close to it, in percent.
pub(super) const NEAR_PERCENT_MIN: f64 = 90.0;
/// A kill for memory is news for so long, in milliseconds; after that it is a note.
const KILL_IS_NEWS_MS: i64 = 600_000;

/// What is known of a container.
pub(super) struct Facts<'a> {
    pub(super) container: &'a Container,
    /// Its last minute; `None` where it was not measured.
    pub(super) minute: Option<&'a Minute>,
    /// The last time that the kernel killed a process of it, in this life.
    pub(super) kill: Option<&'a Kill>,
    /// What its checks found.
    pub(super) health: &'a Health,
    /// What its own layer takes and may; `None` where nobody counts or nobody asked.
    pub(super) layer: Option<LayerQuota>,
    /// For each figure of its usage: the kernel's file.
    pub(super) sources: &'a BTreeMap<String, String>,
    pub(super) now_ms: i64,
}

/// Processes that the kernel killed for memory while the container went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kill {
    /// When, in Unix milliseconds.
    pub(crate) at_ms: i64,
    /// What was told of it, as a clause: `a process of it, java (pid 7), was killed by OOM at 512 MiB`.
    pub(crate) text: String,
}

/// What there is to say about a container, the worst first. Nothing, where all is well.
pub(super) fn findings(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = match facts.container.state {
        State::Creating => Vec::new(),
        State::Created => layer::finding(facts).into_iter().collect(),
        State::Stopped => end::finding(facts).into_iter().chain(layer::finding(facts)).collect(),
        State::Running | State::Paused => {
            let ended = end::earlier_life(facts).into_iter().chain(killed(facts)).chain(unhealthy(facts)).chain(layer::finding(facts));
            ended.chain(facts.minute.map(|minute| of_minute(facts, minute)).unwrap_or_default()).collect()
        }
    };
    // Of those that are as bad, what was put first stays first: what broke, then what it lacks most often.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.gravity));
    found
}

fn of_minute(facts: &Facts<'_>, minute: &Minute) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    found.extend(pids(facts, minute));
    found.extend(throttled(facts, minute));
    // Who is held back by a limit waits for a processor, too: that is one finding, not two.
    if found.iter().all(|finding| finding.kind != FindingKind::CpuThrottled) {
        found.extend(waits_for_cpu(facts, minute));
    }
    found.extend(near_memory_limit(facts, minute));
    found.extend(waits_for_memory(facts, minute));
    found.extend(waits_for_disk(facts, minute));
    found
}

fn killed(facts: &Facts<'_>) -> Option<Finding> {
    let kill = facts.kill?;
    let is_news = facts.now_ms.saturating_sub(kill.at_ms) < KILL_IS_NEWS_MS;
    Some(Finding {
        kind: FindingKind::OutOfMemory,
        gravity: if is_news { Gravity::Error } else { Gravity::Warning },
        text: format!("{}, {}", kill.text, ago(kill.at_ms, facts.now_ms)),
        advice: more_memory(facts.container),
        sources: facts.of(&["oom_kills_total"]),
    })
}

/// What its own check says: it runs, but does not do its work.
fn unhealthy(facts: &Facts<'_>) -> Option<Finding> {
    let health = Some(facts.health).filter(|health| health.status == HealthStatus::Unhealthy)?;
    let checks = match health.failing_streak {
        1 => "1 check".to_owned(),
        streak => format!("{streak} checks"),
    };
    let reason = health.log.last().map(|checked| format!(": {}", checked.reason())).unwrap_or_default();
    let command = facts.container.config.health_check().map(|check| command_words(&check.command)).unwrap_or_default();
    Some(Finding {
        kind: FindingKind::Unhealthy,
        gravity: Gravity::Error,
        text: format!("unhealthy for {checks}{reason}"),
        advice: "its program runs, but its check fails: look at its log, or restart it".to_owned(),
        sources: vec![format!("health check: {command}")],
    })
}

fn throttled(facts: &Facts<'_>, minute: &Minute) -> Option<Finding> {
    let share = minute.throttled_percent.filter(|share| *share >= WAITING_PERCENT_MIN)?;
    let limit = facts.container.config.limits.cpus;
    Some(Finding {
        kind: FindingKind::CpuThrottled,
        gravity: Gravity::Warning,
        text: held_back(share, minute.span_ms),
        advice: limit.map_or(String::new(), |cpus| format!("raise limits.cpus above {cpus}, if it should be faster")),
        sources: facts.of(&["cpu_throttled_periods_total"]),
    })
}

/// `held back by its cpu limit 41 % of the last minute`.
pub(super) fn held_back(share: f64, span_ms: i64) -> String {
    format!("held back by its cpu limit {} {}", percent(share), of_the_last(span_ms))
}

/// What is waited for, in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    Cpu,
    Memory,
    Io,
}

impl Lack {
    pub(super) const ALL: [Lack; 3] = [Lack::Cpu, Lack::Memory, Lack::Io];

    /// `waiting for disk 12 % of the last minute`: the kernel's own mean, which it forms over a minute.
    pub(super) fn sentence(self, share: f64) -> String {
        let what = match self {
            Lack::Cpu => "a processor",
            Lack::Memory => "memory",
            Lack::Io => "disk",
        };
        format!("waiting for {what} {} of the last minute", percent(share))
    }

    /// How much of the last minute was spent on it, in percent; `None` where the kernel does not measure it.
    pub(super) fn share(self, minute: &Minute) -> Option<f64> {
        match self {
            Lack::Cpu => minute.now.waits.cpu,
            Lack::Memory => minute.now.waits.memory,
            Lack::Io => minute.now.waits.io,
        }
    }

    fn finding(self, facts: &Facts<'_>, minute: &Minute, advice: String) -> Option<Finding> {
        let share = self.share(minute).filter(|share| *share >= WAITING_PERCENT_MIN)?;
        let (kind, field) = match self {
            Lack::Cpu => (FindingKind::CpuPressure, "pressure.cpu"),
            Lack::Memory => (FindingKind::MemoryPressure, "pressure.memory"),
            Lack::Io => (FindingKind::IoPressure, "pressure.io"),
        };
        Some(Finding { kind, gravity: Gravity::Warning, text: self.sentence(share), advice, sources: facts.of(&[field]) })
    }
}

fn waits_for_cpu(facts: &Facts<'_>, minute: &Minute) -> Option<Finding> {
    let advice = "more wants to run than this host has processors for: give it a higher limits.cpu_weight, or run less beside it";
    Lack::Cpu.finding(facts, minute, advice.to_owned())
}

fn waits_for_memory(facts: &Facts<'_>, minute: &Minute) -> Option<Finding> {
    let limits = &facts.container.config.limits;
    let used = minute.now.memory_bytes;
    let is_slowed = limits.memory_high_bytes.filter(|high| used.is_some_and(|used| near(used, *high)));
    let advice = match (is_slowed, limits.memory_bytes) {
        (Some(high), _) => format!("above {} it is slowed on purpose: raise limits.memory_high_bytes", size::display(high)),
        (None, Some(_)) => more_memory(facts.container),
        (None, None) => "the host is short of memory: run less beside it, or give it a limits.memory_reservation_bytes".to_owned(),
    };
    Lack::Memory.finding(facts, minute, advice)
}

fn waits_for_disk(facts: &Facts<'_>, minute: &Minute) -> Option<Finding> {
    let limits = &facts.container.config.limits;
    let advice = match limits.io.iter().any(|limit| limit.rates().iter().any(|(_, rate)| rate.is_some())) {
        true => "its own limits.io may be what it waits for: raise them, if it should be faster",
        false => "the disk is busy, or slow: see which container writes most in belljar stats",
    };
    Lack::Io.finding(facts, minute, advice.to_owned())
}

fn near_memory_limit(facts: &Facts<'_>, minute: &Minute) -> Option<Finding> {
    let (used, limit) = near_limit(minute.now.memory_bytes, minute.now.memory_bytes_max)?;
    let share = percent(used as f64 / limit as f64 * 100.0);
    let hits = match minute.memory_hits {
        0 => String::new(),
        hits => format!(", and came up against that {} {}", times(hits), in_the_last(minute.span_ms)),
    };
    Some(Finding {
        kind: FindingKind::MemoryNearLimit,
        gravity: Gravity::Warning,
        text: format!("uses {} of the {} of memory that it may ({share}){hits}", size::display(used), size::display(limit)),
        advice: more_memory(facts.container),
        sources: facts.of(&["memory_working_set_bytes", "memory_bytes_max", "memory_limit_hits_total"]),
    })
}

fn pids(facts: &Facts<'_>, minute: &Minute) -> Option<Finding> {
    let sample = &minute.now;
    let advice = sample.pids_max.map_or(String::new(), |limit| format!("raise limits.pids above {limit}, or find out what starts so many"));
    let found = |gravity, text, fields: &[&str]| {
        Some(Finding { kind: FindingKind::PidsLimit, gravity, text, advice: advice.clone(), sources: facts.of(fields) })
    };
    if minute.pids_hits > 0 {
        let text = format!("{} {}", refused(minute.pids_hits, sample.pids_max), in_the_last(minute.span_ms));
        return found(Gravity::Error, text, &["pids_limit_hits_total", "pids_max"]);
    }
    if let Some((used, limit)) = near_limit(sample.pids, sample.pids_max) {
        let text = format!("has {used} of the {limit} processes and threads that it may");
        return found(Gravity::Warning, text, &["pids", "pids_max"]);
    }
    let earlier = sample.pids_hits_total.filter(|hits| *hits > 0)?;
    found(Gravity::Note, format!("{} since its start", refused(earlier, sample.pids_max)), &["pids_limit_hits_total", "pids_max"])
}

/// `came up against its limit of 16 processes and threads 3 times`: so many new ones were refused.
pub(super) fn refused(hits: u64, limit: Option<u64>) -> String {
    let limit = limit.map_or(String::new(), |limit| format!(" of {limit} processes and threads"));
    match hits {
        1 => format!("a new process was refused at its limit{limit}"),
        hits => format!("{hits} new processes were refused at its limit{limit}"),
    }
}

/// Both, where the first is close to the second.
pub(super) fn near_limit(used: Option<u64>, limit: Option<u64>) -> Option<(u64, u64)> {
    used.zip(limit).filter(|(used, limit)| near(*used, *limit))
}

fn near(used: u64, limit: u64) -> bool {
    used as f64 >= limit as f64 * NEAR_PERCENT_MIN / 100.0
}

/// What helps a container that has too little memory.
pub(super) fn more_memory(container: &Container) -> String {
    match container.config.limits.memory_bytes {
        Some(limit) => format!("raise limits.memory_bytes above {}, or let its program use less", size::display(limit)),
        None => "the host itself ran out of memory: limit what uses most, see belljar stats".to_owned(),
    }
}

impl Facts<'_> {
    /// The kernel's files of these figures, each once.
    pub(super) fn of(&self, fields: &[&str]) -> Vec<String> {
        let mut files: Vec<String> = Vec::new();
        for file in fields.iter().filter_map(|field| self.sources.get(*field)) {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
        files
    }
}
