//! The last minute of a container: the readings that are kept of it, and what they come to.
//!
//! It must never know what is good or bad. What was not measured is `None`, as in [`Usage`].

use std::collections::VecDeque;

use belljar_model::usage::{Stall, Usage};

/// How long readings are kept, in milliseconds. One that is older stays for as long as none but it reaches back so far.
pub(super) const KEPT_MS: i64 = 60_000;
/// Most readings that are kept of one container: one a second, and some to spare for those that came at another's request.
const SAMPLES_MAX: usize = 90;
/// Less time than this says nothing about a share of it, in milliseconds.
const SPAN_MS_MIN: i64 = 4_500;
/// Length of a period of the quota, in milliseconds: what Belljar sets (`limits.cpus`).
const PERIOD_MS: f64 = 100.0;

/// What is kept of a reading: what can be judged.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) at_ms: i64,
    pub(super) cpu_usec_total: Option<u64>,
    pub(super) throttled_periods_total: Option<u64>,
    /// What cannot be taken back at once.
    pub(super) memory_bytes: Option<u64>,
    /// All of it: what the limit is compared with.
    pub(super) memory_charged_bytes: Option<u64>,
    pub(super) memory_bytes_max: Option<u64>,
    pub(super) memory_hits_total: Option<u64>,
    pub(super) oom_kills_total: Option<u64>,
    pub(super) pids: Option<u64>,
    pub(super) pids_max: Option<u64>,
    pub(super) pids_hits_total: Option<u64>,
    /// Time in which at least one of its tasks waited, of the last minute, in percent.
    pub(super) waits: Waits,
}

/// How much of the last minute was spent waiting, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Waits {
    pub(super) cpu: Option<f64>,
    pub(super) memory: Option<f64>,
    pub(super) io: Option<f64>,
}

impl From<&Usage> for Sample {
    fn from(usage: &Usage) -> Self {
        let some = |stall: Option<Stall>| stall.map(|stall| stall.some.avg60_percent);
        let pressure = usage.pressure.unwrap_or_default();
        Self {
            at_ms: usage.at_ms,
            cpu_usec_total: usage.cpu_usec_total,
            throttled_periods_total: usage.cpu_throttled_periods_total,
            memory_bytes: usage.memory_working_set_bytes.or(usage.memory_bytes),
            memory_charged_bytes: usage.memory_bytes,
            memory_bytes_max: usage.memory_bytes_max,
            memory_hits_total: usage.memory_limit_hits_total,
            oom_kills_total: usage.oom_kills_total,
            pids: usage.pids,
            pids_max: usage.pids_max,
            pids_hits_total: usage.pids_limit_hits_total,
            waits: Waits { cpu: some(pressure.cpu), memory: some(pressure.memory), io: some(pressure.io) },
        }
    }
}

impl Sample {
    /// What there is at a container's start: every count is 0, and nothing was measured.
    pub(super) fn zero(at_ms: i64) -> Self {
        let none = Some(0);
        Self {
            at_ms,
            cpu_usec_total: none,
            throttled_periods_total: none,
            memory_hits_total: none,
            oom_kills_total: none,
            pids_hits_total: none,
            ..Self::default()
        }
    }

    /// Whether this is of the same life of the container as an earlier one: its counts never fall.
    fn goes_on_from(&self, before: &Self) -> bool {
        let rose = |now: Option<u64>, before: Option<u64>| now.zip(before).is_none_or(|(now, before)| now >= before);
        self.at_ms >= before.at_ms
            && rose(self.cpu_usec_total, before.cpu_usec_total)
            && rose(self.throttled_periods_total, before.throttled_periods_total)
            && rose(self.memory_hits_total, before.memory_hits_total)
            && rose(self.pids_hits_total, before.pids_hits_total)
    }
}

/// The readings of the last minute, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(VecDeque<Sample>);

