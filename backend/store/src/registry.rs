//! Credentials of registries, sealed by whoever keeps them here: this module must never know what opens them.

use belljar_model::{Event, NewEvent};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::event::{recorded, to_json, write_events};
use crate::writer::{arguments, batch};
use crate::{Durability, Error, Store};

/// What is kept of one registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Registry {
    /// Host, with its port where it has one.
    pub host: String,
    /// Where its secret is.
    pub login: Login,
    /// When it was kept, in Unix milliseconds.
    pub saved_at_ms: i64,
}

/// Where a registry's secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Here.
    Sealed {
        /// Whose.
        username: String,
        /// Unreadable without a key that is elsewhere.
        sealed: Vec<u8>,
    },
    /// In a file in the form of Docker's `config.json`, which is read when it is needed.
    DockerConfig {
        /// The file, absolute.
        path: String,
    },
}

const SAVE: &str = batch!(
    "INSERT INTO registries (host, username, sealed, docker_config, saved_at_ms) VALUES (?2, ?3, ?4, ?5, ?6) \
     ON CONFLICT (host) DO UPDATE SET username = excluded.username, sealed = excluded.sealed, \
     docker_config = excluded.docker_config, saved_at_ms = excluded.saved_at_ms",
    write_events!(),
);

const REMOVE: &str = batch!("DELETE FROM registries WHERE host = ?2", write_events!());

impl Store {
    /// Keeps what is known of a registry instead of what was, and records the event that tells of it, durably.
    pub async fn save_registry(&self, registry: &Registry, event: NewEvent) -> Result<Option<Event>, Error> {
        let statement = Error::statement("save a registry");
        let (username, sealed, path) = match registry.login.clone() {
            Login::Sealed { username, sealed } => (Some(username), Some(sealed), None),
            Login::DockerConfig { path } => (None, None, Some(path)),
        };
        let events = vec![event];
        let arguments = arguments!(to_json(&events), registry.host.clone(), username, sealed, path, registry.saved_at_ms);
        let rows = self.writer.commit(SAVE, arguments.map_err(&statement)?, Durability::Durable).await.map_err(&statement)?;
        Ok(recorded(events, &rows).map_err(&statement)?.pop())
    }

    /// Forgets a registry, and records the event that tells of it, durably. No error if it was not there.
    pub async fn remove_registry(&self, host: &str, event: NewEvent) -> Result<Option<Event>, Error> {
        let statement = Error::statement("remove a registry");
        let events = vec![event];
        let arguments = arguments!(to_json(&events), host.to_owned()).map_err(&statement)?;
        let rows = self.writer.commit(REMOVE, arguments, Durability::Durable).await.map_err(&statement)?;
        Ok(recorded(events, &rows).map_err(&statement)?.pop())
    }

    /// What is known of one registry.
    pub async fn registry(&self, host: &str) -> Result<Option<Registry>, Error> {
        let statement = Error::statement("read a registry");
        let query = sqlx::query("SELECT * FROM registries WHERE host = ?1").bind(host);
        query.fetch_optional(&self.readers).await.map_err(&statement)?.as_ref().map(read).transpose()
    }

    /// Every registry, by host.
    pub async fn registries(&self) -> Result<Vec<Registry>, Error> {
        let rows = sqlx::query("SELECT * FROM registries ORDER BY host").fetch_all(&self.readers).await;
        rows.map_err(Error::statement("read registries"))?.iter().map(read).collect()
    }
}

fn read(row: &SqliteRow) -> Result<Registry, Error> {
    let statement = Error::statement("read registries");
    let path: Option<String> = row.try_get("docker_config").map_err(&statement)?;
    let login = match path {
        Some(path) => Login::DockerConfig { path },
        None => {
            Login::Sealed { username: row.try_get("username").map_err(&statement)?, sealed: row.try_get("sealed").map_err(&statement)? }
        }
    };
    Ok(Registry { host: row.try_get("host").map_err(&statement)?, login, saved_at_ms: row.try_get("saved_at_ms").map_err(&statement)? })
}
