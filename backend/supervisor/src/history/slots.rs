//! Readings become slots of ten seconds. What counts is spread over the time between two readings, what is a level belongs
//! to the moment of its reading. It must never know where readings come from or where slots go.
//!
//! ```text
//! readings      |7          |17         |27
//! slots     0...|....10.....|....20.....|....
//!               └─3 s─┘└─7 s┘└─3 s┘└─7 s┘        of what was counted
//! ```

use belljar_model::history::Tier;
use belljar_model::usage::{Stall, Usage};
use belljar_store::Slot;

/// Length of a slot, in milliseconds.
pub(crate) const SLOT_MS: i64 = Tier::TenSeconds.step_ms();
/// Longest time between two readings that is taken for measured, in milliseconds. Beyond it (the server was away, the machine
/// slept) nobody knows when what was counted was used.
const INTERVAL_MS_MAX: i64 = 3 * SLOT_MS;

/// What counts on and is remembered as a rate, by its place in [`Reading::totals`].
const TOTALS: usize = 8;
/// What counts on and is remembered as a count, by its place in [`Reading::counts`].
const COUNTS: usize = 3;

/// As much of a usage as is remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Reading {
    at_ms: i64,
    /// Processor time, bytes read and written, received and sent, and the three pressures.
    totals: [Option<u64>; TOTALS],
    /// Periods of the quota, those in which it was held back, and processes killed for memory.
    counts: [Option<u64>; COUNTS],
    memory: Option<u64>,
    swap: Option<u64>,
    pids: Option<u64>,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Limits {
    cpus: Option<f64>,
    memory: Option<u64>,
    pids: Option<u64>,
}

impl Reading {
    /// Of a usage, beside the limit in processors, which is none of its figures.
    pub(crate) fn of(usage: &Usage, cpus_max: Option<f64>) -> Self {
        let pressure = usage.pressure.unwrap_or_default();
        let stalled = |stall: Option<Stall>| stall.map(|stall| stall.some.usec_total);
        Self {
            at_ms: usage.at_ms,
            totals: [
                usage.cpu_usec_total,
                usage.io_read_bytes_total,
                usage.io_write_bytes_total,
                usage.network_rx_bytes,
                usage.network_tx_bytes,
                stalled(pressure.cpu),
                stalled(pressure.memory),
                stalled(pressure.io),
            ],
            counts: [usage.cpu_periods_total, usage.cpu_throttled_periods_total, usage.oom_kills_total],
            memory: usage.memory_working_set_bytes.or(usage.memory_bytes),
            swap: usage.memory_swap_bytes,
            pids: usage.pids,
            limits: Limits { cpus: cpus_max, memory: usage.memory_bytes_max, pids: usage.pids_max },
        }
    }

    /// What would have been read between two readings.
    fn between(before: &Reading, after: &Reading) -> Reading {
        let middle = |one: Option<u64>, other: Option<u64>| Some(u64::midpoint(one?, other?));
        Reading { memory: middle(before.memory, after.memory), swap: middle(before.swap, after.swap), ..*before }
    }
}

/// One container's last reading, and the slot that it lies in.
#[derive(Debug)]
pub(crate) struct Past {
    last: Reading,
    filling: Filling,
}

impl Past {
    /// Begins with a first reading.
    pub(crate) fn new(first: Reading) -> Self {
        let mut filling = Filling::at(first.at_ms - first.at_ms.rem_euclid(SLOT_MS));
        filling.read(&first);
        Self { last: first, filling }
    }

    /// Takes the next reading, and hands over every slot that is over.
    pub(crate) fn take(&mut self, reading: Reading, mut over: impl FnMut(Slot)) {
        let passed_ms = reading.at_ms - self.last.at_ms;
        if passed_ms == 0 {
            return;
        }
        if !(0..=INTERVAL_MS_MAX).contains(&passed_ms) {
            over(self.end());
            *self = Self::new(reading);
            return;
        }
        let mut begin_ms = self.last.at_ms;
        while begin_ms < reading.at_ms {
            let slot_end_ms = self.filling.at_ms + SLOT_MS;
            let end_ms = reading.at_ms.min(slot_end_ms);
            self.filling.measure(end_ms - begin_ms, passed_ms, [&self.last, &reading]);
            begin_ms = end_ms;
            if begin_ms == slot_end_ms {
                if self.filling.readings == 0 {
                    self.filling.read(&Reading::between(&self.last, &reading));
                }
                over(self.filling.slot());
                self.filling = Filling::at(slot_end_ms);
            }
        }
        self.filling.read(&reading);
        self.filling.count([&self.last, &reading]);
        self.last = reading;
    }

