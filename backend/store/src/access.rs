//! Who may come in: users, their sessions in a browser, and tokens for programs.
//!
//! Secrets never get here: passwords come as argon2id strings, sessions and tokens as the SHA-256 of what the person holds.

use belljar_model::Token;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use crate::writer::{arguments, batch};
use crate::{Durability, Error, Store};

/// SHA-256 of a session's or token's secret.
pub type SecretHash = [u8; 32];

/// Somebody with a password.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
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
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
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

const SAVE_USER: &str = batch!(
    "DELETE FROM sessions WHERE user_id = (SELECT id FROM users WHERE name = ?1)",
    "INSERT INTO users (name, password_hash, created_at_ms) VALUES (?1, ?2, ?3) \
     ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash \
     RETURNING id, name, password_hash, created_at_ms",
);

const INSERT_SESSION: &str = batch!(
    "DELETE FROM sessions WHERE expires_at_ms <= ?3",
    "INSERT INTO sessions (secret_sha256, user_id, created_at_ms, expires_at_ms) VALUES (?1, ?2, ?3, ?4)",
);

const REMOVE_SESSION: &str = batch!("DELETE FROM sessions WHERE secret_sha256 = ?1");

const INSERT_TOKEN: &str =
    batch!("INSERT INTO tokens (name, secret_sha256, created_at_ms) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING RETURNING name",);

const USE_TOKEN: &str = batch!("UPDATE tokens SET last_used_at_ms = ?2 WHERE secret_sha256 = ?1");

const REMOVE_TOKEN: &str = batch!("DELETE FROM tokens WHERE name = ?1 RETURNING name");

/// A token's last use is written down only when it is later than the last by this, in milliseconds: not every request of
/// a script is worth a write.
const TOKEN_USE_NOTED_EVERY_MS: i64 = 60_000;

impl Store {
    /// The user of that name.
    pub async fn user(&self, name: &str) -> Result<Option<User>, Error> {
        let query = sqlx::query_as("SELECT id, name, password_hash, created_at_ms FROM users WHERE name = ?1").bind(name);
        query.fetch_optional(&self.readers).await.map_err(Error::statement("read a user"))
    }

    /// Whether anybody has a password yet.
    pub async fn has_users(&self) -> Result<bool, Error> {
        let query = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users)");
        query.fetch_one(&self.readers).await.map_err(Error::statement("read users"))
    }

    /// Makes the user, or gives it a new password and ends all its sessions. Durable.
    pub async fn save_user(&self, name: &str, password_hash: &str, now_ms: i64) -> Result<User, Error> {
        let statement = Error::statement("save a user");
        let arguments = arguments!(name.to_owned(), password_hash.to_owned(), now_ms).map_err(&statement)?;
        let rows = self.writer.commit(SAVE_USER, arguments, Durability::Durable).await.map_err(&statement)?;
        rows.first().ok_or(sqlx::Error::RowNotFound).and_then(User::from_row).map_err(&statement)
    }

    /// Begins a session, and forgets those that have ended.
    pub async fn insert_session(&self, session: &NewSession) -> Result<(), Error> {
        let statement = Error::statement("insert a session");
        let NewSession { user_id, secret, created_at_ms, expires_at_ms } = session;
        let arguments = arguments!(secret.to_vec(), *user_id, *created_at_ms, *expires_at_ms).map_err(&statement)?;
        self.writer.commit(INSERT_SESSION, arguments, Durability::Durable).await.map(drop).map_err(&statement)
    }

    /// The session with this secret, if it has not ended.
    pub async fn session(&self, secret: &SecretHash, now_ms: i64) -> Result<Option<Session>, Error> {
        let query = sqlx::query_as(
            "SELECT user_id, users.name AS user, sessions.created_at_ms, expires_at_ms FROM sessions \
             JOIN users ON users.id = user_id WHERE secret_sha256 = ?1 AND expires_at_ms > ?2",
        );
        let query = query.bind(secret.as_slice()).bind(now_ms);
        query.fetch_optional(&self.readers).await.map_err(Error::statement("read a session"))
    }

    /// Ends a session; it is no error if there was none.
    pub async fn remove_session(&self, secret: &SecretHash) -> Result<(), Error> {
        let statement = Error::statement("remove a session");
        let arguments = arguments!(secret.to_vec()).map_err(&statement)?;
        self.writer.commit(REMOVE_SESSION, arguments, Durability::Durable).await.map(drop).map_err(&statement)
    }

    /// Makes a token; `false` if that name is taken.
    pub async fn insert_token(&self, name: &str, secret: &SecretHash, now_ms: i64) -> Result<bool, Error> {
        let statement = Error::statement("insert a token");
        let arguments = arguments!(name.to_owned(), secret.to_vec(), now_ms).map_err(&statement)?;
        let rows = self.writer.commit(INSERT_TOKEN, arguments, Durability::Durable).await.map_err(&statement)?;
        Ok(!rows.is_empty())
    }

    /// The token with this secret, as it was until now. Notes that it was used, to the minute.
    pub async fn use_token(&self, secret: &SecretHash, now_ms: i64) -> Result<Option<Token>, Error> {
        let statement = Error::statement("read a token");
        let query = sqlx::query("SELECT name, created_at_ms, last_used_at_ms FROM tokens WHERE secret_sha256 = ?1");
        let row = query.bind(secret.as_slice()).fetch_optional(&self.readers).await.map_err(&statement)?;
        let Some(token) = row.as_ref().map(read_token).transpose().map_err(&statement)? else { return Ok(None) };
        if token.last_used_at_ms.is_none_or(|last| now_ms.saturating_sub(last) >= TOKEN_USE_NOTED_EVERY_MS) {
            let arguments = arguments!(secret.to_vec(), now_ms).map_err(&statement)?;
            self.writer.commit(USE_TOKEN, arguments, Durability::Deferred).await.map_err(&statement)?;
        }
        Ok(Some(token))
    }

    /// Every token, by name.
    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        let statement = Error::statement("read tokens");
        let query = sqlx::query("SELECT name, created_at_ms, last_used_at_ms FROM tokens ORDER BY name");
        let rows = query.fetch_all(&self.readers).await.map_err(&statement)?;
        rows.iter().map(read_token).collect::<Result<_, _>>().map_err(&statement)
    }

    /// Deletes a token; `false` if there was none.
    pub async fn remove_token(&self, name: &str) -> Result<bool, Error> {
        let statement = Error::statement("remove a token");
        let arguments = arguments!(name.to_owned()).map_err(&statement)?;
        let rows = self.writer.commit(REMOVE_TOKEN, arguments, Durability::Durable).await.map_err(&statement)?;
        Ok(!rows.is_empty())
    }
}

fn read_token(row: &SqliteRow) -> Result<Token, sqlx::Error> {
    Ok(Token { name: row.try_get("name")?, created_at_ms: row.try_get("created_at_ms")?, last_used_at_ms: row.try_get("last_used_at_ms")? })
}
