//! A container as somebody asks for it, before its image has had its say; and what the two make together.
//!
//! ```text
//! Draft (what was asked) + ImageConfig (what the image says) ──with──▶ Config (what the container is)
//! ```
//!
//! The rules are Docker's: what was asked goes first, field by field, variables and labels key by key; an entrypoint that was
//! asked for takes the image's command with the image's entrypoint. An image may say what its container *does*, and never what
//! it is allowed to: nothing of it reaches limits, mounts of the host, namespaces or security. This module must never know where
//! an image comes from.

use serde::{Deserialize, Serialize};

use crate::container::check_command;
use crate::health::{HealthAsked, HealthCheck};
use crate::image::ImageConfig;
use crate::{Config, Invalid, Signal, UserSpec};

/// What is done about an image that is not here, or may be an old one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// It is an error.
    #[default]
    Never,
    /// It is pulled where it is not here.
    Missing,
    /// The registry is asked in any case.
    Always,
}

/// A container as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What was asked. Its `command` may be empty, and its `stop_signal` is one only where [`Draft::stop_signal`] is.
    pub config: Config,
    /// The image as it was written: a name in any form, or the beginning of an id.
    pub image: String,
    /// What stands before the command instead of the image's; one empty word for nothing.
    pub entrypoint: Option<Vec<String>>,
    /// Signal of a stop, where one was asked for.
    pub stop_signal: Option<Signal>,
    /// What is asked of the check of its health, where anything is; then [`Config::health`] is not looked at.
    pub health: Option<HealthAsked>,
    /// What is done where the image is not here.
    pub pull: PullPolicy,
}

impl From<Config> for Draft {
    /// What is complete without an image's word.
    fn from(config: Config) -> Self {
        let (image, stop_signal) = (config.image.as_str().to_owned(), Some(config.stop_signal));
        Self { config, image, entrypoint: None, stop_signal, health: None, pull: PullPolicy::default() }
    }
}

impl Draft {
    /// Checks what can be before the image is known; [`Draft::with`] checks the rest.
    pub fn check(&self) -> Result<(), Invalid> {
        if !self.config.command.is_empty() {
            check_command(&self.config.command)?;
        }
        if let Some(entrypoint) = self.entrypoint.as_ref().filter(|words| !words.is_empty() && **words != [""]) {
            check_command(entrypoint).map_err(|invalid| Invalid::new("entrypoint", invalid.problem))?;
        }
        if let Some(asked) = &self.health {
            // Any check is as good as the one that the image may have.
            asked.with(Some(&HealthCheck::of(vec!["true".to_owned()])), "health")?;
        }
        // Any command is as good as the one that the image may have.
        Config { command: vec!["true".to_owned()], ..self.config.clone() }.check()
    }

