//! The whole system: the real executable as a real server on this host's kernel, seen as a person sees it (REST, pages,
//! command line, and the kernel's own files). It must never look inside a crate. Every test has a server of its own
//! ([`belljar_testbed::Server`]), so they run side by side; a test that needs root says so where it has to skip.
//!
//! Start reading at [`names`], the shortest; [`tour`] runs the commands of the README to the letter.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

mod access;
mod attacks;
mod bad_cgroup;
mod bad_input;
mod compose;
mod crash;
mod crowd;
mod damage;
mod database;
mod exec;
mod files;
mod files_attacked;
mod filter;
mod health;
mod image_pages;
mod images;
mod isolation;
mod lifecycle;
mod limits;
mod loosened;
mod memory;
mod mounts;
mod names;
mod options;
mod overlay;
mod past;
mod quota;
mod refusals;
mod room;
mod survival;
mod tour;
mod usage;
mod volumes;
mod why;

use std::process::{Command, Output};

use belljar_testbed::{Server, skip};

/// The executable under test.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_belljar");

/// A running server, or `None` after saying that this needs root.
fn server() -> Option<Server> {
    is_root().then(|| Server::start(EXECUTABLE))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    let root = std::fs::metadata("/proc/self").expect("/proc is there").uid() == 0;
    if !root {
        skip("root");
    }
    root
}

/// Runs a client command against `server`; panics with what it said unless it succeeded.
#[track_caller]
fn belljar(server: &Server, arguments: &[&str]) -> String {
    let output = belljar_output(server, arguments);
    assert!(output.status.success(), "belljar {arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a client command against `server`.
fn belljar_output(server: &Server, arguments: &[&str]) -> Output {
    Command::new(EXECUTABLE).args(arguments).env("BELLJAR_SOCKET", server.socket()).output().expect("the executable runs")
}
