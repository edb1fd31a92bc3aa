//! A further program in a container: run and waited for, or followed as it writes.
//!
//! Where the answer is not read on, the program is killed: what it did for nobody is nobody's.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use belljar_api::exec::{FrameKind, STREAM_TYPE, frame};
use belljar_api::problem::{Kind, Problem};
use belljar_api::query::Exec;
use belljar_api::{ExecAnswer, ExecRequest};
use belljar_supervisor::exec::{Piece, Running};
use futures_util::stream::unfold;

use crate::app::{App, Found};
use crate::extract::{Document, Query};
use crate::fault::{Answer, Fault};

pub(super) async fn exec(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(query): Query<Exec>,
    Document(request): Document<ExecRequest>,
) -> Answer<Response> {
    let running = app.supervisor.exec(&container.id, request.into_model()?).await;
    let running = running.map_err(|error| Fault::of(&container, error))?;
    if query.stream.is_on() {
        return Ok(stream(&app, running));
    }
    tokio::select! {
        ran = running.finish() => Ok(Json(ExecAnswer::from(ran)).into_response()),
        () = app.ending.cancelled() => Err(Fault::new(Kind::Unavailable, ENDING)),
    }
}

const ENDING: &str = "Belljar ends, and with it the program; the container keeps running";

fn stream(app: &Arc<App>, running: Running) -> Response {
    let frames = unfold(Some((Arc::clone(app), running)), |state| async move {
        let (app, mut running) = state?;
        let piece = tokio::select! {
            piece = running.next() => piece,
            () = app.ending.cancelled() => return Some((failed(), None)),
        };
        let (frame, goes_on) = match piece? {
            Piece::Stdout(piece) => (frame(FrameKind::Stdout, &piece), true),
            Piece::Stderr(piece) => (frame(FrameKind::Stderr, &piece), true),
            Piece::Ended(ran) => (document(FrameKind::Ended, &ExecAnswer::from(ran)), false),
        };
        Some((Ok::<_, Infallible>(Bytes::from(frame)), goes_on.then_some((app, running))))
    });
    ([(header::CONTENT_TYPE, STREAM_TYPE)], Body::from_stream(frames)).into_response()
}

fn failed() -> Result<Bytes, Infallible> {
    Ok(document(FrameKind::Failed, &Problem::new(Kind::Unavailable, ENDING)).into())
}

fn document(kind: FrameKind, document: &impl serde::Serialize) -> Vec<u8> {
    // Texts and numbers, which always can be written.
    frame(kind, &serde_json::to_vec(document).unwrap_or_default())
}
