//! `images` and `commit`: list, tag, inspect, import, export, delete, prune, verify.

use std::path::{Path, PathBuf};

use belljar_api::image::{CommitRequest, PruneAnswer, PruneRequest, TagRequest, VerifyAnswer, VerifyRequest};
use belljar_api::{HistoryStep, Image, query};
use belljar_model::{Invalid, size};
use hyper::Method;
use tokio::io::AsyncWriteExt as _;

use super::{DONE, Outcome, Session, of, pull};
use crate::arguments::Format;
use crate::arguments::images::{CommitArguments, ImagesCommand, PruneArguments};
use crate::client::escape;
use crate::failure::Failure;
use crate::output::{Table, age, harmless};

/// Characters of a digest that are shown: enough to tell two apart.
const DIGEST_CHARS: usize = 19;
/// Where `-` reads from.
const STANDARD_INPUT: &str = "/dev/stdin";
/// Where an export goes that has no file.
const STANDARD_OUTPUT: &str = "/dev/stdout";
/// Exit status of a verification that found something, and of a prune that was not wanted.
const NOT_WELL: u8 = 1;

/// `images`; without a verb it lists.
pub(crate) async fn images(session: &mut Session, command: Option<ImagesCommand>) -> Outcome {
    match command.unwrap_or(ImagesCommand::List(Format { json: false })) {
        ImagesCommand::List(format) => session.show("/images", format, table).await,
        ImagesCommand::Pull(arguments) => pull::pull(session, arguments).await,
        ImagesCommand::Tag { image, name } => {
            let tagged: Image = session.client.send(&path(&image, "/tag"), &TagRequest { name }).await?;
            session.paper.line(&pull::called(&tagged))?;
            Ok(DONE)
        }
        ImagesCommand::Inspect { images } => {
            let mut all = Vec::new();
            for image in images {
                all.push(session.client.fetch::<serde_json::Value>(&path(&image, "")).await?);
            }
            session.paper.json(&all)?;
            Ok(DONE)
        }
        ImagesCommand::History { image, format } => session.show(&path(&image, "/history"), format, history).await,
        ImagesCommand::Import { words } => import(session, words).await,
        ImagesCommand::Export { image, output } => export(session, &image, output).await,
        ImagesCommand::Delete { names } => {
            for name in names {
                session.client.act(Method::DELETE, &path(&name, "")).await?;
                session.paper.line(&name)?;
            }
            Ok(DONE)
        }
        ImagesCommand::Prune(arguments) => prune(session, &arguments).await,
        ImagesCommand::Verify { images, repair, format } => verify(session, VerifyRequest { images, repair }, format).await,
    }
}

fn path(image: &str, rest: &str) -> String {
    format!("/images/{}{rest}", escape(image))
}

async fn import(session: &mut Session, mut words: Vec<PathBuf>) -> Outcome {
    let file = words.pop().unwrap_or_default();
    let name = words.pop().map(|name| name.to_string_lossy().into_owned());
    let path = if file == Path::new("-") { Path::new(STANDARD_INPUT) } else { &file };
    let unreadable = |source| Failure::File { path: file.clone(), source };
    let archive = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let query = query::write(&query::Import { name });
    let image: Image = session.client.upload(&format!("/images/import?{query}"), archive).await?;
    let size = size::display(image.size_bytes);
    session.paper.line(&format!("{} {} ({} entries, {size})", pull::called(&image), image.digest, image.entries))?;
    Ok(DONE)
}

/// Writes the archive as it comes. A file that could not be written whole is removed.
async fn export(session: &mut Session, image: &str, output: Option<PathBuf>) -> Outcome {
    let output = output.filter(|file| file != Path::new("-"));
    if output.is_none() && session.paper.is_terminal() {
        return Err(Invalid::new("--output", "is required where standard output is a terminal").into());
    }
    let target = output.clone().unwrap_or_else(|| STANDARD_OUTPUT.into());
    let mut pieces = session.client.fetch_pieces(&path(image, "/export")).await?;
    let unwritable = |source| Failure::Write { path: target.clone(), source };
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = match &output {
        Some(path) => options.write(true).create(true).truncate(true).open(path).await,
        None => options.write(true).open(&target).await,
    }
    .map_err(unwritable)?;
    let written = async {
        while let Some(piece) = pieces.next().await? {
            file.write_all(&piece).await.map_err(unwritable)?;
        }
        file.flush().await.map_err(unwritable)
    };
    if let Err(failure) = written.await {
        if let Some(path) = &output {
            // Half an archive must not look like one; where it stays, the failure says so anyway.
            drop(tokio::fs::remove_file(path).await);
        }
        return Err(failure);
    }
    Ok(DONE)
}

