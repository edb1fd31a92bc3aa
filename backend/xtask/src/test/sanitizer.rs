//! The tests of the only crate with `unsafe` blocks, once more, with each access to memory checked by AddressSanitizer:
//! beyond an allocation, after its end, and what is never given back.
//!
//! All of them run, also those that clone: a child without the parent's memory is a copy, with a copy of the sanitizer's own
//! books. The compiler has the flag only where it may use what is unstable, hence `RUSTC_BOOTSTRAP`, for this stage alone
//! and in a target folder of its own. Miri executes no system calls like these, and is no part of the toolchain.

use std::io;
use std::path::Path;
use std::process::Stdio;

use super::counts::{Counts, of_libtest};
use crate::command::{self, cargo, command as program, output};
use crate::repository;

/// The tests could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error("cannot run cargo test")]
    Run {
        #[source]
        source: io::Error,
    },
}

/// Crates with `unsafe` blocks.
const CRATES: [&str; 1] = ["belljar-linux"];

/// Builds and runs them, where the toolchain has the sanitizer.
pub(crate) fn run() -> Result<Counts, Error> {
    let target = target()?;
    let sysroot = output(&mut program("rustc", &["--print", "sysroot"]))?;
    let libraries = Path::new(sysroot.trim()).join("lib/rustlib").join(&target).join("lib");
    if !has_sanitizer(&libraries) {
        println!("skipped: needs the runtime of AddressSanitizer in {}", libraries.display());
        return Ok(Counts::SKIPPED);
    }
    let mut test = cargo(&["test", "--lib", "--locked", "--quiet", "--no-fail-fast", "--target", &target]);
    CRATES.iter().for_each(|name| {
        test.args(["--package", name]);
    });
    test.args(["--", "--show-output"]);
    test.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    test.env("CARGO_TARGET_DIR", repository::root().join("target/asan"));
    let ran = test.stderr(Stdio::inherit()).output().map_err(|source| Error::Run { source })?;
    let text = String::from_utf8_lossy(&ran.stdout);
    let counts = of_libtest(&text);
    if ran.status.success() {
        return Ok(counts);
    }
    print!("{text}");
    // What the sanitizer finds ends the whole process, before any test is counted.
    Ok(if counts.failed == 0 { counts + Counts::FAILED } else { counts })
}

/// The host's target, as the compiler names it.
fn target() -> Result<String, Error> {
    let version = output(&mut program("rustc", &["--version", "--verbose"]))?;
    Ok(version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned())
}

/// Whether the compiler's own runtime of the sanitizer is among its libraries, whatever the channel in its name.
fn has_sanitizer(libraries: &Path) -> bool {
    let entries = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().ends_with("_rt.asan.a"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sanitizers_runtime_is_found_by_the_end_of_its_name() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        assert!(!has_sanitizer(folder.path()));
        std::fs::write(folder.path().join("librustc-stable_rt.asan.a"), "").expect("a file can be written");
        assert!(has_sanitizer(folder.path()));
    }
}
