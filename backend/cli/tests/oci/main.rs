//! The OCI face as engines see it: one suite of sentences that takes a runtime's path, and runs against ours, runc and
//! crun. The two peers are the oracles: a sentence is proven on them, and where they or ours differ, [`differences`]
//! names it and says why. Beside it, [`bad`] bundles and [`attacks`].
//!
//! It must never look inside a crate, but for the in-process half of [`bad`]. Start reading at [`lifecycle`];
//! [`bed`] is what every sentence lies on.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says so and ends")]

/// Makes three tests of each sentence: one for each runtime.
macro_rules! sentences {
    ($($name:ident),+ $(,)?) => {
        sentences! { ours: Ours, $($name),+ }
        sentences! { runc: Runc, $($name),+ }
        sentences! { crun: Crun, $($name),+ }
    };
    ($module:ident: $kind:ident, $($name:ident),+) => {
        mod $module {
            $(
                #[test]
                fn $name() {
                    crate::bed::with(crate::bed::Kind::$kind, super::$name);
                }
            )+
        }
    };
}

mod apparmor;
mod attacks;
mod bad;
mod bed;
mod cuts;
mod devices;
mod differences;
mod exec;
mod face;
mod faults;
mod hooks;
mod lifecycle;
mod limits;
mod listener;
mod mounts;
mod namespaces;
mod process;
mod seccomp;
mod systemd;
mod terminal;
mod unified;
mod userns;
mod watch;
mod ways;

/// The executable under test.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_belljar");

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        belljar_testbed::skip("root");
    }
    root
}
