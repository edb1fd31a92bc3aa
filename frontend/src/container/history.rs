//! A container's past: one chart for each figure, with its limit as a line and its events as marks.
//!
//! What is to be drawn is said once, in [`CHARTS`]. The page has a table of means and peaks for each, which is complete
//! without JavaScript; `static/history.js` asks for a [`Drawing`] and draws the lines above it.

use std::collections::BTreeMap;

use askama::Template;
use belljar_model::history::{History, Point, Tier};
use belljar_model::{ContainerId, Event, EventKind};
use serde::{Deserialize, Serialize};

use crate::{figure, words};

/// How far back the page looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Range {
    /// In slots of 10 s.
    #[default]
    #[serde(rename = "1h")]
    Hour,
    /// In slots of a minute.
    #[serde(rename = "1d")]
    Day,
    /// In slots of ten minutes.
    #[serde(rename = "7d")]
    Week,
    /// In slots of an hour.
    #[serde(rename = "30d")]
    Month,
}

impl Range {
    /// Every range, the shortest first.
    pub const ALL: [Range; 4] = [Range::Hour, Range::Day, Range::Week, Range::Month];

    /// The word in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Range::Hour => "1h",
            Range::Day => "1d",
            Range::Week => "7d",
            Range::Month => "30d",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Range::Hour => "The last hour",
            Range::Day => "The last day",
            Range::Week => "The last 7 days",
            Range::Month => "The last 30 days",
        }
    }

    fn tier(self) -> Tier {
        match self {
            Range::Hour => Tier::TenSeconds,
            Range::Day => Tier::Minute,
            Range::Week => Tier::TenMinutes,
            Range::Month => Tier::Hour,
        }
    }

    /// Its length, in milliseconds.
    pub fn length_ms(self) -> i64 {
        self.tier().kept_ms()
    }

    /// Length of a slot, in milliseconds.
    pub fn step_ms(self) -> i64 {
        self.tier().step_ms()
    }
}

/// What is known of a stretch of time that ends now.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// How far it goes back.
    pub range: Range,
    /// What was measured in it.
    pub history: &'a History,
    /// What happened in it, newest first; what is no mark on a chart is passed over.
    pub events: &'a [Event],
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Percent,
    Bytes,
    BytesPerSecond,
    Count,
}

impl Unit {
    /// The word by which the script writes it in the same way.
    fn as_str(self) -> &'static str {
        match self {
            Unit::Percent => "percent",
            Unit::Bytes => "bytes",
            Unit::BytesPerSecond => "rate",
            Unit::Count => "count",
        }
    }

    fn write(self, value: f64) -> String {
        match self {
            Unit::Percent => figure::percent(value),
            Unit::Bytes => figure::bytes(value as u64),
            Unit::BytesPerSecond => format!("{}/s", figure::bytes(value as u64)),
            Unit::Count => figure::count(value.round() as u64),
        }
    }

    /// A limit does not move, so it needs no tenths to stand still.
    fn write_limit(self, value: f64) -> String {
        if self == Unit::Percent { format!("{} %", figure::decimal(value)) } else { self.write(value) }
    }
}

/// A figure of a slot, by its name in a [`Drawing`].
#[derive(Clone, Copy)]
struct Figure {
    name: &'static str,
    of: fn(&Point) -> Option<f64>,
}

/// One line of a chart.
struct Line {
    label: &'static str,
    mean: Figure,
    /// The largest reading of each slot; where there is none, the largest slot counts as the peak.
    peak: Option<Figure>,
}

/// One chart.
struct Chart {
    name: &'static str,
    title: &'static str,
    unit: Unit,
    lines: &'static [Line],
    limit: Option<Figure>,
}

