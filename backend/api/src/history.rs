//! What a container used in the past, on the wire. A figure that was not measured is `null`, and a slot in which nothing was is
//! not there.

use belljar_model::history as model;
use serde::{Deserialize, Serialize};

use crate::time;

/// A container's past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Length of each slot, in milliseconds.
    pub step_ms: i64,
    /// Its slots, the oldest first.
    pub points: Vec<Point>,
    /// What limit would have been enough for the last week, as one sentence; `null` where its own is about right.
    pub suggestion: Option<String>,
}

/// One slot. Rates and means are over what was measured of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its beginning.
    #[serde(rename = "at", with = "time::millis")]
    pub at_ms: i64,
    /// Share of one processor, mean, in percent.
    pub cpu_percent: Option<f64>,
    /// The largest mean of ten seconds, in percent.
    pub cpu_percent_peak: Option<f64>,
    /// Periods of the quota in which it was held back, of those in which it wanted to run, in percent.
    pub cpu_throttled_percent: Option<f64>,
    /// The limit at the end, in processors; `null` where there was none.
    pub cpus_max: Option<f64>,
    /// Working set, mean, in bytes.
    pub memory_bytes: Option<u64>,
    /// Its largest reading, in bytes.
    pub memory_bytes_peak: Option<u64>,
    /// The limit at the end, in bytes; `null` where there was none.
    pub memory_bytes_max: Option<u64>,
    /// Swap, mean, in bytes.
    pub memory_swap_bytes: Option<u64>,
    /// Processes and threads: the largest reading.
    pub pids: Option<u64>,
    /// Their limit at the end; `null` where there was none.
    pub pids_max: Option<u64>,
    /// Bytes read, in a second.
    pub io_read_bytes_per_second: Option<f64>,
    /// Bytes written, in a second.
    pub io_write_bytes_per_second: Option<f64>,
    /// Bytes received, in a second.
    pub network_rx_bytes_per_second: Option<f64>,
    /// Bytes sent, in a second.
    pub network_tx_bytes_per_second: Option<f64>,
    /// Time in which at least one of its tasks waited for a processor, in percent.
    pub cpu_pressure_percent: Option<f64>,
    /// The same for memory, in percent.
    pub memory_pressure_percent: Option<f64>,
    /// The same for disks, in percent.
    pub io_pressure_percent: Option<f64>,
    /// Processes killed for memory.
    pub oom_kills: Option<u64>,
}

impl History {
    /// Of the model's, beside what it suggests.
    pub fn new(history: model::History, suggestion: Option<String>) -> Self {
        Self { step_ms: history.step_ms, points: history.points.into_iter().map(Point::from).collect(), suggestion }
    }
}

impl From<model::Point> for Point {
    fn from(point: model::Point) -> Self {
        Self {
            at_ms: point.at_ms,
            cpu_percent: point.cpu_percent,
            cpu_percent_peak: point.cpu_percent_peak,
            cpu_throttled_percent: point.cpu_throttled_percent,
            cpus_max: point.cpus_max,
            memory_bytes: point.memory_bytes,
            memory_bytes_peak: point.memory_bytes_peak,
            memory_bytes_max: point.memory_bytes_max,
            memory_swap_bytes: point.memory_swap_bytes,
            pids: point.pids,
            pids_max: point.pids_max,
            io_read_bytes_per_second: point.io_read_bytes_per_second,
            io_write_bytes_per_second: point.io_write_bytes_per_second,
            network_rx_bytes_per_second: point.network_rx_bytes_per_second,
            network_tx_bytes_per_second: point.network_tx_bytes_per_second,
            cpu_pressure_percent: point.cpu_pressure_percent,
            memory_pressure_percent: point.memory_pressure_percent,
            io_pressure_percent: point.io_pressure_percent,
            oom_kills: point.oom_kills,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_says_null_where_nothing_was_measured_and_reads_back() {
        let point = model::Point { at_ms: 1_700_000_000_000, pids: Some(0), ..model::Point::default() };
        let history = History::new(model::History { step_ms: 10_000, points: vec![point] }, None);
        let json = serde_json::to_value(&history).expect("JSON");
        assert_eq!(json["points"][0]["at"], "2023-11-14T22:13:20.000Z");
        assert_eq!((&json["points"][0]["pids"], &json["points"][0]["cpu_percent"]), (&0.into(), &serde_json::Value::Null));
        assert_eq!(serde_json::from_value::<History>(json).expect("readable"), history);
    }
}
