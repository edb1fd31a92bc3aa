//! `cargo xtask screenshot`: the picture of the README, taken of a real server with real containers.

use std::process::ExitCode;

use crate::repository;
use crate::test::{Error, prepare};

/// Writes `static/screenshot.png`.
pub(crate) fn run() -> Result<ExitCode, Error> {
    let browser = prepare()?;
    let picture = repository::root().join("static/screenshot.png");
    crate::command::run(&mut browser.node(&["screenshot.mjs", &picture.to_string_lossy()]))?;
    println!("{}", picture.display());
    Ok(ExitCode::SUCCESS)
}
