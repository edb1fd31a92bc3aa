//! How a container is asked whether it does its work, as `docker run` names it.

use belljar_api::notation;
use belljar_model::Invalid;
use belljar_model::health::HealthAsked;
use clap::Args;

/// The flags of it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Health")]
pub(crate) struct HealthArguments {
    /// A shell command in the container that succeeds while it is healthy
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    health_cmd: Option<String>,
    /// Time between two checks; where not given the image's, or 30s
    #[arg(long, value_name = "TIME")]
    health_interval: Option<String>,
    /// Time after which a check is killed and has failed; where not given the image's, or 30s
    #[arg(long, value_name = "TIME")]
    health_timeout: Option<String>,
    /// Failures in a row after which it is unhealthy; where not given the image's, or 3
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<u32>,
    /// Time from the start in which failures do not count, until one check succeeds
    #[arg(long, value_name = "TIME")]
    health_start_period: Option<String>,
    /// Time between two checks in the start period; where not given the image's, or 5s
    #[arg(long, value_name = "TIME")]
    health_start_interval: Option<String>,
    /// No check, also where the image has one
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthArguments {
    /// What is asked of it; `None` where nothing is said.
    pub(crate) fn check(&self) -> Result<Option<HealthAsked>, Invalid> {
        let given = [
            ("--health-interval", self.health_interval.is_some()),
            ("--health-timeout", self.health_timeout.is_some()),
            ("--health-retries", self.health_retries.is_some()),
            ("--health-start-period", self.health_start_period.is_some()),
            ("--health-start-interval", self.health_start_interval.is_some()),
        ];
        let given = given.iter().find(|(_, given)| *given).map(|(flag, _)| *flag);
        let command = match (&self.health_cmd, self.no_healthcheck, given) {
            (Some(_), true, _) => return Err(Invalid::new("--no-healthcheck", "cannot be given with --health-cmd")),
            (_, true, Some(flag)) => return Err(Invalid::new("--no-healthcheck", format!("cannot be given with {flag}"))),
            (_, true, None) => Some(Vec::new()),
            (None, false, None) => return Ok(None),
            (None, false, Some(_)) => None,
            (Some(line), false, _) if line.trim().is_empty() => {
                return Err(Invalid::new("--health-cmd", "is empty: give --no-healthcheck"));
            }
            (Some(line), false, _) => Some(["/bin/sh", "-c", line].map(str::to_owned).to_vec()),
        };
        let time = |flag: &str, text: &Option<String>| text.as_deref().map(|text| notation::span_ms(flag, text)).transpose();
        Ok(Some(HealthAsked {
            command,
            interval_ms: time("--health-interval", &self.health_interval)?,
            timeout_ms: time("--health-timeout", &self.health_timeout)?,
            start_period_ms: time("--health-start-period", &self.health_start_period)?,
            start_interval_ms: time("--health-start-interval", &self.health_start_interval)?,
            retries: self.health_retries,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_asked_for_as_with_docker() {
        let arguments = HealthArguments {
            health_cmd: Some("curl -f http://localhost/ || exit 1".into()),
            health_interval: Some("1m30s".into()),
            health_timeout: Some("500ms".into()),
            health_retries: Some(5),
            health_start_period: Some("0s".into()),
            ..HealthArguments::default()
        };
        let check = arguments.check().expect("valid").expect("a check");
        assert_eq!(check.command.expect("said"), ["/bin/sh", "-c", "curl -f http://localhost/ || exit 1"]);
        assert_eq!((check.interval_ms, check.timeout_ms, check.retries), (Some(90_000), Some(500), Some(5)));
        assert_eq!((check.start_period_ms, check.start_interval_ms), (Some(0), None));
        let times = HealthArguments { health_retries: Some(1), ..HealthArguments::default() };
        assert_eq!(times.check(), Ok(Some(HealthAsked { retries: Some(1), ..HealthAsked::default() })), "the rest is the image's");
        assert_eq!(HealthArguments::default().check(), Ok(None));
        let none = HealthArguments { no_healthcheck: true, ..HealthArguments::default() };
        assert_eq!(none.check().expect("valid").expect("said").command, Some(Vec::new()));
    }

    #[test]
    fn flags_that_make_no_sense_together_are_refused_by_name() {
        let refused = |arguments: HealthArguments| arguments.check().expect_err("refused").field;
        let (cmd, time) = (|text: &str| Some(text.to_owned()), Some("soon".to_owned()));
        assert_eq!(
            refused(HealthArguments { health_cmd: cmd("true"), no_healthcheck: true, ..HealthArguments::default() }),
            "--no-healthcheck"
        );
        assert_eq!(
            refused(HealthArguments { health_timeout: cmd("1s"), no_healthcheck: true, ..HealthArguments::default() }),
            "--no-healthcheck"
        );
        assert_eq!(
            refused(HealthArguments { health_cmd: cmd("true"), health_timeout: time, ..HealthArguments::default() }),
            "--health-timeout"
        );
        assert_eq!(refused(HealthArguments { health_cmd: cmd(" "), ..HealthArguments::default() }), "--health-cmd");
    }
}
