//! `cargo xtask vendor`: copies what a browser loads from the npm registry to `static/vendor`, as `vendor.toml` there says.
//!
//! A library is named with its version, its licence, and the hash that the registry gives for the whole package; each file
//! with a hash of its own. What does not have its hash is not copied. A new version is a new line of that file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;

use crate::command::{self, command, output, run as run_command};
use crate::repository;

/// The libraries could not be copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error(transparent)]
    Read(#[from] repository::ReadError),
    #[error("cannot read static/vendor/vendor.toml")]
    Manifest(#[from] toml::de::Error),
    #[error("cannot read what npm says of {package}")]
    Answer {
        package: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot copy to {path}")]
    Copy {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{subject} has the hash {found}, not {expected}")]
    Hash { subject: String, found: String, expected: String },
}

/// `vendor.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    library: Vec<Library>,
}

/// One package of the registry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Library {
    name: String,
    version: String,
    /// As SPDX names it; its text is among the files.
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers; a test looks that it is there"))]
    licence: String,
    /// Where its source is.
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers; a test looks that it is there"))]
    source: String,
    /// The registry's hash of the package.
    integrity: String,
    /// Path in the package, and the SHA-256 of what is there.
    files: BTreeMap<String, String>,
}

/// What `npm pack --json` says of each package.
#[derive(Debug, Deserialize)]
struct Packed {
    filename: String,
    integrity: String,
}

impl Library {
    /// Where a file of the package lies in the repository: all of a library in one folder.
    fn place(&self, file: &str) -> PathBuf {
        let name = file.rsplit('/').next().unwrap_or(file);
        folder().join(&self.name).join(name)
    }

    fn package(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

fn folder() -> PathBuf {
    repository::root().join("static/vendor")
}

fn manifest() -> Result<Manifest, Error> {
    Ok(toml::from_str(&repository::read(&folder().join("vendor.toml"))?)?)
}

/// Copies every file of every library.
pub(crate) fn run() -> Result<ExitCode, Error> {
    for library in manifest()?.library {
        copy(&library)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn copy(library: &Library) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Copy { path, source }
    };
    let unpacked = tempfile::tempdir().map_err(failed(&std::env::temp_dir()))?;
    let answer = output(command("npm", &["pack", "--json", &library.package()]).current_dir(unpacked.path()))?;
    let packed: Vec<Packed> = serde_json::from_str(&answer).map_err(|source| Error::Answer { package: library.package(), source })?;
    for Packed { filename, integrity } in packed {
        same(&library.package(), &integrity, &library.integrity)?;
        run_command(command("tar", &["-xzf", &filename]).current_dir(unpacked.path()))?;
    }
    for (file, expected) in &library.files {
        let (from, to) = (unpacked.path().join("package").join(file), library.place(file));
        same(&format!("{file} of {}", library.package()), &sha256(&from)?, expected)?;
        std::fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(failed(&to))?;
        std::fs::copy(&from, &to).map_err(failed(&to))?;
        println!("{}", to.display());
    }
    Ok(())
}

fn same(subject: &str, found: &str, expected: &str) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Hash { subject: subject.to_owned(), found: found.to_owned(), expected: expected.to_owned() })
}

fn sha256(path: &Path) -> Result<String, command::Error> {
    let answer = output(&mut command("sha256sum", &["--", &path.to_string_lossy()]))?;
    Ok(answer.split_whitespace().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_others_is_the_one_that_is_written_down() {
        let mut known = vec![folder().join("vendor.toml")];
        for library in manifest().expect("the manifest can be read").library {
            assert!(library.files.contains_key("LICENSE"), "the licence of {} is not beside it", library.name);
            assert!(!library.licence.is_empty() && library.source.starts_with("https://"), "{}", library.name);
            for (file, expected) in &library.files {
                let place = library.place(file);
                assert_eq!(&sha256(&place).expect("it is there"), expected, "{}", place.display());
                known.push(place);
            }
        }
        known.sort();
        assert_eq!(repository::files(&folder()).expect("the folder can be listed"), known, "nothing else lies there");
    }

    #[test]
    fn what_has_another_hash_is_refused() {
        let refused = same("chart", "a", "b").expect_err("they differ");
        assert_eq!(refused.to_string(), "chart has the hash a, not b");
    }
}
