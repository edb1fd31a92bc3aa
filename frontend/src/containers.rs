//! The list of containers, and its live parts: one row each, the figures of a row, the summary.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use belljar_model::diagnosis::{Finding, FindingKind, Gravity};
use belljar_model::health::{Health, HealthStatus};
use belljar_model::usage::Usage;
use belljar_model::{Container, ContainerId, State, warning};

use crate::container::{Action, actions, health_tone, tone};
use crate::frame::{Page, Section};
use crate::live::Stream;
use crate::words::Ending;
use crate::{Error, Frame, Part, Tone, figure};

/// Usage of those containers that have any.
pub type Usages = HashMap<ContainerId, Usage>;

/// The worst of what was found, of those containers of which something was.
pub type Findings = HashMap<ContainerId, Finding>;

/// What checks found, of those containers that have one.
pub type Healths = HashMap<ContainerId, Arc<Health>>;

/// Bytes of the own layers of those containers whose was measured.
pub type Uppers = HashMap<ContainerId, u64>;

/// What is known of a container at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latest<'a> {
    /// Its latest reading.
    pub usage: Option<&'a Usage>,
    /// The worst of what was found about it.
    pub finding: Option<&'a Finding>,
    /// How it does, by its check.
    pub health: HealthStatus,
    /// Bytes of its own layer when that was last measured.
    pub upper_bytes: Option<u64>,
}

/// What is known of every container at this moment.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Latest readings.
    pub usages: &'a Usages,
    /// What was found.
    pub findings: &'a Findings,
    /// What checks found.
    pub healths: &'a Healths,
    /// Bytes of their own layers, as last measured.
    pub uppers: &'a Uppers,
}

impl<'a> Known<'a> {
    /// What is known of one of them.
    pub fn of(self, id: &ContainerId) -> Latest<'a> {
        let health = self.healths.get(id).map_or(HealthStatus::None, |health| health.status);
        Latest { usage: self.usages.get(id), finding: self.findings.get(id), health, upper_bytes: self.uppers.get(id).copied() }
    }
}

/// The page `/containers`.
#[derive(Template)]
#[template(path = "containers.html")]
pub struct List<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What is listed, in this order.
    pub containers: &'a [Container],
    /// What is known of them.
    pub known: Known<'a>,
}

impl Page for List<'_> {
    fn title(&self) -> String {
        "Containers".into()
    }

    fn section(&self) -> Section {
        Section::Containers
    }

    fn live(&self) -> Option<Stream<'_>> {
        Some(Stream::Containers)
    }
}

impl<'a> List<'a> {
    fn summary(&self) -> Part<Summary> {
        Part(Summary::of(self.containers, self.known.healths))
    }

    fn rows(&self) -> Part<Rows<'a>> {
        Part(Rows { containers: self.containers, known: self.known, now_ms: self.frame.now_ms })
    }
}

/// All rows as one element: the first message of [`Stream::Containers`], which also takes away what is gone.
pub fn list(containers: &[Container], known: Known<'_>, now_ms: i64) -> Result<String, Error> {
    Rows { containers, known, now_ms }.render()
}

/// One row, with the `id` [`row_id`]. A row that the page does not have yet is put at the beginning.
pub fn row(container: &Container, latest: Latest<'_>, now_ms: i64) -> Result<String, Error> {
    Row { container, latest, now_ms }.render()
}

/// The figures of a row alone (uptime, processor, memory, processes): a tenth of its bytes, for every second.
pub fn figures(container: &Container, latest: Latest<'_>, now_ms: i64) -> Result<String, Error> {
    Figures { container, latest, now_ms }.render()
}

/// How many containers there are, by state, and how many of them are unhealthy.
pub fn summary(containers: &[Container], healths: &Healths) -> Result<String, Error> {
    Summary::of(containers, healths).render()
}

/// The `id` of a container's row, to say that it is gone.
pub fn row_id(id: &ContainerId) -> String {
    format!("c-{}", id.short())
}

#[derive(Template)]
#[template(path = "containers/rows.html")]
struct Rows<'a> {
    containers: &'a [Container],
    known: Known<'a>,
    now_ms: i64,
}

