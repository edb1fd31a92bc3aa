//! The tab *overview*: what it uses now, what was asked, its processes.

use askama::Template;
use belljar_model::container::Restart;
use belljar_model::denied::Denied;
use belljar_model::diagnosis::Finding;
use belljar_model::health::Health;
use belljar_model::mount::{Mount, TMPFS_SIZE_BYTES_DEFAULT};
use belljar_model::security::Seccomp;
use belljar_model::usage::Usage;
use belljar_model::{Container, Process};

use super::findings::Findings;
use super::health::HealthPart;
use super::history::{Charts, Past};
use super::usage::{Dials, Sums};
use super::{Tab, TabPage, isolation, tab};
use crate::frame::Page;
use crate::live::Stream;
use crate::{Frame, Part, figure, words};

/// The page `/containers/{name}`.
#[derive(Template)]
#[template(path = "container/overview.html")]
pub struct Overview<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose page it is.
    pub container: &'a Container,
    /// A fresh reading; `None` where it is not alive.
    pub usage: Option<&'a Usage>,
    /// Its processes; empty where it is not alive.
    pub processes: &'a [Process],
    /// What it asked the kernel for and was denied; empty where that is not recorded.
    pub denied: &'a [Denied],
    /// What was found about it, the worst first.
    pub findings: &'a [Finding],
    /// What its checks found.
    pub health: &'a Health,
    /// What it used before.
    pub past: Past<'a>,
}
tab!(Overview, Overview, |page| Stream::Container(&page.container.id));

impl<'a> Overview<'a> {
    fn protections(&self) -> Vec<isolation::Row> {
        isolation::protections(&self.container.config)
    }

    fn settings(&self) -> Vec<isolation::Row> {
        isolation::settings(&self.container.config)
    }

    fn records(&self) -> bool {
        self.container.config.security.seccomp == Seccomp::Record
    }

    fn found(&self) -> Part<Findings<'a>> {
        Part(Findings { container: self.container, findings: self.findings })
    }

    fn health(&self) -> Part<HealthPart<'a>> {
        Part(HealthPart { container: self.container, health: self.health, now_ms: self.frame.now_ms })
    }

    fn charts(&self) -> Part<Charts<'a>> {
        Part(Charts { id: &self.container.id, past: self.past, now_ms: self.frame.now_ms })
    }

    fn dials(&self) -> Part<Dials<'a>> {
        Part(Dials { container: self.container, usage: self.usage })
    }

    fn sums(&self) -> Part<Sums<'a>> {
        Part(Sums { container: self.container, usage: self.usage })
    }
}

/// The grace of a stop; tenths of seconds are told, for those who set them.
fn grace(ms: &u64) -> String {
    figure::usec(ms.saturating_mul(1000))
}

/// Size of a tmpfs, with the one that it gets where none was asked for.
fn tmpfs_size(bytes: &Option<u64>) -> String {
    figure::bytes(bytes.unwrap_or(TMPFS_SIZE_BYTES_DEFAULT))
}

/// An id, or a dash.
fn id(id: &Option<impl ToString>) -> String {
    id.as_ref().map_or_else(|| figure::UNKNOWN.to_owned(), ToString::to_string)
}

/// Processor time of a process, or a dash.
fn cpu_time(usec: &Option<u64>) -> String {
    usec.map_or_else(|| figure::UNKNOWN.to_owned(), figure::usec)
}

/// The kernel's letter in a word (`proc_pid_stat(5)`).
fn process_state(letter: &char) -> &'static str {
    match letter {
        'R' => "running",
        'S' => "sleeping",
        'D' => "waiting for a device",
        'T' | 't' => "stopped",
        'Z' => "ended, not yet waited for",
        'I' => "idle",
        'X' => "dead",
        _ => "unknown",
    }
}

/// The restart policy in words.
fn restart(policy: &Restart) -> &'static str {
    match policy {
        Restart::No => "stays stopped",
        Restart::OnFailure => "again on failure",
        Restart::Always => "always again",
        Restart::UnlessStopped => "again, unless a person stopped it",
    }
}
