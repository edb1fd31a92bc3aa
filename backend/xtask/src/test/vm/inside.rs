//! In the virtual machine: runs the tests, each in a process of its own and with a time limit, and tells how each ended.
//! It must never know that there is a serial line; it writes lines to its standard output.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use belljar_testbed::{process, wait};

use super::report::{Ended, How, Line, Orders, Suite, need};
use super::{Error, PROGRAMS_FOLDER, SOFTWARE, SOFTWARE_PATIENCE};
use crate::repository;
use crate::test::counts::SECOND_TRY;

/// What is told of a failed test's output: its end, where the panic is.
const WORDS_BYTES_SHOWN: usize = 12 << 10;

/// One test.
struct Job {
    suite: Suite,
    test: String,
}

/// Runs what the file of orders says.
pub(crate) fn run(orders: &Path) -> Result<ExitCode, Error> {
    let text = fs::read(orders).map_err(Error::file("read", orders))?;
    let orders: Orders = serde_json::from_slice(&text)?;
    let mut jobs = VecDeque::new();
    for suite in &orders.suites {
        let named = listed(suite)?.into_iter().map(|test| Job { suite: suite.clone(), test });
        jobs.extend(named.filter(|job| orders.filters.is_empty() || orders.filters.iter().any(|filter| job.name().contains(filter))));
    }
    tell(&Line::Planned { tests: jobs.len() })?;
    let (jobs, limit) = (Mutex::new(jobs), Duration::from_secs(orders.test_limit_seconds));
    let (name, value) = SOFTWARE.split_once('=').unwrap_or_default();
    let is_software = std::env::var(name).as_deref() == Ok(value);
    let (orders, leaves_out) = (&orders, is_software && orders.filters.is_empty());
    let patience = if is_software { SOFTWARE_PATIENCE } else { "1" };
    let next = || jobs.lock().ok()?.pop_front();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..orders.side_by_side)
            .map(|_| {
                scope.spawn(move || -> Result<(), Error> {
                    while let Some(job) = next() {
                        let is_left_out = leaves_out && orders.leave_out(&job.name());
                        tell(&Line::Ended(if is_left_out { Ended::left_out(job.name()) } else { job.run_up_to_twice(patience, limit)? }))?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn tell(line: &Line) -> Result<(), Error> {
    // One call for the whole line: lines of two threads must not mix.
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}

/// The names of a suite's tests.
fn listed(suite: &Suite) -> Result<Vec<String>, Error> {
    let output = Command::new(&suite.executable).arg("--list").stderr(Stdio::inherit()).output();
    let output = output.map_err(Error::file("execute", &suite.executable))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

impl Job {
    fn name(&self) -> String {
        format!("{}: {}", self.suite.name, self.test)
    }

    /// Runs it, and once more if it failed: the machine is slow, and what was only late is told as that.
    fn run_up_to_twice(&self, patience: &str, limit: Duration) -> Result<Ended, Error> {
        let first = self.run(patience, limit)?;
        if first.how != How::Failed {
            return Ok(first);
        }
        let second = self.run(patience, limit)?;
        Ok(if second.how == How::Passed { Ended { words: SECOND_TRY.to_owned(), ..second } } else { second })
    }

    /// Runs it; its output goes to a file, as what it leaves running may hold a pipe open for ever.
    fn run(&self, patience: &str, limit: Duration) -> Result<Ended, Error> {
        let nameless = std::env::temp_dir();
        let mut file = tempfile::tempfile().map_err(Error::file("make a file in", &nameless))?;
        let both = [file.try_clone(), file.try_clone()];
        let [stdout, stderr] = both.map(|file| file.map_err(Error::file("duplicate a file of", &nameless)));
        let begun = Instant::now();
        let mut command = Command::new(&self.suite.executable);
        command.args([&self.test, "--exact", "--nocapture"]).current_dir(&self.suite.folder).process_group(0);
        // Nothing is written beside a snapshot that differs, and no cargo is there to be asked where the workspace lies.
        command.env("INSTA_UPDATE", "no").env("INSTA_WORKSPACE_ROOT", repository::root());
        command.env("BELLJAR_TEST_PATIENCE", patience).env("BELLJAR_TEST_PROGRAMS", PROGRAMS_FOLDER);
        let child = command.stdin(Stdio::null()).stdout(stdout?).stderr(stderr?).spawn();
        let mut child = child.map_err(Error::file("execute", &self.suite.executable))?;
        let ended = wait::try_wait(limit, || child.try_wait().ok().flatten());
        if ended.is_none() {
            // Its whole group.
            process::kill_hard(-i32::try_from(child.id()).unwrap_or(i32::MAX));
            let _reaped = child.wait();
        }
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(Error::file("read a file of", &nameless))?;
        let output = String::from_utf8_lossy(&bytes);
        let (how, words) = match (ended, need(&output)) {
            (Some(status), Some(need)) if status.success() => (How::Skipped, need.to_owned()),
            (Some(status), None) if status.success() => (How::Passed, String::new()),
            (Some(_), _) => (How::Failed, end_of(&output).to_owned()),
            (None, _) => (How::Failed, format!("{}\nended after {} s", end_of(&output), limit.as_secs())),
        };
        Ok(Ended { name: self.name(), how, took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), words })
    }
}

fn end_of(output: &str) -> &str {
    let from = output.len().saturating_sub(WORDS_BYTES_SHOWN);
    let from = (from..=output.len()).find(|at| output.is_char_boundary(*at)).unwrap_or(output.len());
    &output[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_output_is_told_whole_letters_only() {
        let long = "é".repeat(WORDS_BYTES_SHOWN);
        assert!(end_of(&long).len() <= WORDS_BYTES_SHOWN && end_of(&long).starts_with('é'));
        assert_eq!(end_of("short"), "short");
    }

    #[test]
    fn a_test_of_another_process_is_listed_run_and_told_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("suite");
        let script = "#!/bin/sh\ncase $1 in --list) printf 'a::holds: test\\na::breaks: test\\nb: benchmark\\n';;\n\
                      a::holds) echo 'skipped: needs a bell';;\n\
                      a::is_late) [ -e late ] || { touch late; exit 101; };; *) echo broken; exit 101;; esac\n";
        fs::write(&program, script).expect("a file");
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
        let suite = Suite { name: "a/lib".to_owned(), executable: program, folder: folder.path().to_owned() };
        assert_eq!(listed(&suite).expect("a list"), ["a::holds", "a::breaks"]);
        let run = |test: &str| Job { suite: suite.clone(), test: test.to_owned() }.run("1", Duration::from_secs(30)).expect("it runs");
        assert_eq!((run("a::holds").how, run("a::holds").words.as_str()), (How::Skipped, "skipped: needs a bell"));
        assert_eq!((run("a::breaks").how, run("a::breaks").words.as_str()), (How::Failed, "broken\n"));
        let twice = |test: &str| {
            let job = Job { suite: suite.clone(), test: test.to_owned() };
            job.run_up_to_twice("1", Duration::from_secs(30)).expect("it runs")
        };
        let late = twice("a::is_late");
        assert_eq!((late.how, late.words.as_str()), (How::Passed, SECOND_TRY));
        assert_eq!(twice("a::breaks").how, How::Failed, "a second failure is one");
    }
}