impl<'a> Rows<'a> {
    fn rows(&self) -> impl Iterator<Item = Part<Row<'a>>> {
        let (known, now_ms) = (self.known, self.now_ms);
        self.containers.iter().map(move |container| Part(Row { container, latest: known.of(&container.id), now_ms }))
    }
}

/// What a row's first button may be, in the order of a container's buttons.
const MAIN: [&str; 3] = ["start", "stop", "resume"];

#[derive(Template)]
#[template(path = "containers/row.html")]
struct Row<'a> {
    container: &'a Container,
    latest: Latest<'a>,
    now_ms: i64,
}

impl<'a> Row<'a> {
    /// The one button that a person most likely wants.
    fn main_action(&self) -> impl Iterator<Item = Action> {
        actions(self.container.state).into_iter().filter(|action| action.possible).filter(|action| MAIN.contains(&action.path)).take(1)
    }

    fn more_actions(&self) -> impl Iterator<Item = Action> {
        let main = self.main_action().map(|action| action.path).next();
        actions(self.container.state).into_iter().filter(move |action| action.possible && Some(action.path) != main)
    }

    /// What of its protection it goes without: counted in the row, told when pointed at.
    fn warnings(&self) -> Vec<String> {
        warning::of(self.container)
    }

    /// How it does, where it has a check.
    fn health(&self) -> Option<(&'static str, Tone)> {
        let health = self.latest.health;
        (health != HealthStatus::None).then(|| (health.as_str(), health_tone(health)))
    }

    fn figures(&self) -> Part<Figures<'a>> {
        Part(Figures { container: self.container, latest: self.latest, now_ms: self.now_ms })
    }
}

#[derive(Template)]
#[template(path = "containers/figures.html")]
struct Figures<'a> {
    container: &'a Container,
    latest: Latest<'a>,
    now_ms: i64,
}

impl Figures<'_> {
    fn span(&self) -> Span<'_> {
        Span { container: self.container, now_ms: self.now_ms }
    }

    fn gauges(&self) -> Gauges {
        Gauges::of(self.container, self.latest.usage)
    }

    /// What holds it up, where it is alive and something does.
    fn complaint(&self) -> Option<(&str, Tone)> {
        let finding = self.latest.finding.filter(|finding| self.container.state.is_alive() && finding.gravity > Gravity::Note)?;
        Some((finding.text.as_str(), tone(&finding.gravity)))
    }

    /// Why it ended: the finding says who was killed, and where.
    fn reason(&self, ending: &Ending) -> String {
        let killed = self.latest.finding.filter(|finding| finding.kind == FindingKind::OutOfMemory);
        killed.map_or_else(|| ending.detail.clone(), |finding| finding.text.clone())
    }
}

/// What stands below a container's state: how long it runs, or how it ended.
pub(crate) struct Span<'a> {
    pub(crate) container: &'a Container,
    pub(crate) now_ms: i64,
}

impl Span<'_> {
    /// `3 min`, where it is alive.
    pub(crate) fn uptime(&self) -> Option<String> {
        let alive = self.container.state.is_alive();
        self.container.started_at_ms.filter(|_| alive).map(|since_ms| figure::span(self.now_ms - since_ms))
    }

    /// `3 min ago`, where it is stopped.
    pub(crate) fn ended_ago(&self) -> Option<String> {
        self.container.exit.as_ref().map(|exit| figure::ago(self.now_ms, exit.at_ms))
    }

    /// How it ended, where it is stopped.
    pub(crate) fn ending(&self) -> Option<Ending> {
        (self.container.state == State::Stopped).then_some(self.container.exit.as_ref()).flatten().map(Ending::of)
    }
}

/// One figure with what it may reach at most: text for a person, numbers for the bar.
pub(crate) struct Gauge {
    /// `3.9 MiB`.
    pub(crate) value: String,
    /// `4 MiB`, where there is a limit.
    pub(crate) limit: Option<String>,
    /// Hundredths of the limit that are used, 0 to 100.
    pub(crate) percent: Option<u8>,
    /// The kernel's file that the figure equals; empty where nothing was read.
    pub(crate) source: String,
}

impl Gauge {
    fn unknown() -> Self {
        Self { value: figure::UNKNOWN.into(), limit: None, percent: None, source: String::new() }
    }

