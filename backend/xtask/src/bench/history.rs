//! `cargo xtask bench history`: how large the database is after a month of many containers, and how long a write of a moment and a
//! question for each stretch take. The store's own example simulates it (`backend/store/examples/month.rs`).

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::table::{Spread, Table};
use crate::command::{self, cargo};
use crate::repository;

/// Largest database after the month, in bytes.
const DATABASE_TARGET_BYTES: f64 = 100e6;
/// Longest answer for 30 days, in milliseconds.
const QUESTION_TARGET_MS: f64 = 20.0;

/// How much is simulated.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Containers that run all the time.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=4096))]
    containers: u32,
    /// Days that they run.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
}

/// Simulates, and prints the table.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let Options { containers, days } = options;
    command::run(&mut cargo(&["build", "--package", "belljar-store", "--example", "month", "--release", "--locked"]))?;
    let month = repository::root().join("target/release/examples/month");
    let told = command::output(&mut command::command(&month.to_string_lossy(), &[&containers.to_string(), &days.to_string()]))?;
    let told: Value = serde_json::from_str(&told)?;
    let mut table = Table::default();
    let database_bytes = told["database_bytes"].as_u64().ok_or("the simulation tells no size")?;
    table.bytes(&format!("database, {containers} containers, {days} days"), database_bytes, DATABASE_TARGET_BYTES);
    table.spread(&format!("write of 10 s of {containers} containers"), spread(&told["write_usec"]), String::new());
    for (stretch, answers) in told["questions"].as_object().into_iter().flatten() {
        table.time(&format!("history of {stretch}, {} slots", answers["points"]), spread(&answers["usec"]), QUESTION_TARGET_MS);
    }
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}

fn spread(usec: &Value) -> Spread {
    Spread::of(usec.as_array().into_iter().flatten().filter_map(Value::as_u64).map(Duration::from_micros).collect())
}
