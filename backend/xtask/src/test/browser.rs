//! The browser tests: a small Node project under `frontend/browser-tests`, copied to `target/browser-tests` before it
//! runs, so that everything that is made (packages, screenshots of failures) lies below `target`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::counts::{Counts, of_tap};
use crate::command::{self, cargo, command, find, is_root, run as run_command, succeeds};
use crate::repository;

/// The browser tests could not be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error("cannot copy {path}")]
    Copy {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Where the copy lies, ready to run.
pub(crate) struct Browser {
    folder: PathBuf,
}

impl Browser {
    /// A command of node in that folder, which knows the executable under test and the browser.
    pub(crate) fn node(&self, arguments: &[&str]) -> Command {
        let mut node = command("node", arguments);
        node.current_dir(&self.folder);
        node.env("BELLJAR_EXECUTABLE", repository::root().join("target/debug/belljar"));
        node.env("BELLJAR_CHROMIUM", find("chromium").unwrap_or_default());
        node
    }
}

/// Runs them in a real Chromium, where it is installed.
pub(crate) fn run() -> Result<Counts, Error> {
    if !is_root() {
        println!("skipped: needs root");
        return Ok(Counts::SKIPPED);
    }
    for program in ["chromium", "node", "npm"] {
        if find(program).is_none() {
            println!("skipped: needs {program}");
            return Ok(Counts::SKIPPED);
        }
    }
    let browser = prepare()?;
    let report = browser.folder.join("report.tap");
    let reporters =
        ["--test-reporter=spec", "--test-reporter-destination=stdout", "--test-reporter=tap", "--test-reporter-destination=report.tap"];
    let succeeded = succeeds(&mut browser.node(&[&["--test"], &reporters[..]].concat()))?;
    let counts = fs::read_to_string(report).map_or(Counts::FAILED, |report| of_tap(&report));
    Ok(if !succeeded && counts.failed == 0 { counts + Counts::FAILED } else { counts })
}

/// Builds the executable, copies the project, and installs its packages where the lock file has changed.
pub(crate) fn prepare() -> Result<Browser, Error> {
    run_command(&mut cargo(&["build", "--package", "belljar", "--locked", "--quiet"]))?;
    let source = repository::root().join("frontend/browser-tests");
    let folder = repository::root().join("target/browser-tests");
    let is_installed = same(&source.join("package-lock.json"), &folder.join("package-lock.json")) && folder.join("node_modules").is_dir();
    copy_files(&source, &folder)?;
    if !is_installed {
        run_command(command("npm", &["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder))?;
    }
    Ok(Browser { folder })
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

/// Copies the files of `source`, and removes scripts from `folder` that are no longer there.
fn copy_files(source: &Path, folder: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Copy { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for entry in fs::read_dir(folder).map_err(failed(folder))?.flatten() {
        let is_script = entry.path().extension().is_some_and(|extension| extension == "mjs");
        if is_script && !source.join(entry.file_name()).exists() {
            fs::remove_file(entry.path()).map_err(failed(&entry.path()))?;
        }
    }
    for entry in fs::read_dir(source).map_err(failed(source))?.flatten() {
        fs::copy(entry.path(), folder.join(entry.file_name())).map_err(failed(&entry.path()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_what_the_source_holds_and_no_script_that_is_gone() {
        let (source, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        fs::write(source.path().join("list.test.mjs"), "new").expect("it can be written");
        fs::write(folder.path().join("gone.test.mjs"), "old").expect("it can be written");
        copy_files(source.path(), folder.path()).expect("it can be copied");
        assert!(same(&source.path().join("list.test.mjs"), &folder.path().join("list.test.mjs")));
        assert!(!folder.path().join("gone.test.mjs").exists());
    }
}
