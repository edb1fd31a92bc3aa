//! A real server under test: the executable, started with an instance, folders and a port of its own, so that many run
//! side by side on one host; and what it left behind on the host.
//!
//! It must never know the product's crates: like a person, it knows the command line, the REST API and the kernel's
//! files. Every failure here is a failed test or a failed measurement, so it panics with a sentence instead of
//! returning an error that every caller would unwrap. Start reading at [`server`], then [`traces`].
#![allow(clippy::expect_used, reason = "a harness says what it expected and ends")]

pub mod client;
pub mod fake;
pub mod layout;
pub mod made;
pub mod place;
pub mod process;
pub mod registry;
pub mod server;
pub mod traces;
pub mod wait;

pub use client::{Client, Response};
pub use server::Server;
pub use traces::Traces;
pub use wait::{DEADLINE, wait_until};

/// Prints that a test cannot run here, and which capability is missing. `cargo xtask test` counts these lines; the test
/// returns right after it.
pub fn skip(missing: &str) {
    println!("skipped: needs {missing}");
}
