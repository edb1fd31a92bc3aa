//! Other programs, run in the root of the repository.

use std::env;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use crate::repository;

/// A program could not be run, or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot run {program}")]
    Spawn {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("{program} ended with {status}")]
    Failed { program: String, status: ExitStatus },
}

/// A command of `program` with `arguments`, in the root of the repository.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository::root());
    command
}

/// A command of the cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    command(&cargo, arguments)
}

fn name(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args()).take(3);
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs it with this program's own output; whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool, Error> {
    let status = command.status().map_err(|source| Error::Spawn { program: name(command), source })?;
    Ok(status.success())
}

/// Runs it with this program's own output; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let status = command.status().map_err(|source| Error::Spawn { program: name(command), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { program: name(command), status }) }
}

/// Runs it and returns what it wrote to its standard output; an error unless it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|source| Error::Spawn { program: name(command), source })?;
    if !output.status.success() {
        return Err(Error::Failed { program: name(command), status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program lies on `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// Whether this is root, who alone may make containers.
pub(crate) fn is_root() -> bool {
    // The owner of a process's folder is its effective user (`proc_pid(5)`).
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_absent_or_fails_is_named() {
        let absent = run(&mut command("no-such-program", &[])).expect_err("it is absent");
        assert_eq!(absent.to_string(), "cannot run no-such-program");
        let failed = run(&mut command("false", &[])).expect_err("it fails");
        assert!(failed.to_string().starts_with("false ended with"));
    }

    #[test]
    fn what_a_program_writes_is_returned() {
        assert_eq!(output(&mut command("echo", &["glass"])).expect("echo runs"), "glass\n");
        assert!(find("echo").is_some() && find("no-such-program").is_none());
    }
}
