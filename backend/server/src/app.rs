//! The whole of it as one service: routes, and the layers around every request, outermost first.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use belljar_api::problem::Kind;
use belljar_model::{Container, ContainerId};
use belljar_supervisor::Supervisor;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::csrf::CsrfLayer;

use crate::access::{Access, guard};
use crate::fault::{Answer, Fault};
use crate::{assets, headers, pages, rest, stream};

/// Pause between signs of life on a stream that has nothing to say: proxies cut what is silent for a minute.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The media type of a log that is followed: one JSON document per line.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// What every handler may ask.
pub(crate) struct App {
    /// Everything about containers and images.
    pub(crate) supervisor: Supervisor,
    /// Everything about who may come in.
    pub(crate) access: Arc<Access>,
    /// Cancelled when the server ends: streams and waits end with it.
    pub(crate) ending: CancellationToken,
}

impl App {
    /// An application that has not begun to end.
    pub(crate) fn new(supervisor: Supervisor, access: Access) -> Self {
        Self { supervisor, access: Arc::new(access), ending: CancellationToken::new() }
    }
}

/// The container of a path, by id, name, or beginning of an id.
pub(crate) struct Found(pub(crate) Container);

impl FromRequestParts<Arc<App>> for Found {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Answer<Self> {
        Ok(Self(app.supervisor.find(&key(parts, app).await?)?))
    }
}

/// The container of a path as [`Found`], also one that is gone: by its id, or its beginning.
pub(crate) struct Remembered(pub(crate) ContainerId);

impl FromRequestParts<Arc<App>> for Remembered {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Answer<Self> {
        Ok(Self(app.supervisor.remembered(&key(parts, app).await?).await?))
    }
}

/// What the path calls the container.
async fn key(parts: &mut Parts, app: &Arc<App>) -> Answer<String> {
    let key = axum::extract::Path::<String>::from_request_parts(parts, app).await;
    key.map(|axum::extract::Path(key)| key).map_err(|_| Fault::new(Kind::NotFound, "there is no container of that name"))
}

/// Everything, ready to answer.
pub(crate) fn router(app: Arc<App>) -> Router {
    let access = app.access.clone();
    let routes = Router::new()
        .nest_service(belljar_api::ROOT, rest::service(app.clone()))
        .merge(pages::router())
        // Where tools that watch servers look for it, besides its place in the API.
        .route("/healthz", axum::routing::get(rest::health))
        .route("/stream", axum::routing::get(stream::open))
        .route("/static/{*file}", axum::routing::get(assets::serve))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(app.clone(), pages::problem::put_in_place))
        .with_state(app);
    around(routes, access)
}

/// The layers that need no application: who may come in, and what every answer carries.
pub(crate) fn around(routes: Router, access: Arc<Access>) -> Router {
    routes
        .layer(from_fn_with_state(access, guard))
        .layer(CsrfLayer::new().with_rejection_response(|_| other_site()))
        .layer(from_fn(plain_problem_for_browsers))
        .layer(CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest).compress_when(worth_compressing()))
        .layer(map_response(headers::add))
        .layer(CatchPanicLayer::custom(panicked))
}

/// A stream must arrive line by line; a compressor would hold it back until it has enough.
fn worth_compressing() -> impl Predicate {
    DefaultPredicate::new()
        .and(NotForContentType::const_new(NDJSON))
        .and(NotForContentType::const_new("application/gzip"))
        .and(NotForContentType::const_new("application/x-tar"))
}

fn other_site() -> Response {
    Fault::new(Kind::Refused, "this request was sent by another site").into_response()
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("without a message");
    tracing::error!(panic = text, "a handler panicked");
    Fault::new(Kind::Internal, format!("Belljar made a mistake: {text}")).into_response()
}

async fn not_found(request: Request) -> Fault {
    Fault::new(Kind::NotFound, format!("there is nothing at {}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Fault {
    Fault::new(Kind::MethodNotAllowed, format!("{} is not answered at {}", request.method(), request.uri().path()))
}

/// Who is turned away before the pages are reached gets no page of ours around the sentence, but at least a readable one.
async fn plain_problem_for_browsers(request: Request, next: axum::middleware::Next) -> Response {
    let wants_html =
        request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|text| text.contains("text/html"));
    let is_api = is_api(request.uri().path());
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Fault>() {
        Some(fault) if wants_html && !is_api => (fault.status(), fault.problem.detail).into_response(),
        _ => response,
    }
}

/// Whether the path belongs to programs rather than to people.
pub(crate) fn is_api(path: &str) -> bool {
    path.starts_with("/api/")
}

#[cfg(test)]
mod tests;
