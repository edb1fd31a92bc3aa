//! Figures as people read them in a finding: `41 %`, `14 s ago`, `of the last minute`.
//!
//! It must never know what a figure means.

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A stretch that is so near to a minute is one, in milliseconds: readings come a little late.
const NEARLY_A_MINUTE_MS: i64 = 55 * SECOND;

/// `14 s ago`; a moment that is still to come, by a clock that was set back, is now.
pub(super) fn ago(at_ms: i64, now_ms: i64) -> String {
    match now_ms.saturating_sub(at_ms).max(0) {
        passed if passed < SECOND => "just now".to_owned(),
        passed if passed < 2 * MINUTE => format!("{} s ago", passed / SECOND),
        passed if passed < 2 * HOUR => format!("{} min ago", passed / MINUTE),
        passed if passed < 2 * DAY => format!("{} h ago", passed / HOUR),
        passed => format!("{} days ago", passed / DAY),
    }
}

/// `of the last minute`, or of as much of it as was measured.
pub(super) fn of_the_last(span_ms: i64) -> String {
    match span_ms {
        span if span >= NEARLY_A_MINUTE_MS => "of the last minute".to_owned(),
        span => format!("of the last {} s", span / SECOND),
    }
}

/// `in the last minute`, likewise.
pub(super) fn in_the_last(span_ms: i64) -> String {
    of_the_last(span_ms).replacen("of", "in", 1)
}

/// `41 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share.round())
}

/// `once`, `twice`, `12 times`.
pub(super) fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        number => format!("{number} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_stretches_read_naturally() {
        let cases = [(0, "just now"), (14_900, "14 s ago"), (119_999, "119 s ago"), (120_000, "2 min ago"), (2 * HOUR, "2 h ago")];
        for (passed, words) in cases {
            assert_eq!(ago(1_000, 1_000 + passed), words);
        }
        assert_eq!((ago(0, 3 * DAY).as_str(), ago(5, 0).as_str()), ("3 days ago", "just now"));
        assert_eq!((of_the_last(60_400).as_str(), in_the_last(20_900).as_str()), ("of the last minute", "in the last 20 s"));
        assert_eq!((percent(40.6).as_str(), times(1).as_str(), times(12).as_str()), ("41 %", "once", "12 times"));
    }
}
