//! Usage over a month: what is remembered, how finely, and for how long.

use serde::{Deserialize, Serialize};

/// How finely a stretch of time is remembered. One tier's slots are made of the next finer one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// 10 s, for an hour.
    TenSeconds,
    /// A minute, for a day.
    Minute,
    /// Ten minutes, for a week.
    TenMinutes,
    /// An hour, for 30 days.
    Hour,
}

impl Tier {
    /// Every tier, the finest first.
    pub const ALL: [Tier; 4] = [Tier::TenSeconds, Tier::Minute, Tier::TenMinutes, Tier::Hour];

    /// Length of a slot, in milliseconds.
    pub const fn step_ms(self) -> i64 {
        match self {
            Tier::TenSeconds => 10_000,
            Tier::Minute => 60_000,
            Tier::TenMinutes => 600_000,
            Tier::Hour => 3_600_000,
        }
    }

    /// How long its slots are kept, in milliseconds.
    pub const fn kept_ms(self) -> i64 {
        const HOUR: i64 = 3_600_000;
        match self {
            Tier::TenSeconds => HOUR,
            Tier::Minute => 24 * HOUR,
            Tier::TenMinutes => 7 * 24 * HOUR,
            Tier::Hour => 30 * 24 * HOUR,
        }
    }

    /// The finest tier that still remembers what was `age_ms` ago, with slots of at least `step_ms`.
    pub fn for_range(age_ms: i64, step_ms: i64) -> Tier {
        let fits = |tier: &Tier| tier.kept_ms() >= age_ms && tier.step_ms() >= step_ms;
        Self::ALL.into_iter().find(fits).unwrap_or(Tier::Hour)
    }
}

/// What a container used in one slot of time. A figure that could not be read, or was not, is `None`: a gap, never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Point {
    /// Beginning of the slot, in Unix milliseconds: a multiple of its length.
    pub at_ms: i64,
    /// Share of one processor, mean of the slot, in percent.
    pub cpu_percent: Option<f64>,
    /// The largest of its finest slots, in percent.
    pub cpu_percent_peak: Option<f64>,
    /// Periods of the quota in which it was held back, of those in which it wanted to run, in percent.
    pub cpu_throttled_percent: Option<f64>,
    /// The limit at the end of the slot, in processors; `None` where there was none.
    pub cpus_max: Option<f64>,
    /// Working set, mean of the slot, in bytes.
    pub memory_bytes: Option<u64>,
    /// The largest reading of the slot, in bytes.
    pub memory_bytes_peak: Option<u64>,
    /// The limit at the end of the slot, in bytes; `None` where there was none.
    pub memory_bytes_max: Option<u64>,
    /// Swap, mean, in bytes.
    pub memory_swap_bytes: Option<u64>,
    /// Processes and threads: the largest reading.
    pub pids: Option<u64>,
    /// Their limit at the end of the slot.
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

/// A container's past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Length of each slot, in milliseconds.
    pub step_ms: i64,
    /// Its slots, the oldest first. What was not measured is not there.
    pub points: Vec<Point>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_finest_tier_that_still_remembers_answers() {
        assert_eq!(Tier::for_range(3_600_000, 0), Tier::TenSeconds);
        assert_eq!(Tier::for_range(3_600_001, 0), Tier::Minute);
        assert_eq!(Tier::for_range(1, 60_000), Tier::Minute);
        assert_eq!(Tier::for_range(i64::MAX, 0), Tier::Hour);
    }
}
