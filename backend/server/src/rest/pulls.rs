//! Images on their way from registries, as a stream of pictures of how far each is.
//!
//! Whoever asks for a pull holds it: when the last who watches goes away, it ends. What is known before anything arrives (no such
//! image, no login) is a problem document; what happens later is the stream's last line.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use belljar_api::image::PullRequest;
use belljar_api::query::Nothing;
use belljar_model::image::Platform;
use belljar_model::pull::PullState;
use belljar_model::{ImageName, Invalid, Pull};
use belljar_supervisor::Pulling;
use futures_util::stream::unfold;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::{App, NDJSON};
use crate::extract::{Document, Query};
use crate::fault::Answer;

/// Least time between two pictures of one stream; the last comes at once.
const PICTURE_EVERY: Duration = Duration::from_millis(200);
/// How long an answer waits for a registry that says nothing, before it begins as a stream that says so.
const FIRST_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn list(State(app): State<Arc<App>>, Query(Nothing {}): Query<Nothing>) -> Json<Vec<Pull>> {
    Json(app.supervisor.pulls())
}

pub(super) async fn cancel(State(app): State<Arc<App>>, Path(name): Path<String>, Query(Nothing {}): Query<Nothing>) -> Answer<StatusCode> {
    app.supervisor.cancel_pull(&name.parse::<ImageName>()?)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pull(
    State(app): State<Arc<App>>,
    Query(Nothing {}): Query<Nothing>,
    Document(request): Document<PullRequest>,
) -> Answer<Response> {
    let name: ImageName = request.image.parse()?;
    let platform = request.platform.map(|text| text.parse::<Platform>()).transpose()?;
    let mut pulling = app.supervisor.pull_image(&name, platform)?;
    let begins = async {
        let mut pull = pulling.now();
        while matches!(pull.state, PullState::Resolving) {
            pull = pulling.next().await;
        }
        pull
    };
    if let Ok(Pull { state: PullState::Failed { .. }, .. }) = timeout(FIRST_LIMIT, begins).await {
        pulling.finish().await?;
        return Err(Invalid::new("image", "was not pulled").into());
    }
    let body = Body::from_stream(pictures(pulling, app.ending.clone()));
    Ok(([(header::CONTENT_TYPE, NDJSON)], body).into_response())
}

/// The pull as it is now, and whenever it is otherwise, until it is over.
fn pictures(pulling: Pulling, ending: CancellationToken) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    let now = pulling.now();
    unfold(Some((pulling, Some(now), ending)), |state| async move {
        let (mut pulling, first, ending) = state?;
        let began = Instant::now();
        let pull = match first {
            Some(pull) => pull,
            None => {
                let mut pull = tokio::select! {
                    pull = pulling.next() => pull,
                    () = ending.cancelled() => return None,
                };
                // What changes until then is in the picture too.
                while !pull.is_over() {
                    tokio::select! {
                        next = pulling.next() => pull = next,
                        () = sleep_until(began + PICTURE_EVERY) => break,
                    }
                }
                pull
            }
        };
        let mut line = serde_json::to_vec(&pull).unwrap_or_default();
        line.push(b'\n');
        let next = (!pull.is_over()).then_some((pulling, None, ending));
        Some((Ok(Bytes::from(line)), next))
    })
}
