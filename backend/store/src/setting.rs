//! Settings that a person made, by key.

use crate::writer::{arguments, batch};
use crate::{Durability, Error, Store};

const SET: &str = batch!("INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value");

impl Store {
    /// The value of a setting, if it was ever set.
    pub async fn setting(&self, key: &str) -> Result<Option<String>, Error> {
        let query = sqlx::query_scalar("SELECT value FROM settings WHERE key = ?1").bind(key);
        query.fetch_optional(&self.readers).await.map_err(Error::statement("read a setting"))
    }

    /// Sets a setting, durably.
    pub async fn save_setting(&self, key: &str, value: &str) -> Result<(), Error> {
        let statement = Error::statement("save a setting");
        let arguments = arguments!(key.to_owned(), value.to_owned()).map_err(&statement)?;
        self.writer.commit(SET, arguments, Durability::Durable).await.map(drop).map_err(&statement)
    }
}
