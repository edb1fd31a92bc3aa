//! Numbers and times as people read them. What is not known is an en dash, never 0.
//!
//! Arguments are `impl Borrow` because templates pass references, and Rust code passes values.

use std::borrow::Borrow;

use belljar_model::size;
use belljar_model::usage::{Pressure, Stall, StallLine};
use jiff::Timestamp;

/// What stands where a figure is not known.
pub const UNKNOWN: &str = "–";

/// `4 MiB`.
pub fn bytes(bytes: impl Borrow<u64>) -> String {
    size::display(*bytes.borrow())
}

/// `4 MiB`, or a dash.
pub fn bytes_or_unknown(value: impl Borrow<Option<u64>>) -> String {
    value.borrow().map_or_else(|| UNKNOWN.to_owned(), size::display)
}

/// `1 234 567`, groups parted by a narrow no-break space.
pub fn count(value: impl Borrow<u64>) -> String {
    let value = *value.borrow();
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `12.3 %`; whole numbers from 100 on, where tenths no longer tell anything.
pub fn percent(value: impl Borrow<f64>) -> String {
    let value = *value.borrow();
    if value >= 99.95 { format!("{value:.0} %") } else { format!("{value:.1} %") }
}

/// `0.5`, `2`, `1.25`: a number with at most two digits after the point.
pub fn decimal(value: impl Borrow<f64>) -> String {
    let value = *value.borrow();
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A span in microseconds: `340 µs`, `1.2 ms`, `12 ms`, `3.4 s`, then as [`span`].
pub fn usec(value: impl Borrow<u64>) -> String {
    let value = *value.borrow();
    let ms = value as f64 / 1000.0;
    match value {
        0..1_000 => format!("{value} µs"),
        1_000..10_000 => format!("{ms:.1} ms"),
        10_000..1_000_000 => format!("{ms:.0} ms"),
        1_000_000..60_000_000 => format!("{} s", format!("{:.1}", ms / 1000.0).trim_end_matches(".0")),
        _ => span(i64::try_from(value / 1000).unwrap_or(i64::MAX)),
    }
}

/// A span in milliseconds by its two largest units: `12 s`, `3 min`, `2 h 5 min`, `4 d 3 h`. Never negative.
pub fn span(ms: impl Borrow<i64>) -> String {
    let ms = *ms.borrow();
    let seconds = ms.max(0) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {small_unit}") }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min"),
        3_600..86_400 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// How long ago: `just now`, `3 min ago`.
pub fn ago(now_ms: impl Borrow<i64>, then_ms: impl Borrow<i64>) -> String {
    match now_ms.borrow().saturating_sub(*then_ms.borrow()) {
        ..5_000 => "just now".to_owned(),
        elapsed => format!("{} ago", span(elapsed)),
    }
}

/// The kernel's file without the folders that it lies in: `memory.stat#anon`. Files of `/proc` are short, and told whole.
pub fn file(source: &str) -> &str {
    match source.strip_prefix("/sys/fs/cgroup/") {
        Some(path) => path.rsplit('/').next().unwrap_or(path),
        None => source,
    }
}

/// How much of the time something was waited for: one line of pressure.
pub struct Waiting {
    /// What for.
    pub label: &'static str,
    /// Of the last 10 s, minute, and five minutes.
    pub shares: [String; 3],
}

/// Pressure as lines; those that the kernel does not measure are not there.
pub fn waiting(pressure: Option<Pressure>) -> Vec<Waiting> {
    let Some(pressure) = pressure else { return Vec::new() };
    let of = [
        (pressure.cpu, ["For a processor, some", "For a processor, all"]),
        (pressure.memory, ["For memory, some", "For memory, all"]),
        (pressure.io, ["For disks, some", "For disks, all"]),
    ];
    let line = |label, line: StallLine| {
        let shares = [line.avg10_percent, line.avg60_percent, line.avg300_percent].map(percent);
        Waiting { label, shares }
    };
    let lines = |(stall, [some, all]): (Option<Stall>, [&'static str; 2])| {
        let full = stall.and_then(|stall| stall.full).map(|full| line(all, full));
        stall.map(|stall| line(some, stall.some)).into_iter().chain(full)
    };
    of.into_iter().flat_map(lines).collect()
}

fn timestamp(ms: i64) -> Timestamp {
    // Outside of years -9999 to 9999 no clock of this host was ever right.
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

/// `2026-11-23 21:32:22`, in UTC.
pub fn date(ms: impl Borrow<i64>) -> String {
    timestamp(*ms.borrow()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `21:32:22.123`, in UTC, of Unix microseconds.
pub fn clock(usec: impl Borrow<i64>) -> String {
    timestamp(usec.borrow().div_euclid(1000)).strftime("%H:%M:%S.%3f").to_string()
}

/// `2026-11-23T21:32:22.123Z`, for machines.
pub fn rfc3339(ms: impl Borrow<i64>) -> String {
    timestamp(*ms.borrow()).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_naturally() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!([percent(0.0), percent(12.34), percent(150.2)], ["0.0 %", "12.3 %", "150 %"]);
        assert_eq!([decimal(0.5), decimal(2.0), decimal(1.25), decimal(10.0)], ["0.5", "2", "1.25", "10"]);
    }

    #[test]
    fn spans_keep_their_two_largest_units() {
        let spans = [usec(340), usec(1_240), usec(12_400), usec(3_400_000), usec(125_000_000)];
        assert_eq!(spans, ["340 µs", "1.2 ms", "12 ms", "3.4 s", "2 min"]);
        let minute = 60_000;
        assert_eq!([span(-5), span(12_000), span(3 * minute), span(125 * minute)], ["0 s", "12 s", "3 min", "2 h 5 min"]);
        assert_eq!([span(120 * minute), span(99 * 60 * minute)], ["2 h", "4 d 3 h"]);
    }

    #[test]
    fn times_are_utc_and_a_clock_that_is_wrong_breaks_nothing() {
        assert_eq!(date(1_700_000_000_123), "2023-11-14 22:13:20");
        assert_eq!(clock(1_700_000_000_123_456), "22:13:20.123");
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(date(i64::MAX), "1970-01-01 00:00:00");
        assert_eq!(ago(10_000, i64::MIN), span(i64::MAX) + " ago");
        assert_eq!(ago(10_000, 20_000), "just now");
    }
}
