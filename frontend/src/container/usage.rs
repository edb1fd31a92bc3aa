//! What a container uses now: three gauges, the figures below them, and the same by device, by interface and by what it waits for.

use askama::Template;
use belljar_model::Container;
use belljar_model::usage::{DeviceUsage, Usage};

use crate::containers::{Gauge, Gauges};
use crate::{Error, figure};

/// What the container uses now, each figure with the file it came from.
pub fn usage(container: &Container, usage: Option<&Usage>) -> Result<String, Error> {
    Ok(Dials { container, usage }.render()? + &Sums { container, usage }.render()?)
}

/// The three gauges.
#[derive(Template)]
#[template(path = "container/usage.html")]
pub(super) struct Dials<'a> {
    pub(super) container: &'a Container,
    pub(super) usage: Option<&'a Usage>,
}

/// Everything else; the charts stand between the two.
#[derive(Template)]
#[template(path = "container/figures.html")]
pub(super) struct Sums<'a> {
    pub(super) container: &'a Container,
    pub(super) usage: Option<&'a Usage>,
}

/// One figure without a limit.
struct Plain {
    label: &'static str,
    value: String,
    source: String,
}

impl Dials<'_> {
    /// The three gauges by what they are called.
    fn gauges(&self) -> [(&'static str, Gauge); 3] {
        let gauges = Gauges::of(self.container, self.usage);
        [("CPU", gauges.cpu), ("Memory", gauges.memory), ("Processes", gauges.pids)]
    }
}

impl<'a> Sums<'a> {
    /// The figures below the three gauges.
    fn plain(&self) -> Vec<Plain> {
        let Some(usage) = self.usage else { return Vec::new() };
        let (bytes, usec) = (|value: Option<u64>| value.map(figure::bytes), |value: Option<u64>| value.map(figure::usec));
        let rows = [
            ("Processor time", "cpu_usec_total", usec(usage.cpu_usec_total)),
            ("Held back by its limit", "cpu_throttled_usec_total", usec(usage.cpu_throttled_usec_total)),
            ("Memory with page cache", "memory_bytes", bytes(usage.memory_bytes)),
            ("Page cache", "memory_cache_bytes", bytes(usage.memory_cache_bytes)),
            ("Its programs' own", "memory_anonymous_bytes", bytes(usage.memory_anonymous_bytes)),
            ("The kernel's for it", "memory_kernel_bytes", bytes(usage.memory_kernel_bytes)),
            ("Swap", "memory_swap_bytes", bytes(usage.memory_swap_bytes)),
            ("Most memory ever", "memory_bytes_peak", bytes(usage.memory_bytes_peak)),
            ("Read from disks", "io_read_bytes_total", bytes(usage.io_read_bytes_total)),
            ("Written to disks", "io_write_bytes_total", bytes(usage.io_write_bytes_total)),
            ("Received", "network_rx_bytes", bytes(usage.network_rx_bytes)),
            ("Sent", "network_tx_bytes", bytes(usage.network_tx_bytes)),
        ];
        let plain = |(label, field, value): (&'static str, &str, Option<String>)| Plain {
            label,
            value: value.unwrap_or_else(|| figure::UNKNOWN.to_owned()),
            source: usage.sources.get(field).cloned().unwrap_or_default(),
        };
        rows.into_iter().map(plain).collect()
    }

    /// What it came up against, where it did.
    fn hits(&self) -> Vec<String> {
        let Some(usage) = self.usage else { return Vec::new() };
        let rows = [
            (usage.oom_kills_total, "processes killed for memory"),
            (usage.memory_limit_hits_total, "times at its limit of memory"),
            (usage.pids_limit_hits_total, "new processes refused"),
        ];
        rows.into_iter()
            .filter_map(|(count, words)| count.filter(|count| *count > 0).map(|count| format!("{} {words}", figure::count(count))))
            .collect()
    }

    fn devices(&self) -> &'a [DeviceUsage] {
        self.usage.and_then(|usage| usage.io.as_deref()).unwrap_or_default()
    }

    fn interfaces(&self) -> &'a [belljar_model::usage::InterfaceUsage] {
        self.usage.and_then(|usage| usage.network.as_deref()).unwrap_or_default()
    }

    fn waiting(&self) -> Vec<figure::Waiting> {
        figure::waiting(self.usage.and_then(|usage| usage.pressure))
    }
}

/// `sda`, or its numbers where the host has it no more.
fn device(device: &DeviceUsage) -> String {
    device.name.clone().unwrap_or_else(|| format!("{}:{}", device.major, device.minor))
}
