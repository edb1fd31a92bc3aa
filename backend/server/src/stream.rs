//! Live parts: the fragments of a page, sent again as they change (`GET /stream?page=…`, `text/event-stream`).
//!
//! The protocol is drawn in `belljar_frontend::live`. A stream first sends the whole part, since what happened while nobody
//! listened is lost; then it looks again whenever the supervisor says that there is something to look at. It never keeps
//! what it was told: after a lag it sends the whole part once more.

mod container;
mod images;
mod list;
mod one;
mod overlay;
mod volumes;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use belljar_api::problem::Kind;
use belljar_frontend::events;
use belljar_model::mount::absolute_path;
use belljar_model::{Container, ContainerId};
use belljar_store::EventQuery;
use belljar_supervisor::{Notice, Supervisor};
use futures_util::stream::{StreamExt, unfold};
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::app::{App, KEEP_ALIVE};
use crate::extract::Query;
use crate::fault::{Answer, Fault};
use crate::rest::volumes::existing;
use crate::{now_ms, pages};

/// Events in a table's first message, as on its page.
const EVENTS_SHOWN: u32 = 100;

/// Which page's parts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    page: Page,
    /// The container, where the page is one's.
    #[serde(default)]
    id: Option<String>,
    /// The filter of a log's page.
    #[serde(default)]
    tail: Option<u32>,
    #[serde(default)]
    stream: String,
    /// The image or volume, where the page is one's.
    #[serde(default)]
    name: String,
    /// The folder that is shown.
    #[serde(default)]
    path: String,
}

/// The pages that have live parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Page {
    Containers,
    Container,
    Limits,
    Logs,
    ContainerEvents,
    Events,
    Images,
    Mounts,
    Overlay,
    Image,
    Volume,
    Volumes,
}

/// Something for the page.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Elements that take the place of those with the same ids.
    Html(String),
    /// The id of an element that is gone.
    Gone(String),
}

impl Part {
    fn message(self) -> Message {
        match self {
            // A carriage return would end a line of the stream; in HTML it can be written as what it is.
            Part::Html(html) if html.contains('\r') => Message::default().data(html.replace('\r', "&#13;")),
            Part::Html(html) => Message::default().data(html),
            Part::Gone(id) => Message::default().event("gone").data(id),
        }
    }
}

/// Parts that wait to be sent.
type Parts = VecDeque<Part>;

/// What a page shows, and how it is told of a change.
enum View {
    List(list::List),
    Container(container::Live),
    Events,
    Images(images::Live),
    Volumes(volumes::Live),
    Image(one::Image),
    Volume(one::Volume),
    Overlay(overlay::Live),
}

impl View {
    /// The whole part.
    async fn first(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        match self {
            View::List(list) => list.first(supervisor, parts),
            View::Container(live) => live.first(supervisor, parts).await,
            View::Images(live) => live.first(supervisor, parts),
            View::Volumes(live) => live.first(supervisor, parts),
            View::Image(live) => live.look(supervisor, parts),
            View::Volume(live) => live.look(supervisor, parts).await,
            View::Overlay(live) => live.first(supervisor, parts).await,
            View::Events => {
                parts.push_back(Part::Html(events_table(supervisor, None).await?));
                Ok(())
            }
        }
    }

    /// What is new after this notice.
    async fn follow(&mut self, supervisor: &Supervisor, notice: Notice, parts: &mut Parts) -> Answer<()> {
        match (self, notice) {
            (View::List(list), notice) => list.follow(supervisor, notice, parts),
            (View::Images(live), notice) => live.follow(supervisor, notice, parts),
            (View::Volumes(live), notice) => live.follow(supervisor, notice, parts),
            (View::Image(live), Notice::Event(_) | Notice::Removed(_)) => live.look(supervisor, parts),
            (View::Image(_), _) => Ok(()),
            (View::Volume(live), Notice::Event(_) | Notice::Removed(_) | Notice::Sampled) => live.look(supervisor, parts).await,
            (View::Volume(_), _) => Ok(()),
            (View::Overlay(live), notice) => live.follow(supervisor, notice, parts).await,
            (View::Container(live), notice) => live.follow(supervisor, notice, parts).await,
            (View::Events, Notice::Event(event)) => {
                parts.push_back(Part::Html(events::row(&event, now_ms()).map_err(unrendered)?));
                Ok(())
            }
            (View::Events, _) => Ok(()),
        }
    }

    /// What is new without a notice: lines of a log. Never ready where there are none to come. Cancel safe.
    async fn lines(&mut self) -> Answer<Part> {
        match self {
            View::Container(live) => live.lines().await,
            View::Images(live) => live.pulls().await,
            View::List(_) | View::Events | View::Volumes(_) | View::Image(_) | View::Volume(_) | View::Overlay(_) => {
                std::future::pending().await
            }
        }
    }
}

/// The table of the newest events, of all or of one container.
async fn events_table(supervisor: &Supervisor, container: Option<ContainerId>) -> Answer<String> {
    let query = EventQuery { container, before_id: None, after_id: None, limit: EVENTS_SHOWN };
    events::table(&supervisor.events(query).await?, now_ms()).map_err(unrendered)
}

fn unrendered(error: belljar_frontend::Error) -> Fault {
    Fault::internal(&error)
}

