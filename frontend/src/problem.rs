//! What is shown where a request could not be done: the sentence, and where to go from here.

use askama::Template;
use belljar_model::Failure;

use crate::Frame;
use crate::frame::{Page, Section};

/// The page of a problem.
#[derive(Template)]
#[template(path = "problem.html")]
pub struct Problem<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// HTTP status.
    pub status: u16,
    /// `Not found`.
    pub title: &'a str,
    /// One sentence that says what is wrong and what to do.
    pub detail: &'a str,
    /// Step, object and cause, where a plan failed.
    pub failure: Option<&'a Failure>,
    /// The container it is about, by name.
    pub container: Option<&'a str>,
}

impl Page for Problem<'_> {
    fn title(&self) -> String {
        self.title.to_owned()
    }

    fn section(&self) -> Section {
        Section::None
    }
}