    /// The slot that is not over: no reading will come any more.
    pub(crate) fn end(&self) -> Slot {
        self.filling.slot()
    }
}

/// A slot as far as it was measured.
#[derive(Debug, Clone, Copy, Default)]
struct Filling {
    at_ms: i64,
    measured_ms: i64,
    totals: [Amount; TOTALS],
    counts: [Option<u64>; COUNTS],
    readings: u32,
    memory: Level,
    swap: Level,
    pids: Level,
    limits: Limits,
}

/// What was counted, and over which time.
#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    sum: f64,
    known_ms: i64,
}

impl Amount {
    /// In a second, times `scale`.
    fn per_second(self, scale: f64) -> Option<f64> {
        (self.known_ms > 0).then(|| self.sum / self.known_ms as f64 * 1000.0 * scale)
    }
}

/// Readings of what is a level.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    sum: u128,
    readings: u32,
    peak: Option<u64>,
}

impl Level {
    fn add(&mut self, reading: Option<u64>) {
        if let Some(reading) = reading {
            self.sum += u128::from(reading);
            self.readings += 1;
            self.peak = self.peak.max(Some(reading));
        }
    }

    fn mean(self) -> Option<u64> {
        let mean = self.sum.checked_div(u128::from(self.readings))?;
        u64::try_from(mean).ok()
    }
}

impl Filling {
    fn at(at_ms: i64) -> Self {
        Self { at_ms, ..Self::default() }
    }

    /// Adds its part of what was counted between two readings.
    fn measure(&mut self, part_ms: i64, passed_ms: i64, [before, after]: [&Reading; 2]) {
        self.measured_ms += part_ms;
        let share = part_ms as f64 / passed_ms as f64;
        for (amount, (before, after)) in self.totals.iter_mut().zip(before.totals.iter().zip(after.totals)) {
            // A container that was started again counts from zero: unknown until the next reading.
            let counted = before.zip(after).and_then(|(before, after)| after.checked_sub(before));
            if let Some(counted) = counted {
                amount.sum += counted as f64 * share;
                amount.known_ms += part_ms;
            }
        }
    }

    /// Adds what happened so many times since the reading before.
    fn count(&mut self, [before, after]: [&Reading; 2]) {
        for (count, (before, after)) in self.counts.iter_mut().zip(before.counts.iter().zip(after.counts)) {
            // One that was started again has counted since then.
            let counted = before.zip(after).map(|(before, after)| after.checked_sub(before).unwrap_or(after));
            *count = count.map_or(counted, |sum| Some(sum + counted.unwrap_or_default()));
        }
    }

    fn read(&mut self, reading: &Reading) {
        self.readings += 1;
        self.memory.add(reading.memory);
        self.swap.add(reading.swap);
        self.pids.add(reading.pids);
        self.limits = reading.limits;
    }

