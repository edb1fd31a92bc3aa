//! What a limit could be, from a week's history: a pure function. It must never know where the history comes from.

use belljar_model::diagnosis::{Finding, FindingKind, Gravity};
use belljar_model::history::{History, Point};
use belljar_model::{Limits, size};

/// Less than this says nothing about a day to come, in milliseconds.
const MEASURED_MS_MIN: i64 = 3_600_000;
/// A limit that is at most so many times what would have been enough is left alone.
const GENEROUS: f64 = 1.5;
/// What is suggested is above the largest reading: between two readings it may have been more.
const HEADROOM: f64 = 1.1;

/// The largest figure, and what 99 of 100 slots stayed below.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Peaks {
    pub(super) peak: u64,
    pub(super) percentile_99: u64,
}

impl Peaks {
    /// Of the slots in which there is a figure; `None` where there is none.
    pub(super) fn of(points: &[Point], figure: impl Fn(&Point) -> Option<u64>) -> Option<Self> {
        let mut figures: Vec<u64> = points.iter().filter_map(figure).collect();
        figures.sort_unstable();
        let percentile_99 = *figures.get((figures.len() * 99).div_ceil(100).checked_sub(1)?)?;
        Some(Self { peak: *figures.last()?, percentile_99 })
    }
}

/// What would have been enough memory, where the limit says much more, or there is none. `None` where too little is known.
pub(super) fn suggest(limits: &Limits, week: &History, now_ms: i64) -> Option<Finding> {
    let first = week.points.first()?;
    let measured_ms = i64::try_from(week.points.len()).ok()?.saturating_mul(week.step_ms);
    if measured_ms < MEASURED_MS_MIN {
        return None;
    }
    let Peaks { peak, percentile_99 } = Peaks::of(&week.points, |point| point.memory_bytes_peak)?;
    let enough = round_up(peak as f64 * HEADROOM);
    if limits.memory_bytes.is_some_and(|limit| (limit as f64) <= enough as f64 * GENEROUS) {
        return None;
    }
    let span = span(now_ms - first.at_ms);
    let [enough, peak, percentile_99] = [enough, peak, percentile_99].map(size::display);
    let advice = match limits.memory_bytes {
        Some(limit) => {
            format!("Its limit is {}; it used at most {peak}, and {percentile_99} or less 99 % of the time.", size::display(limit))
        }
        None => format!("It has none; it used at most {peak}, and {percentile_99} or less 99 % of the time."),
    };
    Some(Finding {
        kind: FindingKind::Suggestion,
        gravity: Gravity::Note,
        text: format!("a memory limit of {enough} would have been enough for {span}"),
        advice,
        sources: vec!["history".to_owned()],
    })
}

/// The next size of two digits in its unit: 300 MiB, not 291.7.
fn round_up(bytes: f64) -> u64 {
    let mut step = 1u64 << 20;
    loop {
        for digits in [1, 5, 10, 50] {
            if bytes <= (step * digits * 20) as f64 {
                return (bytes / (step * digits) as f64).ceil().max(1.0) as u64 * step * digits;
            }
        }
        if step >= 1 << 50 {
            return u64::MAX;
        }
        step <<= 10;
    }
}

/// `the last 7 days`, `the last 5 hours`.
fn span(ms: i64) -> String {
    const HOUR_MS: i64 = 3_600_000;
    let hours = (ms + HOUR_MS / 2) / HOUR_MS;
    match hours {
        ..=1 => "the last hour".to_owned(),
        2..=35 => format!("the last {hours} hours"),
        _ => format!("the last {} days", ((hours + 12) / 24).min(7)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK_MS: i64 = 7 * 24 * 3_600_000;

    fn week(figures: impl IntoIterator<Item = u64>) -> History {
        let point = |(slot, mib): (i64, u64)| Point { at_ms: slot * 600_000, memory_bytes_peak: Some(mib << 20), ..Point::default() };
        History { step_ms: 600_000, points: (0..).zip(figures).map(point).collect() }
    }

    fn limits(memory_mib: Option<u64>) -> Limits {
        Limits { memory_bytes: memory_mib.map(|mib| mib << 20), ..Limits::default() }
    }

    #[test]
    fn a_limit_that_is_far_too_large_is_told_what_would_have_been_enough() {
        let figures = (0..1008).map(|slot| if slot % 200 == 0 { 270 } else { 120 });
        let finding = suggest(&limits(Some(1024)), &week(figures), WEEK_MS).expect("a suggestion");
        assert_eq!(finding.text, "a memory limit of 300 MiB would have been enough for the last 7 days");
        assert_eq!(finding.advice, "Its limit is 1 GiB; it used at most 270 MiB, and 120 MiB or less 99 % of the time.");
    }

    #[test]
    fn what_is_about_right_or_hardly_known_is_left_alone() {
        assert_eq!(suggest(&limits(Some(400)), &week([270; 1000]), WEEK_MS), None);
        assert_eq!(suggest(&limits(None), &week([270; 5]), WEEK_MS), None, "less than an hour");
        let unknown = History { step_ms: 600_000, points: vec![Point::default(); 1000] };
        assert_eq!(suggest(&limits(None), &unknown, WEEK_MS), None);
        let since_yesterday = suggest(&limits(None), &week([3; 100]), 20 * 3_600_000).expect("a suggestion");
        assert_eq!(since_yesterday.text, "a memory limit of 4 MiB would have been enough for the last 20 hours");
    }

    #[test]
    fn the_99th_percentile_is_what_99_of_100_stay_at_or_below() {
        let peaks =
            |figures: &[u64]| Peaks::of(&week(figures.iter().copied()).points, |point| point.memory_bytes_peak.map(|bytes| bytes >> 20));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(peaks(&hundred), Some(Peaks { peak: 100, percentile_99: 99 }));
        assert_eq!(peaks(&[7]), Some(Peaks { peak: 7, percentile_99: 7 }));
        assert_eq!(peaks(&[]), None);
    }

    #[test]
    fn sizes_are_rounded_up_to_what_a_person_would_write() {
        let mib = |mib: f64| size::display(round_up(mib * 1_048_576.0));
        assert_eq!([mib(0.2), mib(18.5), mib(21.0), mib(297.0), mib(301.0)], ["1 MiB", "19 MiB", "25 MiB", "300 MiB", "350 MiB"]);
        assert_eq!([mib(950.0), mib(1001.0), mib(20_000.0)], ["950 MiB", "1 GiB", "20 GiB"]);
    }
}
