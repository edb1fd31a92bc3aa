//! Every field of the description wrong in turn, each in every way, given to the executable: it refuses with runc's
//! status and a sentence that names the field or the step, or warns by the field's name, or [`silence`] says why it may take
//! that; it never panics or hangs, and nothing stays behind. What ours takes goes to runc as well, and a sample of the rest.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::rich::{self, Place, rich};
use super::{Wrong, pattern, places, silence};
use crate::bed::{Bed, Kind, Runtime, Said, bundle};

/// One of this many bad bundles is given to runc too, besides those that ours takes: each of these once, for one element of a list.
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
    a_wrong_mount_of_the_first_is_refused_by_name: "/mounts/0", "/mounts/1", "/mounts/2", "/mounts/3", "/mounts/4";
    a_wrong_hook_is_refused_by_name: "/hooks";
    a_wrong_hook_at_creation_is_refused_by_name: "/hooks/prestart", "/hooks/createRuntime", "/hooks/createContainer";
    a_wrong_limit_is_refused_by_name: "/linux/resources";
    a_wrong_limit_of_memory_or_processors_is_refused_by_name: "/linux/resources/memory", "/linux/resources/cpu";
    a_wrong_filter_is_refused_by_name: "/linux/seccomp";
    a_wrong_namespace_is_refused_by_name: "/linux/namespaces", "/linux/timeOffsets", "/linux/sysctl", "/linux/uidMappings",
        "/linux/gidMappings";
    a_wrong_field_of_linux_is_refused_by_name: "/linux/cgroupsPath", "/linux/devices", "/linux/intelRdt", "/linux/maskedPaths",
        "/linux/mountLabel", "/linux/personality", "/linux/readonlyPaths", "/linux/rootfsPropagation";
    a_wrong_field_at_the_top_is_refused_by_name: "/annotations", "/domainname", "/hostname", "/linux", "/ociVersion", "/root";
}

#[test]
fn every_field_of_the_description_is_in_one_of_the_parts() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        let all = descriptions(&bed);
        let places: BTreeSet<String> = all.iter().flat_map(|description| places(&description.config)).collect();
        let missing: Vec<&String> = places.iter().filter(|place| part_of(place, PARTS).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    });
}

/// The longest of `parts` that `place` is in. `/linux` itself is a place; what is below has parts of its own.
fn part_of<'a>(place: &str, parts: &[&'a str]) -> Option<&'a str> {
    let is_in =
        |part: &&&str| place == **part || (**part != "/linux" && place.strip_prefix(**part).is_some_and(|rest| rest.starts_with('/')));
    parts.iter().filter(is_in).max_by_key(|part| part.len()).copied()
}

/// A description, and the places of it that are made wrong.
struct Description {
    name: &'static str,
    config: Value,
    places: Vec<String>,
}

/// Everything together, with all its places, and what stands apart, with those that were not there yet.
fn descriptions(bed: &Bed) -> Vec<Description> {
    let listener = bed.path("listener");
    let place = Place { listener: &listener, disk: disk() };
    let mut seen = BTreeSet::new();
    let describe = |(name, config): (&'static str, Value)| {
        let all = places(&config);
        let is_wanted = |place: &&String| !seen.contains(&pattern(place)) && !is_one_more_word(place, &config);
        let places: Vec<String> = all.iter().filter(is_wanted).cloned().collect();
        seen.extend(all.iter().map(|place| pattern(place)));
        Description { name, config, places }
    };
    rich::all(&rich(bed), &place).into_iter().map(describe).collect()
}

/// Whether it is a word or a number behind the first two of a list: they are read by one reader.
fn is_one_more_word(place: &str, config: &Value) -> bool {
    let number = place.rsplit('/').next().and_then(|name| name.parse::<usize>().ok());
    number.is_some_and(|number| number > 1) && config.pointer(place).is_some_and(|value| !value.is_object() && !value.is_array())
}

/// The first disk of this host, by its numbers; those of none where there is none.
fn disk() -> (u32, u32) {
    let table = std::fs::read_to_string("/proc/partitions").unwrap_or_default();
    let numbers = |line: &str| {
        let mut numbers = line.split_whitespace().map_while(|number| number.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    };
    table.lines().find_map(numbers).unwrap_or((8, 0))
}

/// Takes what runtimes send to the listener of a filter, and keeps none of it.
fn listen(path: PathBuf) {
    let listener = UnixListener::bind(path).expect("a socket can be made");
    let read = |mut stream: UnixStream| std::io::copy(&mut stream, &mut std::io::sink());
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(read(stream))));
}

/// What is wrong with the answers to one description's bad bundles.
#[derive(Default)]
struct Problems(String);

impl Problems {
    fn add(&mut self, place: &str, wrong: Wrong, problem: &str, said: &Said) {
        let _infallible = writeln!(self.0, "{place} {wrong:?}: {problem}: {} {:?}", said.status, said.err.trim());
    }
}

