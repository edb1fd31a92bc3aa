//! Whether a container's program does its work, as a command of its own says: what is asked ([`HealthCheck`]), and what came of
//! it ([`Health`], whose rules are Docker's).
//!
//! ```text
//!             success                      `retries` failures in a row, outside the start period
//! starting ──────────────▶ healthy ◀──────────────────▶ unhealthy       a start, and a server that comes back, begin anew
//! ```

use serde::{Deserialize, Serialize};

use crate::{Invalid, Signal, size};

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
/// Time between two checks in the start period where none is given, in milliseconds (Docker's).
pub const START_INTERVAL_MS_DEFAULT: u64 = 5_000;
/// Results of a container's checks that are kept, as many as Docker keeps.
pub const RESULTS_KEPT: usize = 5;
/// The end of what a check wrote that is kept, in bytes: as many as Docker keeps, but the last ones, which say why it failed.
pub const OUTPUT_BYTES_KEPT: usize = 4 << 10;
/// Characters of a check's last line in a sentence.
const LINE_CHARS: usize = 200;

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
    /// Milliseconds between checks in that time, until one succeeds; [`START_INTERVAL_MS_DEFAULT`] where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval_ms: Option<u64>,
    /// Failures in a row after which it is unhealthy.
    #[serde(default = "retries_default")]
    pub retries: u32,
}

/// A check as somebody asks for it: what is not said is the image's, as with Docker, and Docker's own where that has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthAsked {
    /// Program and arguments. Empty: there is no check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// See [`HealthCheck::interval_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// See [`HealthCheck::timeout_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// See [`HealthCheck::start_period_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period_ms: Option<u64>,
    /// See [`HealthCheck::start_interval_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval_ms: Option<u64>,
    /// See [`HealthCheck::retries`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
}

impl From<HealthCheck> for HealthAsked {
    /// What says everything itself.
    fn from(check: HealthCheck) -> Self {
        let HealthCheck { command, interval_ms, timeout_ms, start_period_ms, start_interval_ms, retries } = check;
        Self {
            command: Some(command),
            interval_ms: Some(interval_ms),
            timeout_ms: Some(timeout_ms),
            start_period_ms: Some(start_period_ms),
            start_interval_ms,
            retries: Some(retries),
        }
    }
}

impl HealthAsked {
    /// The check that this makes of what the image says; `field` is its own path in the request.
    pub fn with(&self, image: Option<&HealthCheck>, field: &str) -> Result<HealthCheck, Invalid> {
        let image = image.filter(|check| !check.command.is_empty());
        let command = self.command.clone().or_else(|| image.map(|check| check.command.clone()));
        let missing =
            || Invalid::new(format!("{field}.command"), "is required: the image has no check of its own that the times could be of");
        let usual = HealthCheck::of(command.ok_or_else(missing)?);
        if usual.command.is_empty() {
            return Ok(usual);
        }
        let below = image.unwrap_or(&usual);
        let check = HealthCheck {
            interval_ms: self.interval_ms.unwrap_or(below.interval_ms),
            timeout_ms: self.timeout_ms.unwrap_or(below.timeout_ms),
            start_period_ms: self.start_period_ms.unwrap_or(below.start_period_ms),
            start_interval_ms: self.start_interval_ms.or(below.start_interval_ms),
            retries: self.retries.unwrap_or(below.retries),
            command: usual.command.clone(),
        };
        check.check(field)?;
        Ok(check)
    }
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
    /// A check of this command, with Docker's times.
    pub fn of(command: Vec<String>) -> Self {
        Self {
            command,
            interval_ms: INTERVAL_MS_DEFAULT,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            start_period_ms: 0,
            start_interval_ms: None,
            retries: RETRIES_DEFAULT,
        }
    }

    /// Milliseconds until the next check of a container that is so, and so old.
    pub fn pause_ms(&self, status: HealthStatus, age_ms: i64) -> u64 {
        match status == HealthStatus::Starting && self.is_starting(age_ms) {
            true => self.start_interval_ms.unwrap_or(START_INTERVAL_MS_DEFAULT),
            false => self.interval_ms,
        }
    }

