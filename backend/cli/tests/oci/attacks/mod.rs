//! Attacks on our runtime by the container that it makes: real ones, each with a canary outside that has to stay as it
//! is. They go at what was broken in other runtimes before (CVE numbers stand at each), with a user namespace and,
//! where the container's root is the host's, without one.
//!
//! They must never know how we defend ourselves: a test here only attacks and looks at what came of it.

mod entering;
mod executable;
mod leaks;
mod races;
mod surroundings;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bed::{Bed, Kind, Runtime, probe};

/// Whose root the container's root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// The host's: a container without a user namespace.
    Host,
    /// Nobody's outside.
    Own,
}

/// Runs `attack` on our runtime, with and without a user namespace; each bed has the probe.
fn on_ours(attack: impl Fn(&Bed, Root)) {
    crate::bed::with(Kind::Ours, |runtime| on(runtime, &attack));
}

fn on(runtime: &Runtime, attack: impl Fn(&Bed, Root)) {
    for root in [Root::Host, Root::Own] {
        let bed = Bed::new(runtime);
        if !probe::install(&bed) {
            return;
        }
        if root == Root::Own {
            bed.user_namespace();
        }
        attack(&bed, root);
    }
}

/// Gives the container capabilities beyond the usual ones.
fn grant(bed: &Bed, capabilities: &[&str]) {
    bed.configure(|config| {
        for set in ["bounding", "effective", "permitted"] {
            let list = config["process"]["capabilities"][set].as_array_mut().expect("a set is a list");
            list.extend(capabilities.iter().map(|capability| json!(capability)));
        }
    });
}

/// A folder of the host with one file, that must stay exactly as it is.
struct Canary {
    path: PathBuf,
    before: String,
}

impl Canary {
    fn new(bed: &Bed) -> Self {
        let path = bed.path("canary");
        fs::create_dir_all(&path).expect("a folder can be made");
        fs::write(path.join("file"), "canary").expect("a file can be written");
        let before = look(&path);
        Self { path, before }
    }

    #[track_caller]
    fn assert_alive(&self) {
        assert_eq!(look(&self.path), self.before, "the canary changed");
    }
}

/// Names, modes, owners, times and contents of what is in a folder, and of itself.
fn look(folder: &Path) -> String {
    let mut lines = vec![line(folder)];
    lines.extend(fs::read_dir(folder).expect("a folder can be listed").flatten().map(|entry| line(&entry.path())));
    lines.sort();
    lines.join("\n")
}

fn line(path: &Path) -> String {
    let about = fs::symlink_metadata(path).expect("a path can be looked at");
    let content = if about.is_file() { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    let (owner, changed) = (about.uid(), (about.mtime(), about.mtime_nsec()));
    format!("{} {:o} {owner} {changed:?} {} {content:?}", path.display(), about.mode(), about.rdev())
}
