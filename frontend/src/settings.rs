//! Settings: the password, tokens for scripts, the way out.

use askama::Template;
use belljar_model::{Invalid, Token};

use crate::frame::{Page, Section};
use crate::login::PASSWORD_CHARS_MIN;
use crate::{Frame, figure};

/// The page `/settings`; also the answer to one of its forms that was refused.
///
/// Its forms: `POST /settings/tokens` (`name`), `POST /settings/tokens/delete` (`name`), `POST /settings/password`
/// (`current`, `password`, `again`), `POST /logout`.
#[derive(Template)]
#[template(path = "settings.html")]
pub struct Settings<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Tokens that exist.
    pub tokens: &'a [Token],
    /// The token that was just made: its only showing.
    pub fresh: Option<FreshToken<'a>>,
    /// What is wrong, by the field's name: `name`, `current`, `password`, `again`.
    pub invalid: Option<&'a Invalid>,
}

/// A token that was just made.
#[derive(Debug, Clone, Copy)]
pub struct FreshToken<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The secret.
    pub secret: &'a str,
}

impl Page for Settings<'_> {
    fn title(&self) -> String {
        "Settings".into()
    }

    fn section(&self) -> Section {
        Section::Settings
    }
}

impl Settings<'_> {
    fn problem(&self, field: &str) -> Option<&str> {
        self.invalid.filter(|invalid| invalid.field == field).map(|invalid| invalid.problem.as_str())
    }
}
