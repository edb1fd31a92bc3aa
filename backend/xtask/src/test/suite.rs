//! All Rust tests, by nextest where it is installed and by `cargo test` where it is not.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use super::counts::{Counts, of_junit, of_libtest};
use crate::command::{self, cargo, find, succeeds};
use crate::repository;

/// The profile of `.config/nextest.toml` that runs everything and writes a report.
const PROFILE: &str = "everything";

/// The tests could not be run, or not counted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error("cannot run cargo test")]
    Libtest {
        #[source]
        source: io::Error,
    },
    #[error("cannot remove the report of an earlier run, {path}")]
    Stale {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Runs all tests of the workspace.
pub(crate) fn run() -> Result<Counts, Error> {
    if find("cargo-nextest").is_some() { nextest() } else { libtest() }
}

fn nextest() -> Result<Counts, Error> {
    let path = repository::root().join("target/nextest").join(PROFILE).join("junit.xml");
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(Error::Stale { path, source }),
        _ => {}
    }
    let succeeded = succeeds(&mut cargo(&["nextest", "run", "--workspace", "--locked", "--profile", PROFILE]))?;
    // No report: it could not be built.
    let counts = fs::read_to_string(&path).map_or(Counts::default(), |report| of_junit(&report));
    Ok(at_least_one_failed(counts, succeeded.then_some(())))
}

fn libtest() -> Result<Counts, Error> {
    println!("cargo-nextest is not installed: falling back to cargo test");
    let arguments = ["test", "--workspace", "--locked", "--no-fail-fast", "--", "--show-output"];
    let output = cargo(&arguments).stderr(Stdio::inherit()).output().map_err(|source| Error::Libtest { source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    Ok(at_least_one_failed(of_libtest(&text), output.status.success().then_some(())))
}

/// A runner that failed without naming a test failed at something else, which must not count as nothing.
fn at_least_one_failed(counts: Counts, success: Option<()>) -> Counts {
    if success.is_none() && counts.failed == 0 { counts + Counts::FAILED } else { counts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_that_failed_without_a_failed_test_is_a_failure() {
        assert_eq!(at_least_one_failed(Counts::PASSED, None).failed, 1);
        assert_eq!(at_least_one_failed(Counts::FAILED, None).failed, 1);
        assert_eq!(at_least_one_failed(Counts::PASSED, Some(())).failed, 0);
    }
}
