//! Measured figures, printed beside their targets.

use std::fmt;
use std::time::Duration;

/// What was measured, a row each.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    figures: String,
    ratio: String,
}

/// Median and 95th percentile of durations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// Half of them took at most this, in milliseconds.
    pub(crate) median_ms: f64,
    /// Nineteen of twenty took at most this, in milliseconds.
    pub(crate) p95_ms: f64,
}

impl Spread {
    /// Of at least one duration.
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort();
        let at = |percent: usize| {
            let index = (durations.len() * percent).div_ceil(100).saturating_sub(1);
            durations.get(index).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1e3)
        };
        Self { median_ms: at(50), p95_ms: at(95) }
    }
}

impl Table {
    /// A row of durations against a target in milliseconds.
    pub(crate) fn time(&mut self, what: &str, spread: Spread, target_ms: f64) {
        let ratio = format!("{:.2} of the target {target_ms} ms", spread.median_ms / target_ms);
        self.row(what, figures(spread), ratio);
    }

    /// A row of durations with a ratio in the caller's words.
    pub(crate) fn spread(&mut self, what: &str, spread: Spread, ratio: String) {
        self.row(what, figures(spread), ratio);
    }

    /// A row of another runtime's durations against Belljar's.
    pub(crate) fn peer(&mut self, what: &str, spread: Spread, own: Spread) {
        let ratio = format!("{:.2} times Belljar's", spread.median_ms / own.median_ms);
        self.row(what, figures(spread), ratio);
    }

    /// A row of bytes against a target in bytes.
    pub(crate) fn bytes(&mut self, what: &str, bytes: u64, target_bytes: f64) {
        let ratio = format!("{:.2} of the target {}", bytes as f64 / target_bytes, kilobytes(target_bytes));
        self.row(what, kilobytes(bytes as f64), ratio);
    }

    /// A row without a target.
    pub(crate) fn row(&mut self, what: &str, figures: String, ratio: String) {
        self.rows.push(Row { what: what.to_owned(), figures, ratio });
    }
}

fn figures(spread: Spread) -> String {
    format!("median {:7.2} ms   95th {:7.2} ms", spread.median_ms, spread.p95_ms)
}

fn kilobytes(bytes: f64) -> String {
    format!("{:.1} kB", bytes / 1e3)
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Row { what, figures, ratio } in &self.rows {
            writeln!(formatter, "{what:48} {figures:36} {ratio}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_95th_are_of_the_sorted_durations() {
        let durations = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(Spread::of(durations), Spread { median_ms: 50.0, p95_ms: 95.0 });
        assert_eq!(Spread::of(vec![Duration::from_millis(3)]), Spread { median_ms: 3.0, p95_ms: 3.0 });
    }

    #[test]
    fn a_row_says_how_far_it_is_from_its_target() {
        let mut table = Table::default();
        table.time("start", Spread { median_ms: 4.0, p95_ms: 5.0 }, 8.0);
        assert!(table.to_string().contains("0.50 of the target 8 ms"));
    }
}