fn number(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

const CHARTS: [Chart; 6] = [
    Chart {
        name: "cpu",
        title: "CPU",
        unit: Unit::Percent,
        lines: &[Line {
            label: "Used",
            mean: Figure { name: "cpu", of: |point| point.cpu_percent },
            peak: Some(Figure { name: "cpu_peak", of: |point| point.cpu_percent_peak }),
        }],
        limit: Some(Figure { name: "cpu_limit", of: |point| point.cpus_max.map(|cpus| cpus * 100.0) }),
    },
    Chart {
        name: "memory",
        title: "Memory",
        unit: Unit::Bytes,
        lines: &[
            Line {
                label: "Working set",
                mean: Figure { name: "memory", of: |point| number(point.memory_bytes) },
                peak: Some(Figure { name: "memory_peak", of: |point| number(point.memory_bytes_peak) }),
            },
            Line { label: "Swap", mean: Figure { name: "swap", of: |point| number(point.memory_swap_bytes) }, peak: None },
        ],
        limit: Some(Figure { name: "memory_limit", of: |point| number(point.memory_bytes_max) }),
    },
    Chart {
        name: "pids",
        title: "Processes",
        unit: Unit::Count,
        lines: &[Line { label: "At one time", mean: Figure { name: "pids", of: |point| number(point.pids) }, peak: None }],
        limit: Some(Figure { name: "pids_limit", of: |point| number(point.pids_max) }),
    },
    Chart {
        name: "disk",
        title: "Disk",
        unit: Unit::BytesPerSecond,
        lines: &[
            Line { label: "Read", mean: Figure { name: "read", of: |point| point.io_read_bytes_per_second }, peak: None },
            Line { label: "Written", mean: Figure { name: "written", of: |point| point.io_write_bytes_per_second }, peak: None },
        ],
        limit: None,
    },
    Chart {
        name: "network",
        title: "Network",
        unit: Unit::BytesPerSecond,
        lines: &[
            Line { label: "Received", mean: Figure { name: "received", of: |point| point.network_rx_bytes_per_second }, peak: None },
            Line { label: "Sent", mean: Figure { name: "sent", of: |point| point.network_tx_bytes_per_second }, peak: None },
        ],
        limit: None,
    },
    Chart {
        name: "waiting",
        title: "Time lost waiting",
        unit: Unit::Percent,
        lines: &[
            Line { label: "For a processor", mean: Figure { name: "cpu_wait", of: |point| point.cpu_pressure_percent }, peak: None },
            Line { label: "For memory", mean: Figure { name: "memory_wait", of: |point| point.memory_pressure_percent }, peak: None },
            Line { label: "For disks", mean: Figure { name: "disk_wait", of: |point| point.io_pressure_percent }, peak: None },
            Line { label: "Held back by its limit", mean: Figure { name: "held", of: |point| point.cpu_throttled_percent }, peak: None },
        ],
        limit: None,
    },
];

/// The shortest axis of a range is this part of it.
const SHORTEST: i64 = 12;

/// Events that are marks on the charts, from the newest.
const MARKS_SHOWN_MAX: usize = 200;

/// Whether an event explains a bend of a line.
fn is_mark(kind: EventKind) -> bool {
    match kind {
        EventKind::Started
        | EventKind::Restarted
        | EventKind::Exited
        | EventKind::Stopped
        | EventKind::Killed
        | EventKind::Lost
        | EventKind::Paused
        | EventKind::Resumed
        | EventKind::OutOfMemory
        | EventKind::LimitHit
        | EventKind::Healthy
        | EventKind::Unhealthy
        | EventKind::LimitsChanged => true,
        EventKind::Created
        | EventKind::StartFailed
        | EventKind::Pressure
        | EventKind::Exec
        | EventKind::FilesChanged
        | EventKind::Loosened
        | EventKind::Found
        | EventKind::Deleted
        | EventKind::ImageImported
        | EventKind::ImageDeleted
        | EventKind::ImagePulled
        | EventKind::ImagePullFailed
        | EventKind::ImageTagged
        | EventKind::ImageUntagged
        | EventKind::ImageCommitted
        | EventKind::RegistryLogin
        | EventKind::RegistryLogout
        | EventKind::VolumeCreated
        | EventKind::VolumeFilled
        | EventKind::VolumeDeleted
        | EventKind::VolumeFound
        | EventKind::SpaceLow => false,
    }
}

/// What `static/history.js` draws: times in Unix seconds, and beside them each figure, in columns. A `null` is a gap.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drawing {
    /// Begin of what is drawn: where the range begins, or what is known of it.
    from: f64,
    /// Its end: now.
    to: f64,
    /// Length of a slot, in seconds.
    step: f64,
    at: Vec<f64>,
    figures: BTreeMap<&'static str, Vec<Option<f64>>>,
    /// By line: its latest figure, its mean and its peak, as the tables have them.
    told: BTreeMap<&'static str, [String; 3]>,
    marks: Vec<Mark>,
}

