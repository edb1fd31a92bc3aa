//! `images`: list, import, delete.

use std::path::Path;

use belljar_api::{Image, query};
use belljar_model::size;
use hyper::Method;

use super::{DONE, Outcome, Session};
use crate::arguments::{Format, ImagesCommand};
use crate::client::escape;
use crate::failure::Failure;
use crate::output::{Table, age};

/// Characters of a digest that are shown: enough to tell two apart.
const DIGEST_CHARS: usize = 19;
/// Where `-` reads from.
const STANDARD_INPUT: &str = "/dev/stdin";

/// `images`; without a verb it lists.
pub(crate) async fn images(session: &mut Session, command: Option<ImagesCommand>) -> Outcome {
    match command.unwrap_or(ImagesCommand::List(Format { json: false })) {
        ImagesCommand::List(format) => session.show("/images", format, table).await,
        ImagesCommand::Import { name, file } => import(session, name, &file).await,
        ImagesCommand::Delete { names } => {
            for name in names {
                session.client.act(Method::DELETE, &format!("/images/{}", escape(&name))).await?;
                session.paper.line(&name)?;
            }
            Ok(DONE)
        }
    }
}

async fn import(session: &mut Session, name: String, file: &Path) -> Outcome {
    let path = if file == Path::new("-") { Path::new(STANDARD_INPUT) } else { file };
    let unreadable = |source| Failure::File { path: file.to_owned(), source };
    let archive = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let query = query::write(&query::Import { name });
    let image: Image = session.client.upload(&format!("/images/import?{query}"), archive).await?;
    session.paper.line(&format!("{} {} ({} entries, {})", image.name, image.digest, image.entries, size::display(image.size_bytes)))?;
    Ok(DONE)
}

fn table(images: &Vec<Image>, now_ms: i64) -> Table {
    let mut table = Table::new(&["NAME", "KIND", "DIGEST", "ENTRIES", "SIZE", "CREATED"]).figures(&[3, 4]);
    for image in images {
        let digest: String = image.digest.chars().take(DIGEST_CHARS).collect();
        table.row(vec![
            (&image.name).into(),
            image.kind.as_str().into(),
            digest.into(),
            image.entries.to_string().into(),
            size::display(image.size_bytes).into(),
            age::ago(image.created_at_ms, now_ms).into(),
        ]);
    }
    table
}
