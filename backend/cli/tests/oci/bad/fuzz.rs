//! Many values wrong at once, and texts that are no JSON, in this process: reading, translating and planning end with a
//! plan or an error, never with a panic, and take neither long nor much memory.
//!
//! What is broken are the descriptions in which every field is said, and the names are theirs: so the cases come far, and each
//! search counts how far. `BELLJAR_FUZZ_SECONDS` makes each search go on for so long; without it, it is a few thousand cases.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use belljar_oci::document::{self, Document};
use belljar_oci::translate::{self, Driver, Request};
use belljar_runtime::cgroup::Hierarchies;
use belljar_runtime::plan::{self, Facts};
use belljar_runtime::spec::{Keyring, Start};
use belljar_testbed::process::status_field;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;

use super::rich::{self, Place};
use super::{Wrong, places};
use crate::bed::{Kind, bundle};

/// How many cases are tried where nobody asks for more.
const CASES: u32 = 2000;
/// How long one case may take. Ten thousand mounts are planned in a fraction of this, also beside three other tests.
const CASE_LIMIT: Duration = Duration::from_secs(10);
/// How much more memory than at the beginning the process may ever hold, in KiB.
const MEMORY_KIB_LIMIT: u64 = 512 * 1024;

/// How much memory this process held at most (`VmHWM`), in KiB.
fn peak() -> u64 {
    let own = i32::try_from(std::process::id()).expect("a pid fits i32");
    let field = status_field(own, "VmHWM").expect("the kernel tells the peak");
    field.trim_end_matches("kB").trim().parse().expect("the peak is a number")
}

/// How many cases came how far: a search that never gets beyond the first step finds nothing.
#[derive(Debug, Default)]
struct Reached {
    cases: Cell<u32>,
    read: Cell<u32>,
    translated: Cell<u32>,
    planned: Cell<u32>,
}

impl Reached {
    /// Reads, translates and plans; the error is that it took too long.
    fn swallow(&self, text: &[u8], facts: &Facts) -> Result<(), TestCaseError> {
        let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
        let begun = Instant::now();
        count(&self.cases);
        if let Ok(document) = document::parse::<Document>(text) {
            count(&self.read);
            let request = Request {
                id: "fuzz",
                bundle: Path::new("/"),
                state_dir: Path::new("/nowhere"),
                driver: Driver::Folders,
                start: Start::WhenTold,
                keyring: Keyring::New,
                preserved_descriptors: 0,
            };
            if let Ok(translation) = translate::translate(&document, &request) {
                count(&self.translated);
                if let Ok(plan) = plan::make(&translation.spec, facts) {
                    count(&self.planned);
                    prop_assert!(plan.records().iter().all(|step| !step.text.is_empty()), "a step without words");
                }
            }
        }
        prop_assert!(begun.elapsed() < CASE_LIMIT, "it took {:?}", begun.elapsed());
        Ok(())
    }
}

/// Reads, translates and plans one text.
fn swallow(text: &[u8], facts: &Facts) -> Result<(), TestCaseError> {
    Reached::default().swallow(text, facts)
}

