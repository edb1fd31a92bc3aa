//! The history against a model that keeps everything and folds it naively. It must never know the statements. Start reading
//! at [`Model`], then the first test.

use belljar_model::ContainerId;
use belljar_model::history::{Point, Tier};
use belljar_model::{EventKind, NewEvent};
use sqlx::{ConnectOptions as _, Row as _};

use super::Slot;
use crate::{Durability, Error, Store};

const HOUR: i64 = 3_600_000;
/// Some full hour, long ago.
const BEGIN: i64 = 472_222 * HOUR;

struct Scratch {
    folder: tempfile::TempDir,
    store: Store,
}

impl Scratch {
    async fn new() -> Self {
        Self::open(tempfile::tempdir().expect("a folder")).await
    }

    async fn open(folder: tempfile::TempDir) -> Self {
        let store = Store::open(&folder.path().join("belljar.db")).await.expect("a database");
        Self { folder, store }
    }

    async fn reopened(self) -> Self {
        self.store.close().await;
        Self::open(self.folder).await
    }

    async fn write(&self, slots: &[(ContainerId, Slot)], until_ms: i64) {
        self.store.write_history(slots, until_ms).await.expect("written");
    }

    async fn read(&self, id: &ContainerId, tier: Tier, now_ms: i64) -> Vec<Point> {
        self.store.history(id, tier, now_ms - tier.kept_ms(), now_ms).await.expect("read")
    }

    /// Rows of each tier.
    async fn rows(&self) -> [i64; 4] {
        let mut counts = [0; 4];
        for (count, tier) in counts.iter_mut().zip(Tier::ALL) {
            let counted = sqlx::query_scalar("SELECT count(*) FROM history WHERE step_s = ?1").bind(tier.step_ms() / 1000);
            *count = counted.fetch_one(&self.store.readers).await.expect("counted");
        }
        counts
    }
}

fn id(number: u8) -> ContainerId {
    ContainerId::from_bytes([number; 32])
}

/// A slot in which everything was measured, and all figures follow from one.
fn slot(at_ms: i64, figure: u64) -> Slot {
    let real = Some(figure as f64);
    Slot {
        at_ms,
        measured_ms: 10_000,
        cpu_percent: real,
        cpu_periods: Some(100),
        cpu_throttled_periods: Some(figure % 100),
        cpus_max: Some(0.5),
        memory_bytes: Some(figure << 20),
        memory_bytes_peak: Some(figure << 21),
        memory_bytes_max: Some(figure << 30),
        memory_swap_bytes: Some(0),
        pids: Some(figure),
        pids_max: Some(figure + 1),
        io_read_bytes_per_second: real,
        io_write_bytes_per_second: real,
        network_rx_bytes_per_second: real,
        network_tx_bytes_per_second: real,
        cpu_pressure_percent: real,
        memory_pressure_percent: real,
        io_pressure_percent: real,
        oom_kills: Some(figure % 2),
    }
}

/// Numbers that look random and are the same at each run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// A slot of the container, or none; some figures are unknown to some containers.
    fn slot(&mut self, number: u8, at_ms: i64) -> Option<Slot> {
        if self.roll(11) == 0 {
            return None;
        }
        let real = |dice: &mut Self, sides| Some(dice.roll(sides) as f64 / 7.0);
        let mut slot = Slot { measured_ms: 1 + self.roll(10_000) as u32, ..slot(at_ms, self.roll(500)) };
        slot.cpu_percent = real(self, 3000);
        slot.io_write_bytes_per_second = real(self, 1 << 33);
        slot.memory_pressure_percent = real(self, 700);
        slot.memory_bytes = Some(self.roll(1 << 34));
        slot.cpus_max = [None, Some(0.25), Some(1.5)][self.roll(3) as usize];
        slot.memory_bytes_max = [None, Some(1 << 30)][self.roll(2) as usize];
        if number == 1 {
            slot = Slot { cpu_periods: None, cpu_throttled_periods: None, cpu_pressure_percent: None, oom_kills: None, ..slot };
        }
        Some(slot)
    }
}