impl Samples {
    /// Adds a reading, and lets go of those that nobody asks for any more. What a container did before it was started again
    /// is not held against it.
    pub(super) fn push(&mut self, sample: Sample) {
        if self.0.back().is_some_and(|last| !sample.goes_on_from(last)) {
            self.0.clear();
        }
        self.0.push_back(sample);
        let begins = sample.at_ms - KEPT_MS;
        while self.0.len() > SAMPLES_MAX || self.0.get(1).is_some_and(|second| second.at_ms <= begins) {
            self.0.pop_front();
        }
    }

    /// The latest two, where there are two.
    pub(super) fn step(&self) -> Option<(&Sample, &Sample)> {
        Some((self.0.iter().nth_back(1)?, self.0.back()?))
    }

    /// What they come to; `None` where there are none.
    pub(super) fn minute(&self) -> Option<Minute> {
        Some(Minute::between(self.0.front()?, self.0.back()?))
    }
}

/// A minute of a container, or as much of it as was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Minute {
    /// From the first reading to the last, in milliseconds.
    pub(super) span_ms: i64,
    /// The last reading.
    pub(super) now: Sample,
    /// Periods of its quota in which it was held back, of all that passed, in percent.
    pub(super) throttled_percent: Option<f64>,
    /// How often its memory came up against the limit.
    pub(super) memory_hits: u64,
    /// New processes that were refused.
    pub(super) pids_hits: u64,
}

impl Minute {
    fn between(first: &Sample, last: &Sample) -> Self {
        let span_ms = last.at_ms - first.at_ms;
        let since = |last: Option<u64>, first: Option<u64>| last.zip(first).and_then(|(last, first)| last.checked_sub(first));
        let throttled = since(last.throttled_periods_total, first.throttled_periods_total).filter(|_| span_ms >= SPAN_MS_MIN);
        Self {
            span_ms,
            now: *last,
            // The kernel's clock and ours may part by a period.
            throttled_percent: throttled.map(|periods| (periods as f64 * PERIOD_MS / span_ms as f64 * 100.0).min(100.0)),
            memory_hits: since(last.memory_hits_total, first.memory_hits_total).unwrap_or_default(),
            pids_hits: since(last.pids_hits_total, first.pids_hits_total).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, throttled: u64) -> Sample {
        Sample { at_ms: second * 1000, cpu_usec_total: Some(throttled), throttled_periods_total: Some(throttled), ..Sample::default() }
    }

    #[test]
    fn a_minute_is_what_lies_between_its_first_and_its_last_reading() {
        let mut samples = Samples::default();
        assert_eq!(samples.minute(), None);
        samples.push(at(0, 0));
        assert_eq!(samples.minute().map(|minute| minute.throttled_percent), Some(None), "one reading has no share");
        // Every second 5 of its 10 periods, for two minutes: never more than the last of them counts.
        (1..=120).for_each(|second| samples.push(at(second, 5 * second as u64)));
        let minute = samples.minute().expect("readings");
        assert_eq!((minute.span_ms, minute.throttled_percent), (60_000, Some(50.0)));
        assert!(samples.0.len() <= 62);
    }

    #[test]
    fn readings_that_come_every_ten_seconds_reach_back_a_minute_too() {
        let mut samples = Samples::default();
        (0..20).for_each(|round| samples.push(at(round * 10 + round / 7, 0)));
        let span_ms = samples.minute().expect("readings").span_ms;
        assert!((60_000..=71_000).contains(&span_ms), "{span_ms}");
    }

    #[test]
    fn a_container_that_was_started_again_begins_a_new_minute() {
        let mut samples = Samples::default();
        samples.push(at(0, 900));
        samples.push(at(10, 990));
        samples.push(at(20, 3));
        assert_eq!(samples.minute().map(|minute| (minute.span_ms, minute.throttled_percent)), Some((0, None)));
    }

    #[test]
    fn readings_without_end_are_not_kept_without_end() {
        let mut samples = Samples::default();
        (0..10_000).for_each(|number| samples.push(Sample { at_ms: number, ..Sample::default() }));
        assert_eq!(samples.0.len(), SAMPLES_MAX);
    }
}
