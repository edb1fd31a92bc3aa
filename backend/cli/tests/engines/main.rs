//! Our OCI runtime under the engines of other houses, all from Debian: podman, containerd and Docker start, look at and
//! end containers as they always do, and `belljar runtime` does the work. It must never look inside a crate, and never
//! asks a registry. Each test has an engine of its own in a [`place::Place`], so they run side by side.
//!
//! `BELLJAR_TEST_RUNTIME` names another runtime (`/usr/sbin/runc`), against which the tests themselves are proven.
//! Start reading at [`programs`]; [`containerd`] has a command line of its own.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

mod engine;
mod image;

mod containerd;
mod crowd;
mod ends;
mod files;
mod health;
mod limits;
mod privileges;
mod programs;
mod sharing;

use std::os::unix::fs::symlink;

use belljar_testbed::place::Place;
use belljar_testbed::skip;

/// The executable under test.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_belljar");

/// The path of the runtime under test: a link whose name says to the executable that it is the runtime.
fn runtime(place: &Place) -> String {
    if let Ok(other) = std::env::var("BELLJAR_TEST_RUNTIME") {
        return other;
    }
    let link = place.path("belljar-runtime");
    // Several threads of a test may ask at once, and each of them may be the first.
    match symlink(EXECUTABLE, &link) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => panic!("a link cannot be made: {error}"),
        Ok(()) | Err(_) => (),
    }
    link.to_string_lossy().into_owned()
}

/// Whether everything is here that a test needs beside `programs`; says what is missing.
fn needs(programs: &[&str]) -> Option<()> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self").expect("/proc is there").uid() != 0 {
        skip("root");
        return None;
    }
    let tools = ["unshare", "nsenter", "script", "ip"];
    if let Some(missing) = programs.iter().chain(&tools).find(|program| engine::installed(program).is_none()) {
        skip(missing);
        return None;
    }
    if image::busybox().is_none() {
        skip("busybox-static");
        return None;
    }
    Some(())
}

/// Tests that hold under podman and Docker alike: `mod podman` and `mod docker`, each with every function named.
macro_rules! under_both {
    ($($test:ident),* $(,)?) => {
        mod podman {
            $(#[test] fn $test() { crate::engine::Engine::start(crate::engine::Kind::Podman).iter().for_each(super::$test); })*
        }
        mod docker {
            $(#[test] fn $test() { crate::engine::Engine::start(crate::engine::Kind::Docker).iter().for_each(super::$test); })*
        }
    };
}
use under_both;
