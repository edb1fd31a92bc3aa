//! The way in: the login, and the setting of the first password.

use askama::Template;

use crate::Frame;
use crate::frame::{Page, Section};

/// Least characters of a password, as the forms ask for them.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// The page `/login`. Posts `password` and `next` to `/login`.
#[derive(Template)]
#[template(path = "login.html")]
pub struct Login<'a> {
    /// Around it; access is [`crate::Access::Nobody`].
    pub frame: Frame<'a>,
    /// Path to go to afterwards.
    pub next: &'a str,
    /// Why it was refused.
    pub problem: Option<&'a str>,
}

impl Page for Login<'_> {
    fn title(&self) -> String {
        "Sign in".into()
    }

    fn section(&self) -> Section {
        Section::None
    }
}

/// The page `/setup?token=`. Posts `token`, `password` and `again` to `/setup`.
#[derive(Template)]
#[template(path = "setup.html")]
pub struct Setup<'a> {
    /// Around it; access is [`crate::Access::Nobody`].
    pub frame: Frame<'a>,
    /// The one-time token of the link.
    pub token: &'a str,
    /// Why it was refused.
    pub problem: Option<&'a str>,
}

impl Page for Setup<'_> {
    fn title(&self) -> String {
        "Set the first password".into()
    }

    fn section(&self) -> Section {
        Section::None
    }
}
