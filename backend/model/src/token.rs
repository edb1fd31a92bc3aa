//! Tokens: what a script shows instead of a password.

use serde::{Deserialize, Serialize};

/// A token that exists. The secret itself is shown once, when it is made, and never kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is called by the person who made it; unique.
    pub name: String,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When it was last shown, in Unix milliseconds.
    pub last_used_at_ms: Option<i64>,
}
