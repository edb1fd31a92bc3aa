//! Images: what containers can begin as, those on their way, and the forms that bring one in.

mod one;
mod prune;
mod pulls;

use std::collections::BTreeSet;

use askama::Template;
use belljar_model::image::{ImageKind, Summary};
use belljar_model::{Invalid, Pull};

use crate::frame::{Page, Section};
use crate::live::Stream;
use crate::{Error, Frame, Part, figure, words};

pub(crate) use one::brings;
pub use one::{Damaged, HEAD_ID, ImagePage, Verification, image};
pub use prune::PrunePage;
use pulls::Pulls;
pub use pulls::pulls;

/// The page `/images`; also the answer to one of its forms that was refused.
#[derive(Template)]
#[template(path = "images.html")]
pub struct Images<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What there is, each under each of its names.
    pub images: &'a [Summary],
    /// What is on its way.
    pub pulls: &'a [Pull],
    /// What was typed into the forms.
    pub typed: Typed<'a>,
    /// What is wrong: `reference` with what is to be pulled, `name` with the name of an import, all else with its file.
    pub invalid: Option<&'a Invalid>,
}

/// What was typed into the forms of the page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Typed<'a> {
    /// What is to be pulled.
    pub reference: &'a str,
    /// The name of an import.
    pub name: &'a str,
}

impl Page for Images<'_> {
    fn title(&self) -> String {
        "Images".into()
    }

    fn section(&self) -> Section {
        Section::Images
    }

    fn live(&self) -> Option<Stream<'_>> {
        Some(Stream::Images)
    }
}

impl<'a> Images<'a> {
    fn rows(&self) -> Part<Rows<'a>> {
        Part(Rows { images: self.images, now_ms: self.frame.now_ms })
    }

    fn pulls(&self) -> Part<Pulls<'a>> {
        Part(Pulls { pulls: self.pulls })
    }

    /// Bytes of all layers together, each counted once.
    fn total_bytes(&self) -> u64 {
        let mut seen = BTreeSet::new();
        let layers = self.images.iter().flat_map(|summary| &summary.image.contents.layers);
        layers.filter(|layer| seen.insert(layer.diff_id.as_str())).map(|layer| layer.size_bytes).sum()
    }

    /// What is wrong with one of the fields `reference`, `name` and `file`.
    fn problem(&self, field: &str) -> Option<&str> {
        let at = |invalid: &Invalid| match invalid.field.as_str() {
            "reference" => "reference",
            "name" | "image" => "name",
            _ => "file",
        };
        self.invalid.filter(|invalid| at(invalid) == field).map(|invalid| invalid.problem.as_str())
    }
}

/// All rows of the list as one element, which is sent again when an image comes, goes or is named.
pub fn rows(images: &[Summary], now_ms: i64) -> Result<String, Error> {
    Rows { images, now_ms }.render()
}

/// Most containers named beside an image.
const USERS_SHOWN_MAX: usize = 5;

#[derive(Template)]
#[template(path = "images/rows.html")]
struct Rows<'a> {
    images: &'a [Summary],
    now_ms: i64,
}

/// Where an image came from, in words.
fn kind(summary: &Summary) -> &'static str {
    match summary.image.kind {
        ImageKind::Host => "this machine's own userland",
        ImageKind::Rootfs => "root file system",
        ImageKind::Oci => "OCI",
    }
}

/// `linux/amd64`, or a dash.
fn platform(summary: &Summary) -> String {
    summary.image.contents.platform.as_ref().map_or_else(|| figure::UNKNOWN.to_owned(), ToString::to_string)
}

/// Whether it has a name that a person gave it.
fn has_name(summary: &Summary) -> bool {
    summary.image.name.id().is_none()
}

/// The entrypoint and the command as one line, as they would be executed.
pub(crate) fn program(config: &belljar_model::image::ImageConfig) -> String {
    let line: Vec<String> = config.entrypoint.iter().chain(&config.command).cloned().collect();
    words::command(&line)
}
