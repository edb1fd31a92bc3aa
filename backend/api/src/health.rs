//! A container's health on the wire: what its checks found.

use belljar_model::health as model;
use serde::{Deserialize, Serialize};

use crate::time;

/// How a container does, by its checks since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`; `none` where it has no check, or is not alive.
    pub status: model::HealthStatus,
    /// Checks that failed since the last one that succeeded.
    pub failing_streak: u32,
    /// Its last checks, the oldest first; missing in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<HealthResult>>,
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began.
    #[serde(rename = "at", with = "time::millis")]
    pub began_at_ms: i64,
    /// How long it took.
    pub took_ms: u64,
    /// Whether it speaks for health.
    pub healthy: bool,
    /// Its exit code; `null` where it has none.
    pub code: Option<u8>,
    /// How it ended, as a clause: `exit code 7`, `killed after 30 s`.
    pub message: String,
    /// The end of what it wrote, at most 4 KiB.
    pub output: String,
}

impl Health {
    /// Without the single checks: for lists.
    pub fn brief(health: &model::Health) -> Self {
        Self { status: health.status, failing_streak: health.failing_streak, log: None }
    }
}

impl From<&model::Health> for Health {
    fn from(health: &model::Health) -> Self {
        Self { log: Some(health.log.iter().map(HealthResult::from).collect()), ..Self::brief(health) }
    }
}

impl From<&model::Checked> for HealthResult {
    fn from(checked: &model::Checked) -> Self {
        Self {
            began_at_ms: checked.began_at_ms,
            took_ms: checked.took_ms,
            healthy: checked.verdict.is_healthy(),
            code: checked.verdict.code(),
            message: checked.verdict.to_string(),
            output: checked.output.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_told_with_its_checks_and_in_lists_without() {
        let checked = model::Checked { began_at_ms: 1000, took_ms: 5, verdict: model::CheckVerdict::Exited(7), output: "no".into() };
        let health = model::Health { status: model::HealthStatus::Unhealthy, failing_streak: 3, log: vec![checked] };
        let json = serde_json::to_value(Health::from(&health)).expect("JSON");
        let result = serde_json::json!({"at": "1970-01-01T00:00:01.000Z", "took_ms": 5, "healthy": false, "code": 7,
            "message": "exit code 7", "output": "no"});
        assert_eq!(json, serde_json::json!({"status": "unhealthy", "failing_streak": 3, "log": [result]}));
        let brief = serde_json::to_value(Health::brief(&health)).expect("JSON");
        assert_eq!(brief, serde_json::json!({"status": "unhealthy", "failing_streak": 3}));
    }
}
