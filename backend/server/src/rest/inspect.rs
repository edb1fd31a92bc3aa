//! What a container is made of and uses.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use belljar_api::diagnosis::Finding;
use belljar_api::inspect::{Cgroup, Change, Denied, Entry, Mounts, Namespace, Overlay, Plan};
use belljar_api::query::{Files, Nothing, Stretch, UsageHistory};
use belljar_api::usage::Process;
use belljar_api::{EnforcedLimits, History, Usage};
use belljar_model::mount::absolute_path;

use crate::app::{App, Found, Remembered};
use crate::extract::Query;
use crate::fault::Answer;
use crate::now_ms;

/// A list of model types as a list of wire types.
fn all<Model, Wire: From<Model>>(list: Vec<Model>) -> Json<Vec<Wire>> {
    Json(list.into_iter().map(Wire::from).collect())
}

pub(super) async fn usage(State(app): State<Arc<App>>, Found(container): Found, Query(Nothing {}): Query<Nothing>) -> Answer<Json<Usage>> {
    Ok(Json(app.supervisor.usage(&container.id).await?.into()))
}

pub(super) async fn diagnosis(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Vec<Finding>>> {
    Ok(all(app.supervisor.diagnosis(&container.id).await?))
}

pub(super) async fn history(
    State(app): State<Arc<App>>,
    Remembered(id): Remembered,
    Query(query): Query<UsageHistory>,
) -> Answer<Json<History>> {
    let Stretch { from_ms, to_ms, step_ms } = query.stretch(now_ms())?;
    let history = app.supervisor.history(&id, from_ms, to_ms, step_ms).await?;
    let suggestion = app.supervisor.suggestion(&id).await?;
    Ok(Json(History::new(history, suggestion.map(|finding| finding.text))))
}

pub(super) async fn limits(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<EnforcedLimits>> {
    let enforced = app.supervisor.enforced(&container.id).await?;
    Ok(Json(EnforcedLimits { asked: container.config.limits, enforced }))
}

pub(super) async fn processes(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Vec<Process>>> {
    Ok(all(app.supervisor.processes(&container.id).await?))
}

pub(super) async fn namespaces(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Vec<Namespace>>> {
    Ok(all(app.supervisor.namespaces(&container.id).await?))
}

pub(super) async fn mounts(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Mounts>> {
    Ok(Json(app.supervisor.mounts(&container.id).await?.into()))
}

pub(super) async fn cgroup(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Cgroup>> {
    Ok(Json(app.supervisor.cgroup(&container.id).await?.into()))
}

pub(super) async fn overlay(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Overlay>> {
    Ok(Json(app.supervisor.overlay(&container.id).await?.into()))
}

pub(super) async fn files(State(app): State<Arc<App>>, Found(container): Found, Query(query): Query<Files>) -> Answer<Json<Vec<Entry>>> {
    absolute_path("path", &query.path)?;
    Ok(all(app.supervisor.entries(&container.id, &query.path).await?))
}

pub(super) async fn changes(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Vec<Change>>> {
    Ok(all(app.supervisor.changes(&container.id).await?))
}

pub(super) async fn plan(State(app): State<Arc<App>>, Found(container): Found, Query(Nothing {}): Query<Nothing>) -> Answer<Json<Plan>> {
    Ok(Json(app.supervisor.plan(&container.id).await?.into()))
}

pub(super) async fn denied(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Vec<Denied>>> {
    Ok(all(app.supervisor.denied(&container.id).await?))
}
