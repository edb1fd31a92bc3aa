//! `cargo xtask tidy`: what a compiler does not check. Each rule is a function from the repository to findings, with a
//! test that shows it can fail.
//!
//! | rule | module |
//! |---|---|
//! | an arrow between crates goes down only, siblings never meet; who may depend on what from outside | [`arrows`] |
//! | words that must not stand in a crate: `unsafe`, `tokio`, `axum`, SQL; unfinished work | [`absences`] |
//! | a failure is logged or returned, not both | [`absences`] |
//! | opening words; names; parameters | [`words`] |
//! | a function fits a screen, a file one subject; what is small stays small | [`sizes`], [`ratchet`] |

mod absences;
mod arrows;
mod ratchet;
mod sizes;
mod source;
mod words;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::repository;

/// How tidy is called.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Write what has become smaller into the baseline of large functions and files; nothing can be added this way.
    #[arg(long)]
    shrink: bool,
}

/// The rules could not be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Read(#[from] repository::ReadError),
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error(transparent)]
    Arrows(#[from] arrows::Error),
    #[error(transparent)]
    Ratchet(#[from] ratchet::Error),
}

/// One breach of one rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, relative to the repository.
    pub(crate) path: String,
    /// The line; 0 where it is the whole file.
    pub(crate) line: usize,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

impl Finding {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.message),
            line => write!(formatter, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Checks everything and prints what was found.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    let root = repository::root();
    if options.shrink {
        ratchet::shrink(&root, &sizes::measure(&source::parse_all(&root)?))?;
    }
    let findings = check(&root)?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} findings", findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every finding in the repository at `root`, in the order of files and lines.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, Error> {
    let sources = source::parse_all(root)?;
    let mut findings = arrows::check(&arrows::Workspace::read(root)?);
    findings.extend(absences::unfinished_work(root)?);
    for source in &sources {
        findings.extend(absences::check(source));
        findings.extend(words::check(source));
    }
    findings.extend(ratchet::compare(&ratchet::Baseline::read(root)?, &sizes::measure(&sources)));
    findings.sort();
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let findings = check(&repository::root()).expect("the repository can be checked");
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
    }
}
