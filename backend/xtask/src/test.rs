//! `cargo xtask test`: everything that a change has to pass, in the order of what fails soonest. A stage that fails does
//! not hide the later ones; the closing line counts all of them.

mod browser;
mod counts;
mod packages;
mod sanitizer;
mod suite;
pub(crate) mod vm;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::command::{self, cargo};
use crate::{repository, tidy};

pub(crate) use browser::prepare;
use counts::Counts;

/// A stage could not be carried out at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error(transparent)]
    Tidy(#[from] tidy::Error),
    #[error(transparent)]
    Suite(#[from] suite::Error),
    #[error(transparent)]
    Sanitizer(#[from] sanitizer::Error),
    #[error(transparent)]
    Vm(#[from] vm::Error),
    #[error(transparent)]
    Browser(#[from] browser::Error),
}

/// A stage's name, and what it does.
type Stage = (&'static str, fn() -> Result<Counts, Error>);

const STAGES: [Stage; 8] = [
    ("packages", || Ok(packages::install()?)),
    ("format", || check(&["fmt", "--all", "--check"])),
    ("clippy", || check(&["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"])),
    ("tidy", tidy_stage),
    ("tests", || Ok(suite::run()?)),
    ("sanitizer", || Ok(sanitizer::run()?)),
    ("vm", || Ok(vm::run(&[])?)),
    ("browser", || Ok(browser::run()?)),
];

/// Runs every stage, then prints how long each took, and the closing line.
pub(crate) fn run() -> Result<ExitCode, Error> {
    let mut rows = Vec::new();
    let mut total = Counts::default();
    for (name, stage) in STAGES {
        println!("==> {name}");
        let begun = Instant::now();
        let counts = stage().unwrap_or_else(|error| {
            crate::report(&error);
            Counts::FAILED
        });
        total = total + counts;
        rows.push((name, begun.elapsed(), counts));
    }
    println!();
    for (name, took, counts) in rows {
        println!("{}", row(name, took, counts));
    }
    println!("{total}");
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the stage `vm` alone, and of it only tests whose names contain one of `filters`.
pub(crate) fn run_vm(filters: &[String]) -> Result<ExitCode, Error> {
    let counts = vm::run(filters)?;
    println!("{counts}");
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(name: &str, took: Duration, counts: Counts) -> String {
    format!("{name:10} {:8.1} s   {counts}", took.as_secs_f64())
}

/// One check by cargo, which passes or fails as a whole.
fn check(arguments: &[&str]) -> Result<Counts, Error> {
    Ok(if command::succeeds(&mut cargo(arguments))? { Counts::PASSED } else { Counts::FAILED })
}

fn tidy_stage() -> Result<Counts, Error> {
    let findings = tidy::check(&repository::root())?;
    for finding in &findings {
        println!("{finding}");
    }
    Ok(if findings.is_empty() { Counts::PASSED } else { Counts::FAILED })
}
