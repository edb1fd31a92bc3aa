//! The tab *limits*: what it may use, as fields that can be changed while it runs, with what it uses beside each.

use askama::Template;
use belljar_model::diagnosis::{Finding, FindingKind};
use belljar_model::limits::HostCapacity;
use belljar_model::usage::Usage;
use belljar_model::{Container, Invalid, Limits};

use super::{Tab, TabPage, tab};
use crate::containers::{Gauge, Gauges};
use crate::create::RESTARTS;
use crate::frame::Page;
use crate::limits::{self, Field, GROUPS, Group, Kind, Supports, Texts};
use crate::live::Stream;
use crate::{Error, Frame, Part, figure};

/// The page `/containers/{name}/limits`; also the answer to a form that was refused.
#[derive(Template)]
#[template(path = "container/limits.html")]
pub struct LimitsPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose page it is.
    pub container: &'a Container,
    /// What the fields hold.
    pub texts: &'a Texts,
    /// A fresh reading; where it is not alive there is only its layer in it.
    pub usage: Option<&'a Usage>,
    /// What the kernel keeps to; `None` where it is not alive.
    pub enforced: Option<&'a Limits>,
    /// What this host can enforce.
    pub supports: Supports<'a>,
    /// What this host has.
    pub host: HostCapacity,
    /// What was found about it: what its limits could be is said beside them.
    pub findings: &'a [Finding],
    /// What was refused, in the model's words; shown at its field.
    pub invalid: Option<&'a Invalid>,
}
tab!(LimitsPage, Limits, |page| Stream::Limits(&page.container.id));

impl<'a> LimitsPage<'a> {
    /// The message at `field`, where that is the one that was refused.
    fn problem(&self, field: &str) -> Option<&'a str> {
        self.invalid.filter(|_| self.wrong_field() == Some(field)).map(|invalid| invalid.problem.as_str())
    }

    fn wrong_field(&self) -> Option<&'static str> {
        let model = self.invalid?.field.as_str();
        limits::field_of(model).or((model == "restart").then_some("restart"))
    }

    /// The message at the top, where no field of the form is to blame.
    fn other_problem(&self) -> Option<String> {
        self.invalid.filter(|_| self.wrong_field().is_none()).map(ToString::to_string)
    }

    /// Whether the folded part of a group must be seen.
    fn shows_more(&self, group: &Group) -> bool {
        group.more.iter().any(|field| !self.texts.text(field.name).is_empty() || self.problem(field.name).is_some())
    }

    /// Why a field cannot be filled; one that is filled already can still be emptied.
    fn closed(&self, field: &Field) -> Option<&'a str> {
        self.supports.refusal(field).filter(|_| self.texts.text(field.name).is_empty() && self.problem(field.name).is_none())
    }

    fn now(&self, field: &Field) -> Option<Part<Now>> {
        now(field.name, self.container, self.usage).map(Part)
    }

    /// What the kernel made of a limit, where that is not quite what was asked for: it counts in pages and in shares.
    fn made_of(&self, field: &Field) -> Option<String> {
        let (asked, has) = (Texts::of(&self.container.config.limits), Texts::of(self.enforced?));
        let (asked, has) = (asked.text(field.name), has.text(field.name));
        (field.kind == Kind::Line && !asked.is_empty() && !has.is_empty() && asked != has).then(|| has.to_owned())
    }

    fn suggestion(&self, field: &Field) -> Option<&'a Finding> {
        self.findings.iter().find(|finding| finding.kind == FindingKind::Suggestion && field.name == "memory")
    }
}

/// What it uses of each limit now, each an element of its own: for every second.
pub fn limits_now(container: &Container, usage: Option<&Usage>) -> Result<String, Error> {
    let fields = limits::all().filter_map(|field| now(field.name, container, usage));
    fields.map(|now| now.render()).collect()
}

/// What stands beside a field.
#[derive(Template)]
#[template(path = "container/limit_now.html")]
struct Now {
    name: &'static str,
    label: &'static str,
    gauge: Gauge,
    /// What more there is to say; may be empty.
    note: String,
}

/// The figure that belongs to a field; `None` where nothing measures it. Who is not alive has only what its layer takes.
fn now(name: &'static str, container: &Container, usage: Option<&Usage>) -> Option<Now> {
    let usage = usage?;
    if !container.state.is_alive() && !matches!(name, "disk" | "disk_inodes") {
        return None;
    }
    let gauges = Gauges::of(container, Some(usage));
    let limits = &container.config.limits;
    let bytes = |value: Option<u64>, limit: Option<u64>, field: &str| Gauge::of_bytes((value, limit), usage, field);
    let (label, gauge, note) = match name {
        "memory" => {
            let peak = usage.memory_bytes_peak.map(|peak| format!("most ever {}, with page cache", figure::bytes(peak)));
            ("Memory", gauges.memory, peak.unwrap_or_default())
        }
        "swap" => ("Swap", bytes(usage.memory_swap_bytes, limits.memory_swap_bytes, "memory_swap_bytes"), String::new()),
        "memory_high" => ("Memory with page cache", bytes(usage.memory_bytes, limits.memory_high_bytes, "memory_bytes"), String::new()),
        "disk" => {
            usage.disk_bytes?;
            ("Own layer", bytes(usage.disk_bytes, limits.disk_bytes, "disk_bytes"), "with overlayfs's work folders".to_owned())
        }
        "disk_inodes" => {
            usage.disk_inodes?;
            ("Files of its own layer", Gauge::of_count((usage.disk_inodes, limits.disk_inodes), usage, "disk_inodes"), String::new())
        }
        "cpus" => ("CPU", gauges.cpu, throttled(usage)),
        "pids" => ("Processes", gauges.pids, refused(usage)),
        "io" => {
            let gauge = bytes(usage.io_read_bytes_total, None, "io_read_bytes_total");
            let written = usage.io_write_bytes_total.map(|bytes| format!("read since its start, and {} written", figure::bytes(bytes)));
            ("Read", gauge, written.unwrap_or_default())
        }
        _ => return None,
    };
    Some(Now { name, label, gauge, note })
}

/// `held back in 12 % of 1 732 periods`.
fn throttled(usage: &Usage) -> String {
    match (usage.cpu_throttled_periods_total, usage.cpu_periods_total) {
        (Some(held), Some(all)) if held > 0 && all > 0 => {
            format!("held back in {} of its time since its start", figure::percent(held as f64 / all as f64 * 100.0))
        }
        _ => String::new(),
    }
}

fn refused(usage: &Usage) -> String {
    match usage.pids_limit_hits_total {
        Some(1) => "one was refused".to_owned(),
        Some(hits @ 2..) => format!("{} were refused", figure::count(hits)),
        _ => String::new(),
    }
}
