//! A static program for what a shell cannot do in a container: system calls by number, races, attacks. It is written in
//! C, since it has to be small, static and without a runtime of its own, and compiled once by the C compiler that the
//! build needs anyway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::runtime::find_program;
use super::{Bed, Said};

const SOURCE: &str = include_str!("probe.c");

/// Puts the program at `/bin/probe` of the bed's root; false after saying that it cannot be made here.
pub(crate) fn install(bed: &Bed) -> bool {
    let Some(program) = compiled() else {
        belljar_testbed::skip("a C compiler with a static C library");
        return false;
    };
    fs::copy(program, bed.root("bin/probe")).expect("the program can be copied");
    true
}

/// The program's deed on the host.
pub(crate) fn outside(words: &[&str]) -> Said {
    let mut command = Command::new(compiled().expect("it was compiled before"));
    command.args(words);
    Said::of(command)
}

/// A program that was compiled before, on a machine that has no compiler: in the folder that `BELLJAR_TEST_PROGRAMS` names.
pub(crate) fn compiled_before(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("BELLJAR_TEST_PROGRAMS")?;
    Some(Path::new(&folder).join(name)).filter(|program| program.is_file())
}

/// The program on the host; `None` where it cannot be compiled.
pub(crate) fn compiled() -> Option<PathBuf> {
    if let Some(program) = compiled_before("probe") {
        return Some(program);
    }
    let compiler = find_program("cc")?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let digest = Sha256::digest(SOURCE);
    let program = folder.join(format!("probe-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]));
    if program.exists() {
        return Some(program);
    }
    // Tests run side by side: each compiles for itself, and the last to finish is the one that stays.
    let beside = tempfile::tempdir_in(folder).expect("a folder can be made");
    let (own, source) = (beside.path().join("probe"), beside.path().join("probe.c"));
    fs::write(&source, SOURCE).expect("a file can be written");
    let compiled = Command::new(compiler).args(["-static", "-O1", "-pthread", "-o"]).arg(&own).arg(&source).output().ok()?;
    if !compiled.status.success() {
        println!("{}", String::from_utf8_lossy(&compiled.stderr));
        return None;
    }
    fs::rename(&own, &program).expect("a file can be renamed");
    Some(program)
}
