//! `cargo xtask bench overlay`: how long it takes to find what a container changed, and to list a folder over many layers. The
//! runtime's own example makes and reads them (`backend/runtime/examples/overlay.rs`).

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::table::{Spread, Table};
use crate::command::{self, cargo};
use crate::repository;

/// Longest time for the changes of 20,000 files, in milliseconds.
const CHANGES_TARGET_MS: f64 = 150.0;
/// Longest time for a folder of 2,000 entries over 20 layers, in milliseconds.
const FOLDER_TARGET_MS: f64 = 30.0;

/// How much is read.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Files that were copied up.
    #[arg(long, default_value_t = 20_000)]
    files: usize,
    /// Entries of the folder.
    #[arg(long, default_value_t = 2000)]
    entries: usize,
    /// Layers below.
    #[arg(long, default_value_t = 20)]
    layers: usize,
    /// How often each is read.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
}

/// Makes, reads, and prints the table.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let Options { files, entries, layers, rounds } = options;
    command::run(&mut cargo(&["build", "--package", "belljar-runtime", "--example", "overlay", "--release", "--locked"]))?;
    let example = repository::root().join("target/release/examples/overlay");
    // Beside the build: a real disk, as layers lie on.
    let folder = tempfile::tempdir_in(repository::root().join("target"))?;
    let folder_path = folder.path().to_string_lossy().into_owned();
    let arguments = [&folder_path, &files.to_string(), &entries.to_string(), &layers.to_string(), &rounds.to_string()];
    let told = command::output(&mut command::command(&example.to_string_lossy(), &arguments.map(String::as_str)))?;
    let told: Value = serde_json::from_str(&told)?;
    let mut table = Table::default();
    for (what, usec) in told.as_object().into_iter().flatten() {
        let (size, target) = match what.starts_with("changes") {
            true => (format!("{files} files"), CHANGES_TARGET_MS),
            false => (format!("{entries} entries, {layers} layers"), FOLDER_TARGET_MS),
        };
        table.time(&format!("{what} ({size})"), spread(usec), target);
    }
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}

fn spread(usec: &Value) -> Spread {
    Spread::of(usec.as_array().into_iter().flatten().filter_map(Value::as_u64).map(Duration::from_micros).collect())
}