    /// Whether a container of this age is in its start period.
    fn is_starting(&self, age_ms: i64) -> bool {
        u64::try_from(age_ms).unwrap_or_default() < self.start_period_ms
    }

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

/// How a container does, by its checks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Nobody knows: it has no check, or does not run.
    #[default]
    None,
    /// No check has succeeded since its start, and not enough failed.
    Starting,
    /// The last checks succeeded, or not enough of them failed.
    Healthy,
    /// So many in a row failed.
    Unhealthy,
}

impl HealthStatus {
    /// The word on the wire and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthStatus::None => "none",
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

/// What the checks of a container found since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// How it does.
    pub status: HealthStatus,
    /// Checks that failed since the last one that succeeded.
    pub failing_streak: u32,
    /// The last [`RESULTS_KEPT`] checks, the oldest first.
    pub log: Vec<Checked>,
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// When it began, in Unix milliseconds.
    pub began_at_ms: i64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How it ended.
    pub verdict: CheckVerdict,
    /// The last [`OUTPUT_BYTES_KEPT`] bytes that it wrote, on either output.
    pub output: String,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckVerdict {
    /// With this exit code; 0 is health.
    Exited(u8),
    /// By this signal.
    Signaled(Signal),
    /// It was killed after so many milliseconds.
    TimedOut(u64),
    /// It was killed because it wrote more than so many bytes.
    Flooded(u64),
    /// It could not be run, or nobody knows how it ended: why.
    Failed(String),
}

impl CheckVerdict {
    /// Whether it speaks for health.
    pub fn is_healthy(&self) -> bool {
        *self == CheckVerdict::Exited(0)
    }

    /// Its exit code, where it has one.
    pub fn code(&self) -> Option<u8> {
        match self {
            CheckVerdict::Exited(code) => Some(*code),
            _ => None,
        }
    }
}

/// A clause: `exit code 7`.
impl std::fmt::Display for CheckVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CheckVerdict::Exited(code) => write!(f, "exit code {code}"),
            CheckVerdict::Signaled(signal) => write!(f, "killed by {signal}"),
            CheckVerdict::TimedOut(ms) if ms % 1000 == 0 => write!(f, "killed after {} s", ms / 1000),
            CheckVerdict::TimedOut(ms) => write!(f, "killed after {ms} ms"),
            CheckVerdict::Flooded(bytes) => write!(f, "killed because it wrote more than {}", size::display(*bytes)),
            CheckVerdict::Failed(why) => f.write_str(why),
        }
    }
}

impl Checked {
    /// The last line of its output that has something in it, short enough for a sentence and without control characters.
    pub fn last_line(&self) -> Option<String> {
        let line = self.output.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        let mut line: String = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        if let Some((end, _)) = line.char_indices().nth(LINE_CHARS) {
            line.truncate(end);
            line.push('…');
        }
        Some(line)
    }

    /// Why it failed: its last line, or how it ended where it said nothing, or was ended by us.
    pub fn reason(&self) -> String {
        match (&self.verdict, self.last_line()) {
            (CheckVerdict::Exited(_) | CheckVerdict::Signaled(_), Some(line)) => line,
            (verdict, Some(line)) => format!("{verdict}: {line}"),
            (verdict, None) => verdict.to_string(),
        }
    }
}

impl Health {
    /// As at the start of a container.
    pub fn starting() -> Self {
        Self { status: HealthStatus::Starting, ..Self::default() }
    }

