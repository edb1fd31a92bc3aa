//! A fault as a page: what is wrong, and where to go from here.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use belljar_frontend::problem::Problem;

use crate::access::Who;
use crate::app::{App, is_api};
use crate::fault::{Answer, Fault};
use crate::pages::surroundings::Surroundings;

/// The layer around pages and programs: under `/api/` a fault stays the document that it is, elsewhere a page takes its
/// place.
pub(crate) async fn put_in_place(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if is_api(request.uri().path()) {
        return next.run(request).await;
    }
    let who = request.extensions().get::<Who>().cloned().unwrap_or(Who::Nobody);
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Fault>() {
        Some(fault) => page(&app, &who, &fault).unwrap_or_else(IntoResponse::into_response),
        None => response,
    }
}

fn page(app: &App, who: &Who, fault: &Fault) -> Answer<Response> {
    let around = Surroundings::of(app, who);
    let failure = fault.failure();
    let container = fault.problem.container.as_deref().and_then(|id| app.supervisor.find(id).ok());
    let view = Problem {
        frame: around.frame(),
        status: fault.problem.status,
        title: &fault.problem.title,
        detail: &fault.problem.detail,
        failure: failure.as_ref(),
        container: container.as_ref().map(|container| container.config.name.as_str()),
    };
    let mut response = around.page_with(fault.status(), &view)?;
    if let Some(seconds) = fault.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    Ok(response)
}
