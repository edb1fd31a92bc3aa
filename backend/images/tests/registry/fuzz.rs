//! Whatever a manifest, an index, a configuration, an answer's head or a reference holds, it is answered: no panic, no endless work.
//!
//! Each search goes on for [`SECONDS`], or for as long as `BELLJAR_FUZZ_SECONDS` says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use belljar_images::config::{Configuration, Document, host_platform};
use belljar_model::Reference;
use belljar_testbed::fake::{Content, Fake, Reply, document};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::place::{Place, layer};

/// How long each search goes on.
const SECONDS: u64 = 60;
/// Cases between two looks at the clock.
const CASES: u32 = 2000;
/// How long one case may take.
const CASE_LIMIT: Duration = Duration::from_secs(2);

/// Tries `strategy` for as long as wanted.
fn search<S: Strategy>(strategy: &S, swallow: impl Fn(S::Value)) {
    let seconds = std::env::var("BELLJAR_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let begun = Instant::now();
    let mut cases = 0;
    while begun.elapsed() < Duration::from_secs(seconds) || cases == 0 {
        let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        let run = runner.run(strategy, |case| {
            let begun = Instant::now();
            swallow(case);
            prop_assert!(begun.elapsed() < CASE_LIMIT, "it took {:?}", begun.elapsed());
            Ok(())
        });
        run.unwrap_or_else(|error| panic!("{error}"));
        cases += CASES;
    }
    println!("{cases} cases in {:?}", begun.elapsed());
}

/// What is done to a document's bytes.
#[derive(Debug, Clone)]
enum Change {
    /// One byte becomes another.
    Byte(prop::sample::Index, u8),
    /// A stretch is gone.
    Cut(prop::sample::Index, usize),
    /// A stretch is there again, so many times.
    Repeat(prop::sample::Index, usize, usize),
    /// Something comes between.
    Insert(prop::sample::Index, String),
    /// One value of the document becomes another.
    Value(prop::sample::Index, Value),
}

fn any_value() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![any::<i64>().prop_map(Value::from), any::<u64>().prop_map(Value::from), any::<f64>().prop_map(Value::from)];
    let words = prop_oneof![
        ".{0,12}",
        "sha256:[0-9a-f]{60,66}",
        "application/vnd\\.[a-z.+]{0,40}",
        "[A-Z]{1,4}=.{0,4}",
        "[0-9]{1,6}/(tcp|udp)",
        "/[a-z./]{0,20}"
    ];
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), numbers, words.prop_map(Value::from)];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{1,8}", inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        3 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => (at(), 1usize..200).prop_map(|(at, length)| Change::Cut(at, length)),
        1 => (at(), 1usize..200, 1usize..300).prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        2 => (at(), prop_oneof!["[\\[\\]{}\",:0-9eE.+-]{1,12}", "\\PC{1,8}", "\\[{1,400}"]).prop_map(|(at, text)| Change::Insert(at, text)),
        6 => (at(), any_value()).prop_map(|(at, value)| Change::Value(at, value)),
    ]
}

/// Every place of a document, as JSON pointers.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| places(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), into))
        }
        Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), into)),
        _ => {}
    }
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        match change {
            Change::Byte(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Change::Cut(at, length) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Change::Repeat(at, length, times) => {
                let at = at.index(bytes.len());
                let part = bytes[at..(at + length).min(bytes.len())].repeat(*times);
                bytes.splice(at..at, part);
            }
            Change::Insert(at, text) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, text.bytes());
            }
            Change::Value(at, new) => {
                let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else { continue };
                let mut all = Vec::new();
                places(&value, "", &mut all);
                if let Some(place) = value.pointer_mut(&all[at.index(all.len())]) {
                    *place = new.clone();
                }
                bytes = document(&value);
            }
        }
    }
    bytes
}

fn manifest() -> Vec<u8> {
    let layers = [layer("a", "b"), layer("c", "d"), layer("e", "f")];
    document(&Content::default().image("1", &layers))
}

fn index() -> Vec<u8> {
    let entry = |architecture: &str, variant: Option<&str>| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": belljar_testbed::fake::digest(architecture.as_bytes()),
               "size": 500, "platform": {"os": "linux", "architecture": architecture, "variant": variant},
               "annotations": {"vnd.docker.reference.type": "none", "org.opencontainers.image.ref.name": "1"}})
    };
    let manifests = [entry("amd64", None), entry("arm64", Some("v8")), entry("arm", Some("v7")), entry("arm", Some("v6"))];
    document(&json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}))
}

fn configuration() -> Vec<u8> {
    let diff_id = belljar_testbed::fake::digest(b"a");
    document(&json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "author": "me",
        "config": {"User": "1000:1000", "ExposedPorts": {"80/tcp": {}}, "Env": ["PATH=/bin", "A=b"], "Entrypoint": ["/e"], "Cmd": ["a", "b"],
                   "Volumes": {"/data": {}}, "WorkingDir": "/w", "Labels": {"a": "b"}, "StopSignal": "SIGINT",
                   "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Timeout": 5, "Retries": 3}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "step", "comment": "c"}, {"created_by": "env", "empty_layer": true}],
    }))
}

