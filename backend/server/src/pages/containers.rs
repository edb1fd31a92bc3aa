//! The list of containers, the buttons of each, and the diary of all.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use belljar_api::query::Nothing;
use belljar_frontend::containers::{Findings, Known, List, Uppers};
use belljar_frontend::events::Events;
use belljar_model::machine::{Force, Request};
use belljar_model::{Container, Signal};
use belljar_store::EventQuery;
use belljar_supervisor::{Answer as Verdict, Supervisor};
use serde::Deserialize;

use crate::app::{App, Found};
use crate::extract::{Form, Query};
use crate::fault::{Answer, Fault};
use crate::pages::surroundings::{Deed, Surroundings, done};

/// Events on one page.
const EVENTS_SHOWN: u32 = 100;

pub(super) async fn list(State(app): State<Arc<App>>, around: Surroundings, Query(Nothing {}): Query<Nothing>) -> Answer<Response> {
    let (containers, usages, healths) = (app.supervisor.containers(), app.supervisor.usages(), app.supervisor.healths());
    let findings = findings(&app.supervisor, &containers);
    let uppers = uppers(&app.supervisor, &containers);
    let known = Known { usages: &usages, findings: &findings, healths: &healths, uppers: &uppers };
    around.page(&List { frame: around.frame(), containers: &containers, known })
}

/// The worst of what was found about each.
pub(crate) fn findings(supervisor: &Supervisor, containers: &[Container]) -> Findings {
    let of = |container: &Container| supervisor.finding(container).map(|finding| (container.id.clone(), finding));
    containers.iter().filter_map(of).collect()
}

/// What the own layer of each takes, where it was measured.
pub(crate) fn uppers(supervisor: &Supervisor, containers: &[Container]) -> Uppers {
    let of = |container: &Container| supervisor.upper_bytes(&container.id).map(|bytes| (container.id.clone(), bytes));
    containers.iter().filter_map(of).collect()
}

/// The query of a page of events.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Before {
    /// Only those recorded before this number.
    pub(super) before: Option<i64>,
}

/// One page of events, and where the next begins.
pub(super) async fn events_page(
    supervisor: &Supervisor,
    container: Option<&Container>,
    before: Option<i64>,
) -> Answer<(Vec<belljar_model::Event>, Option<i64>)> {
    let container = container.map(|container| container.id.clone());
    let events = supervisor.events(EventQuery { container, before_id: before, after_id: None, limit: EVENTS_SHOWN }).await?;
    let is_full = events.len() >= EVENTS_SHOWN as usize;
    let older = events.last().filter(|_| is_full).map(|event| event.id);
    Ok((events, older))
}

pub(super) async fn events(State(app): State<Arc<App>>, around: Surroundings, Query(Before { before }): Query<Before>) -> Answer<Response> {
    let (events, older) = events_page(&app.supervisor, None, before).await?;
    around.page(&Events { frame: around.frame(), events: &events, before, older })
}

/// What a button sends beside its path.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Button {
    /// `list` where the button stood in the list.
    back: String,
    /// `yes` where a container that runs is to be killed and deleted.
    force: String,
}

impl Button {
    fn page_after(&self, container: &Container) -> String {
        if self.back == "list" { "/containers".to_owned() } else { format!("/containers/{}", container.config.name) }
    }
}

pub(super) async fn start(State(app): State<Arc<App>>, Found(container): Found, Form(button): Form<Button>) -> Answer<Response> {
    press(&app, &container, (Request::Start, Deed::Started), &button).await
}

pub(super) async fn stop(State(app): State<Arc<App>>, Found(container): Found, Form(button): Form<Button>) -> Answer<Response> {
    press(&app, &container, (Request::Stop, Deed::Stopped), &button).await
}

pub(super) async fn kill(State(app): State<Arc<App>>, Found(container): Found, Form(button): Form<Button>) -> Answer<Response> {
    press(&app, &container, (Request::Kill(Signal::KILL), Deed::Killed), &button).await
}

pub(super) async fn pause(State(app): State<Arc<App>>, Found(container): Found, Form(button): Form<Button>) -> Answer<Response> {
    press(&app, &container, (Request::Pause, Deed::Paused), &button).await
}

pub(super) async fn resume(State(app): State<Arc<App>>, Found(container): Found, Form(button): Form<Button>) -> Answer<Response> {
    press(&app, &container, (Request::Resume, Deed::Resumed), &button).await
}

pub(super) async fn restart(State(app): State<Arc<App>>, Found(container): Found, Form(button): Form<Button>) -> Answer<Response> {
    press(&app, &container, (Request::Restart, Deed::Restarted), &button).await
}

async fn press(app: &App, container: &Container, (request, deed): (Request, Deed), button: &Button) -> Answer<Response> {
    let asked = app.supervisor.ask(&container.id, request).await;
    let deed = match asked.map_err(|error| Fault::of(container, error))? {
        Verdict::Done(_) => deed,
        Verdict::AlreadySo(_) => Deed::AlreadySo,
    };
    Ok(done(deed, container.config.name.as_str(), &button.page_after(container)))
}

pub(super) async fn delete(State(app): State<Arc<App>>, Found(container): Found, Form(button): Form<Button>) -> Answer<Response> {
    let force = if button.force == "yes" { Force::Yes } else { Force::No };
    app.supervisor.ask(&container.id, Request::Delete(force)).await.map_err(|error| Fault::of(&container, error))?;
    Ok(done(Deed::Deleted, container.config.name.as_str(), "/containers"))
}
