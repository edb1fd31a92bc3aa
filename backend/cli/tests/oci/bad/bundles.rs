//! Every field of the description wrong in turn, each in every way, given to the executable: it refuses with runc's
//! status and a sentence that names the field or the step, or it makes the container; it never panics or hangs, and
//! nothing stays behind. A sample goes to runc as well.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::{Wrong, places, rich};
use crate::bed::{Bed, Kind, Runtime, Said, bundle};

/// One of this many bad bundles is given to runc too.
const SAMPLE: usize = 23;

/// Makes a test of each part of the description, so that they run side by side.
macro_rules! parts {
    ($($name:ident: $($part:literal),+;)+) => {
        $(
            #[test]
            fn $name() {
                each_is_refused_or_made(&[$($part),+]);
            }
        )+

        /// What the parts name together.
        const PARTS: &[&str] = &[$($($part),+),+];
    };
}

parts! {
    a_wrong_process_is_refused_by_name: "/process";
    a_wrong_mount_is_refused_by_name: "/mounts";
    a_wrong_hook_is_refused_by_name: "/hooks";
    a_wrong_limit_is_refused_by_name: "/linux/resources";
    a_wrong_filter_is_refused_by_name: "/linux/seccomp";
    a_wrong_namespace_is_refused_by_name: "/linux/namespaces", "/linux/timeOffsets", "/linux/sysctl";
    a_wrong_field_of_linux_is_refused_by_name: "/linux/cgroupsPath", "/linux/devices", "/linux/maskedPaths", "/linux/mountLabel",
        "/linux/personality", "/linux/readonlyPaths", "/linux/rootfsPropagation";
    a_wrong_field_at_the_top_is_refused_by_name: "/annotations", "/domainname", "/hostname", "/linux", "/ociVersion", "/root";
}

#[test]
fn every_field_of_the_description_is_in_one_of_the_parts() {
    crate::bed::with(Kind::Ours, |runtime| {
        let all = places(&rich(&Bed::new(runtime)));
        let missing: Vec<&String> = all.iter().filter(|place| part_of(place, PARTS).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    });
}

/// The longest of `parts` that `place` is in. `/linux` itself is a place; what is below has parts of its own.
fn part_of<'a>(place: &str, parts: &[&'a str]) -> Option<&'a str> {
    let is_in =
        |part: &&&str| place == **part || (**part != "/linux" && place.strip_prefix(**part).is_some_and(|rest| rest.starts_with('/')));
    parts.iter().filter(is_in).max_by_key(|part| part.len()).copied()
}

fn each_is_refused_or_made(parts: &[&str]) {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        let whole = rich(&bed);
        bed.configure(|config| *config = whole.clone());
        bed.run_as_is().ok();
        let peer = Runtime::find(Kind::Runc);
        let beside = peer.as_ref().map(Bed::new).map(|bed| (rich(&bed), bed));
        let mut problems = String::new();
        let cases: Vec<(String, Wrong)> = places(&whole)
            .into_iter()
            .filter(|place| part_of(place, parts).is_some())
            .flat_map(|place| Wrong::ALL.map(|wrong| (place.clone(), wrong)))
            .collect();
        for (number, (place, wrong)) in cases.iter().enumerate() {
            let mut config = whole.clone();
            if !wrong.apply(&mut config, place) {
                continue;
            }
            let said = attempt(&bed, config);
            if let Err(problem) = judge(&bed, place, *wrong, &said) {
                let _infallible = writeln!(problems, "{place} {wrong:?}: {problem}: {} {:?}", said.status, said.err.trim());
            }
            if let (0, Some(beside)) = (number % SAMPLE, &beside) {
                compare(beside, (place, *wrong), &said, &mut problems);
            }
        }
        assert!(problems.is_empty(), "{} of {} bad bundles\n{problems}", problems.lines().count(), cases.len());
        bed.assert_nothing_left();
    });
}

fn attempt(bed: &Bed, config: Value) -> Said {
    bed.configure(|own| *own = config);
    bed.run_as_is()
}

/// What is wrong with the answer to a bad bundle.
fn judge(bed: &Bed, place: &str, wrong: Wrong, said: &Said) -> Result<(), &'static str> {
    if said.err.contains("panicked") || said.status.code().is_none() {
        return Err("it died");
    }
    if left_behind(bed) {
        return Err("something stayed behind");
    }
    match said.code() {
        0 if wrong == Wrong::Type => Err("a wrong type was taken"),
        0 => Ok(()),
        1 if names(&said.err, place) => Ok(()),
        1 => Err("the error names neither field nor step"),
        _ => Err("the status is not runc's"),
    }
}

/// Whether a refusal says where: the field's name, or what is next above it, or the step that failed and its object.
fn names(said: &str, place: &str) -> bool {
    let named: Vec<&str> = place.split('/').filter(|name| !name.is_empty() && name.parse::<usize>().is_err()).collect();
    // A namespace that is missing is found by what needs it.
    let leans_on_it = named.first() == Some(&"linux") && said.contains("hostname: unable to set it");
    leans_on_it
        || named.iter().rev().take(2).any(|name| said.contains(name))
        || said.contains("unable to start container process: ")
        || said.contains("hook")
}

/// Whether the container's state or a cgroup of it is there; processes and mounts are looked for at the end.
fn left_behind(bed: &Bed) -> bool {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let folders = hierarchies.map(|entry| entry.path()).chain([Path::new("/sys/fs/cgroup").to_owned()]);
    bed.states().join(bed.id()).exists() || folders.into_iter().any(|folder| folder.join(bed.id()).exists())
}

/// Gives the same wrong to runc. Both may take it or not; where both refuse, they do so with one status.
fn compare((whole, beside): &(Value, Bed), (place, wrong): (&str, Wrong), ours: &Said, problems: &mut String) {
    let mut config = whole.clone();
    // What runc 1.1 dies of, or would mount on the host, is not asked of it.
    if !wrong.apply(&mut config, place) || place.starts_with("/linux/namespaces") {
        return;
    }
    let theirs = attempt(beside, config);
    println!("runc beside: {place} {wrong:?}: runc {}, ours {}", theirs.code(), ours.code());
    if theirs.code() == 1 && ours.code() > 1 {
        let _infallible = writeln!(problems, "{place} {wrong:?}: runc says {}, ours {}", theirs.code(), ours.code());
    }
}

#[test]
fn the_description_that_says_everything_is_taken_by_runc() {
    crate::bed::with(Kind::Runc, |runtime| {
        assert!(bundle::is_possible());
        let bed = Bed::new(runtime);
        let whole = rich(&bed);
        attempt(&bed, whole).ok();
        bed.assert_nothing_left();
    });
}
