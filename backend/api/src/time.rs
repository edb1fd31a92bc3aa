//! Moments on the wire: RFC 3339 in UTC, with milliseconds (`2026-11-23T21:31:20.042Z`), or microseconds for log lines.
//!
//! The model counts Unix milliseconds and microseconds. These modules are for serde's `with`.

use belljar_model::Invalid;
use jiff::Timestamp;

/// A moment as text, with three digits after the second. A number beyond the year 9999 is shown as the last moment.
pub fn from_millis(at_ms: i64) -> String {
    let moment = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX);
    format!("{moment:.3}")
}

/// The Unix milliseconds of a moment as text; `None` where it is not RFC 3339.
pub fn to_millis(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// A moment as text, with six digits after the second.
pub fn from_micros(at_usec: i64) -> String {
    let moment = Timestamp::from_microsecond(at_usec).unwrap_or(Timestamp::MAX);
    format!("{moment:.6}")
}

/// The Unix microseconds of a moment as text; `None` where it is not RFC 3339.
pub fn to_micros(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

/// The milliseconds of a length of time: seconds, or a number with one of `s m h d` behind it. It is never 0.
pub fn length_ms(field: &str, text: &str) -> Result<i64, Invalid> {
    let refuse = || Invalid::new(field, format!("{text:?} is not a length of time such as 10s, 1m, 1h or 7d"));
    let (number, unit_ms) = match text.char_indices().next_back() {
        Some((end, 's')) => (&text[..end], 1000),
        Some((end, 'm')) => (&text[..end], 60_000),
        Some((end, 'h')) => (&text[..end], 3_600_000),
        Some((end, 'd')) => (&text[..end], 86_400_000),
        _ => (text, 1000),
    };
    let number: u32 = number.parse().map_err(|_| refuse())?;
    let length_ms = i64::from(number) * unit_ms;
    if length_ms == 0 { Err(refuse()) } else { Ok(length_ms) }
}

const EXPECTED: &str = "a moment such as 2026-11-23T21:31:20Z";

/// serde: `i64` milliseconds as text.
pub mod millis {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    /// Writes the moment.
    pub fn serialize<S: Serializer>(at_ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::from_millis(*at_ms))
    }

    /// Reads the moment.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::to_millis(&text).ok_or_else(|| D::Error::custom(format_args!("{text:?} is not {}", super::EXPECTED)))
    }
}

/// serde: `Option<i64>` milliseconds as text or `null`.
pub mod millis_option {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    /// Writes the moment, or `null`.
    pub fn serialize<S: Serializer>(at_ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        match at_ms {
            Some(at_ms) => serializer.serialize_some(&super::from_millis(*at_ms)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the moment, or `null`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        super::to_millis(&text).map(Some).ok_or_else(|| D::Error::custom(format_args!("{text:?} is not {}", super::EXPECTED)))
    }
}

/// serde: `i64` microseconds as text.
pub mod micros {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    /// Writes the moment.
    pub fn serialize<S: Serializer>(at_usec: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::from_micros(*at_usec))
    }

    /// Reads the moment.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::to_micros(&text).ok_or_else(|| D::Error::custom(format_args!("{text:?} is not {}", super::EXPECTED)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_utc_with_three_digits_and_reads_back() {
        assert_eq!(from_millis(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(from_millis(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
        assert_eq!(to_millis("2023-11-14T22:13:20.007Z"), Some(1_700_000_000_007));
        assert_eq!(to_millis("2023-11-14T23:13:20.007+01:00"), Some(1_700_000_000_007));
        assert_eq!(from_micros(1_700_000_000_000_007), "2023-11-14T22:13:20.000007Z");
        for text in ["", "now", "2023-11-14", "1700000000"] {
            assert_eq!(to_millis(text), None, "{text}");
        }
    }

    #[test]
    fn a_length_of_time_has_one_unit() {
        for (text, ms) in [("1", 1000), ("10s", 10_000), ("1m", 60_000), ("1h", 3_600_000), ("30d", 2_592_000_000)] {
            assert_eq!(length_ms("step", text), Ok(ms), "{text}");
        }
        for text in ["", "s", "0", "0d", "-1m", "1.5h", "1w", "1 d", "99999999999s", "1é"] {
            assert!(length_ms("step", text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_absurd_number_does_not_end_the_server() {
        assert!(from_millis(i64::MAX).starts_with("9999-"));
        assert!(from_micros(i64::MAX).starts_with("9999-"));
    }
}