    /// The container that this makes of an image that says `image`. What the image says wrongly is named as the image's.
    pub fn with(self, image: &ImageConfig) -> Result<Config, Invalid> {
        let mut config = self.config;
        config.command = command(self.entrypoint, config.command, image)?;
        for (name, value) in &image.env {
            config.env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (key, value) in &image.labels {
            config.labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        if config.user.is_none() {
            config.user = image.user.as_deref().filter(|text| !text.is_empty()).map(user).transpose()?;
        }
        if config.workdir.is_none() {
            config.workdir = image.workdir.clone().filter(|path| !path.is_empty());
        }
        config.stop_signal = match (self.stop_signal, image.stop_signal.as_deref()) {
            (Some(asked), _) => asked,
            (None, None | Some("")) => Signal::TERM,
            (None, Some(text)) => text.parse().map_err(|invalid: Invalid| of_image("stop_signal", &invalid.problem))?,
        };
        if let Some(asked) = &self.health {
            config.health = Some(asked.with(image.health.as_ref(), "health")?);
        } else if config.health.is_none() {
            config.health.clone_from(&image.health);
        }
        config.exposed_ports.extend(image.exposed_ports.iter().cloned());
        config.check()?;
        Ok(config)
    }
}

/// What is executed: the entrypoint and its arguments in one.
fn command(entrypoint: Option<Vec<String>>, given: Vec<String>, image: &ImageConfig) -> Result<Vec<String>, Invalid> {
    let replaces_all = entrypoint.as_ref().is_some_and(|words| !words.is_empty());
    let mut words = entrypoint.unwrap_or_else(|| image.entrypoint.clone());
    if words == [""] {
        words.clear();
    }
    let arguments = if given.is_empty() && !replaces_all { image.command.clone() } else { given };
    words.extend(arguments);
    if words.is_empty() {
        let problem = "is required: the image has none of its own. The program to run, and its arguments, such as [\"sleep\", \"1d\"]";
        return Err(Invalid::new("command", problem));
    }
    Ok(words)
}

fn user(text: &str) -> Result<UserSpec, Invalid> {
    text.parse().map_err(|invalid: Invalid| of_image("user", &invalid.problem))
}

fn of_image(field: &str, problem: &str) -> Invalid {
    Invalid::new(field, format!("is the image's own, and {problem}; give another one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(members: &str) -> Draft {
        let json = format!(r#"{{"name":"web","image":"nginx:1","command":[]{members}}}"#);
        let config: Config = serde_json::from_str(&json).expect("a config");
        Draft { stop_signal: None, ..Draft::from(config) }
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn image() -> ImageConfig {
        let json = r#"{"entrypoint":["/start"],"command":["nginx","-g"],"env":{"PATH":"/opt/bin","MODE":"image"},"user":"nginx:www",
            "workdir":"/srv","exposed_ports":["80/tcp"],"stop_signal":"SIGRTMIN+3","labels":{"a":"image","b":"image"},
            "health":{"command":["curl","localhost"]}}"#;
        serde_json::from_str(json).expect("an image's config")
    }

    #[test]
    fn entrypoint_and_command_follow_dockers_table() {
        // Asked: entrypoint, command; of the image: entrypoint, command; what runs.
        for (asked, given, entrypoint, command, runs) in [
            (None, "", "", "sh", Some("sh")),
            (None, "", "/start", "", Some("/start")),
            (None, "", "/start", "nginx -g", Some("/start nginx -g")),
            (None, "ls -l", "", "sh", Some("ls -l")),
            (None, "ls -l", "/start", "nginx -g", Some("/start ls -l")),
            (Some("/mine"), "", "/start", "nginx -g", Some("/mine")),
            (Some("/mine -v"), "x", "/start", "nginx -g", Some("/mine -v x")),
            // Given as an empty list it takes only the entrypoint, given as an empty word both.
            (Some(""), "", "/start", "nginx -g", Some("nginx -g")),
            (Some("EMPTY"), "", "/start", "nginx -g", None),
            (Some("EMPTY"), "ls", "/start", "nginx -g", Some("ls")),
            (None, "", "", "", None),
        ] {
            let case = format!("{asked:?} {given:?} on {entrypoint:?} {command:?}");
            let image = ImageConfig { entrypoint: words(entrypoint), command: words(command), ..ImageConfig::default() };
            let entrypoint = asked.map(|text| if text == "EMPTY" { vec![String::new()] } else { words(text) });
            let mut draft = Draft { entrypoint, ..draft("") };
            draft.config.command = words(given);
            let made = draft.with(&image);
            assert_eq!(made.as_ref().ok().map(|config| config.command.clone()), runs.map(words), "{case}: {made:?}");
            assert!(made.is_ok() || made.is_err_and(|invalid| invalid.field == "command"), "{case}");
        }
    }

    #[test]
    fn what_is_not_asked_is_as_the_image_says() {
        let config = draft("").with(&image()).expect("a container");
        assert_eq!(config.env.get("PATH").map(String::as_str), Some("/opt/bin"));
        assert_eq!((config.user.map(String::from), config.workdir.as_deref()), (Some("nginx:www".into()), Some("/srv")));
        assert_eq!((config.stop_signal.number(), config.labels.len()), (37, 2));
        assert_eq!(config.health.map(|check| check.command.join(" ")).as_deref(), Some("curl localhost"));
        assert_eq!(config.exposed_ports.into_iter().collect::<Vec<_>>(), ["80/tcp"]);
    }

    #[test]
    fn what_is_asked_goes_first_key_by_key() {
        let asked = r#","env":{"MODE":"asked","MORE":"1"},"user":"7","workdir":"/w","labels":{"a":"asked"},"health":{"command":[]}"#;
        let draft = Draft { stop_signal: Some(Signal::KILL), ..draft(asked) };
        let config = draft.with(&image()).expect("a container");
        assert_eq!((config.env["MODE"].as_str(), config.env["PATH"].as_str(), config.env.len()), ("asked", "/opt/bin", 3));
        assert_eq!((config.labels["a"].as_str(), config.labels["b"].as_str()), ("asked", "image"));
        assert_eq!((config.user.map(String::from), config.workdir.as_deref()), (Some("7".into()), Some("/w")));
        assert_eq!((config.stop_signal, config.health.map(|check| check.command.len())), (Signal::KILL, Some(0)));
    }

    #[test]
    fn what_is_not_said_of_a_check_is_the_images_field_by_field() {
        let image = ImageConfig { health: Some(HealthCheck { interval_ms: 7, retries: 9, ..HealthCheck::of(words("curl x")) }), ..image() };
        let made = |asked: HealthAsked, image: &ImageConfig| Draft { health: Some(asked), ..draft("") }.with(image);
        let check = made(HealthAsked { retries: Some(2), ..HealthAsked::default() }, &image).expect("a container").health.expect("a check");
        assert_eq!((check.command, check.interval_ms, check.retries), (words("curl x"), 7, 2));
        let own = HealthAsked { command: Some(words("true")), ..HealthAsked::default() };
        let check = made(own.clone(), &image).expect("a container").health.expect("a check");
        assert_eq!((check.command, check.interval_ms, check.timeout_ms), (words("true"), 7, crate::health::TIMEOUT_MS_DEFAULT));
        let none = HealthAsked { command: Some(Vec::new()), ..HealthAsked::default() };
        assert!(made(none, &image).expect("a container").health_check().is_none());
        let without = ImageConfig { health: None, ..image };
        let times = HealthAsked { interval_ms: Some(5), ..HealthAsked::default() };
        assert_eq!(made(times.clone(), &without).expect_err("refused").field, "health.command");
        assert_eq!(made(own, &without).expect("a container").health.expect("a check").interval_ms, crate::health::INTERVAL_MS_DEFAULT);
        // Times that are wrong are refused before the image is known, others not.
        let draft_of = |asked| Draft { health: Some(asked), ..draft("") };
        assert_eq!(draft_of(times).check(), Ok(()));
        let wrong = HealthAsked { retries: Some(0), ..HealthAsked::default() };
        assert_eq!(draft_of(wrong).check().map_err(|invalid| invalid.field), Err("health.retries".to_owned()));
    }

    #[test]
    fn an_image_says_nothing_of_what_its_container_may() {
        let (alone, with) = (draft(""), draft("").with(&image()).expect("a container"));
        assert_eq!(
            (&with.limits, &with.security, &with.namespaces),
            (&alone.config.limits, &alone.config.security, &alone.config.namespaces)
        );
        assert_eq!((with.mounts.len(), with.devices.len(), with.sysctls.len(), with.restart), (0, 0, 0, alone.config.restart));
    }

    #[test]
    fn what_an_image_says_wrongly_is_told_as_the_images_own() {
        type Spoil = fn(&mut ImageConfig);
        let spoilt: [(&str, Spoil); 3] = [
            ("user", |image| image.user = Some("70000".into())),
            ("stop_signal", |image| image.stop_signal = Some("SIGNOPE".into())),
            ("env", |image| drop(image.env.insert(String::new(), "x".into()))),
        ];
        for (field, spoil) in spoilt {
            let mut image = image();
            spoil(&mut image);
            let invalid = draft("").with(&image).expect_err(field);
            assert_eq!(invalid.field, field);
            assert!(field == "env" || invalid.problem.contains("the image's own"), "{invalid}");
        }
        let asked = draft(r#","user":"0""#).with(&ImageConfig { user: Some("70000".into()), ..image() });
        assert!(asked.is_ok(), "what is not used is not looked at");
    }

    #[test]
    fn a_draft_is_checked_before_its_image_is_known() {
        assert_eq!(draft("").check(), Ok(()));
        let wrong = Draft { entrypoint: Some(words("").into_iter().chain(["a\0b".to_owned()]).collect()), ..draft("") };
        assert_eq!(wrong.check().map_err(|invalid| invalid.field), Err("entrypoint".to_owned()));
        let mut wrong = draft("");
        wrong.config.command = vec!["a\0b".into()];
        assert_eq!(wrong.check().map_err(|invalid| invalid.field), Err("command".to_owned()));
        assert_eq!(draft(r#","workdir":"relative""#).check().map_err(|invalid| invalid.field), Err("workdir".to_owned()));
    }
}
