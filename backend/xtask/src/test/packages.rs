//! The programs of other houses that tests drive, as Debian packages.

use super::counts::Counts;
use crate::command::{self, command, find, is_root, succeeds};

/// A program, the Debian package that brings it, and what needs it.
const NEEDED: [(&str, &str, &str); 6] = [
    ("chromium", "chromium", "the browser tests"),
    ("node", "nodejs", "the browser tests"),
    ("npm", "npm", "the browser tests"),
    ("curl", "curl", "the tour of the README"),
    ("sqlite3", "sqlite3", "the tour of the README"),
    ("unshare", "util-linux", "the tour of the README"),
];

/// Installs what is missing when this is root on a system with `apt-get`, and otherwise names it; what depends on it
/// then says so and is counted as skipped.
pub(crate) fn install() -> Result<Counts, command::Error> {
    let missing: Vec<_> = NEEDED.into_iter().filter(|(program, ..)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(Counts::PASSED);
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
    packages.dedup();
    for (program, package, needed_by) in &missing {
        println!("missing: {program} (Debian package {package}), for {needed_by}");
    }
    if !is_root() || find("apt-get").is_none() {
        println!("install with: apt-get install --no-install-recommends {}", packages.join(" "));
        return Ok(Counts::SKIPPED);
    }
    let installed = apt_get(&["update", "--quiet=2"])? && {
        let arguments = ["install", "--yes", "--quiet=2", "--no-install-recommends"];
        apt_get(&[&arguments[..], &packages[..]].concat())?
    };
    Ok(if installed { Counts::PASSED } else { Counts::FAILED })
}

fn apt_get(arguments: &[&str]) -> Result<bool, command::Error> {
    succeeds(command("apt-get", arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}
