//! Settings: the password, tokens for scripts, the way out.

use askama::Template;
use belljar_model::{Invalid, Token};

use crate::frame::{Page, Section};
use crate::login::PASSWORD_CHARS_MIN;
use crate::{Frame, figure};

/// The page `/settings`; also the answer to one of its forms that was refused.
///
/// Its forms: `POST /settings/tokens` (`name`), `POST /settings/tokens/delete` (`name`), `POST /settings/password`
/// (`current`, `password`, `again`), `POST /settings/registries` (`host`, `username`, `secret`), `POST /settings/registries/delete`
/// (`host`), `POST /logout`.
#[derive(Template)]
#[template(path = "settings.html")]
pub struct Settings<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Tokens that exist.
    pub tokens: &'a [Token],
    /// Registries that somebody is logged in to.
    pub registries: &'a [Registry],
    /// The token that was just made: its only showing.
    pub fresh: Option<FreshToken<'a>>,
    /// What is wrong, by the field's name: `name`, `current`, `password`, `again`, `host`, `username`, `secret`.
    pub invalid: Option<&'a Invalid>,
}

/// A registry that somebody is logged in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// Its host, with its port where it has one.
    pub host: String,
    /// As whom, or the file that says it.
    pub who: String,
    /// Since when, in Unix milliseconds.
    pub saved_at_ms: i64,
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