/// Everything that was ever written.
#[derive(Default)]
struct Model(Vec<(ContainerId, Slot)>);

impl Model {
    fn read(&self, id: &ContainerId, tier: Tier, now_ms: i64) -> Vec<Point> {
        let (step, from) = (tier.step_ms(), now_ms - tier.kept_ms());
        let mut slots = std::collections::BTreeMap::<i64, Vec<Slot>>::new();
        for (of, slot) in &self.0 {
            if of == id && (from - from % step..now_ms).contains(&slot.at_ms) {
                slots.entry(slot.at_ms - slot.at_ms % step).or_default().push(*slot);
            }
        }
        slots.iter().filter_map(|(at_ms, slots)| Some(fold(*at_ms, slots, slots.last()?))).collect()
    }
}

fn fold(at_ms: i64, slots: &[Slot], last: &Slot) -> Point {
    let mean = |figure: fn(&Slot) -> Option<f64>| {
        let known = || slots.iter().filter_map(|slot| Some((figure(slot)?, f64::from(slot.measured_ms))));
        let weight: f64 = known().map(|(_, weight)| weight).sum();
        (weight > 0.0).then(|| known().map(|(figure, weight)| figure * weight).sum::<f64>() / weight)
    };
    let sum = |figure: fn(&Slot) -> Option<u64>| slots.iter().filter_map(figure).reduce(|a, b| a + b);
    let bytes = |mean: Option<f64>| mean.map(|bytes| bytes as u64);
    let (periods, throttled) = (sum(|slot| slot.cpu_periods), sum(|slot| slot.cpu_throttled_periods));
    Point {
        at_ms,
        cpu_percent: mean(|slot| slot.cpu_percent),
        cpu_percent_peak: slots.iter().filter_map(|slot| slot.cpu_percent).reduce(f64::max),
        cpu_throttled_percent: throttled.zip(periods).map(|(throttled, periods)| throttled as f64 / periods as f64 * 100.0),
        cpus_max: last.cpus_max,
        memory_bytes: bytes(mean(|slot| slot.memory_bytes.map(|bytes| bytes as f64))),
        memory_bytes_peak: slots.iter().filter_map(|slot| slot.memory_bytes_peak).max(),
        memory_bytes_max: last.memory_bytes_max,
        memory_swap_bytes: bytes(mean(|slot| slot.memory_swap_bytes.map(|bytes| bytes as f64))),
        pids: slots.iter().filter_map(|slot| slot.pids).max(),
        pids_max: last.pids_max,
        io_read_bytes_per_second: mean(|slot| slot.io_read_bytes_per_second),
        io_write_bytes_per_second: mean(|slot| slot.io_write_bytes_per_second),
        network_rx_bytes_per_second: mean(|slot| slot.network_rx_bytes_per_second),
        network_tx_bytes_per_second: mean(|slot| slot.network_tx_bytes_per_second),
        cpu_pressure_percent: mean(|slot| slot.cpu_pressure_percent),
        memory_pressure_percent: mean(|slot| slot.memory_pressure_percent),
        io_pressure_percent: mean(|slot| slot.io_pressure_percent),
        oom_kills: sum(|slot| slot.oom_kills),
    }
}

