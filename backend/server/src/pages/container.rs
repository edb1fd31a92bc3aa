//! The pages of one container.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use belljar_api::query::{Files, Nothing};
use belljar_frontend::container as view;
use belljar_model::diagnosis::{Finding, FindingKind};
use belljar_model::history::History;
use belljar_model::log::Stream;
use belljar_model::mount::absolute_path;
use belljar_model::{Container, ContainerId, Event};
use belljar_store::EventQuery;
use belljar_supervisor::LogQuery;
use serde::Deserialize;

use crate::app::{App, Found, Remembered};
use crate::extract::Query;
use crate::fault::Answer;
use crate::now_ms;
use crate::pages::containers::{Before, events_page};
use crate::pages::surroundings::Surroundings;

/// Lines of a log where no number is asked for.
const LINES_SHOWN: usize = 100;
/// Most lines of a log on a page.
const LINES_SHOWN_MAX: usize = 10_000;

/// Events that may be marks on the charts.
const MARKS_MAX: u32 = 500;

/// The query of a container's page: how far back it looks.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Back {
    range: Option<view::Range>,
}

/// What is remembered of that time, and what happened in it.
async fn past(app: &App, id: &ContainerId, range: view::Range) -> Answer<(History, Vec<Event>)> {
    let query = EventQuery { container: Some(id.clone()), before_id: None, after_id: None, limit: MARKS_MAX };
    let events = app.supervisor.events(query).await?;
    let now_ms = now_ms();
    let remembered = app.supervisor.history(id, now_ms - range.length_ms(), now_ms, range.step_ms()).await?;
    Ok((History { step_ms: remembered.step_ms, points: remembered.points }, events))
}

/// `GET /containers/{container}/history?range=`: what the page's script draws; also of one that is gone.
pub(super) async fn history(
    State(app): State<Arc<App>>,
    Remembered(id): Remembered,
    Query(Back { range }): Query<Back>,
) -> Answer<Json<view::Drawing>> {
    let range = range.unwrap_or_default();
    let (history, events) = past(&app, &id, range).await?;
    Ok(Json(view::Past { range, history: &history, events: &events }.drawing(now_ms())))
}

/// What was found about it, and what its limits could be.
pub(super) async fn findings(app: &App, container: &Container) -> Answer<Vec<Finding>> {
    let mut findings = app.supervisor.diagnosis(&container.id).await?;
    if findings.iter().all(|finding| finding.kind != FindingKind::Suggestion) {
        findings.extend(app.supervisor.suggestion(&container.id).await?);
    }
    Ok(findings)
}

pub(super) async fn overview(
    State(app): State<Arc<App>>,
    Remembered(id): Remembered,
    around: Surroundings,
    Query(Back { range }): Query<Back>,
) -> Answer<Response> {
    let Ok(container) = app.supervisor.find(id.as_str()) else {
        return gone(&app, &id, &around, range).await;
    };
    let range = range.unwrap_or_default();
    let (usage, processes) = if container.state.is_alive() {
        (Some(app.supervisor.usage(&container.id).await?), app.supervisor.processes(&container.id).await?)
    } else {
        (None, Vec::new())
    };
    let denied = app.supervisor.denied(&container.id).await?;
    let findings = findings(&app, &container).await?;
    let health = app.supervisor.health(&id);
    let (history, events) = past(&app, &id, range).await?;
    let (frame, usage, past) = (around.frame(), usage.as_ref(), view::Past { range, history: &history, events: &events });
    let (container, processes, denied, findings, health) = (&container, &processes, &denied, &findings, &*health);
    around.page(&view::Overview { frame, container, usage, processes, denied, findings, health, past })
}

/// Where nothing else is asked for, it looks back as far as to its beginning.
async fn gone(app: &App, id: &ContainerId, around: &Surroundings, range: Option<view::Range>) -> Answer<Response> {
    let range = match range {
        Some(range) => range,
        None => {
            let (_, events) = past(app, id, view::Range::Month).await?;
            let age_ms = events.last().map_or(i64::MAX, |first| now_ms() - first.at_ms);
            view::Range::ALL.into_iter().find(|range| range.length_ms() > age_ms).unwrap_or(view::Range::Month)
        }
    };
    let (history, events) = past(app, id, range).await?;
    around.page(&view::Gone { frame: around.frame(), id, past: view::Past { range, history: &history, events: &events } })
}

