//! Events: as a list, newest first, or as a stream of what happens (`text/event-stream`), oldest first.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use belljar_api::Event;
use belljar_api::query::{EVENTS_MAX, Events};
use belljar_model::{ContainerId, Invalid, event as model};
use belljar_store::EventQuery;
use belljar_supervisor::{Notice, Supervisor};
use futures_util::stream::{StreamExt, unfold};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::app::{App, Found, KEEP_ALIVE};
use crate::extract::Query;
use crate::fault::{Answer, Fault, chain};

pub(super) async fn of_all(State(app): State<Arc<App>>, headers: HeaderMap, Query(query): Query<Events>) -> Answer<Response> {
    let container = query.container.as_deref().map(|key| named(&app.supervisor, key)).transpose()?;
    answer(&app, &headers, container, &query).await
}

pub(super) async fn of_container(
    State(app): State<Arc<App>>,
    Found(container): Found,
    headers: HeaderMap,
    Query(query): Query<Events>,
) -> Answer<Response> {
    if query.container.is_some() {
        return Err(Invalid::new("container", "is named by the path already").into());
    }
    answer(&app, &headers, Some(container.id), &query).await
}

/// A container that exists; or one that is gone, by its whole id.
fn named(supervisor: &Supervisor, key: &str) -> Answer<ContainerId> {
    match supervisor.find(key) {
        Ok(container) => Ok(container.id),
        Err(error) => key.parse().map_err(|_| Fault::from(error)),
    }
}

async fn answer(app: &App, headers: &HeaderMap, container: Option<ContainerId>, query: &Events) -> Answer<Response> {
    if query.limit.is_some_and(|limit| !(1..=EVENTS_MAX).contains(&limit)) {
        return Err(Invalid::new("limit", format!("must be 1 to {EVENTS_MAX}")).into());
    }
    if query.follow.is_on() {
        let seen = query.after.or_else(|| last_seen(headers));
        return follow(app, container, seen).await;
    }
    let query = EventQuery { container, before_id: query.before, after_id: query.after, limit: query.limit.unwrap_or(EVENTS_MAX) };
    let events = app.supervisor.events(query).await?;
    Ok(Json(events.into_iter().map(Event::from).collect::<Vec<_>>()).into_response())
}

/// What a browser's `EventSource` says when it comes back.
fn last_seen(headers: &HeaderMap) -> Option<i64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// Events as they are recorded, each once, in order.
struct Follower {
    supervisor: Supervisor,
    notices: broadcast::Receiver<Notice>,
    container: Option<ContainerId>,
    /// The number of the last event that was sent.
    seen: i64,
    waiting: VecDeque<model::Event>,
}

impl Follower {
    async fn next(&mut self) -> Result<Option<model::Event>, belljar_supervisor::Error> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.seen = self.seen.max(event.id);
                return Ok(Some(event));
            }
            match self.notices.recv().await {
                Ok(Notice::Event(event)) if event.id > self.seen && self.is_asked(&event) => self.waiting.push_back(event),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.look().await?,
                Err(RecvError::Closed) => return Ok(None),
            }
        }
    }

    fn is_asked(&self, event: &model::Event) -> bool {
        self.container.is_none() || self.container == event.container
    }

    /// Everything since the last that was sent, from the database.
    async fn look(&mut self) -> Result<(), belljar_supervisor::Error> {
        let query = EventQuery { container: self.container.clone(), before_id: None, after_id: Some(self.seen), limit: EVENTS_MAX };
        self.waiting.extend(self.supervisor.events(query).await?.into_iter().rev());
        Ok(())
    }
}

async fn follow(app: &App, container: Option<ContainerId>, seen: Option<i64>) -> Answer<Response> {
    let (supervisor, notices) = (app.supervisor.clone(), app.supervisor.watch());
    let mut follower = Follower { supervisor, notices, container, seen: seen.unwrap_or(0), waiting: VecDeque::new() };
    if seen.is_some() {
        follower.look().await?;
    }
    let messages = unfold(follower, |mut follower| async move {
        match follower.next().await {
            Ok(event) => Some((Ok::<_, Infallible>(message(event?)), follower)),
            Err(error) => {
                tracing::error!(error = %chain(&error), "events could not be followed on");
                None
            }
        }
    });
    let messages = messages.take_until(app.ending.clone().cancelled_owned());
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn message(event: model::Event) -> Message {
    let id = event.id.to_string();
    // Texts and numbers, which always can be written.
    let json = serde_json::to_string(&Event::from(event)).unwrap_or_default();
    Message::default().id(id).data(json)
}
