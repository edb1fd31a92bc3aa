//! What is worth an event while a container runs: limits that it comes up against, and waiting without end.
//!
//! Pure, as [`super::findings`]: samples in, sentences out. It must never tell so often that the diary is full of it.

use belljar_model::{EventKind, size};

use super::findings::{self, Lack, WAITING_PERCENT_MIN};
use super::minute::{Minute, Samples};
use super::words::{in_the_last, times};

/// Shortest time between two events of one limit of one container, in milliseconds. It doubles for as long as the limit goes on
/// to be hit: whoever did not act on the first ten will not act on a thousand.
const PAUSE_MS_MIN: i64 = 60_000;
/// Longest such time, in milliseconds.
const PAUSE_MS_MAX: i64 = 3_600_000;
/// A container that is held back by its quota for more than this share of its last minute has hit that limit, in percent.
const THROTTLED_PERCENT: f64 = 25.0;
/// Not before so much of a minute was measured, in milliseconds: whatever starts is busy for a moment.
const THROTTLED_SPAN_MS_MIN: i64 = 30_000;
/// So near to its limit of memory that there is no room for what a program asks for at once, in percent.
const AT_LIMIT_PERCENT: f64 = 99.0;
/// Waiting for more than this share of the time, in percent,
const PRESSURE_PERCENT: f64 = 25.0;
/// for so long, in milliseconds, is an event.
const PRESSURE_MS: i64 = 60_000;

/// What was told of one container, so that it is not told again.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    cpu: Pace,
    memory: Pace,
    pids: Pace,
    /// By [`Lack`].
    pressure: [Pressure; Lack::ALL.len()],
}

impl Alarms {
    /// What the latest reading is worth telling.
    pub(super) fn hear(&mut self, samples: &Samples) -> Vec<(EventKind, String)> {
        let Some(minute) = samples.minute() else { return Vec::new() };
        let hits = [
            (&mut self.cpu, throttled(&minute)),
            (&mut self.memory, memory_hit(samples, &minute)),
            (&mut self.pids, pids_hit(samples, &minute)),
        ];
        let mut told: Vec<(EventKind, String)> = Vec::new();
        for (pace, hit) in hits {
            let hit = hit.filter(|_| pace.lets_tell(minute.now.at_ms));
            told.extend(hit.map(|message| (EventKind::LimitHit, message)));
        }
        for (lack, pressure) in Lack::ALL.into_iter().zip(&mut self.pressure) {
            let share = lack.share(&minute).filter(|_| lack != Lack::Cpu || !is_throttled(&minute));
            if let Some(share) = pressure.hear(share, minute.now.at_ms) {
                told.push((EventKind::Pressure, lack.sentence(share)));
            }
        }
        told
    }
}

fn is_throttled(minute: &Minute) -> bool {
    minute.throttled_percent.is_some_and(|share| share >= WAITING_PERCENT_MIN)
}

fn throttled(minute: &Minute) -> Option<String> {
    let share = minute.throttled_percent.filter(|share| *share > THROTTLED_PERCENT && minute.span_ms >= THROTTLED_SPAN_MS_MIN)?;
    Some(findings::held_back(share, minute.span_ms))
}

/// A cache of files fills whatever it is given, and comes up against the limit all the time without harm: only what cannot be
/// taken back counts. Some kernels do not count the hits on v1 (`memory.failcnt` is 0 on Linux 6.18): there it is one to be found at
/// the limit.
fn memory_hit(samples: &Samples, minute: &Minute) -> Option<String> {
    let (before, now) = samples.step()?;
    let (used, limit) = findings::near_limit(now.memory_bytes, now.memory_bytes_max)?;
    let is_counted = rose(before.memory_hits_total, now.memory_hits_total).is_some();
    let is_at_limit = now.memory_charged_bytes.is_some_and(|charged| charged as f64 >= limit as f64 * AT_LIMIT_PERCENT / 100.0);
    let how_often = match is_counted {
        true => format!(" {} {}", times(minute.memory_hits), in_the_last(minute.span_ms)),
        false if is_at_limit => String::new(),
        false => return None,
    };
    Some(format!("came up against its memory limit of {}{how_often}, with {} in use", size::display(limit), size::display(used)))
}

fn pids_hit(samples: &Samples, minute: &Minute) -> Option<String> {
    let (before, now) = samples.step()?;
    rose(before.pids_hits_total, now.pids_hits_total)?;
    Some(format!("{} {}", findings::refused(minute.pids_hits, now.pids_max), in_the_last(minute.span_ms)))
}

fn rose(before: Option<u64>, now: Option<u64>) -> Option<u64> {
    before.zip(now).and_then(|(before, now)| now.checked_sub(before)).filter(|risen| *risen > 0)
}

/// How often one limit is told.
#[derive(Debug, Default)]
struct Pace {
    told_at_ms: Option<i64>,
    pause_ms: i64,
}

impl Pace {
    /// Whether a hit at this moment is told; if so, the next has to wait.
    fn lets_tell(&mut self, at_ms: i64) -> bool {
        let passed_ms = self.told_at_ms.map(|told_at_ms| at_ms.saturating_sub(told_at_ms));
        match passed_ms {
            // A clock that was set back does not silence it for the difference.
            Some(passed) if (0..self.pause_ms).contains(&passed) => return false,
            // It went on all the while.
            Some(passed) if (0..2 * self.pause_ms).contains(&passed) => self.pause_ms = (2 * self.pause_ms).min(PAUSE_MS_MAX),
            _ => self.pause_ms = PAUSE_MS_MIN,
        }
        self.told_at_ms = Some(at_ms);
        true
    }
}

/// Waiting for one thing.
#[derive(Debug, Default)]
struct Pressure {
    /// Since when it waits too much.
    since_ms: Option<i64>,
    was_told: bool,
}

