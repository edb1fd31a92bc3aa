//! Images as rows.

use belljar_model::image::ImageKind;
use belljar_model::{Event, Image, ImageName, NewEvent};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::event::{recorded, to_json, write_events};
use crate::writer::{arguments, batch};
use crate::{Durability, Error, Store};

const INSERT: &str =
    batch!("INSERT INTO images (name, kind, digest, size_bytes, entries, created_at_ms) VALUES (?2, ?3, ?4, ?5, ?6, ?7)", write_events!(),);

const REMOVE: &str = batch!("DELETE FROM images WHERE name = ?2", write_events!());

impl Store {
    /// Inserts an image whose name is not taken, and the event that tells of it, durably.
    pub async fn insert_image(&self, image: &Image, event: NewEvent) -> Result<Option<Event>, Error> {
        let statement = Error::statement("insert an image");
        let events = vec![event];
        let Image { name, kind, digest, size_bytes, entries, created_at_ms, .. } = image;
        let (size_bytes, entries) = (size_bytes.cast_signed(), entries.cast_signed());
        let (name, digest) = (name.as_str().to_owned(), digest.clone());
        let arguments =
            arguments!(to_json(&events), name, kind.as_str(), digest, size_bytes, entries, *created_at_ms).map_err(&statement)?;
        let rows = self.writer.commit(INSERT, arguments, Durability::Durable).await.map_err(&statement)?;
        Ok(recorded(events, &rows).map_err(&statement)?.pop())
    }

    /// Removes an image's row, and records the event that tells of it, durably. No error if it was not there.
    pub async fn remove_image(&self, name: &ImageName, event: NewEvent) -> Result<Option<Event>, Error> {
        let statement = Error::statement("remove an image");
        let events = vec![event];
        let arguments = arguments!(to_json(&events), name.as_str().to_owned()).map_err(&statement)?;
        let rows = self.writer.commit(REMOVE, arguments, Durability::Durable).await.map_err(&statement)?;
        Ok(recorded(events, &rows).map_err(&statement)?.pop())
    }

    /// Every image that has a row, by name.
    pub async fn load_images(&self) -> Result<Vec<Image>, Error> {
        let query = sqlx::query("SELECT name, kind, digest, size_bytes, entries, created_at_ms FROM images ORDER BY name");
        let rows = query.fetch_all(&self.readers).await.map_err(Error::statement("read images"))?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &SqliteRow) -> Result<Image, Error> {
    let statement = Error::statement("read images");
    let text = |column| row.try_get::<String, _>(column).map_err(&statement);
    let name = text("name")?;
    let count = |column: &'static str| -> Result<u64, Error> {
        let number: i64 = row.try_get(column).map_err(&statement)?;
        u64::try_from(number).map_err(Error::row("images", name.clone(), column))
    };
    let word = text("kind")?;
    let kind = ImageKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    Ok(Image {
        kind: kind.ok_or_else(|| Error::word("images", name.clone(), "kind", word))?,
        digest: text("digest")?,
        manifest_digest: None,
        contents: std::sync::Arc::default(),
        size_bytes: count("size_bytes")?,
        entries: count("entries")?,
        created_at_ms: row.try_get("created_at_ms").map_err(&statement)?,
        name: name.parse().map_err(Error::row("images", name.clone(), "name"))?,
    })
}