/// One event on the charts.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Mark {
    at: f64,
    tone: &'static str,
    what: &'static str,
    text: String,
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

impl Past<'_> {
    /// As columns. Where slots are missing, an empty one stands for all of them, so that no line is drawn across.
    pub fn drawing(&self, now_ms: i64) -> Drawing {
        let step_ms = self.history.step_ms.max(1);
        let mut slots: Vec<(i64, Option<&Point>)> = Vec::with_capacity(self.history.points.len());
        for point in &self.history.points {
            if let Some((last_ms, _)) = slots.last()
                && point.at_ms - last_ms > step_ms + step_ms / 2
            {
                slots.push((last_ms + step_ms, None));
            }
            slots.push((point.at_ms, Some(point)));
        }
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        let column = |figure: &Figure| slots.iter().map(|(_, point)| point.and_then(figure.of).map(rounded)).collect::<Vec<_>>();
        let figures = CHARTS.iter().flat_map(Chart::figures).map(|figure| (figure.name, column(&figure)));
        Drawing {
            from: seconds(self.begin_ms(now_ms)),
            to: seconds(now_ms),
            step: seconds(step_ms),
            // A slot is drawn where its mean belongs: in its middle.
            at: slots.iter().map(|(at_ms, _)| seconds(at_ms + step_ms / 2)).collect(),
            figures: figures.filter(|(_, column)| column.iter().any(Option::is_some)).collect(),
            told: CHARTS.iter().flat_map(|chart| self.rows(chart)).map(|row| (row.mean_name, [row.latest, row.mean, row.peak])).collect(),
            marks: self.marks(now_ms).map(Mark::of).collect(),
        }
    }

    /// Where the axis begins: with the first that is known of this time, and never so late that seconds look like hours.
    fn begin_ms(&self, now_ms: i64) -> i64 {
        let length_ms = self.range.length_ms();
        let slots = self.history.points.first().map(|point| point.at_ms);
        let known = slots.into_iter().chain(self.marks(now_ms).map(|event| event.at_ms)).min();
        known.unwrap_or(i64::MIN).clamp(now_ms - length_ms, now_ms - length_ms / SHORTEST)
    }

    fn rows(&self, chart: &Chart) -> Vec<Row> {
        chart.lines.iter().filter_map(|line| row(chart.unit, line, &self.history.points)).collect()
    }

    /// The events that are marks, newest first.
    fn marks(&self, now_ms: i64) -> impl Iterator<Item = &Event> {
        let from_ms = now_ms - self.range.length_ms();
        self.events.iter().filter(move |event| is_mark(event.kind) && event.at_ms >= from_ms).take(MARKS_SHOWN_MAX)
    }
}

impl Mark {
    fn of(event: &Event) -> Self {
        Self {
            at: seconds(event.at_ms),
            tone: words::event_tone(event).class(),
            what: words::event(&event.kind),
            text: event.message.clone(),
        }
    }
}

impl Chart {
    fn figures(&self) -> impl Iterator<Item = Figure> {
        self.lines.iter().flat_map(|line| [Some(line.mean), line.peak]).chain([self.limit]).flatten()
    }
}

/// The part of the page: the choice of ranges, the charts, and the events below them.
#[derive(Template)]
#[template(path = "container/history.html")]
pub(super) struct Charts<'a> {
    pub(super) id: &'a ContainerId,
    pub(super) past: Past<'a>,
    pub(super) now_ms: i64,
}

/// One chart with what its table says.
struct Shown {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    rows: Vec<Row>,
    /// The newest limit.
    limit: Option<String>,
    /// The name of its column.
    limit_name: &'static str,
}

/// One line of a chart as figures.
struct Row {
    label: &'static str,
    mean_name: &'static str,
    peak_name: &'static str,
    latest: String,
    mean: String,
    peak: String,
}