    fn slot(&self) -> Slot {
        let [cpu, io_read, io_write, network_rx, network_tx, cpu_pressure, memory_pressure, io_pressure] = self.totals;
        let [cpu_periods, cpu_throttled_periods, oom_kills] = self.counts;
        // Percent of microseconds per second.
        let percent = |amount: Amount| amount.per_second(1e-4);
        let waited = |amount: Amount| percent(amount).map(|percent| percent.min(100.0));
        Slot {
            at_ms: self.at_ms,
            measured_ms: u32::try_from(self.measured_ms).unwrap_or_default(),
            cpu_percent: percent(cpu),
            cpu_periods,
            cpu_throttled_periods,
            cpus_max: self.limits.cpus,
            memory_bytes: self.memory.mean(),
            memory_bytes_peak: self.memory.peak,
            memory_bytes_max: self.limits.memory,
            memory_swap_bytes: self.swap.mean(),
            pids: self.pids.peak,
            pids_max: self.limits.pids,
            io_read_bytes_per_second: io_read.per_second(1.0),
            io_write_bytes_per_second: io_write.per_second(1.0),
            network_rx_bytes_per_second: network_rx.per_second(1.0),
            network_tx_bytes_per_second: network_tx.per_second(1.0),
            cpu_pressure_percent: waited(cpu_pressure),
            memory_pressure_percent: waited(memory_pressure),
            io_pressure_percent: waited(io_pressure),
            oom_kills,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_ms: i64, cpu_usec_total: u64, memory: u64) -> Reading {
        let usage = Usage {
            at_ms,
            cpu_usec_total: Some(cpu_usec_total),
            memory_bytes: Some(memory),
            oom_kills_total: Some(cpu_usec_total / 10_000_000),
            ..Usage::default()
        };
        Reading::of(&usage, Some(0.5))
    }

    /// The slots of readings, the last one as far as it was filled.
    fn slots(readings: &[Reading]) -> Vec<Slot> {
        let mut slots = Vec::new();
        let mut past = Past::new(readings[0]);
        for reading in &readings[1..] {
            past.take(*reading, |slot| slots.push(slot));
        }
        slots.push(past.end());
        slots
    }

    #[test]
    fn what_was_counted_is_spread_over_the_time_between_two_readings() {
        // Half a processor all the time, read every ten seconds, askew.
        let slots = slots(&[7, 17, 27].map(|at| reading(at * 1000, at as u64 * 500_000, at as u64)));
        let told: Vec<_> = slots.iter().map(|slot| (slot.at_ms, slot.measured_ms, slot.cpu_percent, slot.memory_bytes)).collect();
        let half = Some(50.0);
        assert_eq!(told, [(0, 3000, half, Some(7)), (10_000, 10_000, half, Some(17)), (20_000, 7000, half, Some(27))]);
        assert_eq!((slots[0].cpus_max, slots[0].memory_swap_bytes, slots[0].io_pressure_percent), (Some(0.5), None, None));
    }

    #[test]
    fn readings_of_one_slot_are_one_mean_and_one_peak() {
        let slots = slots(&[0, 1, 2, 9].map(|at| reading(at * 1000, 0, at as u64 * 10)));
        assert_eq!(slots.len(), 1);
        assert_eq!((slots[0].memory_bytes, slots[0].memory_bytes_peak, slots[0].cpu_percent), (Some(30), Some(90), Some(0.0)));
    }

    #[test]
    fn a_slot_between_two_readings_is_no_gap() {
        let slots = slots(&[reading(9990, 0, 10), reading(20_040, 0, 30)]);
        assert_eq!(slots.len(), 3);
        assert_eq!((slots[1].at_ms, slots[1].measured_ms, slots[1].memory_bytes), (10_000, 10_000, Some(20)));
    }

    #[test]
    fn what_was_counted_while_nobody_looked_is_nobodys() {
        let slots = slots(&[reading(5000, 0, 1), reading(65_000, 60_000_000, 1), reading(66_000, 60_000_000, 1)]);
        let told: Vec<_> = slots.iter().map(|slot| (slot.at_ms, slot.measured_ms, slot.cpu_percent)).collect();
        assert_eq!(told, [(0, 0, None), (60_000, 1000, Some(0.0))]);
    }

    #[test]
    fn a_clock_that_goes_back_ends_a_slot_and_begins_another() {
        let slots = slots(&[reading(65_000, 5, 1), reading(66_000, 6, 1), reading(5000, 7, 1), reading(6000, 8, 1)]);
        assert_eq!(slots.iter().map(|slot| (slot.at_ms, slot.measured_ms)).collect::<Vec<_>>(), [(60_000, 1000), (0, 1000)]);
    }

    #[test]
    fn a_container_that_was_started_again_has_no_rate_until_the_next_reading_but_its_kills_count() {
        let slots = slots(&[reading(0, 50_000_000, 1), reading(1000, 20_000_000, 1), reading(2000, 20_500_000, 1)]);
        assert_eq!((slots[0].measured_ms, slots[0].cpu_percent, slots[0].oom_kills), (2000, Some(50.0), Some(2)));
    }
}
