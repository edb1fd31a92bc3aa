//! What a prune would free, shown before it is done.

use askama::Template;
use belljar_model::image::Pruned;

use crate::frame::{Page, Section};
use crate::{Frame, figure};

/// The page `/images/prune`. Posts to the same path: `all` as it is here, and `only`, the digests that it shows.
#[derive(Template)]
#[template(path = "images/prune.html")]
pub struct PrunePage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What it would take now.
    pub pruned: &'a Pruned,
    /// `yes` where images that have a name are meant too; empty else.
    pub all: &'a str,
}

impl Page for PrunePage<'_> {
    fn title(&self) -> String {
        "Prune images".into()
    }

    fn section(&self) -> Section {
        Section::Images
    }
}

impl PrunePage<'_> {
    /// The digests of what is shown: what is made an image of nobody meanwhile is not taken.
    fn digests(&self) -> String {
        self.pruned.images.iter().map(|image| image.digest.as_str()).collect::<Vec<_>>().join(" ")
    }
}
