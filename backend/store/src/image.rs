//! Images as rows: what is here, by digest, and what it is called.
//!
//! The documents of an image (manifest, configuration) are kept byte for byte, because their digests are what others know them
//! by; they are read only when somebody asks for them. Everything that is asked often is in `contents`.

use belljar_model::image::ImageKind;
use belljar_model::{Event, Image, ImageName, NewEvent};
use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::event::{recorded, to_json, write_events};
use crate::writer::{arguments, batch};
use crate::{Durability, Error, Store};

/// The documents of an image, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// The manifest, whose digest is [`Image::manifest_digest`].
    pub manifest: Vec<u8>,
    /// The configuration, whose digest is [`Image::digest`].
    pub config: Vec<u8>,
}

/// What changes about images, in the order in which it is done.
#[derive(Debug, Clone, Default)]
pub struct ImageChange {
    /// Images that come, or have other documents than before. Their name is not looked at. `None` for what has no manifest.
    pub put: Option<(Image, Option<Documents>)>,
    /// Names that go.
    pub unname: Vec<ImageName>,
    /// Names that come, or go over to another image: name and digest.
    pub name: Vec<(ImageName, String)>,
    /// Images that go, by digest. Refused while one has a name or a container.
    pub remove: Vec<String>,
}

/// The lists of a change, as the one parameter that they share.
#[derive(Serialize)]
struct Lists<'a> {
    unname: Vec<&'a str>,
    name: Vec<NameRow<'a>>,
    remove: Vec<String>,
}

#[derive(Serialize)]
struct NameRow<'a> {
    name: &'a str,
    digest: &'a str,
}

const CHANGE: &str = batch!(
    "INSERT INTO images (digest, kind, manifest_digest, manifest, config, contents, size_bytes, entries, created_at_ms) \
     SELECT ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE ?3 IS NOT NULL \
     ON CONFLICT (digest) DO UPDATE SET manifest_digest = excluded.manifest_digest, manifest = excluded.manifest, \
     config = excluded.config, contents = excluded.contents, size_bytes = excluded.size_bytes, entries = excluded.entries",
    "DELETE FROM image_names WHERE name IN (SELECT value FROM json_each(?2, '$.unname'))",
    "INSERT INTO image_names (name, digest) SELECT value ->> 'name', value ->> 'digest' FROM json_each(?2, '$.name') WHERE true \
     ON CONFLICT (name) DO UPDATE SET digest = excluded.digest",
    "DELETE FROM images WHERE digest IN (SELECT value FROM json_each(?2, '$.remove'))",
    write_events!(),
);

const LOAD: &str = "SELECT name, images.digest AS digest, kind, manifest_digest, contents, size_bytes, entries, created_at_ms FROM images \
     LEFT JOIN image_names ON image_names.digest = images.digest ORDER BY name, images.digest";

impl Store {
    /// Changes images and their names, and records the events that tell of it, all or nothing and durably.
    pub async fn change_images(&self, change: ImageChange, events: Vec<NewEvent>) -> Result<Vec<Event>, Error> {
        let statement = Error::statement("change images");
        let ImageChange { put, unname, name, remove } = change;
        let (image, documents) = put.map_or((None, None), |(image, documents)| (Some(image), documents));
        let contents = image.as_ref().map(|image| as_json(&*image.contents)).transpose().map_err(&statement)?;
        let (manifest, config) = documents.map_or((None, None), |documents| (Some(documents.manifest), Some(documents.config)));
        let unname = unname.iter().map(ImageName::as_str).collect();
        let name = name.iter().map(|(name, digest)| NameRow { name: name.as_str(), digest }).collect();
        let lists = as_json(&Lists { unname, name, remove }).map_err(&statement)?;
        let arguments = arguments!(
            to_json(&events),
            lists,
            image.as_ref().map(|image| image.digest.clone()),
            image.as_ref().map(|image| image.kind.as_str()),
            image.as_ref().and_then(|image| image.manifest_digest.clone()),
            manifest,
            config,
            contents,
            image.as_ref().map(|image| image.size_bytes.cast_signed()),
            image.as_ref().map(|image| image.entries.cast_signed()),
            image.as_ref().map(|image| image.created_at_ms)
        );
        let rows = self.writer.commit(CHANGE, arguments.map_err(&statement)?, Durability::Durable).await.map_err(&statement)?;
        recorded(events, &rows).map_err(&statement)
    }

    /// Every image under each of its names, by name; one without a name under its digest.
    pub async fn load_images(&self) -> Result<Vec<Image>, Error> {
        let rows = sqlx::query(LOAD).fetch_all(&self.readers).await.map_err(Error::statement("read images"))?;
        rows.iter().map(read).collect()
    }

    /// The documents of the image with this digest; `None` where it is not here, or has none.
    pub async fn image_documents(&self, digest: &str) -> Result<Option<Documents>, Error> {
        let statement = Error::statement("read an image");
        let query = sqlx::query("SELECT manifest, config FROM images WHERE digest = ?1 AND manifest IS NOT NULL").bind(digest);
        let row = query.fetch_optional(&self.readers).await.map_err(&statement)?;
        let read = |row: SqliteRow| Ok(Documents { manifest: row.try_get("manifest")?, config: row.try_get("config")? });
        row.map(read).transpose().map_err(&statement)
    }
}

fn as_json(value: &(impl Serialize + ?Sized)) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn read(row: &SqliteRow) -> Result<Image, Error> {
    let statement = Error::statement("read images");
    let text = |column| row.try_get::<String, _>(column).map_err(&statement);
    let maybe = |column| row.try_get::<Option<String>, _>(column).map_err(&statement);
    let digest = text("digest")?;
    let count = |column: &'static str| -> Result<u64, Error> {
        let number: i64 = row.try_get(column).map_err(&statement)?;
        u64::try_from(number).map_err(Error::row("images", digest.clone(), column))
    };
    let word = text("kind")?;
    let kind = ImageKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    let contents = serde_json::from_str(&text("contents")?).map_err(Error::row("images", digest.clone(), "contents"))?;
    let name = maybe("name")?.unwrap_or_else(|| digest.clone());
    Ok(Image {
        kind: kind.ok_or_else(|| Error::word("images", digest.clone(), "kind", word))?,
        manifest_digest: maybe("manifest_digest")?,
        contents: std::sync::Arc::new(contents),
        size_bytes: count("size_bytes")?,
        entries: count("entries")?,
        created_at_ms: row.try_get("created_at_ms").map_err(&statement)?,
        name: name.parse().map_err(Error::row("image_names", name.clone(), "name"))?,
        digest,
    })
}
