//! `cargo xtask bench runtime`: one bundle with the whole default isolation, run by ours, crun and runc; the same isolation
//! as far as bubblewrap has it; and the least that a container can be (`backend/linux/examples/bare.rs`). One at a time and
//! in turns, from the call until the runtime has ended. Nothing is asserted.
//!
//! Start reading at [`bundle`], which says what the isolation is, then [`contender`].

mod bundle;
mod contender;
mod crowd;
mod steps;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::table::{Spread, Table};
use crate::command::{self, cargo};
use bundle::Bundles;
use contender::Contender;

/// At most this many times as long as the bare program.
const TIMES_BARE: f64 = 2.0;
/// What executing a program in a running container may take, in milliseconds.
const EXEC_TARGET_MS: f64 = 5.0;

/// How much is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Runs per row.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    runs: u32,
    /// Containers at once.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    crowd: u32,
}

/// A contender and its durations.
struct Measured {
    contender: Contender,
    spread: Spread,
}

/// Measures, and prints the table.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    command::run(&mut cargo(&["build", "--package", "belljar-linux", "--example", "bare", "--release", "--locked"]))?;
    let folder = tempfile::Builder::new().prefix("belljar-bench-").tempdir_in("/var/tmp")?;
    let bundles = Bundles::make(folder.path())?;
    let mut table = Table::default();
    let run = runs(&mut table, &bundles, options.runs)?;
    execs(&mut table, &bundles, run, options.runs)?;
    crowd::measure(&mut table, &bundles, options.crowd)?;
    print!("{table}");
    print!("{}", steps::measure(&bundles, options.runs)?);
    Ok(ExitCode::SUCCESS)
}

/// `run` of `true`, by everybody. Returns the runtimes among them.
fn runs(table: &mut Table, bundles: &Bundles, count: u32) -> Result<Vec<Contender>, Box<dyn Error>> {
    let measured = in_turns(contender::all(bundles), count, |contender, number| contender.run(number))?;
    let median = |name: &str| measured.iter().find(|one| one.contender.name() == name).map(|one| one.spread.median_ms);
    let (bare, bare_user, ours, crun) =
        (median(contender::BARE), median(contender::BARE_USER), median(contender::OURS), median("crun run"));
    for Measured { contender, spread } in &measured {
        let floor = if contender.has_user() { bare_user } else { bare };
        let times = |other: Option<f64>| other.map_or(f64::NAN, |other| spread.median_ms / other);
        let mut ratio = format!("{:.2} times the bare program", times(floor));
        if contender.is_ours() {
            ratio += &format!(" (target {TIMES_BARE}), {:.2} times crun (target 0.5)", times(crun));
        } else {
            ratio += &format!(", {:.2} times ours", times(ours));
        }
        table.spread(contender.name(), *spread, ratio);
    }
    Ok(measured.into_iter().map(|one| one.contender).filter(Contender::is_runtime).collect())
}

/// `exec` of `true` in a container that runs.
fn execs(table: &mut Table, bundles: &Bundles, runtimes: Vec<Contender>, count: u32) -> Result<(), Box<dyn Error>> {
    let mut staying = Vec::new();
    for mut contender in runtimes {
        contender.start(bundles, "stays")?;
        match contender.exec("stays") {
            Ok(_) => staying.push(contender),
            Err(error) => {
                println!("not compared: exec of {error}");
                contender.delete("stays")?;
            }
        }
    }
    let mut measured = in_turns(staying, count, |contender, _| contender.exec("stays"))?;
    for Measured { contender, spread } in &mut measured {
        let name = contender.name().replace(" run,", " exec,");
        let name = name.strip_suffix(" run").map_or(name.clone(), |runtime| format!("{runtime} exec"));
        if contender.is_ours() {
            table.time(&name, *spread, EXEC_TARGET_MS);
        } else {
            table.spread(&name, *spread, String::new());
        }
        contender.delete("stays")?;
    }
    Ok(())
}

/// Each does it once in each turn, so that a slow minute of the machine is everybody's; the first turn only warms up.
fn in_turns(
    mut contenders: Vec<Contender>,
    count: u32,
    mut once: impl FnMut(&mut Contender, u32) -> Result<Duration, Box<dyn Error>>,
) -> Result<Vec<Measured>, Box<dyn Error>> {
    let mut durations: Vec<Vec<Duration>> = contenders.iter().map(|_| Vec::new()).collect();
    for number in 0..=count {
        for (contender, durations) in contenders.iter_mut().zip(&mut durations) {
            let took = once(contender, number)?;
            if number > 0 {
                durations.push(took);
            }
        }
    }
    let measured = contenders.into_iter().zip(durations);
    Ok(measured.map(|(contender, durations)| Measured { contender, spread: Spread::of(durations) }).collect())
}

/// A path as a word of a command line; none of ours has a quote in it.
fn word(path: &Path) -> String {
    format!("'{}'", path.display())
}
