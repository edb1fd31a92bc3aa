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

/// Builds the executable of a profile as it is shipped: with everything it needs in itself, for the one place in memory that it is
/// linked for. An engine starts it several times for each container, and looking libraries up, joining them, and setting right
/// what depends on the place takes longer than everything else that a start is. Only the executable itself is told so, what it is
/// made of is the same as ever; stack, heap and every mapping still lie where nobody can foretell.
pub(crate) fn build(profile: &str) -> Result<(), command::Error> {
    let package = ["rustc", "--package", "belljar", "--bin", "belljar", "--profile", profile, "--locked"];
    let linked = ["--", "-C", "target-feature=+crt-static", "-C", "relocation-model=static"];
    command::run(&mut cargo(&[&package[..], &linked].concat()))
}

/// Builds with the profile `dist` and says where the executable is and how large it became.
pub(crate) fn run() -> Result<ExitCode, Error> {
    build("dist")?;
    let path = repository::root().join("target/dist/belljar");
    let size_bytes = std::fs::metadata(&path).map_err(|source| Error::Executable { path: path.clone(), source })?.len();
    println!("{} ({:.1} MB)", path.display(), size_bytes as f64 / 1e6);
    Ok(ExitCode::SUCCESS)
}