impl Charts<'_> {
    fn charts(&self) -> Vec<Shown> {
        CHARTS.iter().map(|chart| self.shown(chart)).collect()
    }

    fn shown(&self, chart: &Chart) -> Shown {
        let points = &self.past.history.points;
        let limit = chart.limit.and_then(|limit| points.last().and_then(limit.of));
        Shown {
            name: chart.name,
            title: chart.title,
            unit: chart.unit.as_str(),
            rows: self.past.rows(chart),
            limit: limit.map(|limit| chart.unit.write_limit(limit)),
            limit_name: chart.limit.map_or("", |limit| limit.name),
        }
    }

    /// The newest of the marks as a list, for who cannot point at them.
    fn told(&self) -> Vec<&Event> {
        self.past.marks(self.now_ms).take(TOLD_MAX).collect()
    }

    fn is_empty(&self) -> bool {
        self.past.history.points.is_empty()
    }

    /// How often a new slot is there, in seconds.
    fn every(&self) -> i64 {
        (self.past.range.step_ms() / 1000).clamp(10, 600)
    }
}

/// Events that are told in words below the charts.
const TOLD_MAX: usize = 8;

/// A line as figures; `None` where nothing was measured of it, and of swap, where there never was any.
fn row(unit: Unit, line: &Line, points: &[Point]) -> Option<Row> {
    let values: Vec<f64> = points.iter().filter_map(line.mean.of).collect();
    let latest = *values.last()?;
    let peak = line.peak.map_or_else(|| values.clone(), |peak| points.iter().filter_map(peak.of).collect::<Vec<_>>());
    let peak = peak.into_iter().chain([latest]).fold(f64::MIN, f64::max);
    if line.mean.name == "swap" && peak <= 0.0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let write = |value| unit.write(value);
    let peak_name = line.peak.map_or("", |peak| peak.name);
    let (latest, mean, peak) = (write(latest), write(mean), write(peak));
    Some(Row { label: line.label, mean_name: line.mean.name, peak_name, latest, mean, peak })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(at_ms: &[i64]) -> History {
        let point = |&at_ms: &i64| Point { at_ms, memory_bytes: Some(1), memory_bytes_peak: Some(2), ..Point::default() };
        History { step_ms: 10_000, points: at_ms.iter().map(point).collect() }
    }

    fn past<'a>(history: &'a History, events: &'a [Event]) -> Past<'a> {
        Past { range: Range::Hour, history, events }
    }

    #[test]
    fn no_line_is_drawn_across_what_was_not_measured() {
        let history = history(&[0, 10_000, 50_000]);
        let drawing = past(&history, &[]).drawing(60_000);
        assert_eq!(drawing.at, [5.0, 15.0, 25.0, 55.0]);
        assert_eq!(drawing.figures["memory"], [Some(1.0), Some(1.0), None, Some(1.0)]);
        assert!(!drawing.figures.contains_key("cpu"), "what was never measured is no column");
        assert_eq!((drawing.from, drawing.to), (-240.0, 60.0), "a young container's axis is short");
        assert_eq!(past(&history, &[]).drawing(1_200_000).from, 0.0);
        assert_eq!(past(&history, &[]).drawing(7_200_000).from, 3600.0);
    }

    #[test]
    fn what_happened_before_is_no_mark_and_a_further_program_neither() {
        let event = |kind: EventKind, at_ms: i64| Event { id: 1, at_ms, kind, container: None, subject: "web".into(), message: "m".into() };
        let events = [event(EventKind::Exec, 50_000), event(EventKind::OutOfMemory, 40_000), event(EventKind::Started, 60_000 - 3_600_001)];
        let history = history(&[]);
        let marks = past(&history, &events).drawing(60_000).marks;
        let told: Vec<_> = marks.iter().map(|mark| (mark.at, mark.tone, mark.what)).collect();
        assert_eq!(told, [(40.0, "bad", "out of memory")]);
    }

    #[test]
    fn a_figure_has_one_name_in_one_chart() {
        let names: Vec<_> = CHARTS.iter().flat_map(Chart::figures).map(|figure| figure.name).collect();
        let once: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(once.len(), names.len());
    }

    #[test]
    fn a_range_is_asked_for_by_its_word() {
        for range in Range::ALL {
            let read: Range = serde_json::from_str(&format!("{:?}", range.as_str())).expect("a range");
            assert_eq!(read, range);
        }
    }
}
