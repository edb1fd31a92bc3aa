//! What is already too large, by name and size, in `backend/xtask/tidy-baseline.toml`. It may only shrink: nothing new
//! becomes large, what is large does not grow, and what has shrunk is written down so that it cannot grow back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Finding;
use super::sizes::{FILE_LINES_MAX, FUNCTION_LINES_MAX};
use crate::repository::{self, ReadError};

const BASELINE: &str = "backend/xtask/tidy-baseline.toml";

const OPENING: &str = "# What is larger than a function or file should be, with its lines. It may only shrink: `cargo xtask tidy --shrink`\n\
                       # writes what became smaller. A new entry is a decision, made by hand, with its reason in the commit.\n";

/// The baseline could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("cannot understand {path}")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Lines by name, as in the committed file.
pub(crate) struct Baseline(BTreeMap<String, usize>);

impl Baseline {
    /// Reads the committed file of the repository at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, Error> {
        let path = root.join(BASELINE);
        let text = repository::read(&path)?;
        toml::from_str(&text).map(Self).map_err(|source| Error::Parse { path, source: Box::new(source) })
    }
}

/// What grew or is newly large, and what shrank without being written down.
pub(crate) fn compare(baseline: &Baseline, large: &BTreeMap<String, usize>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, &lines) in large {
        let finding = match baseline.0.get(name) {
            None if name.contains("::") => {
                format!("{lines} lines: a function fits a screen ({FUNCTION_LINES_MAX}); give a part of it a name of its own")
            }
            None => format!("{lines} lines before its tests: a file holds one subject ({FILE_LINES_MAX}); split it"),
            Some(&before) if lines > before => format!("grew from {before} to {lines} lines: what is large may only shrink"),
            Some(&before) if lines < before => {
                format!("shrank from {before} to {lines} lines: write it down with `cargo xtask tidy --shrink`")
            }
            Some(_) => continue,
        };
        findings.push(Finding::new(name, 0, finding));
    }
    let small = baseline.0.keys().filter(|name| !large.contains_key(*name));
    findings.extend(small.map(|name| Finding::new(name, 0, "is large no more: write it down with `cargo xtask tidy --shrink`")));
    findings
}

/// Writes the baseline with everything that became smaller; what grew or is new stays out.
pub(crate) fn shrink(root: &Path, large: &BTreeMap<String, usize>) -> Result<(), Error> {
    let kept = shrunk(&Baseline::read(root)?, large);
    let rows: String = kept.iter().map(|(name, lines)| format!("{name:?} = {lines}\n")).collect();
    let path = root.join(BASELINE);
    std::fs::write(&path, format!("{OPENING}{rows}")).map_err(|source| Error::Write { path, source })
}

fn shrunk(baseline: &Baseline, large: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let still = baseline.0.iter().filter_map(|(name, &before)| Some((name.clone(), before.min(*large.get(name)?))));
    still.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(rows: &[(&str, usize)]) -> BTreeMap<String, usize> {
        rows.iter().map(|(name, lines)| (name.to_string(), *lines)).collect()
    }

    #[test]
    fn what_is_large_may_stay_but_not_grow_appear_or_shrink_unnoticed() {
        let baseline = Baseline(sizes(&[("a::f", 90), ("a::g", 90), ("a::h", 90), ("a::i", 90)]));
        let findings = compare(&baseline, &sizes(&[("a::f", 90), ("a::g", 91), ("a::h", 80), ("b", 501), ("a::new", 71)]));
        let named: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(named, ["a::g", "a::h", "a::new", "b", "a::i"]);
    }

    #[test]
    fn shrinking_adds_nothing_and_grows_nothing() {
        let baseline = Baseline(sizes(&[("a", 90), ("b", 90), ("c", 90)]));
        assert_eq!(shrunk(&baseline, &sizes(&[("a", 80), ("b", 99), ("new", 99)])), sizes(&[("a", 80), ("b", 90)]));
    }
}
