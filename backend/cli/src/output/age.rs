//! Times as people say them: `3 minutes`, `2 hours ago`. One unit is enough for a table; `inspect` has every digit.

const UNITS: [(u64, &str); 6] =
    [(365 * 24 * 3600, "year"), (30 * 24 * 3600, "month"), (7 * 24 * 3600, "week"), (24 * 3600, "day"), (3600, "hour"), (60, "minute")];

/// How long `ms` milliseconds are.
pub(crate) fn length(ms: u64) -> String {
    let seconds = ms / 1000;
    // Two of a unit at least: "90 minutes" says more than "1 hour".
    let (count, unit) = match UNITS.iter().find(|(size, _)| seconds >= 2 * size) {
        Some((size, unit)) => (seconds / size, *unit),
        None => (seconds, "second"),
    };
    if count == 1 { format!("{count} {unit}") } else { format!("{count} {unit}s") }
}

/// How long before `now_ms` it was. A clock that was set back makes it `just now`.
pub(crate) fn ago(at_ms: i64, now_ms: i64) -> String {
    match u64::try_from(now_ms.saturating_sub(at_ms)) {
        Ok(ms) if ms >= 1000 => format!("{} ago", length(ms)),
        _ => "just now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_one_unit() {
        let cases = [
            (0, "0 seconds"),
            (1999, "1 second"),
            (90_000, "90 seconds"),
            (150_000, "2 minutes"),
            (3_600_000, "60 minutes"),
            (50 * 3_600_000, "2 days"),
            (100 * 24 * 3_600_000, "3 months"),
        ];
        for (ms, text) in cases {
            assert_eq!(length(ms), text);
        }
    }

    #[test]
    fn what_lies_ahead_is_now() {
        assert_eq!((ago(1000, 6000), ago(6000, 1000)), ("5 seconds ago".to_owned(), "just now".to_owned()));
    }
}
