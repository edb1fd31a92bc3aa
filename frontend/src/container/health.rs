//! How a container does, by its own check: what it is now, and what the last checks said.

use askama::Template;
use belljar_model::Container;
use belljar_model::health::{Checked, Health, HealthCheck, HealthStatus};

use crate::{Error, Tone, figure, words};

/// The part that is sent again with every check; empty where the container has none.
pub fn health(container: &Container, health: &Health, now_ms: i64) -> Result<String, Error> {
    HealthPart { container, health, now_ms }.render()
}

/// How to take it.
pub(crate) fn health_tone(status: HealthStatus) -> Tone {
    match status {
        HealthStatus::Healthy => Tone::Good,
        HealthStatus::Unhealthy => Tone::Bad,
        HealthStatus::None | HealthStatus::Starting => Tone::Plain,
    }
}

#[derive(Template)]
#[template(path = "container/health.html")]
pub(super) struct HealthPart<'a> {
    pub(super) container: &'a Container,
    pub(super) health: &'a Health,
    pub(super) now_ms: i64,
}

impl<'a> HealthPart<'a> {
    fn check(&self) -> Option<&'a HealthCheck> {
        self.container.config.health_check()
    }

    fn tone(&self) -> Tone {
        health_tone(self.health.status)
    }

    /// `every 30 s, killed after 30 s, unhealthy after 3 failures in a row`.
    fn times(&self, check: &HealthCheck) -> String {
        let ms = |ms: u64| figure::usec(ms.saturating_mul(1000));
        let retries = match check.retries {
            1 => "1 failure".to_owned(),
            retries => format!("{retries} failures in a row"),
        };
        let mut times = format!("every {}, killed after {}, unhealthy after {retries}", ms(check.interval_ms), ms(check.timeout_ms));
        if check.start_period_ms > 0 {
            times.push_str(&format!("; for the first {} failures do not count", ms(check.start_period_ms)));
        }
        times
    }

    /// The last checks, the newest first.
    fn results(&self) -> impl Iterator<Item = &'a Checked> {
        self.health.log.iter().rev()
    }
}

/// How to take one result.
fn result_tone(checked: &Checked) -> Tone {
    if checked.verdict.is_healthy() { Tone::Good } else { Tone::Bad }
}
