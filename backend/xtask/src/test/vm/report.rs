//! What is said on the serial line, from both of its ends, and the sum of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::test::counts::{Counts, SKIPPED};

/// How many of the slowest tests are named at the end: the stage has little time.
const SLOWEST_SHOWN: usize = 5;

/// An executable with tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Suite {
    /// Its package and target.
    pub(super) name: String,
    /// Where it lies, in the machine as here.
    pub(super) executable: PathBuf,
    /// The folder that it runs in: its package's.
    pub(super) folder: PathBuf,
}

/// What the machine is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Orders {
    /// What runs, in this order.
    pub(super) suites: Vec<Suite>,
    /// Only tests whose name contains one of these, unless there are none.
    pub(super) filters: Vec<String>,
    /// Beginnings of the names of tests that do not run where QEMU executes the machine, unless there are filters.
    pub(super) left_out_in_software: Vec<String>,
    /// Beginnings of the names of those among them that do run there.
    pub(super) kept_in_software: Vec<String>,
    /// Tests at a time.
    pub(super) side_by_side: usize,
    /// Seconds that a test may take.
    pub(super) test_limit_seconds: u64,
}

/// One line of the serial line, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The first: it came up, and so many tests will be told of.
    Planned {
        /// How many.
        tests: usize,
    },
    /// A test has ended.
    Ended(Ended),
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// Package, target and name.
    pub(super) name: String,
    /// How.
    pub(super) how: How,
    /// Milliseconds that it took.
    pub(super) took_ms: u64,
    /// The end of what it wrote, where it failed; the line that says what it needs, where it was skipped; that it took a second
    /// try, where it passed at that.
    pub(super) words: String,
}

/// Whether it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// It did.
    Passed,
    /// It did not.
    Failed,
    /// It could not run there.
    Skipped,
}

impl Ended {
    /// That it was not run, though it is on the list, and what that needs.
    pub(super) fn left_out(name: String) -> Self {
        Self { name, how: How::Skipped, took_ms: 0, words: format!("{SKIPPED}a machine that nobody emulates, with GNU's tools") }
    }
}

/// The line in which a test says that it cannot run, and what it needs.
pub(super) fn need(output: &str) -> Option<&str> {
    // A harness that shows output begins the line with the test's own name.
    output.lines().find_map(|line| line.find(SKIPPED).map(|at| &line[at..]))
}

/// The sum of what was told.
pub(super) struct Report {
    planned: usize,
    ended: Vec<Ended>,
}

impl Report {
    /// Of so many tests that will be told of.
    pub(super) fn of(planned: usize) -> Self {
        Self { planned, ended: Vec::new() }
    }

    /// Whether every test was told of.
    pub(super) fn is_complete(&self) -> bool {
        self.ended.len() >= self.planned
    }

    /// Takes the next, and prints it where it did not pass.
    pub(super) fn note(&mut self, test: Ended) {
        match test.how {
            How::Passed if test.words.is_empty() => {}
            How::Passed => println!("{}: {}", test.name, test.words),
            How::Skipped => println!("{}: {}", test.name, test.words),
            How::Failed => println!("FAILED {} ({:.1} s)\n{}", test.name, seconds(&test), indented(&test.words)),
        }
        self.ended.push(test);
    }

    /// Names what took longest and what failed, and counts. A test that nobody told of has failed.
    pub(super) fn close(&self) -> Counts {
        let mut slowest: Vec<&Ended> = self.ended.iter().collect();
        slowest.sort_by_key(|test| std::cmp::Reverse(test.took_ms));
        slowest.iter().take(SLOWEST_SHOWN).for_each(|test| println!("{:8.1} s   {}", seconds(test), test.name));
        let silent = self.planned.saturating_sub(self.ended.len());
        if silent > 0 {
            println!("{silent} tests were never told of: the machine's time was over, or it ended before");
        }
        for test in self.ended.iter().filter(|test| test.how == How::Failed) {
            println!("FAILED {}", test.name);
        }
        let of = |how: How| self.ended.iter().filter(|test| test.how == how).count();
        Counts { passed: of(How::Passed), failed: of(How::Failed) + silent, skipped: of(How::Skipped) }
    }
}

fn seconds(test: &Ended) -> f64 {
    std::time::Duration::from_millis(test.took_ms).as_secs_f64()
}

fn indented(words: &str) -> String {
    words.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(how: How) -> Ended {
        Ended { name: "a/lib: it".to_owned(), how, took_ms: 1, words: String::new() }
    }

    #[test]
    fn a_test_that_nobody_told_of_has_failed() {
        let mut report = Report::of(4);
        [How::Passed, How::Skipped].into_iter().for_each(|how| report.note(ended(how)));
        assert!(!report.is_complete());
        assert_eq!(report.close(), Counts { passed: 1, failed: 2, skipped: 1 });
        [How::Failed, How::Passed].into_iter().for_each(|how| report.note(ended(how)));
        assert!(report.is_complete());
        assert_eq!(report.close(), Counts { passed: 2, failed: 1, skipped: 1 });
    }

    #[test]
    fn a_line_survives_the_serial_line_with_its_carriage_return() {
        let line = Line::Ended(Ended { words: "two\nlines\u{1b}".to_owned(), ..ended(How::Failed) });
        let mut text = serde_json::to_vec(&line).expect("JSON");
        assert!(!text.contains(&b'\n') && !text.contains(&0x1b));
        text.push(b'\r');
        assert_eq!(serde_json::from_slice::<Line>(&text).expect("the same"), line);
    }

    #[test]
    fn what_a_test_needs_is_found_behind_its_name() {
        assert_eq!(need("running 1 test\ntest a::b ... skipped: needs root\nok\n"), Some("skipped: needs root"));
        assert_eq!(need("test a::b ... ok\n"), None);
    }
}
