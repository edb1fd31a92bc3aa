//! `cargo xtask dist`: the executable as it is shipped.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::command::{self, cargo};
use crate::repository;

/// The shipped executable could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error("cannot look at {path}")]
    Executable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Builds with the profile `dist` and says where the executable is and how large it became.
pub(crate) fn run() -> Result<ExitCode, Error> {
    command::run(&mut cargo(&["build", "--package", "belljar", "--profile", "dist", "--locked"]))?;
    let path = repository::root().join("target/dist/belljar");
    let size_bytes = std::fs::metadata(&path).map_err(|source| Error::Executable { path: path.clone(), source })?.len();
    println!("{} ({:.1} MB)", path.display(), size_bytes as f64 / 1e6);
    Ok(ExitCode::SUCCESS)
}
