//! Images: what containers can begin as, and the form that brings one in.

use askama::Template;
use belljar_model::{Container, Image, Invalid};

use crate::frame::{Page, Section};
use crate::{Frame, figure};

/// The page `/images`; also the answer to an import that was refused.
#[derive(Template)]
#[template(path = "images.html")]
pub struct Images<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// What there is.
    pub images: &'a [Image],
    /// Who uses them.
    pub containers: &'a [Container],
    /// The name that was typed into the form.
    pub name: &'a str,
    /// What is wrong with the import: `name` at its field, all else at the file.
    pub invalid: Option<&'a Invalid>,
}

impl Page for Images<'_> {
    fn title(&self) -> String {
        "Images".into()
    }

    fn section(&self) -> Section {
        Section::Images
    }
}

/// Most containers named beside an image.
const USERS_SHOWN_MAX: usize = 5;

impl<'a> Images<'a> {
    /// Names of the containers that were made from `image`.
    fn users(&self, image: &Image) -> Vec<&'a str> {
        let used = self.containers.iter().filter(|container| container.config.image == image.name);
        used.map(|container| container.config.name.as_str()).collect()
    }

    /// What is wrong with the field `name`, or with the rest of the import.
    fn problem(&self, field: &str) -> Option<&str> {
        let of_name = |invalid: &&Invalid| invalid.field == "name" || invalid.field == "image";
        self.invalid.filter(|invalid| of_name(invalid) == (field == "name")).map(|invalid| invalid.problem.as_str())
    }
}
