//! The statements of the history, made of one table of columns: how a slot's figures become one with others'. It must never
//! know what the figures mean.

use std::sync::LazyLock;

use belljar_model::history::Tier;

use super::{GRACE_MS, block_ms};

/// How several slots' figures become one. What is NULL in all of them stays so.
#[derive(Clone, Copy)]
pub(super) enum Fold {
    /// The mean, by how much of each slot was measured.
    Mean,
    /// The largest.
    Peak,
    /// The largest of the column before, where the slot has none itself: it is one of the finest.
    PeakOfMeans,
    /// The sum.
    Sum,
    /// That of the last slot, also where it is NULL.
    Last,
}

/// Every figure, in the order of rows and answers.
pub(super) const COLUMNS: [(&str, Fold); 20] = [
    ("measured_ms", Fold::Sum),
    ("cpu", Fold::Mean),
    ("cpu_peak", Fold::PeakOfMeans),
    ("cpu_periods", Fold::Sum),
    ("cpu_throttled", Fold::Sum),
    ("cpus_max", Fold::Last),
    ("memory", Fold::Mean),
    ("memory_peak", Fold::Peak),
    ("memory_max", Fold::Last),
    ("memory_swap", Fold::Mean),
    ("pids", Fold::Peak),
    ("pids_max", Fold::Last),
    ("io_read", Fold::Mean),
    ("io_write", Fold::Mean),
    ("network_rx", Fold::Mean),
    ("network_tx", Fold::Mean),
    ("cpu_pressure", Fold::Mean),
    ("memory_pressure", Fold::Mean),
    ("io_pressure", Fold::Mean),
    ("oom_kills", Fold::Sum),
];

/// Beginning of a row's slot.
const AT: &str = "(block_s + slot * step_s)";

impl Fold {
    /// The figure of a group of rows, whose slots are parts of one that is `step` seconds long.
    fn of_group(self, column: &str, step: &str) -> String {
        match self {
            Fold::Mean => format!(
                "CAST(round(sum({column} * 1.0 * max(measured_ms, 1)) / sum(max(measured_ms, 1)) FILTER (WHERE {column} IS NOT NULL)) AS INTEGER)"
            ),
            Fold::Peak => format!("max({column})"),
            Fold::PeakOfMeans => "max(coalesce(cpu_peak, cpu))".to_owned(),
            Fold::Sum => format!("sum({column})"),
            // The figure (plus one: 0 is NULL) in the lower 41 bits, the time above them: the largest number is the last slot's.
            Fold::Last => {
                format!("nullif(max(({AT} % {step} / 10 << 41) + coalesce({column} + 1, 0)) % (1 << 41), 0) - 1")
            }
        }
    }

    /// The figure of a row to which a part of the same slot is added.
    fn of_both(self, column: &str) -> String {
        let (old, new) = ("max(measured_ms, 1)", "max(excluded.measured_ms, 1)");
        match self {
            Fold::Mean => format!(
                "coalesce(CAST(round(({column} * 1.0 * {old} + excluded.{column} * 1.0 * {new}) / ({old} + {new})) AS INTEGER), \
                 {column}, excluded.{column})"
            ),
            Fold::Peak | Fold::PeakOfMeans => format!("coalesce(max({column}, excluded.{column}), {column}, excluded.{column})"),
            Fold::Sum => format!("coalesce({column} + excluded.{column}, {column}, excluded.{column})"),
            Fold::Last => format!("excluded.{column}"),
        }
    }
}

fn listed(item: impl FnMut((usize, &(&str, Fold))) -> String) -> String {
    COLUMNS.iter().enumerate().map(item).collect::<Vec<_>>().join(", ")
}

fn folded(step: &str) -> String {
    listed(|(_, (column, fold))| fold.of_group(column, step))
}

/// In `?1`: until when no more will come.
const UNTIL: &str = "(?1 ->> 0)";
/// In `?1`: the beginning of the earliest slot.
const EARLIEST: &str = "(?1 ->> 1)";
/// In `?1`: pages of the database from which the oldest make room.
const PAGES: &str = "(?1 ->> 2)";

/// `?1`: an array of the three numbers above; `?2`: the slots ([`super::to_json`]). The numbers are one parameter, because sqlx
/// does not bind a parameter of a later statement that leaves others out before it.
pub(super) static WRITE: LazyLock<String> = LazyLock::new(|| {
    let columns = listed(|(_, (column, _))| (*column).to_owned());
    let into = format!("INTO history (step_s, block_s, subject, slot, {columns})");
    let values = listed(|(index, _)| format!("value ->> {}", index + 3));
    let both = listed(|(_, (column, fold))| format!("{column} = {}", fold.of_both(column)));
    let mut statements = vec![
        "BEGIN IMMEDIATE".to_owned(),
        // Without WHERE, the parser would take ON for a join's.
        format!(
            "INSERT {into} SELECT 10, value ->> 0, value ->> 1, value ->> 2, {values} FROM json_each(?2) WHERE true \
             ON CONFLICT (step_s, block_s, subject, slot) DO UPDATE SET {both}"
        ),
        // The clock went back: what comes to lie there is rolled up again.
        format!("UPDATE history_rolled SET until_s = {EARLIEST} / step_s * step_s WHERE until_s > {EARLIEST}"),
    ];
    for pair in Tier::ALL.windows(2) {
        let (fine, coarse, block) = (pair[0].step_ms() / 1000, pair[1].step_ms() / 1000, block_ms(pair[1]) / 1000);
        statements.push(format!(
            "INSERT OR REPLACE {into} SELECT {coarse}, block_s / {block} * {block}, subject, block_s % {block} / {coarse}, {folded} \
             FROM history WHERE step_s = {fine} AND block_s >= (SELECT until_s FROM history_rolled WHERE step_s = {coarse}) \
             AND block_s < {UNTIL} / {coarse} * {coarse} GROUP BY block_s, subject",
            folded = folded(&coarse.to_string()),
        ));
    }
    statements.push(format!("UPDATE history_rolled SET until_s = {UNTIL} / step_s * step_s WHERE until_s < {UNTIL} / step_s * step_s"));
    statements.extend(Tier::ALL.into_iter().map(expiry));
    statements.push("COMMIT".to_owned());
    statements.join("; ")
});

/// Removes the oldest block of a tier, if it is too old or room is needed. One at each write is more than comes in, and a
/// clock that stood in a wrong year for a moment costs little.
fn expiry(tier: Tier) -> String {
    let (step, block) = (tier.step_ms() / 1000, block_ms(tier) / 1000);
    let kept = (tier.kept_ms() + GRACE_MS) / 1000 + block;
    format!(
        "DELETE FROM history WHERE step_s = {step} AND block_s = (SELECT min(block_s) FROM history WHERE step_s = {step}) \
         AND block_s < {UNTIL} - iif((SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count) > {PAGES}, \
         {least}, {kept})",
        least = 2 * block,
    )
}

/// `?1`: where to look ([`super::parts`]); `?2`: the container; `?3`: length of the answer's slots. The join is crossed, so
/// that SQLite looks up each part instead of everything of the container.
pub(super) static READ: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {AT} / ?3 * ?3 AS at_s, {folded} FROM json_each(?1) AS part CROSS JOIN history \
         ON step_s = part.value ->> 0 AND block_s = part.value ->> 1 AND subject = ?2 \
         AND slot BETWEEN part.value ->> 2 AND part.value ->> 3 GROUP BY at_s ORDER BY at_s",
        folded = folded("?3"),
    )
});
