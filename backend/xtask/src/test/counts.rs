//! How many tests passed, failed, and could not run here, read from what each runner writes.

use std::fmt;
use std::ops::Add;

/// A test that cannot run here prints a line with this, and which capability is missing.
pub(super) const SKIPPED: &str = "skipped: needs ";

/// What is said of a test that failed, and held when it was tried once more.
pub(super) const SECOND_TRY: &str = "held at its second try only: it has to be mended";

/// Tests by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Ran, and held.
    pub(crate) passed: usize,
    /// Ran, and did not hold; or could not be built.
    pub(crate) failed: usize,
    /// Could not run here; each said what it needs.
    pub(crate) skipped: usize,
}

impl Counts {
    /// One check that passed.
    pub(crate) const PASSED: Counts = Counts { passed: 1, failed: 0, skipped: 0 };
    /// One check that failed.
    pub(crate) const FAILED: Counts = Counts { passed: 0, failed: 1, skipped: 0 };
    /// One check that could not run here.
    pub(crate) const SKIPPED: Counts = Counts { passed: 0, failed: 0, skipped: 1 };
}

impl Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts { passed: self.passed + other.passed, failed: self.failed + other.failed, skipped: self.skipped + other.skipped }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Counts of a JUnit report, as nextest writes it. Prints what each skipped test needs, and which held at a second try.
pub(crate) fn of_junit(report: &str) -> Counts {
    let mut counts = Counts::default();
    for case in report.split("<testcase ").skip(1) {
        let name = case.split("name=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        if case.contains("<failure") || case.contains("<error") {
            counts.failed += 1;
        } else if case.contains("<flakyFailure") {
            println!("{name}: {SECOND_TRY}");
            counts.passed += 1;
        } else if let Some(line) = case.lines().find(|line| line.starts_with(SKIPPED)) {
            println!("{name}: {line}");
            counts.skipped += 1;
        } else {
            counts.passed += 1;
        }
    }
    counts
}

/// Counts of what `cargo test -- --show-output` prints.
pub(crate) fn of_libtest(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        counts.passed += number_before(line, " passed");
        counts.failed += number_before(line, " failed");
        counts.skipped += number_before(line, " ignored");
    }
    let said_so = output.lines().filter(|line| line.starts_with(SKIPPED)).count();
    Counts { passed: counts.passed.saturating_sub(said_so), skipped: counts.skipped + said_so, ..counts }
}

/// Counts of TAP, as `node --test` writes it at its end.
pub(crate) fn of_tap(report: &str) -> Counts {
    let number = |word: &str| report.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok()).unwrap_or(0);
    Counts { passed: number("# pass "), failed: number("# fail ") + number("# cancelled "), skipped: number("# skipped ") }
}

fn number_before(line: &str, word: &str) -> usize {
    let digits = line.split(word).next().and_then(|before| before.rsplit(' ').next());
    if line.contains(word) { digits.and_then(|digits| digits.parse().ok()).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_junit_report_is_counted_by_how_each_test_ended() {
        let report = r#"<testsuites tests="3" failures="1"><testsuite name="a" tests="3">
            <testcase name="it_holds" classname="a"><system-out>it prints skipped: needs root</system-out></testcase>
            <testcase name="it_breaks" classname="a"><failure type="test failure">skipped: needs nothing</failure></testcase>
            <testcase name="it_may" classname="a"><flakyFailure type="test failure">once</flakyFailure></testcase>
            <testcase name="it_cannot" classname="a"><system-out>
skipped: needs root
</system-out></testcase></testsuite></testsuites>"#;
        assert_eq!(of_junit(report), Counts { passed: 2, failed: 1, skipped: 1 });
    }

    #[test]
    fn the_lines_of_libtest_are_added_up() {
        let output = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured\nskipped: needs root\n\
                      test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured\n";
        assert_eq!(of_libtest(output), Counts { passed: 6, failed: 3, skipped: 2 });
    }

    #[test]
    fn the_end_of_tap_is_read() {
        let report = "TAP version 13\nok 1 - a\n# tests 4\n# pass 2\n# fail 1\n# cancelled 0\n# skipped 1\n";
        assert_eq!(of_tap(report), Counts { passed: 2, failed: 1, skipped: 1 });
    }

    #[test]
    fn the_closing_line_is_plain() {
        assert_eq!((Counts::PASSED + Counts::FAILED + Counts::SKIPPED).to_string(), "1 passed, 1 failed, 1 skipped");
    }
}