/// Tries `strategy` as often as wanted, and says how far the cases came.
fn search<S: Strategy>(strategy: &S, swallow: impl Fn(&Reached, S::Value, &Facts) -> Result<(), TestCaseError>) -> Reached {
    let facts = facts();
    let before = peak();
    let seconds = std::env::var("BELLJAR_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let begun = Instant::now();
    let reached = Reached::default();
    loop {
        let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        runner.run(strategy, |case| swallow(&reached, case, &facts)).unwrap_or_else(|error| panic!("{error}"));
        assert!(peak().saturating_sub(before) < MEMORY_KIB_LIMIT, "it held {} KiB more than before", peak() - before);
        if seconds.is_none_or(|limit| begun.elapsed() >= limit) {
            println!("{reached:?}");
            return reached;
        }
    }
}

fn facts() -> Facts {
    Facts { hierarchies: Hierarchies::probe().expect("the host's hierarchies can be read"), filter: None }
}

/// Whether at least one of `parts` cases came so far.
fn one_of(parts: u32, counter: &Cell<u32>, reached: &Reached) -> bool {
    counter.get() * parts >= reached.cases.get()
}

/// Every valid description, with a root that is a folder of this host.
fn descriptions() -> Vec<Value> {
    let place = Place { listener: Path::new("/nowhere"), disk: (8, 0) };
    let mut config = bundle::config("/fuzz");
    config["root"]["path"] = "/".into();
    rich::all(&rich::filled(config, Kind::Ours), &place).into_iter().map(|(_, config)| config).collect()
}

fn description() -> Value {
    descriptions().swap_remove(0)
}

/// Every name of the specification, which the descriptions say, and now and then another.
fn a_name() -> impl Strategy<Value = String> {
    let names: BTreeSet<String> = descriptions().iter().flat_map(places).filter_map(|place| last_name(&place)).collect();
    prop_oneof![9 => prop::sample::select(Vec::from_iter(names)), 1 => "[a-zA-Z._]{0,8}"]
}

fn last_name(place: &str) -> Option<String> {
    let name = place.rsplit('/').next()?;
    name.parse::<usize>().is_err().then(|| name.replace("~1", "/").replace("~0", "~"))
}

/// Any JSON at all, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![any::<i64>().prop_map(Value::from), any::<u64>().prop_map(Value::from), any::<f64>().prop_map(Value::from)];
    let words = prop_oneof![".{0,12}", "/[a-z./]{0,20}", "(CAP_|SCMP_ACT_|SCMP_CMP_|RLIMIT_)[A-Z]{0,6}", "[0-9,-]{0,9}"];
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), numbers, words.prop_map(Value::from)];
    let name = a_name().boxed();
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(name.clone(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// What is done to one place of a document.
#[derive(Debug, Clone)]
enum Change {
    Wrong(Wrong),
    Replace(Value),
    Repeat(usize),
    /// What stands at another place, of any description.
    Move(usize, prop::sample::Index),
    /// One more name in an object.
    Name(String, Value),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => prop::sample::select(&Wrong::ALL[..]).prop_map(Change::Wrong),
        3 => any_json().prop_map(Change::Replace),
        1 => (1usize..2000).prop_map(Change::Repeat),
        3 => any::<(usize, prop::sample::Index)>().prop_map(|(which, place)| Change::Move(which, place)),
        3 => (a_name(), any_json()).prop_map(|(name, value)| Change::Name(name, value)),
    ]
}

/// The descriptions, each with its places.
struct Valid(Vec<(Value, Vec<String>)>);

impl Valid {
    fn all() -> Self {
        Self(descriptions().into_iter().map(|config| (config.clone(), places(&config))).collect())
    }

    fn change(&self, change: Change, document: &mut Value, place: &str) {
        let Some(value) = document.pointer_mut(place) else { return };
        match (change, value) {
            (Change::Wrong(wrong), _) => drop(wrong.apply(document, place)),
            (Change::Replace(instead), value) => *value = instead,
            (Change::Move(which, other), value) => {
                let (config, places) = &self.0[which % self.0.len()];
                *value = config.pointer(other.get::<String>(places)).cloned().unwrap_or_default();
            }
            (Change::Repeat(times), Value::Array(array)) if array.len() == 1 => {
                let one = array[0].clone();
                array.extend(std::iter::repeat_n(one, times));
            }
            (Change::Name(name, value), Value::Object(object)) => drop(object.insert(name, value)),
            _ => {}
        }
    }
}

#[test]
fn documents_with_many_changes_end_in_a_plan_or_an_error() {
    let valid = Valid::all();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), change()), 1..5);
    let reached = search(&(any::<usize>(), changes), |reached, (which, changes), facts| {
        let (config, places) = &valid.0[which % valid.0.len()];
        let mut document = config.clone();
        for (place, change) in changes {
            valid.change(change, &mut document, place.get::<String>(places));
        }
        reached.swallow(document.to_string().as_bytes(), facts)
    });
    assert!(one_of(8, &reached.read, &reached) && one_of(20, &reached.planned, &reached), "{reached:?}");
}

#[test]
fn a_document_that_nobody_broke_comes_to_a_plan_where_this_host_can_do_it() {
    let reached = Reached::default();
    for config in descriptions() {
        reached.swallow(config.to_string().as_bytes(), &facts()).expect("it is quick");
    }
    assert_eq!(reached.read, reached.cases, "{reached:?}");
    assert!(one_of(2, &reached.planned, &reached), "{reached:?}");
}

#[test]
fn texts_with_changed_bytes_end_in_a_plan_or_an_error() {
    let text = description().to_string().into_bytes();
    let flips = prop::collection::vec((0..text.len(), any::<u8>()), 0..8);
    let reached = search(&(flips, 0..text.len()), |reached, (flips, end), facts| {
        let mut text = text.clone();
        flips.into_iter().for_each(|(at, byte)| text[at] = byte);
        reached.swallow(&text, facts)?;
        swallow(&text[..end], facts)
    });
    assert!(one_of(50, &reached.read, &reached), "{reached:?}");
}

#[test]
fn any_json_at_all_ends_in_a_plan_or_an_error() {
    // The fields without which nothing is looked at are mostly there.
    let sections = prop::sample::subsequence(vec!["ociVersion", "process", "root"], 1..4);
    let needed = description();
    let reached = search(&(any_json(), sections), |reached, (mut value, sections), facts| {
        if let Value::Object(object) = &mut value {
            sections.into_iter().for_each(|name| drop(object.insert(name.to_owned(), needed[name].clone())));
        }
        reached.swallow(value.to_string().as_bytes(), facts)
    });
    assert!(one_of(20, &reached.read, &reached) && reached.translated.get() > 0, "{reached:?}");
}

#[test]
fn deep_and_long_documents_are_refused_in_time() {
    let facts = facts();
    let deep = format!("{{\"ociVersion\": {}", "[".repeat(1_000_000));
    swallow(deep.as_bytes(), &facts).expect("depth");
    let unknown = format!("{{\"ociVersion\": \"1.0.2\", \"x\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    swallow(unknown.as_bytes(), &facts).expect("depth of what is passed over");
    for place in ["/process/args", "/process/env", "/mounts", "/linux/namespaces", "/linux/maskedPaths", "/linux/seccomp/syscalls/0/names"]
    {
        let mut document = description();
        let array = document.pointer_mut(place).and_then(Value::as_array_mut).expect("a list");
        let one = array[0].clone();
        array.extend(std::iter::repeat_n(one, 20_000));
        swallow(document.to_string().as_bytes(), &facts).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
}
