//! The pages: a request in, a view of `belljar_frontend` filled from the supervisor, HTML out.
//!
//! A form is a POST that is answered by 303 and a notice on the next page, or by the same page with the message at its
//! field. Nothing here needs JavaScript.

mod container;
mod containers;
mod create;
mod entry;
mod files;
mod images;
mod limits;
pub(crate) mod problem;
mod settings;
mod single;
mod surroundings;
mod volumes;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use belljar_api::query::Nothing;
use belljar_frontend::host::HostPage;

pub(crate) use container::Filter;
pub(crate) use containers::{findings, uppers};

use crate::VERSION;
use crate::app::App;
use crate::extract::Query;
use crate::fault::Answer;
use crate::pages::surroundings::Surroundings;

/// Every page, and every form of one.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/containers") }))
        .route("/login", get(entry::login).post(entry::log_in))
        .route("/setup", get(entry::setup).post(entry::set_up))
        .route("/logout", post(entry::log_out))
        .route("/containers", get(containers::list).post(create::submit))
        .route("/containers/new", get(create::form))
        .route("/containers/{container}", get(container::overview))
        .route("/containers/{container}/history", get(container::history))
        .route("/containers/{container}/limits", get(limits::show).post(limits::submit))
        .route("/containers/{container}/namespaces", get(container::namespaces))
        .route("/containers/{container}/mounts", get(container::mounts))
        .route("/containers/{container}/cgroup", get(container::cgroup))
        .route("/containers/{container}/overlay", get(container::overlay))
        .route("/containers/{container}/overlay/difference", get(files::difference))
        .route("/containers/{container}/overlay/download", get(files::download))
        .route("/containers/{container}/overlay/undo", post(files::undo))
        .route("/containers/{container}/overlay/reset", post(files::reset))
        .route("/containers/{container}/overlay/upload", post(files::upload).layer(DefaultBodyLimit::disable()))
        .route("/containers/{container}/logs", get(container::logs))
        .route("/containers/{container}/events", get(container::events))
        .route("/containers/{container}/plan", get(container::plan))
        .route("/containers/{container}/start", post(containers::start))
        .route("/containers/{container}/stop", post(containers::stop))
        .route("/containers/{container}/kill", post(containers::kill))
        .route("/containers/{container}/pause", post(containers::pause))
        .route("/containers/{container}/resume", post(containers::resume))
        .route("/containers/{container}/restart", post(containers::restart))
        .route("/containers/{container}/delete", get(container::delete).post(containers::delete))
        .route("/images", get(images::list))
        .route("/images/import", post(images::import).layer(DefaultBodyLimit::disable()))
        .route("/images/pull", post(images::pull))
        .route("/images/pull/cancel", post(images::cancel_pull))
        .route("/images/pull/dismiss", post(images::dismiss_pull))
        .route("/images/export", get(images::export))
        .route("/images/verify", post(images::verify))
        .route("/images/delete", post(images::delete))
        .route("/images/tag", post(images::tag))
        .route("/images/prune", get(images::prunable).post(images::prune))
        .route("/image", get(images::one))
        .route("/prune/volumes", get(volumes::prunable).post(volumes::prune))
        .route("/volumes", get(volumes::list).post(volumes::create))
        .route("/volumes/{volume}", get(volumes::browse))
        .route("/volumes/{volume}/file", get(volumes::file))
        .route("/volumes/{volume}/delete", post(volumes::delete))
        .route("/events", get(containers::events))
        .route("/host", get(host))
        .route("/settings", get(settings::show))
        .route("/settings/tokens", post(settings::create_token))
        .route("/settings/tokens/delete", post(settings::delete_token))
        .route("/settings/registries", post(settings::log_in))
        .route("/settings/registries/delete", post(settings::log_out))
        .route("/settings/password", post(settings::change_password))
}

async fn host(State(app): State<Arc<App>>, around: Surroundings, Query(Nothing {}): Query<Nothing>) -> Answer<Response> {
    let alive = app.supervisor.containers().iter().filter(|container| container.state.is_alive()).count();
    let (host, pressure) = (app.supervisor.host(), app.supervisor.pressure());
    around.page(&HostPage { frame: around.frame(), host: &host, pressure: pressure.as_ref(), alive, version: VERSION })
}
