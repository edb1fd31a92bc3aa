//! Many values wrong at once, and texts that are no JSON, in this process: reading, translating and planning end with a
//! plan or an error, never with a panic, and take neither long nor much memory.
//!
//! `BELLJAR_FUZZ_SECONDS` makes each search go on for so long; without it, it is a few thousand cases.

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

use super::{Wrong, places};
use crate::bed::bundle;

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

/// Reads, translates and plans; the error is that it took too long.
fn swallow(text: &[u8], facts: &Facts) -> Result<(), TestCaseError> {
    let begun = Instant::now();
    if let Ok(document) = document::parse::<Document>(text) {
        let request = Request {
            id: "fuzz",
            bundle: Path::new("/"),
            state_dir: Path::new("/nowhere"),
            driver: Driver::Folders,
            start: Start::WhenTold,
            keyring: Keyring::New,
            preserved_descriptors: 0,
        };
        if let Ok(translation) = translate::translate(&document, &request)
            && let Ok(plan) = plan::make(&translation.spec, facts)
        {
            prop_assert!(plan.records().iter().all(|step| !step.text.is_empty()), "a step without words");
        }
    }
    prop_assert!(begun.elapsed() < CASE_LIMIT, "it took {:?}", begun.elapsed());
    Ok(())
}

/// Tries `strategy` as often as wanted.
fn search<S: Strategy>(strategy: &S, swallow: impl Fn(S::Value, &Facts) -> Result<(), TestCaseError>) {
    let facts = Facts { hierarchies: Hierarchies::probe().expect("the host's hierarchies can be read"), filter: None };
    let before = peak();
    let seconds = std::env::var("BELLJAR_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let begun = Instant::now();
    loop {
        let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        runner.run(strategy, |case| swallow(case, &facts)).unwrap_or_else(|error| panic!("{error}"));
        assert!(peak().saturating_sub(before) < MEMORY_KIB_LIMIT, "it held {} KiB more than before", peak() - before);
        if seconds.is_none_or(|limit| begun.elapsed() >= limit) {
            return;
        }
    }
}

/// The usual description with everything that needs no bed. The root is a folder of this host.
fn description() -> Value {
    let mut config = bundle::config("/fuzz");
    config["root"]["path"] = "/".into();
    config["hooks"] = serde_json::json!({"createRuntime": [{"path": "/bin/true", "args": ["true"], "env": [], "timeout": 1}]});
    config["linux"]["seccomp"] = serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["read", "personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}],
    });
    config["linux"]["resources"] = serde_json::json!({
        "memory": {"limit": 1_000_000}, "cpu": {"shares": 5, "quota": 1000, "cpus": "0-1"}, "pids": {"limit": 5},
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}],
        "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 5}], "unified": {"memory.high": "5"},
    });
    config["linux"]["sysctl"] = serde_json::json!({"net.ipv4.ip_forward": "1"});
    config["linux"]["uidMappings"] = serde_json::json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    config["linux"]["devices"] = serde_json::json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438}]);
    config
}

/// Any JSON at all, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![any::<i64>().prop_map(Value::from), any::<u64>().prop_map(Value::from), any::<f64>().prop_map(Value::from)];
    let words = prop_oneof![".{0,12}", "/[a-z./]{0,20}", "(CAP_|SCMP_ACT_|SCMP_CMP_|RLIMIT_)[A-Z]{0,6}", "[0-9,-]{0,9}"];
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), numbers, words.prop_map(Value::from)];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{1,8}", inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// What is done to one place of the document.
#[derive(Debug, Clone)]
enum Change {
    Wrong(Wrong),
    Replace(Value),
    Repeat(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => prop::sample::select(&Wrong::ALL[..]).prop_map(Change::Wrong),
        3 => any_json().prop_map(Change::Replace),
        1 => (1usize..2000).prop_map(Change::Repeat),
    ]
}

impl Change {
    fn apply(self, document: &mut Value, place: &str) {
        match (self, document.pointer_mut(place)) {
            (Self::Wrong(wrong), Some(_)) => drop(wrong.apply(document, place)),
            (Self::Replace(value), Some(place)) => *place = value,
            (Self::Repeat(times), Some(Value::Array(array))) if array.len() == 1 => {
                let one = array[0].clone();
                array.extend(std::iter::repeat_n(one, times));
            }
            _ => {}
        }
    }
}

#[test]
fn documents_with_many_changes_end_in_a_plan_or_an_error() {
    let places = places(&description());
    let changes = prop::collection::vec((prop::sample::select(places), change()), 1..6);
    search(&changes, |changes, facts| {
        let mut document = description();
        for (place, change) in changes {
            change.apply(&mut document, &place);
        }
        swallow(document.to_string().as_bytes(), facts)
    });
}

#[test]
fn texts_with_changed_bytes_end_in_a_plan_or_an_error() {
    let text = description().to_string().into_bytes();
    let flips = prop::collection::vec((0..text.len(), any::<u8>()), 0..8);
    search(&(flips, 0..text.len()), |(flips, end), facts| {
        let mut text = text.clone();
        flips.into_iter().for_each(|(at, byte)| text[at] = byte);
        swallow(&text, facts)?;
        swallow(&text[..end], facts)
    });
}

#[test]
fn any_json_at_all_ends_in_a_plan_or_an_error() {
    search(&any_json(), |value, facts| swallow(value.to_string().as_bytes(), facts));
}

#[test]
fn deep_and_long_documents_are_refused_in_time() {
    let facts = Facts { hierarchies: Hierarchies::probe().expect("the host's hierarchies can be read"), filter: None };
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
