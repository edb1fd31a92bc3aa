//! Who may come in: users, their sessions in a browser, and tokens for programs.
//!
//! Secrets never get here: passwords come as argon2id strings, sessions and tokens as the SHA-256 of what the person holds.

use crate::{Error, Store};

/// SHA-256 of a session's or token's secret.
pub type SecretHash = [u8; 32];

/// Somebody with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Number of the row.
    pub id: i64,
    /// Name to sign in with.
    pub name: String,
    /// PHC string of the password's hash.
    pub password_hash: String,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
}

/// A session that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Whose.
    pub user_id: i64,
    /// Of the cookie's value.
    pub secret: SecretHash,
    /// When it began, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When it ends, in Unix milliseconds.
    pub expires_at_ms: i64,
}

/// A session that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub user_id: i64,
    /// Name of that user.
    pub user: String,
    /// When it began, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When it ends, in Unix milliseconds.
    pub expires_at_ms: i64,
}

/// A token for a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Unique among the tokens.
    pub name: String,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When it was last used, in Unix milliseconds, to the minute.
    pub last_used_at_ms: Option<i64>,
}

#[expect(unused_variables, reason = "the surface first, so that the layers above can be written beside it")]
impl Store {
    /// The user of that name.
    pub async fn user(&self, name: &str) -> Result<Option<User>, Error> {
        unimplemented!()
    }

    /// Whether anybody has a password yet.
    pub async fn has_users(&self) -> Result<bool, Error> {
        unimplemented!()
    }

    /// Makes the user, or gives it a new password and ends all its sessions.
    pub async fn save_user(&self, name: &str, password_hash: &str, now_ms: i64) -> Result<User, Error> {
        unimplemented!()
    }

    /// Begins a session, and forgets those that have ended.
    pub async fn insert_session(&self, session: &NewSession) -> Result<(), Error> {
        unimplemented!()
    }

    /// The session with this secret, if it has not ended.
    pub async fn session(&self, secret: &SecretHash, now_ms: i64) -> Result<Option<Session>, Error> {
        unimplemented!()
    }

    /// Ends a session; it is no error if there was none.
    pub async fn remove_session(&self, secret: &SecretHash) -> Result<(), Error> {
        unimplemented!()
    }

    /// Makes a token; `false` if that name is taken.
    pub async fn insert_token(&self, name: &str, secret: &SecretHash, now_ms: i64) -> Result<bool, Error> {
        unimplemented!()
    }

    /// The token with this secret. Notes that it was used now.
    pub async fn use_token(&self, secret: &SecretHash, now_ms: i64) -> Result<Option<Token>, Error> {
        unimplemented!()
    }

    /// Every token, by name.
    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        unimplemented!()
    }

    /// Deletes a token; `false` if there was none.
    pub async fn remove_token(&self, name: &str) -> Result<bool, Error> {
        unimplemented!()
    }
}
