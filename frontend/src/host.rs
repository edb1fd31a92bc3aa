//! The machine: what it has, and what its kernel can do for a container.

use askama::Template;
use belljar_model::Host;
use belljar_model::host::Support;
use belljar_model::usage::{Pressure, Stall, StallLine};

use crate::frame::{Page, Section};
use crate::{Frame, figure};

/// The page `/host`.
#[derive(Template)]
#[template(path = "host.html")]
pub struct HostPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What was looked up.
    pub host: &'a Host,
    /// How long something waited on the whole machine; `None` where its kernel does not measure it.
    pub pressure: Option<&'a Pressure>,
    /// How many containers are alive.
    pub alive: usize,
    /// Version of Belljar.
    pub version: &'a str,
}

impl Page for HostPage<'_> {
    fn title(&self) -> String {
        "Host".into()
    }

    fn section(&self) -> Section {
        Section::Host
    }
}

/// One line of the machine's pressure.
struct Waiting {
    label: &'static str,
    /// Of 10 s, of a minute, of five.
    shares: [String; 3],
    source: &'static str,
}

impl<'a> HostPage<'a> {
    fn pressure(&self) -> Vec<Waiting> {
        let Some(pressure) = self.pressure else { return Vec::new() };
        let of = [
            (pressure.cpu, ["a processor", "a processor, everything"], "/proc/pressure/cpu"),
            (pressure.memory, ["memory", "memory, everything"], "/proc/pressure/memory"),
            (pressure.io, ["disks", "disks, everything"], "/proc/pressure/io"),
        ];
        let row = |label, line: StallLine, source| {
            let shares = [line.avg10_percent, line.avg60_percent, line.avg300_percent].map(figure::percent);
            Waiting { label, shares, source }
        };
        let rows = |(stall, [some, full], source): (Option<Stall>, [&'static str; 2], &'static str)| {
            // That everything waited for a processor means nothing for a whole machine (psi.rst).
            let full = stall.and_then(|stall| stall.full).filter(|_| !source.ends_with("cpu")).map(|line| row(full, line, source));
            stall.map(|stall| row(some, stall.some, source)).into_iter().chain(full)
        };
        of.into_iter().flat_map(rows).collect()
    }

    /// What the kernel can or cannot do, by name.
    fn supports(&self) -> [(&'static str, &'a Support); 2] {
        [("User namespaces", &self.host.user_namespaces), ("Idmapped mounts", &self.host.idmapped_mounts)]
    }
}
