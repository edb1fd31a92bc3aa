//! Tokens on the wire: what a script shows instead of a password.

use belljar_model::token as model;
use serde::{Deserialize, Serialize};

use crate::time;

/// The body of `POST /tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for; unique. Same characters as a container's name.
    pub name: String,
}

/// The answer: the only time that the token itself is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedToken {
    /// What it is for.
    pub name: String,
    /// The token, for `Authorization: Bearer …`.
    pub token: String,
}

/// A token that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is for.
    pub name: String,
    /// When it was made.
    #[serde(rename = "created_at", with = "time::millis")]
    pub created_at_ms: i64,
    /// When it was last used; `null` where never.
    #[serde(rename = "last_used_at", with = "time::millis_option")]
    pub last_used_at_ms: Option<i64>,
}

impl From<model::Token> for Token {
    fn from(token: model::Token) -> Self {
        let model::Token { name, created_at_ms, last_used_at_ms } = token;
        Self { name, created_at_ms, last_used_at_ms }
    }
}
