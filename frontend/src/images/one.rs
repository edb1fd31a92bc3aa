//! One image: what it says, what it consists of, how it was made, who uses it.

use askama::Template;
use belljar_model::Invalid;
use belljar_model::health::HealthCheck;
use belljar_model::image::{ImageConfig, ImageKind, Step, Summary};

use super::{kind, platform};
use crate::frame::{Page, Section};
use crate::live::Stream;
use crate::{Error, Frame, Part, figure, words};

/// The page `/image?name=`; also the answer to one of its forms that was refused.
///
/// Its forms, each with the field `image`: `POST /images/tag` (`name`), `POST /images/verify`, `POST /images/delete`.
#[derive(Template)]
#[template(path = "images/one.html")]
pub struct ImagePage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// The image.
    pub summary: &'a Summary,
    /// What a check of its digests found, where one was asked for.
    pub verified: Option<Verification<'a>>,
    /// The name that was typed.
    pub name: &'a str,
    /// What is wrong with that.
    pub invalid: Option<&'a Invalid>,
}

/// What came of comparing an image with its digests.
#[derive(Debug, Clone, Copy)]
pub struct Verification<'a> {
    /// Layers that were read.
    pub layers: u64,
    /// What is not as it was.
    pub damages: &'a [Damaged],
}

/// One thing that is not as its digest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// What it is.
    pub what: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Page for ImagePage<'_> {
    fn title(&self) -> String {
        format!("{} · Image", self.summary.image.name)
    }

    fn section(&self) -> Section {
        Section::Images
    }

    fn live(&self) -> Option<Stream<'_>> {
        Some(Stream::Image(self.summary.image.name.as_str()))
    }
}

/// The `id` of the head, to say that the image is gone.
pub const HEAD_ID: &str = "image-head";

/// What of an image's page may become otherwise, as two elements: its head, with who keeps it from being deleted, and its names.
pub fn image(summary: &Summary) -> Result<String, Error> {
    Ok(Head { summary }.render()? + &Facts { summary }.render()?)
}

#[derive(Template)]
#[template(path = "images/head.html")]
struct Head<'a> {
    summary: &'a Summary,
}

#[derive(Template)]
#[template(path = "images/facts.html")]
struct Facts<'a> {
    summary: &'a Summary,
}

fn is_host(summary: &Summary) -> bool {
    summary.image.kind == ImageKind::Host
}

impl<'a> ImagePage<'a> {
    fn config(&self) -> &'a ImageConfig {
        &self.summary.image.contents.config
    }

    fn is_host(&self) -> bool {
        is_host(self.summary)
    }

    fn head(&self) -> Part<Head<'a>> {
        Part(Head { summary: self.summary })
    }

    fn facts(&self) -> Part<Facts<'a>> {
        Part(Facts { summary: self.summary })
    }

    /// The history, the newest step first.
    fn steps(&self) -> Vec<Step> {
        let mut steps = self.summary.image.contents.steps();
        steps.reverse();
        steps
    }

    /// What it says, each with its name; what it does not say is left out.
    fn said(&self) -> Vec<(&'static str, String)> {
        brings(self.config())
    }

    fn problem(&self, field: &str) -> Option<&str> {
        self.invalid.filter(|_| field == "name").map(|invalid| invalid.problem.as_str())
    }
}

/// What an image says, each with its name; what it does not say is left out.
pub(crate) fn brings(config: &ImageConfig) -> Vec<(&'static str, String)> {
    let line = |words: &Vec<String>| (!words.is_empty()).then(|| words::command(words));
    let set = |words: &std::collections::BTreeSet<String>| {
        (!words.is_empty()).then(|| words.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    let rows = [
        ("Entrypoint", line(&config.entrypoint)),
        ("Command", line(&config.command)),
        ("User", config.user.clone()),
        ("Working folder", config.workdir.clone()),
        ("Volumes", set(&config.volumes)),
        ("Listens on", set(&config.exposed_ports)),
        ("Stop signal", config.stop_signal.clone()),
        ("Health", config.health.as_ref().map(health)),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn health(check: &HealthCheck) -> String {
    match check.command.is_empty() {
        true => "no check".to_owned(),
        false => {
            format!("{} (every {})", words::command(&check.command), figure::usec(check.interval_ms.saturating_mul(1000)))
        }
    }
}
