//! Usage over a month, in tiers: each slot of a coarser tier is one *block* of the finer one, rolled up as soon as it is over.
//!
//! ```text
//! 10 s  ▏▏▏▏▏▏│▏▏▏▏▏▏│▏▏      a block is a minute     kept for an hour
//! 1 min  ▏      ▏            ten minutes             a day
//! ```
//!
//! Beyond what is rolled up, a question is answered from the finer tiers, so nobody waits for the end of an hour to see it.
//! One transaction writes a moment's slots of all containers, rolls up what is over, and removes what is too old. It never
//! takes the room that is kept for a full disk: a past is not worth what a delete is.

mod sql;
#[cfg(test)]
mod tests;

use belljar_model::ContainerId;
use belljar_model::history::{Point, Tier};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::writer::arguments;
use crate::{Error, Store};
use sql::COLUMNS;

/// The database's size from which the oldest slots make room before their time, in bytes.
pub const DATABASE_BYTES_KEPT: i64 = 1 << 30;
/// Size of a page of the database, in bytes: SQLite's usual one.
const PAGE_BYTES: i64 = 4096;
/// Largest figure that is kept, in its column's unit: beyond it nothing is measured, and sums would overflow.
const FIGURE_MAX: f64 = (1u64 << 40) as f64;
/// Slots are kept so much longer than their time, in milliseconds: who asks for the last hour asks a moment later.
const GRACE_MS: i64 = 60_000;

/// What a container used in one of the finest slots. `None` was not measured; for a limit: there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Slot {
    /// Its beginning, in Unix milliseconds.
    pub at_ms: i64,
    /// How much of it was measured, in milliseconds: the weight of its means.
    pub measured_ms: u32,
    /// Share of one processor, mean, in percent.
    pub cpu_percent: Option<f64>,
    /// Periods of the quota in which it wanted to run.
    pub cpu_periods: Option<u64>,
    /// Of those in which it was held back.
    pub cpu_throttled_periods: Option<u64>,
    /// The limit, in processors.
    pub cpus_max: Option<f64>,
    /// Working set, mean, in bytes.
    pub memory_bytes: Option<u64>,
    /// Its largest reading, in bytes.
    pub memory_bytes_peak: Option<u64>,
    /// The limit, in bytes.
    pub memory_bytes_max: Option<u64>,
    /// Swap, mean, in bytes.
    pub memory_swap_bytes: Option<u64>,
    /// Processes and threads: the largest reading.
    pub pids: Option<u64>,
    /// Their limit.
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

impl Store {
    /// Writes slots of the finest tier, rolls up what is over, and removes what is too old. Nothing that is before
    /// `until_ms` will be written any more, unless the clock goes back. A slot that is there already (the server was started
    /// again within it, or the clock went back) becomes one with the new one.
    pub async fn write_history(&self, slots: &[(ContainerId, Slot)], until_ms: i64) -> Result<(), Error> {
        self.write_history_within(slots, until_ms, DATABASE_BYTES_KEPT).await
    }

    async fn write_history_within(&self, slots: &[(ContainerId, Slot)], until_ms: i64, bytes_kept: i64) -> Result<(), Error> {
        let statement = Error::statement("write the history of usage");
        let earliest_s = slots.iter().map(|(_, slot)| seconds(slot.at_ms)).min().unwrap_or(i64::MAX);
        let numbers = format!("[{}, {earliest_s}, {}]", seconds(until_ms), bytes_kept / PAGE_BYTES);
        let arguments = arguments!(numbers, to_json(slots)).map_err(&statement)?;
        self.writer.commit_where_room_is(sql::WRITE.as_str(), arguments).await.map_err(&statement)?;
        Ok(())
    }