pub(super) async fn namespaces(
    State(app): State<Arc<App>>,
    Found(container): Found,
    around: Surroundings,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Response> {
    let namespaces = app.supervisor.namespaces(&container.id).await?;
    around.page(&view::Namespaces { frame: around.frame(), container: &container, namespaces: &namespaces })
}

pub(super) async fn mounts(
    State(app): State<Arc<App>>,
    Found(container): Found,
    around: Surroundings,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Response> {
    let mounts = app.supervisor.mounts(&container.id).await?;
    around.page(&view::MountsPage { frame: around.frame(), container: &container, mounts: &mounts })
}

pub(super) async fn cgroup(
    State(app): State<Arc<App>>,
    Found(container): Found,
    around: Surroundings,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Response> {
    let cgroup = match container.state.is_alive() {
        true => Some(app.supervisor.cgroup(&container.id).await?),
        false => None,
    };
    around.page(&view::CgroupPage { frame: around.frame(), container: &container, cgroup: cgroup.as_ref() })
}

pub(super) async fn overlay(
    State(app): State<Arc<App>>,
    Found(container): Found,
    around: Surroundings,
    Query(Files { path }): Query<Files>,
) -> Answer<Response> {
    absolute_path("path", &path)?;
    let stack = app.supervisor.overlay(&container.id).await?;
    let entries = app.supervisor.entries(&container.id, &path).await?;
    // The tree is worth a page of its own where the changes are too many to list.
    let changes = app.supervisor.changes(&container.id).await.map_err(|error| crate::fault::chain(&error));
    let changes = match &changes {
        Ok(changes) => view::Changes::Known(changes),
        Err(because) => view::Changes::Unknown(because),
    };
    around.page(&view::Overlay { frame: around.frame(), container: &container, stack: &stack, path: &path, entries: &entries, changes })
}

/// The query of a log's page: its filter, as the form sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Filter {
    /// Most lines.
    pub(crate) tail: Option<u32>,
    /// `stdout` or `stderr`; empty for both.
    pub(crate) stream: String,
}

impl Filter {
    /// The filter, within the limits of a page.
    pub(crate) fn read(&self) -> view::Filter {
        let tail = self.tail.and_then(|tail| usize::try_from(tail).ok()).unwrap_or(LINES_SHOWN).min(LINES_SHOWN_MAX);
        let stream = [Stream::Stdout, Stream::Stderr].into_iter().find(|stream| stream.as_str() == self.stream);
        view::Filter { tail, stream }
    }
}

pub(super) async fn logs(
    State(app): State<Arc<App>>,
    Found(container): Found,
    around: Surroundings,
    Query(filter): Query<Filter>,
) -> Answer<Response> {
    let filter = filter.read();
    let query = LogQuery { since_usec: None, tail: Some(filter.tail), stream: filter.stream };
    let lines = app.supervisor.logs(&container.id, query).await?;
    around.page(&view::Logs { frame: around.frame(), container: &container, filter, lines: &lines })
}

pub(super) async fn events(
    State(app): State<Arc<App>>,
    Found(container): Found,
    around: Surroundings,
    Query(Before { before }): Query<Before>,
) -> Answer<Response> {
    let (events, older) = events_page(&app.supervisor, Some(&container), before).await?;
    around.page(&view::Events { frame: around.frame(), container: &container, events: &events, before, older })
}

pub(super) async fn plan(
    State(app): State<Arc<App>>,
    Found(container): Found,
    around: Surroundings,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Response> {
    let plan = app.supervisor.plan(&container.id).await?;
    around.page(&view::Plan { frame: around.frame(), container: &container, plan: &plan })
}

pub(super) async fn delete(Found(container): Found, around: Surroundings, Query(Nothing {}): Query<Nothing>) -> Answer<Response> {
    around.page(&view::Delete { frame: around.frame(), container: &container })
}
