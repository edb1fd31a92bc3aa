//! Files of a container: out and in as archives, put back, reset.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use belljar_api::files::{ARCHIVE_MEDIA_TYPE, Difference, Moved, PathStat, STAT_HEADER, UndoRequest, check_path};
use belljar_api::query::{At, Nothing, Unpack};
use belljar_model::mount::absolute_path;
use belljar_supervisor::files::Packing;
use futures_util::stream::unfold;

use crate::app::{App, Found};
use crate::extract::{Document, Query, drain};
use crate::fault::{Answer, Fault};
use crate::upload;

pub(super) async fn difference(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(At { path }): Query<At>,
) -> Answer<Json<Difference>> {
    absolute_path("path", &path)?;
    Ok(Json(app.supervisor.difference(&container.id, &path).await?.into()))
}

pub(super) async fn undo(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
    Document(UndoRequest { path }): Document<UndoRequest>,
) -> Answer<Json<Moved>> {
    absolute_path("path", &path)?;
    let moved = app.supervisor.undo(&container.id, &path).await.map_err(|error| Fault::of(&container, error))?;
    Ok(Json(moved.into()))
}

pub(super) async fn reset(State(app): State<Arc<App>>, Found(container): Found, Query(Nothing {}): Query<Nothing>) -> Answer<StatusCode> {
    app.supervisor.reset(&container.id).await.map_err(|error| Fault::of(&container, error))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn look(State(app): State<Arc<App>>, Found(container): Found, Query(At { path }): Query<At>) -> Answer<Response> {
    check_path("path", &path)?;
    let stat = app.supervisor.look(&container.id, &path).await.map_err(|error| Fault::of(&container, error))?;
    Ok((stat_header(stat.into()), [(header::CONTENT_TYPE, ARCHIVE_MEDIA_TYPE)]).into_response())
}

fn stat_header(stat: PathStat) -> [(HeaderName, HeaderValue); 1] {
    // It is all printable ASCII.
    let value = HeaderValue::from_str(&stat.to_header()).unwrap_or(HeaderValue::from_static(""));
    [(HeaderName::from_static(STAT_HEADER), value)]
}

pub(super) async fn pack(State(app): State<Arc<App>>, Found(container): Found, Query(At { path }): Query<At>) -> Answer<Response> {
    check_path("path", &path)?;
    let packing = app.supervisor.pack(&container.id, &path).await.map_err(|error| Fault::of(&container, error))?;
    let stat = packing.stat().clone();
    Ok((stat_header(stat.into()), [(header::CONTENT_TYPE, ARCHIVE_MEDIA_TYPE)], archive(&app, packing)).into_response())
}

/// The archive as a body. Where it breaks off, so does the body: no reader may take a part for the whole.
pub(crate) fn archive(app: &App, packing: Packing) -> Body {
    let chunks = unfold(Some(packing), |packing| async move {
        let mut packing = packing?;
        match packing.next().await? {
            Ok(piece) => Some((Ok(Bytes::from(piece)), Some(packing))),
            Err(error) => {
                tracing::warn!(error = %crate::fault::chain(&error), "a copy out of a container was cut off");
                Some((Err(io::Error::other(error)), None))
            }
        }
    });
    let ending = app.ending.clone();
    Body::from_stream(futures_util::StreamExt::take_until(chunks, async move { ending.cancelled_owned().await }))
}

pub(super) async fn unpack(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Unpack { path, owners }): Query<Unpack>,
    mut body: Body,
) -> Answer<Json<Moved>> {
    if let Err(invalid) = check_path("path", &path) {
        drain(&mut body).await;
        return Err(invalid.into());
    }
    let unpack = |archive| app.supervisor.unpack(&container.id, &path, owners, archive);
    let moved = upload::feed(body.into_data_stream(), unpack).await.map_err(|fault| fault.about(&container))?;
    Ok(Json(moved.into()))
}
