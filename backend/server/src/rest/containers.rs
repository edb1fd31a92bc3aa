//! Containers: create, list, inspect, delete, and what can be asked of one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use belljar_api::problem::Kind;
use belljar_api::query::{self, Nothing};
use belljar_api::{Container, CreateRequest, Health};
use belljar_model::container::STOP_GRACE_MS_MAX;
use belljar_model::machine::{Force, Request};
use belljar_model::{Change, Invalid, container as model};
use belljar_supervisor::{StartNow, Supervisor};

use crate::app::{App, Found};
use crate::extract::{Document, Query};
use crate::fault::{Answer, Fault};
use crate::{name, now_ms};

/// Creates what was asked for, under a name that is made up where none was given. Pages do it in the same way.
pub(crate) async fn create_container(supervisor: &Supervisor, request: CreateRequest) -> Answer<model::Container> {
    let start = if request.start { StartNow::Yes } else { StartNow::No };
    let made_up = name::make_up(|name| supervisor.find(name).is_ok()).map_err(|error| Fault::internal(&error))?;
    let draft = request.into_draft(|| made_up)?;
    Ok(supervisor.create(draft, start).await?)
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Query(Nothing {}): Query<Nothing>,
    Document(request): Document<CreateRequest>,
) -> Answer<Response> {
    let container = create_container(&app.supervisor, request).await?;
    let location = format!("{}/containers/{}", belljar_api::ROOT, container.id);
    let body = Json(Container::at(&container, now_ms()));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body).into_response())
}

pub(super) async fn list(State(app): State<Arc<App>>, Query(query): Query<query::List>) -> Json<Vec<Container>> {
    let now_ms = now_ms();
    let (mut usages, healths) = (app.supervisor.usages(), app.supervisor.healths());
    let containers = app.supervisor.containers();
    let asked = containers.iter().filter(|container| query.state.is_none_or(|state| state == container.state));
    let with_usage = |container: &model::Container| {
        let usage = usages.remove(&container.id).map(Into::into);
        let health = healths.get(&container.id).map(|health| Health::brief(health)).unwrap_or_default();
        let upper_bytes = app.supervisor.upper_bytes(&container.id);
        Container { usage, health, finding: finding(&app, container), upper_bytes, ..Container::at(container, now_ms) }
    };
    Json(asked.map(with_usage).collect())
}

pub(super) async fn inspect(State(app): State<Arc<App>>, Found(container): Found, Query(Nothing {}): Query<Nothing>) -> Json<Container> {
    let health = app.supervisor.health(&container.id).as_ref().into();
    let upper_bytes = app.supervisor.upper_bytes(&container.id);
    Json(Container { health, finding: finding(&app, &container), upper_bytes, ..Container::at(&container, now_ms()) })
}

/// The worst that there is to say about it.
fn finding(app: &App, container: &model::Container) -> Option<String> {
    app.supervisor.finding(container).map(|finding| finding.text)
}

pub(super) async fn change(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
    Document(change): Document<Change>,
) -> Answer<Json<Container>> {
    let changed = app.supervisor.change(&container.id, change).await.map_err(|error| Fault::of(&container, error))?;
    Ok(Json(Container::at(&changed, now_ms())))
}

pub(super) async fn delete(State(app): State<Arc<App>>, Found(container): Found, Query(query): Query<query::Delete>) -> Answer<StatusCode> {
    let force = if query.force.is_on() { Force::Yes } else { Force::No };
    ask(&app, &container, Request::Delete(force)).await
}

pub(super) async fn start(State(app): State<Arc<App>>, Found(container): Found, Query(Nothing {}): Query<Nothing>) -> Answer<StatusCode> {
    ask(&app, &container, Request::Start).await
}

pub(super) async fn stop(State(app): State<Arc<App>>, Found(container): Found, Query(query): Query<query::Stop>) -> Answer<StatusCode> {
    ask_within(&app, &container, Request::Stop, query).await
}

pub(super) async fn restart(State(app): State<Arc<App>>, Found(container): Found, Query(query): Query<query::Stop>) -> Answer<StatusCode> {
    ask_within(&app, &container, Request::Restart, query).await
}

pub(super) async fn kill(State(app): State<Arc<App>>, Found(container): Found, Query(query): Query<query::Kill>) -> Answer<StatusCode> {
    ask(&app, &container, Request::Kill(query.signal()?)).await
}

pub(super) async fn pause(State(app): State<Arc<App>>, Found(container): Found, Query(Nothing {}): Query<Nothing>) -> Answer<StatusCode> {
    ask(&app, &container, Request::Pause).await
}

pub(super) async fn resume(State(app): State<Arc<App>>, Found(container): Found, Query(Nothing {}): Query<Nothing>) -> Answer<StatusCode> {
    ask(&app, &container, Request::Resume).await
}

async fn ask(app: &App, container: &model::Container, request: Request) -> Answer<StatusCode> {
    app.supervisor.ask(&container.id, request).await.map_err(|error| Fault::of(container, error))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn ask_within(app: &App, container: &model::Container, request: Request, query: query::Stop) -> Answer<StatusCode> {
    let Some(grace_ms) = query.grace_ms else { return ask(app, container, request).await };
    if grace_ms > STOP_GRACE_MS_MAX {
        return Err(Invalid::new("grace_ms", format!("must be at most {STOP_GRACE_MS_MAX}")).into());
    }
    let asked = app.supervisor.ask_within(&container.id, request, grace_ms).await;
    asked.map_err(|error| Fault::of(container, error))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn wait(
    State(app): State<Arc<App>>,
    Found(container): Found,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Json<Container>> {
    tokio::select! {
        ended = app.supervisor.wait(&container.id) => Ok(Json(Container::at(&ended?, now_ms()))),
        () = app.ending.cancelled() => Err(Fault::new(Kind::Unavailable, "Belljar ends; the container keeps running")),
    }
}