    /// The slots of a tier that begin before `to_ms` and end after `from_ms`, the oldest first. What is not rolled up yet is
    /// added from the finer tiers. Of a range that is longer than the tier remembers, the last part.
    pub async fn history(&self, id: &ContainerId, tier: Tier, from_ms: i64, to_ms: i64) -> Result<Vec<Point>, Error> {
        let statement = Error::statement("read the history of usage");
        let rolled = sqlx::query_as("SELECT step_s, until_s FROM history_rolled").fetch_all(&self.readers).await.map_err(&statement)?;
        let parts = parts(tier, from_ms.max(0)..to_ms, &rolled);
        let rows = sqlx::query(sql::READ.as_str())
            .bind(serde_json::to_string(&parts).unwrap_or_default())
            .bind(subject(id))
            .bind(tier.step_ms() / 1000)
            .fetch_all(&self.readers)
            .await
            .map_err(&statement)?;
        rows.iter().map(|row| read(row).map_err(&statement)).collect()
    }

    /// The container of whose id these are the first digits, by what the diary says of it: it may be long gone. `None` where
    /// there is none, or several.
    pub async fn remembered(&self, digits: &str) -> Result<Option<ContainerId>, Error> {
        // No digit of an id comes after `f`.
        let found = sqlx::query_scalar::<_, String>(
            "SELECT DISTINCT container_id FROM events WHERE container_id >= ?1 AND container_id < ?1 || 'g' LIMIT 2",
        );
        let found = found.bind(digits).fetch_all(&self.readers).await.map_err(Error::statement("look for a container's past"))?;
        let [id] = found.as_slice() else { return Ok(None) };
        id.parse().map(Some).map_err(Error::row("events", id.clone(), "container_id"))
    }
}

/// Unix milliseconds as whole seconds; a clock before 1970 stands at 1970.
fn seconds(at_ms: i64) -> i64 {
    at_ms.max(0) / 1000
}

/// The integer that stands for a container: 64 random bits, which no two of a month share.
fn subject(id: &ContainerId) -> i64 {
    // Sixteen hexadecimal digits always are such a number.
    u64::from_str_radix(&id.as_str()[..16], 16).unwrap_or_default().cast_signed()
}

/// Length of a block, in milliseconds.
const fn block_ms(tier: Tier) -> i64 {
    match tier {
        Tier::TenSeconds => Tier::Minute.step_ms(),
        Tier::Minute => Tier::TenMinutes.step_ms(),
        Tier::TenMinutes => Tier::Hour.step_ms(),
        Tier::Hour => 24 * Tier::Hour.step_ms(),
    }
}

/// Where the slots of a range are: tier, block, first and last number within it. `rolled` says until when each tier is made.
fn parts(tier: Tier, range: std::ops::Range<i64>, rolled: &[(i64, i64)]) -> Vec<[i64; 4]> {
    let mut parts = Vec::new();
    let kept_s = (tier.kept_ms() + block_ms(tier) + GRACE_MS) / 1000;
    let end = seconds(range.end.saturating_add(999));
    let mut begin = seconds(range.start).max(end - kept_s).max(0);
    begin -= begin % (tier.step_ms() / 1000);
    for source in Tier::ALL.into_iter().filter(|source| *source <= tier).rev() {
        let (step, block) = (source.step_ms() / 1000, block_ms(source) / 1000);
        let until = rolled.iter().find(|(step_s, _)| *step_s == step).map_or(end, |(_, until_s)| end.min(*until_s));
        for block_s in (begin - begin % block..until).step_by(usize::try_from(block).unwrap_or(usize::MAX)) {
            let (first, last) = (begin.max(block_s) - block_s, until.min(block_s + block) - 1 - block_s);
            parts.push([step, block_s, first / step, last / step]);
        }
        begin = begin.max(until);
    }
    parts
}

/// The parameter of [`sql::WRITE`]: for each slot an array of block, subject, number, and the figures in the order of
/// [`COLUMNS`]. Numbers always have a form in JSON.
fn to_json(slots: &[(ContainerId, Slot)]) -> String {
    let block_s = block_ms(Tier::TenSeconds) / 1000;
    let row = |(id, slot): &(ContainerId, Slot)| {
        let at_s = seconds(slot.at_ms);
        let key = [at_s - at_s % block_s, subject(id), at_s % block_s / 10].map(Some);
        key.into_iter().chain(scaled(slot)).collect::<Vec<Option<i64>>>()
    };
    serde_json::to_string(&slots.iter().map(row).collect::<Vec<_>>()).unwrap_or_else(|_| "[]".to_owned())
}