/// Both say the same: means as near as four times rounding to a column's unit lets them be, all else exactly.
fn assert_same(kept: &[Point], naive: &[Point], what: &str) {
    assert_eq!(
        kept.iter().map(|point| point.at_ms).collect::<Vec<_>>(),
        naive.iter().map(|point| point.at_ms).collect::<Vec<_>>(),
        "{what}"
    );
    for (one, other) in kept.iter().zip(naive) {
        let [kept, naive] = [one, other].map(|point| serde_json::to_value(point).expect("JSON"));
        for (field, value) in naive.as_object().expect("fields") {
            let unit = match field.as_str() {
                field if field.ends_with("per_second") => 2.0,
                "memory_bytes" => 4096.0,
                field if field.ends_with("percent") || field.ends_with("percent_peak") => 0.04,
                _ => 0.0,
            };
            match (kept[field].as_f64(), value.as_f64()) {
                (Some(kept), Some(naive)) => {
                    assert!((kept - naive).abs() <= unit, "{what}, {field} at {}: {kept} and {naive}", one.at_ms);
                }
                (kept, naive) => assert_eq!(kept, naive, "{what}, {field} at {}", one.at_ms),
            }
        }
    }
}

#[tokio::test]
async fn every_tier_says_what_all_readings_together_say() {
    let mut scratch = Scratch::new().await;
    let (mut model, mut dice, mut now) = (Model::default(), Dice(7), BEGIN + 23 * 60_000);
    let end = now + 27 * HOUR;
    let mut next_look = now;
    while now < end {
        let mut slots = Vec::new();
        for _ in 0..=dice.roll(40) {
            slots.extend((0..3).filter_map(|number| Some((id(number), dice.slot(number, now)?))));
            now += 10_000;
        }
        // The server, or one of the containers, is away for a while.
        now += if dice.roll(30) == 0 { dice.roll(300) as i64 * 10_000 } else { 0 };
        scratch.write(&slots, now).await;
        model.0.extend(slots);
        if now > next_look {
            next_look = now + dice.roll(7200) as i64 * 1000;
            let (number, tier) = (dice.roll(3) as u8, Tier::ALL[dice.roll(4) as usize]);
            let naive = model.read(&id(number), tier, now);
            assert_same(&scratch.read(&id(number), tier, now).await, &naive, &format!("{tier:?} of {number}"));
            if dice.roll(4) == 0 {
                scratch = scratch.reopened().await;
            }
        }
    }
    for tier in Tier::ALL {
        let naive = model.read(&id(1), tier, now);
        assert!(!naive.is_empty());
        assert_same(&scratch.read(&id(1), tier, now).await, &naive, &format!("{tier:?} at the end"));
    }
}

#[tokio::test]
async fn what_was_not_measured_is_not_there_and_never_zero() {
    let scratch = Scratch::new().await;
    let bare = Slot { at_ms: BEGIN, measured_ms: 5, pids: Some(1), ..Slot::default() };
    scratch.write(&[(id(1), bare), (id(1), slot(BEGIN + 30_000, 3))], BEGIN + 40_000).await;
    let points = scratch.read(&id(1), Tier::TenSeconds, BEGIN + 40_000).await;
    assert_eq!(points.len(), 2);
    assert_eq!(points[0], Point { at_ms: BEGIN, pids: Some(1), ..Point::default() });
    let minute = scratch.read(&id(1), Tier::Minute, BEGIN + 40_000).await;
    assert_eq!((minute.len(), minute[0].cpu_percent, minute[0].pids), (1, Some(3.0), Some(3)));
    assert!(scratch.read(&id(2), Tier::Minute, BEGIN + 40_000).await.is_empty());
}

#[tokio::test]
async fn a_slot_that_was_half_filled_when_the_server_ended_is_filled_by_the_next_one() {
    let scratch = Scratch::new().await;
    let half = |measured_ms, figure| Slot { measured_ms, ..slot(BEGIN, figure) };
    scratch.write(&[(id(1), half(7500, 100))], BEGIN).await;
    let scratch = scratch.reopened().await;
    scratch.write(&[(id(1), half(2500, 20))], BEGIN + 10_000).await;
    for tier in Tier::ALL {
        let points = scratch.read(&id(1), tier, BEGIN + 10_000).await;
        let [point] = points.as_slice() else { panic!("{points:?}") };
        assert_eq!((point.cpu_percent, point.memory_bytes, point.memory_bytes_peak), (Some(80.0), Some(80 << 20), Some(200 << 20)));
        assert_eq!((point.memory_bytes_max, point.cpu_throttled_percent), (Some(20 << 30), Some(10.0)), "the later one's; 20 of 200");
        assert_eq!(point.at_ms, BEGIN);
    }
}