/// What is read of a document, to its end.
fn read(bytes: &[u8], media_type: Option<&str>) {
    match Document::parse(bytes, media_type) {
        Ok(Document::Index(index)) => drop(index.choose(&host_platform()).map(|chosen| chosen.digest.to_string())),
        Ok(Document::Manifest(manifest)) => assert!(manifest.layers.iter().all(|layer| layer.digest.to_string().starts_with("sha256:"))),
        Err(error) => assert!(!crate::place::chain(&error).is_empty()),
    }
}

const TYPES: [Option<&str>; 4] = [
    None,
    Some("application/vnd.oci.image.manifest.v1+json"),
    Some("application/vnd.oci.image.index.v1+json"),
    Some("application/vnd.docker.distribution.manifest.list.v2+json; charset=utf-8"),
];

#[test]
fn any_change_of_a_manifest_or_an_index_is_answered() {
    let originals = [manifest(), index()];
    assert!(originals.iter().all(|original| Document::parse(original, None).is_ok()), "they are right before");
    let strategy = (0..2usize, prop::sample::select(&TYPES[..]), prop::collection::vec(change(), 1..6));
    search(&strategy, |(which, media_type, changes)| read(&changed(originals[which].clone(), &changes), media_type));
}

#[test]
fn any_change_of_a_configuration_is_answered() {
    let original = configuration();
    assert!(Configuration::parse(&original).is_ok(), "it is right before");
    search(&prop::collection::vec(change(), 1..6), |changes| {
        if let Ok(configuration) = Configuration::parse(&changed(original.clone(), &changes)) {
            let contents = configuration.contents(Vec::new());
            assert!(contents.config.env.iter().all(|(name, value)| !format!("{name}{value}").contains('\0')), "a NUL in a variable");
        }
    });
}

/// Answers whose bytes are changed anywhere, head and body, as a server would send them: each pull ends, well or not, and
/// after those that do not nothing is left (which [`Place::try_pull`] looks at).
#[test]
fn any_change_of_an_answer_is_answered() {
    let content = Content::of("1", &[layer("a", crate::place::noise(3000)), layer("b", "c")]);
    let changes: Arc<Mutex<(usize, Vec<Change>)>> = Arc::default();
    let (now, asked) = (changes.clone(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let fake = Fake::start(move |request| {
        let reply = content.reply(request);
        let (which, changes) = &*now.lock().unwrap();
        if count.fetch_add(1, Ordering::SeqCst) == *which { Reply::raw(changed(reply.bytes(), changes)) } else { reply }
    });
    let place = Place::new();
    let name = format!("{}/a:1", fake.host());
    let strategy = (0..4usize, prop::collection::vec(change(), 1..4));
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    let run = runner.run(&strategy, |case| {
        *changes.lock().unwrap() = case;
        asked.store(0, Ordering::SeqCst);
        if place.try_pull(&name).is_ok() {
            place.images.sweep(&[]).unwrap();
        }
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn any_reference_is_answered_and_one_that_is_taken_means_one_thing() {
    let hexadecimal = "[0-9a-f]{62,66}";
    let strategy = prop_oneof![
        "\\PC{0,300}",
        "[a-zA-Z0-9._:/@\\[\\]-]{0,60}",
        ("[a-z0-9.:\\[\\]]{0,20}", "[a-z0-9._/-]{0,30}", "[:@]{0,2}[a-zA-Z0-9_.:-]{0,40}", hexadecimal)
            .prop_map(|(host, path, tag, digest)| format!("{host}/{path}{tag}@sha256:{digest}")),
        (
            "[a-z]{1,9}(\\.[a-z]{1,5})?(:[0-9]{1,6})?",
            "[a-z0-9]{1,6}((\\.|_|__|-{1,3}|/)[a-z0-9]{1,4}){0,4}",
            "(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20})?"
        )
            .prop_map(|(host, path, tag)| format!("{host}/{path}{tag}")),
    ];
    search(&strategy, |text| {
        let Ok(reference) = text.parse::<Reference>() else { return };
        assert_eq!(reference.to_string().parse().as_ref(), Ok(&reference), "{text:?} in its whole form");
        assert_eq!(reference.familiar().parse().as_ref(), Ok(&reference), "{text:?} in its familiar form");
        for part in [reference.registry(), reference.repository(), reference.wanted()] {
            assert!(
                !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\\".contains(&byte)),
                "{text:?}: {part:?}"
            );
        }
        assert!(reference.repository().split('/').all(|part| !part.is_empty() && part != ".."), "{text:?}");
    });
}