/// `commit`: prints the new image's digest.
pub(crate) async fn commit(session: &mut Session, arguments: CommitArguments) -> Outcome {
    let CommitArguments { message, author, changes, no_pause, container, name } = arguments;
    let request = CommitRequest { name, author, message, changes, no_pause };
    let image: Image = session.client.send(&of(&container, "commit"), &request).await?;
    session.paper.line(&harmless(&image.digest))?;
    Ok(DONE)
}

/// Shows what would go, asks, and lets exactly that go.
async fn prune(session: &mut Session, arguments: &PruneArguments) -> Outcome {
    let ask = PruneRequest { dry_run: true, all: arguments.all, only: None };
    let found: PruneAnswer = session.client.send("/images/prune", &ask).await?;
    for image in &found.images {
        session.paper.line(&format!("{} {}", harmless(&image.name), size::display(image.size_bytes)))?;
    }
    let what = format!("{} images, {} of layers that nothing else needs", found.images.len(), size::display(found.freed_bytes));
    session.paper.line(&format!("{what}{}", if arguments.dry_run { " would be deleted" } else { "" }))?;
    session.paper.flush()?;
    if arguments.dry_run || found.images.is_empty() {
        return Ok(DONE);
    }
    if !arguments.force && !agreed()? {
        return Ok(NOT_WELL);
    }
    let only = found.images.into_iter().map(|image| image.digest).collect();
    let take = PruneRequest { dry_run: false, all: arguments.all, only: Some(only) };
    let taken: PruneAnswer = session.client.send("/images/prune", &take).await?;
    session.paper.line(&format!("deleted {} images, freed {}", taken.images.len(), size::display(taken.freed_bytes)))?;
    Ok(DONE)
}

/// Asks a person; nobody at the terminal is a no.
fn agreed() -> Result<bool, Failure> {
    use std::io::Write as _;
    eprint!("Delete them? [y/N] ");
    drop(std::io::stderr().flush());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|source| Invalid::new("--force", format!("nobody can be asked: {source}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What is whole again is well.
async fn verify(session: &mut Session, request: VerifyRequest, format: Format) -> Outcome {
    let answer: VerifyAnswer = session.client.send("/images/verify", &request).await?;
    let is_well = answer.damages.is_empty() || request.repair && answer.mended.iter().all(|mended| mended.problem.is_none());
    let status = if is_well { DONE } else { NOT_WELL };
    if format.json {
        session.paper.json(&answer)?;
        return Ok(status);
    }
    for damage in &answer.damages {
        let layer = damage.layer.as_deref().unwrap_or("its documents");
        let line = format!("{}: {layer} /{}: {}", damage.images.join(", "), damage.path, damage.problem);
        session.paper.line(&harmless(&line))?;
    }
    for mended in &answer.mended {
        let became = mended.problem.as_ref().map_or("whole again".to_owned(), |problem| format!("still damaged: {problem}"));
        session.paper.line(&harmless(&format!("{}: {became}", mended.image)))?;
    }
    let found = if answer.damages.is_empty() { "all is as it was".to_owned() } else { format!("{} damages", answer.damages.len()) };
    session.paper.line(&format!("{} images, {} layers: {found}", answer.images, answer.layers))?;
    Ok(status)
}

fn table(images: &Vec<Image>, now_ms: i64) -> Table {
    let mut table = Table::new(&["NAME", "KIND", "DIGEST", "ENTRIES", "SIZE", "OWN", "CREATED"]).figures(&[3, 4, 5]);
    for image in images {
        let digest: String = image.digest.chars().take(DIGEST_CHARS).collect();
        let name = if image.name == image.digest { "<none>" } else { &image.name };
        table.row(vec![
            name.into(),
            image.kind.as_str().into(),
            digest.into(),
            image.entries.to_string().into(),
            size::display(image.size_bytes).into(),
            size::display(image.own_bytes).into(),
            age::ago(image.created_at_ms, now_ms).into(),
        ]);
    }
    table
}

fn history(steps: &Vec<HistoryStep>, now_ms: i64) -> Table {
    let mut table = Table::new(&["LAYER", "CREATED", "SIZE", "COMMAND"]).figures(&[2]);
    for step in steps {
        let layer = step.layer.as_ref();
        let digest: String = layer.map(|layer| layer.diff_id.chars().take(DIGEST_CHARS).collect()).unwrap_or_default();
        let size = layer.map(|layer| size::display(layer.size_bytes)).unwrap_or_default();
        let made = step.made_at_ms.map(|at_ms| age::ago(at_ms, now_ms)).unwrap_or_default();
        let command = step.command.clone().or_else(|| step.comment.clone()).unwrap_or_default();
        table.row(vec![digest.into(), made.into(), size.into(), harmless(&command).into()]);
    }
    table
}
