//! Whether a container's program does its work, as a command of its own says: what is asked, and what came of it.

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Time between two checks where none is given, in milliseconds (Docker's).
pub const INTERVAL_MS_DEFAULT: u64 = 30_000;
/// Longest time of one check where none is given, in milliseconds (Docker's).
pub const TIMEOUT_MS_DEFAULT: u64 = 30_000;
/// Failures in a row after which it is unhealthy, where no number is given (Docker's).
pub const RETRIES_DEFAULT: u32 = 3;
/// Shortest time of any of these, in milliseconds.
pub const TIME_MS_MIN: u64 = 1;
/// Longest time of any of these, in milliseconds: one day.
pub const TIME_MS_MAX: u64 = 86_400_000;
/// Most failures in a row that may be asked for.
pub const RETRIES_MAX: u32 = 1000;

/// A check of a container's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// Program and arguments. Empty: there is no check, also where the image has one.
    pub command: Vec<String>,
    /// Milliseconds between the end of a check and the next.
    #[serde(default = "interval_default")]
    pub interval_ms: u64,
    /// Milliseconds after which a check is killed and has failed.
    #[serde(default = "timeout_default")]
    pub timeout_ms: u64,
    /// Milliseconds from the start in which failures do not count.
    #[serde(default)]
    pub start_period_ms: u64,
    /// Milliseconds between checks in that time; as `interval_ms` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval_ms: Option<u64>,
    /// Failures in a row after which it is unhealthy.
    #[serde(default = "retries_default")]
    pub retries: u32,
}

fn interval_default() -> u64 {
    INTERVAL_MS_DEFAULT
}

fn timeout_default() -> u64 {
    TIMEOUT_MS_DEFAULT
}

fn retries_default() -> u32 {
    RETRIES_DEFAULT
}

impl HealthCheck {
    /// Checks its times and its command; `field` is its own path in the request (`health`).
    pub fn check(&self, field: &str) -> Result<(), Invalid> {
        if !self.command.is_empty() {
            let command = crate::container::check_command(&self.command);
            command.map_err(|invalid| Invalid::new(format!("{field}.{}", invalid.field), invalid.problem))?;
        }
        let times =
            [("interval_ms", Some(self.interval_ms)), ("timeout_ms", Some(self.timeout_ms)), ("start_interval_ms", self.start_interval_ms)];
        for (name, time) in times {
            if time.is_some_and(|time| !(TIME_MS_MIN..=TIME_MS_MAX).contains(&time)) {
                return Err(Invalid::new(format!("{field}.{name}"), format!("must be between {TIME_MS_MIN} and {TIME_MS_MAX}")));
            }
        }
        if self.start_period_ms > TIME_MS_MAX {
            return Err(Invalid::new(format!("{field}.start_period_ms"), format!("must be at most {TIME_MS_MAX}")));
        }
        if !(1..=RETRIES_MAX).contains(&self.retries) {
            return Err(Invalid::new(format!("{field}.retries"), format!("must be between 1 and {RETRIES_MAX}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_without_times_has_the_fields_and_a_wrong_one_is_named() {
        let check: HealthCheck = serde_json::from_str(r#"{"command":["true"]}"#).expect("a check");
        assert_eq!((check.interval_ms, check.retries, check.check("health")), (30_000, 3, Ok(())));
        for (json, field) in [
            (r#"{"command":["true"],"interval_ms":0}"#, "health.interval_ms"),
            (r#"{"command":["true"],"timeout_ms":86400001}"#, "health.timeout_ms"),
            (r#"{"command":["true"],"start_period_ms":86400001}"#, "health.start_period_ms"),
            (r#"{"command":["true"],"retries":0}"#, "health.retries"),
            (r#"{"command":[""]}"#, "health.command"),
        ] {
            let check: HealthCheck = serde_json::from_str(json).expect("a check");
            assert_eq!(check.check("health").map_err(|invalid| invalid.field), Err(field.to_owned()), "{json}");
        }
    }
}