/// One open stream.
struct Open {
    supervisor: Supervisor,
    notices: broadcast::Receiver<Notice>,
    view: View,
    waiting: Parts,
}

impl Open {
    /// The next part; `None` where the stream has come to its end.
    async fn next(&mut self) -> Answer<Option<Part>> {
        loop {
            if let Some(part) = self.waiting.pop_front() {
                return Ok(Some(part));
            }
            tokio::select! {
                notice = self.notices.recv() => match notice {
                    Ok(notice) => self.view.follow(&self.supervisor, notice, &mut self.waiting).await?,
                    Err(RecvError::Lagged(_)) => self.view.first(&self.supervisor, &mut self.waiting).await?,
                    Err(RecvError::Closed) => return Ok(None),
                },
                lines = self.view.lines() => self.waiting.push_back(lines?),
            }
        }
    }
}

/// `GET /stream`.
pub(crate) async fn open(State(app): State<Arc<App>>, Query(which): Query<Which>) -> Answer<Response> {
    let supervisor = app.supervisor.clone();
    // First listen, then look: what happens in between is told twice rather than never.
    let notices = supervisor.watch();
    let mut view = match which.page {
        Page::Containers => View::List(list::List::default()),
        Page::Container => View::Container(container::Live::new(named(&supervisor, which.id)?, container::Body::Usage)),
        Page::Limits => View::Container(container::Live::new(named(&supervisor, which.id)?, container::Body::Limits)),
        Page::Logs => {
            let filter = pages::Filter { tail: which.tail, stream: which.stream }.read();
            View::Container(container::Live::new(named(&supervisor, which.id)?, container::Body::logs(filter)))
        }
        Page::ContainerEvents => View::Container(container::Live::new(named(&supervisor, which.id)?, container::Body::Events)),
        Page::Events => View::Events,
        Page::Mounts => View::Container(container::Live::new(named(&supervisor, which.id)?, container::Body::Mounts)),
        Page::Overlay => {
            absolute_path("path", &which.path)?;
            View::Overlay(overlay::Live::new(named(&supervisor, which.id)?.id, which.path))
        }
        Page::Image => View::Image(one::Image::new(which.name)),
        Page::Volume => View::Volume(one::Volume::new(existing(&which.name)?, which.path)),
        Page::Volumes => View::Volumes(volumes::Live::default()),
        Page::Images => View::Images(images::Live::new(supervisor.clone())),
    };
    let mut waiting = Parts::new();
    view.first(&supervisor, &mut waiting).await?;
    let messages = unfold(Open { supervisor, notices, view, waiting }, |mut open| async move {
        // A fault has been logged; the browser opens the stream again and gets a proper answer then.
        let part = open.next().await.ok()??;
        Some((Ok::<_, Infallible>(part.message()), open))
    });
    let messages = messages.take_until(app.ending.clone().cancelled_owned());
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn named(supervisor: &Supervisor, key: Option<String>) -> Answer<Container> {
    let key = key.ok_or_else(|| Fault::from(belljar_api::Problem::new(Kind::Malformed, "id: is required").at_field("id")))?;
    Ok(supervisor.find(&key)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_every_page_can_be_asked_for() {
        use belljar_frontend::live::Stream;
        let id = ContainerId::from_bytes([1; 32]);
        let streams = [
            (Stream::Containers, Page::Containers),
            (Stream::Container(&id), Page::Container),
            (Stream::Limits(&id), Page::Limits),
            (Stream::Logs(&id, belljar_frontend::container::Filter { tail: 5, stream: None }), Page::Logs),
            (Stream::ContainerEvents(&id), Page::ContainerEvents),
            (Stream::Events, Page::Events),
            (Stream::Images, Page::Images),
            (Stream::Mounts(&id), Page::Mounts),
            (Stream::Overlay(&id, "/a b&c=\u{e4}"), Page::Overlay),
            (Stream::Image("registry.example:5000/me/web@sha256:ab"), Page::Image),
            (Stream::Volume("data", "a/b"), Page::Volume),
            (Stream::Volumes, Page::Volumes),
        ];
        for (stream, page) in streams {
            let address = stream.to_string();
            let query = address.strip_prefix("/stream?").expect("the route");
            let which: Which = belljar_api::query::parse(query).expect("it is taken");
            assert_eq!((which.page, which.id.is_some()), (page, address.contains("id=")));
            let path = [(Page::Overlay, "/a b&c=\u{e4}"), (Page::Volume, "a/b")].into_iter().find(|(of, _)| *of == page);
            assert_eq!(which.path, path.map_or("", |(_, path)| path));
        }
    }

    #[tokio::test]
    async fn hostile_text_cannot_end_a_message() {
        let part = Part::Html("<p>a\r\ndata: b\r\rc</p>".into());
        let stream = futures_util::stream::iter([Ok::<_, Infallible>(part.message())]);
        let body = Sse::new(stream).into_response().into_body();
        let bytes = axum::body::to_bytes(body, 1 << 10).await.expect("a body");
        let text = std::str::from_utf8(&bytes).expect("UTF-8");
        assert_eq!(text, "data: <p>a&#13;\ndata: data: b&#13;&#13;c</p>\n\n");
    }
}