impl Pressure {
    /// The share, if it is to be told: once it lasted for long enough, and not again until it fell.
    fn hear(&mut self, share: Option<f64>, at_ms: i64) -> Option<f64> {
        let Some(share) = share.filter(|share| *share > PRESSURE_PERCENT) else {
            *self = Self::default();
            return None;
        };
        let since_ms = *self.since_ms.get_or_insert(at_ms);
        let is_due = !self.was_told && at_ms.saturating_sub(since_ms) >= PRESSURE_MS;
        self.was_told |= is_due;
        is_due.then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::super::minute::{Sample, Waits};
    use super::*;

    /// What is told of these readings, with the second at which it is.
    fn told(readings: impl IntoIterator<Item = Sample>) -> Vec<(i64, EventKind, String)> {
        let (mut samples, mut alarms, mut told) = (Samples::default(), Alarms::default(), Vec::new());
        for sample in readings {
            samples.push(sample);
            told.extend(alarms.hear(&samples).into_iter().map(|(kind, message)| (sample.at_ms / 1000, kind, message)));
        }
        told
    }

    fn at(second: i64) -> Sample {
        Sample { at_ms: second * 1000, ..Sample::default() }
    }

    fn seconds(told: &[(i64, EventKind, String)]) -> Vec<i64> {
        told.iter().map(|(second, _, _)| *second).collect()
    }

    #[test]
    fn a_limit_that_is_hit_all_the_time_is_told_at_most_once_a_minute_and_ever_more_rarely() {
        let always = (0..1000).map(|second| Sample { pids_hits_total: Some(3 * second as u64), pids_max: Some(16), ..at(second) });
        let told = told(always);
        assert_eq!(seconds(&told), [1, 61, 181, 421, 901]);
        assert_eq!(told[0].2, "3 new processes were refused at its limit of 16 processes and threads in the last 1 s");
        assert_eq!(told[1].2, "180 new processes were refused at its limit of 16 processes and threads in the last minute");
    }

    #[test]
    fn a_limit_that_is_hit_again_after_a_long_time_is_told_again_at_once() {
        let hits = |second: i64| if second < 100 { 1 } else { 2 } + u64::from(second >= 2000) + u64::from(second >= 2070);
        let readings = (0..3000).map(|second| Sample { pids_hits_total: Some(hits(second) - 1), ..at(second) });
        assert_eq!(seconds(&told(readings)), [100, 2000, 2070]);
    }

    #[test]
    fn a_cache_that_fills_what_it_is_given_is_no_hit_and_a_program_that_does_is() {
        let reading = |used: u64| {
            move |second: i64| Sample {
                memory_hits_total: Some(second as u64),
                memory_bytes: Some(used << 20),
                memory_bytes_max: Some(64 << 20),
                ..at(second)
            }
        };
        assert_eq!(told((0..50).map(reading(20))), []);
        let told = told((0..50).map(reading(63)));
        let message = "came up against its memory limit of 64 MiB once in the last 1 s, with 63 MiB in use".to_owned();
        assert_eq!(told, [(1, EventKind::LimitHit, message)]);
    }

    #[test]
    fn where_hits_are_not_counted_it_is_one_to_be_found_at_the_limit() {
        let reading = |charged: u64, used: u64| {
            move |second: i64| Sample {
                memory_hits_total: Some(0),
                memory_charged_bytes: Some(charged << 20),
                memory_bytes: Some(used << 20),
                memory_bytes_max: Some(64 << 20),
                ..at(second)
            }
        };
        assert_eq!(told((0..50).map(reading(64, 20))), [], "a full cache");
        assert_eq!(told((0..50).map(reading(62, 62))), [], "close to it");
        let message = "came up against its memory limit of 64 MiB, with 62 MiB in use".to_owned();
        assert_eq!(told((0..50).map(reading(64, 62))), [(1, EventKind::LimitHit, message)]);
    }

    #[test]
    fn a_quota_that_holds_back_for_a_while_is_told_with_its_share() {
        let reading = |periods: u64| move |second: i64| Sample { throttled_periods_total: Some(second as u64 * periods), ..at(second) };
        assert_eq!(told((0..50).map(reading(2))), [], "20 % is a finding, but no event");
        let told = told((0..50).map(reading(4)));
        assert_eq!(told, [(30, EventKind::LimitHit, "held back by its cpu limit 40 % of the last 30 s".to_owned())]);
    }

    #[test]
    fn pressure_is_told_after_a_minute_and_not_again_until_it_fell() {
        let share = |second: i64| if (200..210).contains(&second) { 25.0 } else { 31.4 };
        let readings = (0..400).map(|second| Sample { waits: Waits { io: Some(share(second)), ..Waits::default() }, ..at(second) });
        let told = told(readings);
        assert_eq!(seconds(&told), [60, 270]);
        assert_eq!((told[0].1, told[0].2.as_str()), (EventKind::Pressure, "waiting for disk 31 % of the last minute"));
    }

    #[test]
    fn who_is_held_back_by_a_quota_is_not_told_to_wait_for_others() {
        let reading = |periods: u64| {
            move |second: i64| Sample {
                throttled_periods_total: Some(second as u64 * periods),
                waits: Waits { cpu: Some(90.0), ..Waits::default() },
                ..at(second)
            }
        };
        let kinds = |told: Vec<(i64, EventKind, String)>| told.into_iter().map(|(_, kind, _)| kind).collect::<Vec<_>>();
        assert_eq!(kinds(told((0..100).map(reading(9)))), [EventKind::LimitHit, EventKind::LimitHit]);
        assert_eq!(kinds(told((0..100).map(reading(0)))), [EventKind::Pressure]);
    }
}