fn each_is_refused_or_made(parts: &[&str]) {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        listen(bed.path("listener"));
        let peer = Runtime::find(Kind::Runc);
        let beside = peer.as_ref().map(Bed::new).map(|bed| (rich(&bed), bed));
        let mut problems = Problems::default();
        let (mut number, mut asked) = (0, BTreeSet::new());
        for description in descriptions(&bed) {
            let wanted: Vec<&String> =
                description.places.iter().filter(|place| part_of(place, PARTS).is_some_and(|part| parts.contains(&part))).collect();
            if wanted.is_empty() {
                continue;
            }
            let unbroken = attempt(&bed, description.config.clone());
            println!("{}: {} {}", description.name, unbroken.status, unbroken.err.trim());
            for (place, wrong) in wanted.into_iter().flat_map(|place| Wrong::ALL.map(|wrong| (place, wrong))) {
                let mut config = description.config.clone();
                if !wrong.apply(&mut config, place) {
                    continue;
                }
                let said = attempt(&bed, config);
                number += 1;
                if let Err(problem) = judge(&bed, place, wrong, &said, &unbroken) {
                    problems.add(place, wrong, problem, &said);
                }
                let is_new = said.code() == 0 && asked.insert((pattern(place), wrong));
                if let Some(beside) = beside.as_ref().filter(|_| is_new || number % SAMPLE == 0) {
                    compare(beside, (place, wrong), &said, &mut problems);
                }
            }
        }
        assert!(problems.0.is_empty(), "{} of {number} bad bundles\n{}", problems.0.lines().count(), problems.0);
        bed.assert_nothing_left();
    });
}

fn attempt(bed: &Bed, config: Value) -> Said {
    bed.configure(|own| *own = config);
    bed.run_as_is()
}

/// What is wrong with the answer to a bad bundle, of which `unbroken` is the answer to the good one: not every host can do all.
fn judge(bed: &Bed, place: &str, wrong: Wrong, said: &Said, unbroken: &Said) -> Result<(), &'static str> {
    if said.err.contains("panicked") || said.status.code().is_none() {
        return Err("it died");
    }
    if left_behind(bed) {
        return Err("something stayed behind");
    }
    let as_the_good_one = said.code() == unbroken.code() && without_time(&said.err) == without_time(&unbroken.err);
    match said.code() {
        0 if wrong == Wrong::Type => Err("a wrong type was taken"),
        // A name that the specification does not have must be passed over.
        0 if wrong == Wrong::Extra => Ok(()),
        0 if !as_the_good_one && names(&said.err, place) => Ok(()),
        0 if silence::may_be_taken(place, wrong).is_some() => Ok(()),
        0 => Err("it was taken without a word"),
        1 if as_the_good_one => Ok(()),
        1 if wrong == Wrong::Extra && !silence::is_free(place) => Err("a name that nobody knows was not passed over"),
        1 if names(&said.err, place) || names_the_step(&said.err, place) => Ok(()),
        1 => Err("the error names neither field nor step"),
        _ => Err("the status is not runc's"),
    }
}

/// What was said, without when.
fn without_time(said: &str) -> String {
    let is_time = |word: &&str| !word.starts_with("time=");
    said.split_whitespace().filter(is_time).collect::<Vec<_>>().join(" ")
}

/// Whether it was said where: the field's name, or what is next above it.
fn names(said: &str, place: &str) -> bool {
    let named: Vec<&str> = place.split('/').filter(|name| !name.is_empty() && name.parse::<usize>().is_err()).collect();
    named.iter().rev().take(2).any(|name| said.contains(name))
}

/// Whether a refusal says at what: the step that failed and its object.
fn names_the_step(said: &str, place: &str) -> bool {
    // A namespace that is missing is found by what needs it.
    let leans_on_it = place.starts_with("/linux") && said.contains("hostname: unable to set it");
    let step = said.split_once("unable to start container process: ").is_some_and(|(_, step)| step.trim().len() > 1);
    leans_on_it || step || (place.starts_with("/hooks") && said.contains("hook"))
}

/// Whether the container's state or a cgroup of it is there; processes and mounts are looked for at the end.
fn left_behind(bed: &Bed) -> bool {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let folders = hierarchies.map(|entry| entry.path()).chain([Path::new("/sys/fs/cgroup").to_owned()]);
    bed.states().join(bed.id()).exists() || folders.into_iter().any(|folder| folder.join(bed.id()).exists())
}

/// Gives the same wrong to runc. It may take what ours refuses; what it refuses and ours takes has a reason, and where both refuse,
/// they do so with one status.
fn compare((whole, beside): &(Value, Bed), (place, wrong): (&str, Wrong), ours: &Said, problems: &mut Problems) {
    let mut config = whole.clone();
    // What runc 1.1 dies of, or would mount on the host, is not asked of it; nor what it has to log and hangs of, for its length.
    let is_on_the_host = place == "/linux" || place.starts_with("/linux/namespaces");
    let is_logged = place.starts_with("/process/capabilities/") && wrong == Wrong::Huge;
    if is_on_the_host || is_logged || !wrong.apply(&mut config, place) {
        return;
    }
    let theirs = attempt(beside, config);
    println!("runc beside: {place} {wrong:?}: runc {}, ours {}", theirs.code(), ours.code());
    if theirs.code() == 1 && ours.code() > 1 {
        problems.add(place, wrong, "runc refuses it with 1, and ours with more", ours);
    }
    if theirs.code() != 0 && ours.code() == 0 && silence::may_be_refused_by_runc(place, wrong).is_none() {
        problems.add(place, wrong, "runc refuses it, and ours takes it", &theirs);
    }
}

#[test]
fn the_description_that_says_everything_is_taken_without_a_word() {
    crate::bed::with(Kind::Ours, |runtime| {
        let bed = Bed::new(runtime);
        let said = attempt(&bed, rich(&bed));
        assert_eq!((said.code(), said.err.as_str()), (0, ""));
        bed.assert_nothing_left();
    });
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