#[tokio::test]
async fn where_the_clock_goes_back_both_readings_of_a_moment_count() {
    let scratch = Scratch::new().await;
    for minute in 0..90 {
        let at_ms = BEGIN + minute * 60_000;
        scratch.write(&[(id(1), slot(at_ms, 10))], at_ms + 60_000).await;
    }
    // Half an hour back, and the same minutes again.
    for minute in 60..90 {
        let at_ms = BEGIN + minute * 60_000;
        scratch.write(&[(id(1), slot(at_ms, 30))], at_ms + 10_000).await;
    }
    let now = BEGIN + 100 * 60_000;
    scratch.write(&[], now).await;
    let means: Vec<_> = scratch.read(&id(1), Tier::TenMinutes, now).await.iter().map(|point| point.cpu_percent).collect();
    assert_eq!(means, [10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0].map(Some));
}

#[tokio::test]
async fn each_tier_lets_go_of_what_is_too_old_and_a_gone_container_ages_out() {
    let scratch = Scratch::new().await;
    let mut now = BEGIN;
    scratch.write(&[(id(9), slot(now, 1))], now + 10_000).await;
    let mut most = [0; 4];
    for hour in 0..24 * 33 {
        let slots: Vec<_> = [0, 1_800_000].map(|offset| (id(1), slot(now + offset, hour % 90))).into();
        now += HOUR;
        scratch.write(&slots, now).await;
        // There are more writes in an hour than blocks that become too old.
        for _ in 0..6 {
            scratch.write(&[], now).await;
        }
        let rows = scratch.rows().await;
        most = std::array::from_fn(|tier| most[tier].max(rows[tier]));
    }
    assert!(most[0] <= 2 * 3 && most[1] <= 2 * 26 && most[2] <= 2 * (7 * 24 + 2) && most[3] <= 24 * 32 + 1, "{most:?}");
    assert_eq!(scratch.read(&id(1), Tier::Hour, now).await.len(), 24 * 30);
    assert!(scratch.store.history(&id(9), Tier::Hour, 0, i64::MAX).await.expect("read").is_empty());
}

#[tokio::test]
async fn a_clock_that_stood_in_a_wrong_year_for_a_moment_costs_little() {
    let scratch = Scratch::new().await;
    let mut now = BEGIN;
    for _ in 0..24 * 20 {
        scratch.write(&[(id(1), slot(now, 1))], now + 10_000).await;
        now += HOUR;
    }
    let year_2040 = 2_208_988_800_000;
    scratch.write(&[(id(1), slot(year_2040, 1))], year_2040 + 10_000).await;
    scratch.write(&[(id(1), slot(now, 1))], now + 10_000).await;
    let kept = scratch.read(&id(1), Tier::Hour, now + 10_000).await.len();
    assert!(kept >= 24 * 19, "{kept}");
}

#[tokio::test]
async fn a_full_disk_costs_a_slot_and_not_the_room_that_is_kept_for_deletes() {
    let scratch = Scratch::new().await;
    let ballast = scratch.folder.path().join("belljar.ballast");
    let slots = |at_ms| (0..200).map(|number| (id(number), slot(at_ms, 5))).collect::<Vec<_>>();
    scratch.write(&slots(BEGIN), BEGIN + 10_000).await;
    let limit = async |pages: &'static str| scratch.store.writer.set(pages).await;
    limit("PRAGMA max_page_count = 1").await;
    let mut at_ms = BEGIN;
    let refused = loop {
        at_ms += 10_000;
        match scratch.store.write_history(&slots(at_ms), at_ms + 10_000).await {
            Ok(()) => assert!(at_ms < BEGIN + HOUR, "it fills at some time"),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Error::Statement { operation: "write the history of usage", .. }));
    assert!(ballast.exists());
    let before = scratch.read(&id(7), Tier::TenSeconds, at_ms + 10_000).await;
    assert_eq!(before.last().map(|point| point.at_ms), Some(at_ms - 10_000), "nothing of it was written");
    limit("PRAGMA max_page_count = 1000000").await;
    scratch.write(&slots(at_ms), at_ms + 10_000).await;
    assert_eq!(scratch.read(&id(7), Tier::TenSeconds, at_ms + 10_000).await.len(), before.len() + 1);
}

