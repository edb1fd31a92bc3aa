//! Volumes as rows.

use belljar_model::{Event, NewEvent, Volume, VolumeName};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::event::{recorded, to_json, write_events};
use crate::writer::{arguments, batch};
use crate::{Durability, Error, Store};

const INSERT: &str = batch!("INSERT INTO volumes (name, anonymous, labels, created_at_ms) VALUES (?2, ?3, ?4, ?5)", write_events!());

const REMOVE: &str = batch!("DELETE FROM volumes WHERE name = ?2", write_events!());

impl Store {
    /// Inserts a volume whose name is not taken, and the event that tells of it.
    pub async fn insert_volume(&self, volume: &Volume, event: NewEvent, durability: Durability) -> Result<Option<Event>, Error> {
        let statement = Error::statement("insert a volume");
        let events = vec![event];
        let Volume { name, anonymous, labels, created_at_ms } = volume;
        let labels = serde_json::to_string(labels).map_err(|error| statement(sqlx::Error::Encode(error.into())))?;
        let arguments = arguments!(to_json(&events), name.as_str().to_owned(), *anonymous, labels, *created_at_ms).map_err(&statement)?;
        let rows = self.writer.commit(INSERT, arguments, durability).await.map_err(&statement)?;
        Ok(recorded(events, &rows).map_err(&statement)?.pop())
    }

    /// Removes a volume's row, and records the event that tells of it, durably. No error if it was not there.
    pub async fn remove_volume(&self, name: &VolumeName, event: NewEvent) -> Result<Option<Event>, Error> {
        let statement = Error::statement("remove a volume");
        let events = vec![event];
        let arguments = arguments!(to_json(&events), name.as_str().to_owned()).map_err(&statement)?;
        let rows = self.writer.commit(REMOVE, arguments, Durability::Durable).await.map_err(&statement)?;
        Ok(recorded(events, &rows).map_err(&statement)?.pop())
    }

    /// Every volume that has a row, by name.
    pub async fn load_volumes(&self) -> Result<Vec<Volume>, Error> {
        let query = sqlx::query("SELECT name, anonymous, labels, created_at_ms FROM volumes ORDER BY name");
        let rows = query.fetch_all(&self.readers).await.map_err(Error::statement("read volumes"))?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &SqliteRow) -> Result<Volume, Error> {
    let statement = Error::statement("read volumes");
    let name: String = row.try_get("name").map_err(&statement)?;
    let labels: String = row.try_get("labels").map_err(&statement)?;
    Ok(Volume {
        anonymous: row.try_get("anonymous").map_err(&statement)?,
        labels: serde_json::from_str(&labels).map_err(Error::row("volumes", name.clone(), "labels"))?,
        created_at_ms: row.try_get("created_at_ms").map_err(&statement)?,
        name: name.parse().map_err(Error::row("volumes", name.clone(), "name"))?,
    })
}
