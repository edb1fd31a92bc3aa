//! `stats --history`: what a container used in the past, as a table that fits a screen.

use belljar_api::history::Point;
use belljar_api::query::{self, UsageHistory};
use belljar_api::{History, time};
use belljar_model::size;

use super::{DONE, Outcome, Session, of};
use crate::failure::Failure;
use crate::output::{Table, now_ms};

/// Most rows: several slots share one where there are more.
const ROWS: usize = 24;
/// What is shown where nothing was measured.
const UNKNOWN: &str = "-";

/// The last `span_ms` of each container, one table after the other.
pub(crate) async fn past(session: &mut Session, containers: &[String], span_ms: i64) -> Outcome {
    for container in containers {
        let from = Some((now_ms().saturating_sub(span_ms)).to_string());
        let query = query::write(&UsageHistory { from, ..UsageHistory::default() });
        let history: History = session.client.fetch(&format!("{}?{query}", of(container, "usage/history"))).await?;
        print(session, &history)?;
    }
    Ok(DONE)
}

fn print(session: &mut Session, history: &History) -> Result<(), Failure> {
    session.paper.table(&table(history))?;
    match &history.suggestion {
        Some(suggestion) => session.paper.line(suggestion),
        None => Ok(()),
    }
}

fn table(history: &History) -> Table {
    let heading = ["FROM", "CPU", "PEAK", "HELD BACK", "MEMORY", "PEAK", "LIMIT", "PIDS", "READ/S", "WRITTEN/S", "RECEIVED/S", "SENT/S"];
    let mut table = Table::new(&heading).figures(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    for points in rows(history) {
        let row = Row { points };
        table.row(vec![
            minute(points[0].at_ms).into(),
            percent(row.mean(|point| point.cpu_percent)).into(),
            percent(row.peak(|point| point.cpu_percent_peak)).into(),
            percent(row.mean(|point| point.cpu_throttled_percent)).into(),
            bytes(row.mean(|point| real(point.memory_bytes))).into(),
            bytes(row.peak(|point| real(point.memory_bytes_peak))).into(),
            bytes(points.last().and_then(|point| real(point.memory_bytes_max))).into(),
            row.peak(|point| real(point.pids)).map_or(UNKNOWN.to_owned(), |pids| format!("{pids:.0}")).into(),
            bytes(row.mean(|point| point.io_read_bytes_per_second)).into(),
            bytes(row.mean(|point| point.io_write_bytes_per_second)).into(),
            bytes(row.mean(|point| point.network_rx_bytes_per_second)).into(),
            bytes(row.mean(|point| point.network_tx_bytes_per_second)).into(),
        ]);
    }
    table
}

/// Slots that share a row, which all are of the same length in time. A stretch without any has no row.
fn rows(history: &History) -> impl Iterator<Item = &[Point]> {
    let (first, last) = match history.points.as_slice() {
        [first, .., last] => (first.at_ms, last.at_ms),
        _ => (0, 0),
    };
    let step_ms = history.step_ms.max(1);
    let slots = (last - first) / step_ms + 1;
    let length_ms = (slots + ROWS as i64 - 1) / ROWS as i64 * step_ms;
    history.points.chunk_by(move |one, other| one.at_ms.div_euclid(length_ms) == other.at_ms.div_euclid(length_ms))
}

/// Slots that are never none.
struct Row<'a> {
    points: &'a [Point],
}

impl Row<'_> {
    fn known(&self, figure: fn(&Point) -> Option<f64>) -> impl Iterator<Item = f64> {
        self.points.iter().filter_map(figure)
    }

    fn mean(&self, figure: fn(&Point) -> Option<f64>) -> Option<f64> {
        let count = self.known(figure).count();
        (count > 0).then(|| self.known(figure).sum::<f64>() / count as f64)
    }

    fn peak(&self, figure: fn(&Point) -> Option<f64>) -> Option<f64> {
        self.known(figure).reduce(f64::max)
    }
}

fn real(figure: Option<u64>) -> Option<f64> {
    figure.map(|figure| figure as f64)
}

fn percent(figure: Option<f64>) -> String {
    figure.map_or(UNKNOWN.to_owned(), |percent| format!("{percent:.1}%"))
}

fn bytes(figure: Option<f64>) -> String {
    figure.map_or(UNKNOWN.to_owned(), |bytes| size::display(bytes as u64))
}

/// `2026-11-24 03:50Z`: no slot of this table is told apart by its seconds, but for those of ten.
fn minute(at_ms: i64) -> String {
    let text = time::from_millis(at_ms);
    let end = if at_ms % 60_000 == 0 { 16 } else { 19 };
    format!("{}Z", text[..end].replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;
    use belljar_model::history as model;

    fn history(step_ms: i64, slots: impl IntoIterator<Item = i64>) -> History {
        let point = |slot| model::Point {
            at_ms: 1_700_000_040_000 + slot * step_ms,
            cpu_percent: Some(slot as f64),
            cpu_percent_peak: Some(slot as f64 * 2.0),
            memory_bytes: Some(5 << 20),
            ..model::Point::default()
        };
        History::new(model::History { step_ms, points: slots.into_iter().map(point).collect() }, None)
    }

    #[test]
    fn a_day_of_minutes_fits_a_screen_and_a_gap_has_no_row() {
        let day = history(60_000, 0..1440);
        assert!((ROWS..=ROWS + 1).contains(&rows(&day).count()));
        let few = history(10_000, [0, 1, 6]);
        let text = table(&few).render(Paint::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].starts_with("2023-11-14 22:14Z") && lines[2].starts_with("2023-11-14 22:14:10Z"), "{text}");
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>()[2..7], ["1.0%", "2.0%", "-", "5", "MiB"]);
        assert_eq!(rows(&history(10_000, [])).count(), 0);
    }

    #[test]
    fn slots_that_share_a_row_are_a_mean_and_a_peak() {
        let hours = history(600_000, 0..1008);
        let row = Row { points: rows(&hours).nth(1).expect("a second row") };
        let slots: Vec<f64> = row.points.iter().filter_map(|point| point.cpu_percent).collect();
        assert_eq!(row.mean(|point| point.cpu_percent), Some(slots.iter().sum::<f64>() / slots.len() as f64));
        assert_eq!(row.peak(|point| point.cpu_percent_peak), Some(slots[slots.len() - 1] * 2.0));
        assert_eq!(row.mean(|point| point.io_read_bytes_per_second), None);
    }
}