    /// Takes what came of a check that began when the container was `age_ms` old.
    pub fn take(&mut self, check: &HealthCheck, age_ms: i64, checked: Checked) {
        if checked.verdict.is_healthy() {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if self.status != HealthStatus::Starting || !check.is_starting(age_ms) {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() >= RESULTS_KEPT {
            self.log.remove(0);
        }
        self.log.push(checked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(verdict: CheckVerdict) -> Checked {
        Checked { began_at_ms: 0, took_ms: 1, verdict, output: String::new() }
    }

    /// Takes results, each with the container's age, and says what that made of it.
    fn after(check: &HealthCheck, results: &[(u8, i64)]) -> (&'static str, u32) {
        let mut health = Health::starting();
        for (code, age_ms) in results {
            health.take(check, *age_ms, checked(CheckVerdict::Exited(*code)));
        }
        (health.status.as_str(), health.failing_streak)
    }

    #[test]
    fn so_many_failures_in_a_row_are_unhealthy_and_one_success_heals() {
        let check = HealthCheck::of(vec!["true".into()]);
        type Case<'a> = (&'a [(u8, i64)], (&'a str, u32));
        let cases: [Case<'_>; 6] = [
            (&[], ("starting", 0)),
            (&[(1, 0), (1, 0)], ("starting", 2)),
            (&[(1, 0), (1, 0), (7, 0)], ("unhealthy", 3)),
            (&[(0, 0), (1, 0), (1, 0)], ("healthy", 2)),
            (&[(0, 0), (1, 0), (0, 0), (1, 0), (1, 0)], ("healthy", 2)),
            (&[(1, 0), (1, 0), (1, 0), (1, 0), (0, 0)], ("healthy", 0)),
        ];
        for (results, expected) in cases {
            assert_eq!(after(&check, results), expected, "{results:?}");
        }
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_until_the_first_success() {
        let check = HealthCheck { start_period_ms: 100, retries: 1, ..HealthCheck::of(vec!["true".into()]) };
        assert_eq!(after(&check, &[(1, 0), (1, 99)]), ("starting", 0));
        assert_eq!(after(&check, &[(1, 99), (1, 100)]), ("unhealthy", 1));
        assert_eq!(after(&check, &[(0, 10), (1, 20)]), ("unhealthy", 1), "who was healthy once has started");
        assert_eq!(after(&check, &[(1, -5)]), ("starting", 0), "a clock that was set back");
    }

    #[test]
    fn checks_come_sooner_while_it_starts() {
        let check = HealthCheck { start_period_ms: 100, start_interval_ms: Some(7), ..HealthCheck::of(vec!["true".into()]) };
        let pause = |status, age_ms| check.pause_ms(status, age_ms);
        assert_eq!((pause(HealthStatus::Starting, 99), pause(HealthStatus::Starting, 100)), (7, INTERVAL_MS_DEFAULT));
        assert_eq!(pause(HealthStatus::Healthy, 0), INTERVAL_MS_DEFAULT);
        let check = HealthCheck { start_interval_ms: None, ..check };
        assert_eq!(check.pause_ms(HealthStatus::Starting, 0), START_INTERVAL_MS_DEFAULT);
    }

    #[test]
    fn the_last_results_are_kept_and_the_last_line_says_why() {
        let check = HealthCheck::of(vec!["true".into()]);
        let mut health = Health::starting();
        for number in 0..7 {
            let output = format!("trying\ncurl: (7) \u{1b}[31mno {number}\r\n\n");
            health.take(&check, 0, Checked { began_at_ms: number, output, ..checked(CheckVerdict::Exited(7)) });
        }
        assert_eq!((health.log.len(), health.log[0].began_at_ms, health.failing_streak), (RESULTS_KEPT, 2, 7));
        assert_eq!(health.log[4].reason(), "curl: (7)  [31mno 6");
        let long = Checked { output: "é".repeat(5000), ..checked(CheckVerdict::TimedOut(1500)) };
        assert_eq!(long.reason(), format!("killed after 1500 ms: {}…", "é".repeat(LINE_CHARS)));
        assert_eq!(checked(CheckVerdict::Exited(3)).reason(), "exit code 3");
        assert_eq!(checked(CheckVerdict::TimedOut(2000)).reason(), "killed after 2 s");
    }

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
