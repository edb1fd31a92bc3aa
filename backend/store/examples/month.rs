//! A month of usage, simulated: every slot of every container is written as a server would, in a database of its own. Prints, as
//! one JSON document, how large it became and how long writes and questions take. It is `cargo xtask bench history`'s other half
//! and must never know what is a good figure.
#![allow(clippy::expect_used, reason = "a measurement that cannot go on says so and ends")]

use std::time::Instant;

use belljar_model::ContainerId;
use belljar_model::history::Tier;
use belljar_store::{Slot, Store};

const SLOT_MS: i64 = Tier::TenSeconds.step_ms();
/// Slots of one write of the simulation: a minute's, so that as much goes as comes.
const SLOTS_AT_ONCE: i64 = 6;
/// Some full hour.
const BEGIN_MS: i64 = 472_222 * 3_600_000;
/// Questions, and writes, that are measured.
const TIMES: u32 = 100;

/// Numbers that look random and are the same at each run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn real(&mut self, most: u64) -> Option<f64> {
        Some(self.roll(most * 1000) as f64 / 1000.0)
    }

    /// What a busy container would have used: every figure is there, and none repeats.
    fn slot(&mut self, at_ms: i64) -> Slot {
        let memory = (200 << 20) + self.roll(100 << 20);
        Slot {
            at_ms,
            measured_ms: 10_000,
            cpu_percent: self.real(200),
            cpu_periods: Some(100),
            cpu_throttled_periods: Some(self.roll(100)),
            cpus_max: Some(2.0),
            memory_bytes: Some(memory),
            memory_bytes_peak: Some(memory + self.roll(1 << 20)),
            memory_bytes_max: Some(1 << 30),
            memory_swap_bytes: Some(self.roll(1 << 20)),
            pids: Some(10 + self.roll(50)),
            pids_max: Some(512),
            io_read_bytes_per_second: self.real(1 << 20),
            io_write_bytes_per_second: self.real(1 << 20),
            network_rx_bytes_per_second: self.real(1 << 20),
            network_tx_bytes_per_second: self.real(1 << 20),
            cpu_pressure_percent: self.real(30),
            memory_pressure_percent: self.real(5),
            io_pressure_percent: self.real(20),
            oom_kills: Some(0),
        }
    }
}

struct House {
    store: Store,
    containers: Vec<ContainerId>,
    dice: Dice,
    now_ms: i64,
}

impl House {
    /// Writes so many slots of every container.
    async fn write(&mut self, slots: i64) {
        let mut rows = Vec::new();
        for _ in 0..slots {
            rows.extend(self.containers.iter().map(|id| (id.clone(), self.dice.slot(self.now_ms))));
            self.now_ms += SLOT_MS;
        }
        self.store.write_history(&rows, self.now_ms).await.expect("written");
    }

    /// How long each of some writes of one slot takes, in microseconds.
    async fn writes(&mut self) -> Vec<u128> {
        let mut usec = Vec::new();
        for _ in 0..TIMES {
            let began = Instant::now();
            self.write(1).await;
            usec.push(began.elapsed().as_micros());
        }
        usec
    }

    /// How long each of some questions for all that a tier remembers takes, in microseconds; and how many slots answer.
    async fn questions(&self, tier: Tier) -> (usize, Vec<u128>) {
        let (mut points, mut usec) = (0, Vec::new());
        for container in self.containers.iter().cycle().take(TIMES as usize) {
            let began = Instant::now();
            points = self.store.history(container, tier, self.now_ms - tier.kept_ms(), self.now_ms).await.expect("read").len();
            usec.push(began.elapsed().as_micros());
        }
        (points, usec)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>().expect("a number of containers, and of days"));
    let (containers, days) = (numbers.next().unwrap_or(50), numbers.next().unwrap_or(30));
    let folder = tempfile::Builder::new().prefix("belljar-month-").tempdir_in("/var/tmp").expect("a folder");
    let path = folder.path().join("belljar.db");
    let mut dice = Dice(7);
    let id = |_| ContainerId::from_bytes(std::array::from_fn(|_| dice.roll(256) as u8));
    let containers: Vec<ContainerId> = (0..containers).map(id).collect();
    let mut house = House { store: Store::open(&path).await.expect("a database"), containers, dice, now_ms: BEGIN_MS };
    let began = Instant::now();
    for _ in 0..i64::from(days) * 86_400_000 / SLOT_MS / SLOTS_AT_ONCE {
        house.write(SLOTS_AT_ONCE).await;
    }
    let simulated_ms = began.elapsed().as_millis();
    let write_usec = house.writes().await;
    let mut questions = serde_json::Map::new();
    for (name, tier) in ["1 hour", "1 day", "7 days", "30 days"].into_iter().zip(Tier::ALL) {
        let (points, usec) = house.questions(tier).await;
        questions.insert(name.to_owned(), serde_json::json!({"points": points, "usec": usec}));
    }
    house.store.close().await;
    let database_bytes = std::fs::metadata(&path).expect("a database").len();
    let told = serde_json::json!({"database_bytes": database_bytes, "simulated_ms": simulated_ms, "write_usec": write_usec, "questions": questions});
    println!("{told}");
}
