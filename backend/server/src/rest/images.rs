//! Images: list, inspect, import, export, commit, tag, delete, prune, verify.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use belljar_api::image::{CommitRequest, Damage, Mended, PruneAnswer, PruneRequest, TagRequest, VerifyAnswer, VerifyRequest};
use belljar_api::query::{Import, Nothing};
use belljar_api::{HistoryStep, Image, ImageDetails};
use belljar_model::{ImageName, Invalid};
use belljar_supervisor::{Commit, Export, Pause, Prune, PruneScope, Repair, Verified};
use futures_util::StreamExt;
use tokio_util::io::ReaderStream;

use crate::app::{App, Found};
use crate::extract::{Document, Query, drain};
use crate::fault::{Answer, Fault};
use crate::upload;

/// Bytes of an archive that are sent at once.
const EXPORTED_BYTES: usize = 128 << 10;

/// A name that a new image is to have: the field is called `name` where one is given, `image` where one is used.
pub(crate) fn new_name(text: &str) -> Result<ImageName, Invalid> {
    text.parse().map_err(|invalid: Invalid| Invalid::new("name", invalid.problem))
}

pub(super) async fn list(State(app): State<Arc<App>>, Query(Nothing {}): Query<Nothing>) -> Json<Vec<Image>> {
    Json(app.supervisor.image_summaries().into_iter().map(Image::from).collect())
}

pub(super) async fn inspect(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<ImageDetails>> {
    Ok(Json(app.supervisor.find_image(&name)?.into()))
}

/// The newest step first.
pub(super) async fn history(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Vec<HistoryStep>>> {
    let contents = app.supervisor.find_image(&name)?.image.contents;
    Ok(Json(contents.steps().into_iter().rev().map(HistoryStep::from).collect()))
}

pub(super) async fn tag(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Nothing {}): Query<Nothing>,
    Document(request): Document<TagRequest>,
) -> Answer<Response> {
    let image = app.supervisor.tag_image(&name, new_name(&request.name)?).await?;
    created(&app, &image.name)
}

/// The image as a list has it, and where it is.
fn created(app: &App, name: &ImageName) -> Answer<Response> {
    let location = format!("{}/images/{name}", belljar_api::ROOT);
    let image = Image::from(app.supervisor.find_image(name.as_str())?);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(image)).into_response())
}

pub(super) async fn prune(
    State(app): State<Arc<App>>,
    Query(Nothing {}): Query<Nothing>,
    Document(request): Document<PruneRequest>,
) -> Answer<Json<PruneAnswer>> {
    let scope = if request.all { PruneScope::All } else { PruneScope::Nameless };
    let prune = Prune { scope, only: request.only.map(|digests| digests.into_iter().collect()) };
    let pruned = if request.dry_run { app.supervisor.prunable_images(&prune) } else { app.supervisor.prune_images(prune).await? };
    Ok(Json(pruned.into()))
}

pub(super) async fn verify(
    State(app): State<Arc<App>>,
    Query(Nothing {}): Query<Nothing>,
    Document(request): Document<VerifyRequest>,
) -> Answer<Json<VerifyAnswer>> {
    let repair = if request.repair { Repair::Yes } else { Repair::No };
    let Verified { images, layers, damages, mended } = app.supervisor.verify_images(&request.images, repair).await?;
    let told = |damage: belljar_supervisor::Damage| {
        let belljar_supervisor::Damage { images, layer, path, problem } = damage;
        Damage { images, layer, path, problem }
    };
    let done = |mended: belljar_supervisor::Mended| {
        let belljar_supervisor::Mended { image, layers, problem } = mended;
        Mended { image, layers, problem }
    };
    let (damages, mended) = (damages.into_iter().map(told).collect(), mended.into_iter().map(done).collect());
    Ok(Json(VerifyAnswer { images, layers, damages, mended }))
}

pub(super) async fn commit(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
    Document(request): Document<CommitRequest>,
) -> Answer<Response> {
    let CommitRequest { name, author, message, changes, no_pause } = request;
    let name = name.as_deref().map(new_name).transpose()?;
    let pause = if no_pause { Pause::No } else { Pause::Meanwhile };
    let what = Commit { name, author, message, changes, pause };
    let image = app.supervisor.commit(&container.id, what).await.map_err(|error| Fault::of(&container, error))?;
    created(&app, &image.name)
}

/// The archive as it is written. Where the image turns out to be damaged, the connection ends before the answer does.
pub(super) async fn export(State(app): State<Arc<App>>, Path(name): Path<String>, Query(Nothing {}): Query<Nothing>) -> Answer<Response> {
    export_image(&app, &name).await
}

/// The archive, as an answer that a browser saves.
pub(crate) async fn export_image(app: &App, name: &str) -> Answer<Response> {
    let Export { image, archive, outcome } = app.supervisor.export_image(name).await?;
    let file: String = image.name.as_str().chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let disposition = format!("attachment; filename=\"{file}.tar\"");
    let ended = futures_util::stream::once(async move {
        let ended = outcome.await.unwrap_or_else(|_| Ok(()));
        ended.map(|()| Bytes::new()).map_err(|error| {
            tracing::error!(error = crate::fault::chain(&error), "an export ended early");
            std::io::Error::other(error)
        })
    });
    let body = Body::from_stream(ReaderStream::with_capacity(archive, EXPORTED_BYTES).chain(ended));
    Ok(([(header::CONTENT_TYPE, "application/x-tar".to_owned()), (header::CONTENT_DISPOSITION, disposition)], body).into_response())
}

pub(super) async fn import(State(app): State<Arc<App>>, Query(query): Query<Import>, mut body: Body) -> Answer<Response> {
    let name = match query.name.as_deref().map(new_name).transpose() {
        Ok(name) => name,
        Err(invalid) => {
            drain(&mut body).await;
            return Err(invalid.into());
        }
    };
    let image = upload::import(&app.supervisor, name, body.into_data_stream()).await?;
    created(&app, &image.name)
}

pub(super) async fn delete(State(app): State<Arc<App>>, Path(name): Path<String>, Query(Nothing {}): Query<Nothing>) -> Answer<StatusCode> {
    delete_image(&app, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the image of that name.
pub(crate) async fn delete_image(app: &App, name: &str) -> Answer<()> {
    app.supervisor.delete_image(name).await?;
    Ok(())
}
