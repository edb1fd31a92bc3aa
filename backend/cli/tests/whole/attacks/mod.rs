//! What must fail: attacks on the host, on the server, on other containers and on oneself, each by a container that nobody
//! helped. An attacker says what it tried and what the kernel answered; a test asks for that answer by name, so an attack that
//! never took place fails the test, and then looks from outside whether anything changed. It must never call our own code.
//!
//! Start reading at [`Attempts`]; `attacker.py` is what the attackers have at hand.

mod entering;
mod kernel;
mod neighbours;
mod newborn;
mod resources;
mod strangers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use belljar_testbed::{Server, skip};
use serde_json::{Value, json};

/// What every attacker has at hand.
const ATTACKER: &str = include_str!("attacker.py");

/// A running server, or `None` after saying what is missing: the attackers are written in Python.
fn arena() -> Option<Server> {
    if !Path::new("/usr/bin/python3").exists() {
        skip("python3");
        return None;
    }
    crate::server()
}

/// The command of an attacker.
fn command(script: &str) -> Value {
    json!(["python3", "-c", format!("{ATTACKER}{script}")])
}

/// The body that creates an attacker of this name.
fn attacker(name: &str, script: &str, options: &Value) -> Value {
    let mut body = json!({"image": "host", "name": name, "command": command(script)});
    for (key, value) in options.as_object().expect("options are fields") {
        body[key] = value.clone();
    }
    body
}

/// Runs an attacker to its end.
#[track_caller]
fn attack(server: &Server, name: &str, script: &str, options: &Value) -> Attempts {
    server.create(&attacker(name, script, options));
    let ended = server.wait_for_state(name, "stopped");
    let attempts = Attempts(server.logs(name));
    assert_eq!(
        (&ended["exit"]["kind"], &ended["exit"]["code"]),
        (&json!("exited"), &json!(0)),
        "{name}: {}\n{}",
        ended["exit"],
        attempts.0
    );
    attempts
}

/// The same attack by a program that is run in a container.
#[track_caller]
fn attack_by_exec(server: &Server, name: &str, script: &str) -> Attempts {
    let body = json!({"command": command(script), "time_limit_ms": 20_000});
    let answer = server.api().post_json(&format!("/api/v1/containers/{name}/exec"), &body).expect(200).json();
    let attempts = Attempts(answer["stdout"].as_str().unwrap_or_default().to_owned() + answer["stderr"].as_str().unwrap_or_default());
    assert_eq!(answer["code"], 0, "{answer}");
    attempts
}

/// What an attacker said: a line `NAME: RESULT` for each attempt.
#[derive(Debug)]
struct Attempts(String);

impl Attempts {
    /// How an attempt ended; panics where it was never made.
    #[track_caller]
    fn result(&self, attempt: &str) -> &str {
        let line = self.0.lines().find_map(|line| line.strip_prefix(attempt)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{attempt:?} was never tried:\n{}", self.0))
    }

    /// Every result that was said under one name.
    fn results(&self, attempt: &str) -> Vec<&str> {
        self.0.lines().filter_map(|line| line.strip_prefix(attempt)?.strip_prefix(": ")).collect()
    }

    /// Panics unless the attempt was made and ended in one of these ways.
    #[track_caller]
    fn ended(&self, attempt: &str, ways: &[&str]) {
        let result = self.result(attempt);
        assert!(ways.contains(&result), "{attempt}: {result}, where only {ways:?} is safe\n{}", self.0);
    }

    /// The same of many.
    #[track_caller]
    fn all_ended(&self, attempts: &[&str], ways: &[&str]) {
        attempts.iter().for_each(|attempt| self.ended(attempt, ways));
    }
}

/// What of the host no container may change.
#[derive(Debug, PartialEq, Eq)]
struct Canary(BTreeMap<PathBuf, String>);

impl Canary {
    fn look() -> Self {
        let files = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname", "/proc/sys/kernel/sysrq"]
            .into_iter()
            .chain(["/sys/kernel/uevent_helper", "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/protected_symlinks", "/proc/swaps"])
            .map(PathBuf::from);
        let agents = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path().join("release_agent"));
        let programs = fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten().map(|entry| entry.path());
        let read = |path: PathBuf| fs::read_to_string(&path).ok().map(|text| (path, text));
        Self(files.chain(agents).chain(programs).filter_map(read).collect())
    }

    #[track_caller]
    fn assert_unchanged(&self) {
        assert_eq!(self, &Self::look(), "the host was changed");
    }
}