#[tokio::test]
async fn a_database_that_is_too_large_loses_its_oldest_slots_first() {
    let scratch = Scratch::new().await;
    let mut now = BEGIN;
    for _ in 0..24 * 10 {
        let slots: Vec<_> = (0..40).map(|number| (id(number), slot(now, 1))).collect();
        now += HOUR;
        scratch.store.write_history_within(&slots, now, 600 << 10).await.expect("written");
    }
    let size = std::fs::metadata(scratch.folder.path().join("belljar.db")).expect("a file").len();
    assert!(size < 1200 << 10, "{size}");
    let points = scratch.read(&id(3), Tier::Hour, now).await;
    assert!((24..24 * 9).contains(&points.len()), "{}", points.len());
    assert_eq!(points.last().map(|point| point.at_ms), Some(now - HOUR));
}

#[tokio::test]
async fn a_question_looks_up_what_it_needs_and_nothing_of_others() {
    let scratch = Scratch::new().await;
    let explain = format!("EXPLAIN QUERY PLAN {}", super::sql::READ.as_str());
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(explain)).bind("[]").bind(1).bind(60).fetch_all(&scratch.store.readers).await.expect("a plan");
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    let search = "SEARCH history USING PRIMARY KEY (step_s=? AND block_s=? AND subject=? AND slot>? AND slot<?)";
    assert!(plan.iter().any(|line| line == search), "{plan:?}");
    // 30 days, and what is not rolled up yet of the last hour.
    let parts = super::parts(Tier::Hour, BEGIN..BEGIN + 720 * HOUR, &[(60, i64::MAX), (600, i64::MAX), (3600, BEGIN / 1000 + 719 * 3600)]);
    assert!(parts.len() <= 33, "{}", parts.len());
}

#[tokio::test]
async fn a_container_that_is_gone_is_found_by_the_beginning_of_its_id() {
    let scratch = Scratch::new().await;
    for number in [0xab, 0xcd] {
        let message = String::new();
        let event = NewEvent { at_ms: 1, kind: EventKind::Deleted, container: Some(id(number)), subject: "web".into(), message };
        scratch.store.tell(event, Durability::Deferred).await.expect("told");
    }
    let found = async |digits: &str| scratch.store.remembered(digits).await.expect("read");
    assert_eq!(found("abababab").await, Some(id(0xab)));
    assert_eq!(found(id(0xcd).as_str()).await, Some(id(0xcd)));
    assert_eq!(found("abc").await, None);
    assert_eq!(found("").await, None, "both");
    assert_eq!(found("zz").await, None);
}

#[tokio::test]
async fn statements_are_the_same_for_a_database_that_a_person_looks_into() {
    let scratch = Scratch::new().await;
    scratch.write(&[(id(1), slot(BEGIN, 5))], BEGIN + 10_000).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(scratch.folder.path().join("belljar.db"));
    let mut other = options.connect().await.expect("another connection");
    let row = sqlx::query("SELECT step_s, block_s, slot, cpu, cpu_peak, memory FROM history").fetch_one(&mut other).await.expect("a row");
    let columns: Vec<Option<i64>> = (0..6).map(|column| row.get(column)).collect();
    assert_eq!(columns, [Some(10), Some(BEGIN / 1000), Some(0), Some(500), None, Some(5 << 10)]);
}