    fn of(value: f64, limit: Option<f64>, source: &str, write: impl Fn(f64) -> String) -> Self {
        let percent = limit.filter(|limit| *limit > 0.0).map(|limit| (value / limit * 100.0).clamp(0.0, 100.0).round() as u8);
        Self { value: write(value), limit: limit.map(&write), percent, source: source.to_owned() }
    }

    /// Bytes of `usage`, and what they may reach.
    pub(crate) fn of_bytes((value, limit): (Option<u64>, Option<u64>), usage: &Usage, field: &str) -> Self {
        let source = usage.sources.get(field).map_or("", String::as_str);
        let write = |bytes| figure::bytes(bytes as u64);
        value.map_or_else(Self::unknown, |value| Self::of(value as f64, limit.map(|limit| limit as f64), source, write))
    }

    /// How many of `usage`, and how many they may be.
    pub(crate) fn of_count((value, limit): (Option<u64>, Option<u64>), usage: &Usage, field: &str) -> Self {
        let source = usage.sources.get(field).map_or("", String::as_str);
        let write = |count| figure::count(count as u64);
        value.map_or_else(Self::unknown, |value| Self::of(value as f64, limit.map(|limit| limit as f64), source, write))
    }

    /// Colour of the bar: near the limit it warns.
    pub(crate) fn tone(&self) -> Tone {
        match self.percent {
            Some(90..) => Tone::Bad,
            Some(75..) => Tone::Warn,
            _ => Tone::Good,
        }
    }
}

/// The three figures that every list of containers shows.
pub(crate) struct Gauges {
    pub(crate) cpu: Gauge,
    pub(crate) memory: Gauge,
    pub(crate) pids: Gauge,
}

impl Gauges {
    pub(crate) fn of(container: &Container, usage: Option<&Usage>) -> Self {
        let Some(usage) = usage.filter(|_| container.state.is_alive()) else {
            return Self { cpu: Gauge::unknown(), memory: Gauge::unknown(), pids: Gauge::unknown() };
        };
        let source = |field: &str| usage.sources.get(field).map_or("", String::as_str);
        let gauge = |value: Option<f64>, limit: Option<f64>, field: &str, write: fn(f64) -> String| {
            value.map_or_else(Gauge::unknown, |value| Gauge::of(value, limit, source(field), write))
        };
        let number = |value: Option<u64>| value.map(|value| value as f64);
        // The limit counts the page cache too, so the bar of what the kernel could not take back is the honest warning.
        let (memory, memory_field) = match usage.memory_working_set_bytes {
            Some(bytes) => (Some(bytes), "memory_working_set_bytes"),
            None => (usage.memory_bytes, "memory_bytes"),
        };
        let cpu_limit = container.config.limits.cpus.map(|cpus| cpus * 100.0);
        let mut cpu = gauge(usage.cpu_percent, cpu_limit, "cpu_usec_total", figure::percent);
        // A limit does not move, so it needs no tenths to stand still in its column.
        cpu.limit = cpu.limit.and(cpu_limit).map(|percent| format!("{} %", figure::decimal(percent)));
        Self {
            cpu,
            memory: gauge(number(memory), number(usage.memory_bytes_max), memory_field, |bytes| figure::bytes(bytes as u64)),
            pids: gauge(number(usage.pids), number(usage.pids_max), "pids", |pids| figure::count(pids as u64)),
        }
    }
}

#[derive(Template)]
#[template(path = "containers/summary.html")]
struct Summary {
    running: usize,
    /// Of those that run.
    unhealthy: usize,
    paused: usize,
    failed: usize,
    resting: usize,
}

impl Summary {
    fn of(containers: &[Container], healths: &Healths) -> Self {
        let unhealthy = healths.values().filter(|health| health.status == HealthStatus::Unhealthy).count();
        let mut summary = Self { running: 0, unhealthy, paused: 0, failed: 0, resting: 0 };
        for container in containers {
            let failed = container.exit.as_ref().is_some_and(|exit| Ending::of(exit).tone == Tone::Bad);
            match container.state {
                State::Running => summary.running += 1,
                State::Paused => summary.paused += 1,
                State::Stopped if failed => summary.failed += 1,
                State::Creating | State::Created | State::Stopped => summary.resting += 1,
            }
        }
        summary
    }
}