/// Hundredths of a percent.
const PERCENT: f64 = 100.0;
/// Microseconds per 100 ms of a processor.
const CPUS: f64 = 100_000.0;

/// The figures of a slot as integers, in the order of [`COLUMNS`].
fn scaled(slot: &Slot) -> [Option<i64>; COLUMNS.len()] {
    let real = |figure: Option<f64>, scale: f64| figure.map(|figure| (figure * scale).round().clamp(0.0, FIGURE_MAX) as i64);
    let whole = |figure: Option<u64>, scale: f64| real(figure.map(|figure| figure as f64), scale);
    // A size is never told as less than it was.
    let size = |figure: Option<u64>| figure.map(|bytes| bytes.div_ceil(1024).min(1 << 40).cast_signed());
    [
        Some(i64::from(slot.measured_ms)),
        real(slot.cpu_percent, PERCENT),
        None,
        whole(slot.cpu_periods, 1.0),
        whole(slot.cpu_throttled_periods, 1.0),
        real(slot.cpus_max, CPUS),
        size(slot.memory_bytes),
        size(slot.memory_bytes_peak),
        size(slot.memory_bytes_max),
        size(slot.memory_swap_bytes),
        whole(slot.pids, 1.0),
        whole(slot.pids_max, 1.0),
        real(slot.io_read_bytes_per_second, 1.0),
        real(slot.io_write_bytes_per_second, 1.0),
        real(slot.network_rx_bytes_per_second, 1.0),
        real(slot.network_tx_bytes_per_second, 1.0),
        real(slot.cpu_pressure_percent, PERCENT),
        real(slot.memory_pressure_percent, PERCENT),
        real(slot.io_pressure_percent, PERCENT),
        whole(slot.oom_kills, 1.0),
    ]
}

fn read(row: &SqliteRow) -> Result<Point, sqlx::Error> {
    let mut index = 0;
    let mut next = || {
        index += 1;
        row.try_get::<Option<i64>, _>(index)
    };
    let real = |figure: Option<i64>, scale: f64| figure.map(|figure| figure as f64 / scale);
    let bytes = |figure: Option<i64>| figure.map(|kib| kib.cast_unsigned() << 10);
    let whole = |figure: Option<i64>| figure.map(i64::cast_unsigned);
    let at_s: i64 = row.try_get(0)?;
    let _measured_ms = next()?;
    let (cpu_percent, cpu_percent_peak) = (real(next()?, PERCENT), real(next()?, PERCENT));
    let (periods, throttled) = (next()?, next()?);
    let of_periods = |throttled: i64| periods.filter(|periods| *periods > 0).map(|periods| throttled as f64 / periods as f64 * 100.0);
    Ok(Point {
        at_ms: at_s * 1000,
        cpu_percent,
        cpu_percent_peak,
        cpu_throttled_percent: throttled.and_then(of_periods),
        cpus_max: real(next()?, CPUS),
        memory_bytes: bytes(next()?),
        memory_bytes_peak: bytes(next()?),
        memory_bytes_max: bytes(next()?),
        memory_swap_bytes: bytes(next()?),
        pids: whole(next()?),
        pids_max: whole(next()?),
        io_read_bytes_per_second: real(next()?, 1.0),
        io_write_bytes_per_second: real(next()?, 1.0),
        network_rx_bytes_per_second: real(next()?, 1.0),
        network_tx_bytes_per_second: real(next()?, 1.0),
        cpu_pressure_percent: real(next()?, PERCENT),
        memory_pressure_percent: real(next()?, PERCENT),
        io_pressure_percent: real(next()?, PERCENT),
        oom_kills: whole(next()?),
    })
}
