//! The privileged tests once more, in a virtual machine with nothing but cgroup v2: QEMU, a kernel as Debian packages it,
//! and a disk with the same test executables and a small userland of this host's own programs.
//!
//! ```text
//! build ── kernel ── disk, initramfs ── machine ──(serial line)── counted
//!                                         └ this program again, as `xtask inside`: each test is a process of its own
//! ```
//!
//! Nothing here knows a test by its name: what runs is a list of executables, and a test says by itself what it needs.
//! Start reading at [`run`], then [`inside`].

mod build;
mod disk;
pub(crate) mod inside;
mod kernel;
mod left_out;
mod machine;
mod programs;
mod report;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::counts::Counts;
use crate::command::{self, find};
use crate::repository;
use machine::{Accelerator, Machine};
use report::{Line, Orders, Report};

/// The tests could not be run in a virtual machine, though what it takes is here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error("cannot {operation} {path}")]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("a line of the machine could not be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("the build made no {0}")]
    NotBuilt(String),
}

impl Error {
    /// What failed with which file.
    fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { operation, path, source }
    }
}

/// What the machine is made of, beside the kernel's package.
const PROGRAMS: [&str; 4] = ["qemu-system-x86_64", "busybox", "mkfs.ext4", "strip"];
/// A machine that has not come up by then never will: with the host's processor it takes a second, in software three to ten.
const BOOT_LIMIT: [(Accelerator, Duration); 2] =
    [(Accelerator::Kvm, Duration::from_secs(10)), (Accelerator::Software, Duration::from_secs(90))];
/// All tests together, from the first one on; the machine is ended then, and what it has not told is a failure.
const TESTS_LIMIT: Duration = Duration::from_secs(2400);
/// One test, of which none takes longer than a minute on this host.
const TEST_LIMIT: Duration = Duration::from_secs(150);
/// Tests at a time: most of them wait for a process or a server, and the machine has two processors.
const SIDE_BY_SIDE: usize = 3;
/// The word for the machine's kernel, and so a variable of its first process, which says that QEMU executes it.
const SOFTWARE: &str = "BELLJAR_TEST_SOFTWARE=1";
/// How many times longer a test waits there for what has to happen.
const SOFTWARE_PATIENCE: &str = "4";

/// Where the machine has the programs that tests compile elsewhere: it has no compiler.
const PROGRAMS_FOLDER: &str = "/vm/programs";

/// Runs the tests whose names contain one of `filters`, or all of them.
pub(crate) fn run(filters: &[String]) -> Result<Counts, Error> {
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: needs x86-64");
        return Ok(Counts::SKIPPED);
    }
    for program in PROGRAMS {
        if find(program).is_none() {
            println!("skipped: needs {program}");
            return Ok(Counts::SKIPPED);
        }
    }
    let folder = repository::root().join("target/vm");
    fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
    let Some(kernel) = kernel::prepare(&folder)? else {
        println!("skipped: needs the Debian package {}", kernel::PACKAGE);
        return Ok(Counts::SKIPPED);
    };
    let built = build::build()?;
    let orders = Orders {
        suites: built.suites.clone(),
        filters: filters.to_vec(),
        left_out_in_software: left_out::in_software(),
        kept_in_software: left_out::kept(),
        side_by_side: SIDE_BY_SIDE,
        test_limit_seconds: TEST_LIMIT.as_secs(),
    };
    let disk = disk::make(&folder, &built, &orders)?;
    let initramfs = disk::initramfs(&folder, &kernel)?;
    for (accelerator, limit) in BOOT_LIMIT {
        if !accelerator.is_here() {
            continue;
        }
        let mut machine = Machine::start(&kernel, &initramfs, &disk, accelerator)?;
        if let Some(Line::Planned { tests }) = machine.line(limit) {
            println!("{tests} tests in a machine with cgroup v2 alone, {accelerator}");
            return Ok(follow(&mut machine, tests));
        }
        println!("the machine did not come up within {} s, {accelerator}", limit.as_secs());
        print!("{}", machine.last_words());
    }
    Ok(Counts::FAILED)
}

/// Reads what the machine tells until it has told of every test, or its time is over.
fn follow(machine: &mut Machine, planned: usize) -> Counts {
    let deadline = std::time::Instant::now() + TESTS_LIMIT;
    let mut report = Report::of(planned);
    // Beside the disk, for whoever asks how long each took.
    let mut log = File::create(repository::root().join("target/vm/report.jsonl")).ok();
    while !report.is_complete() {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        match machine.line(left) {
            Some(Line::Ended(test)) => {
                if let (Some(log), Ok(line)) = (&mut log, serde_json::to_string(&test)) {
                    let _only_a_help = writeln!(log, "{line}");
                }
                report.note(test);
            }
            Some(Line::Planned { .. }) => {}
            None => break,
        }
    }
    if !report.is_complete() {
        print!("{}", machine.last_words());
    }
    report.close()
}
