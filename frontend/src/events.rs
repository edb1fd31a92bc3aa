//! Events: everything that happened, newest first.

use askama::Template;
use belljar_model::Event;

use crate::frame::{Page, Section};
use crate::live::Stream;
use crate::{Error, Frame, Part, figure, words};

/// The page `/events`.
#[derive(Template)]
#[template(path = "events.html")]
pub struct Events<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Newest first.
    pub events: &'a [Event],
    /// Where the page begins (`?before=`); only the newest page, which begins nowhere, shows what happens from now on.
    pub before: Option<i64>,
    /// The `before_id` of the next, older page (`?before=`); `None` where there is none.
    pub older: Option<i64>,
}

impl Page for Events<'_> {
    fn title(&self) -> String {
        "Events".into()
    }

    fn section(&self) -> Section {
        Section::Events
    }

    fn live(&self) -> Option<Stream<'_>> {
        self.before.is_none().then_some(Stream::Events)
    }
}

impl<'a> Events<'a> {
    fn table(&self) -> Part<Table<'a>> {
        Part(Table { events: self.events, now_ms: self.frame.now_ms })
    }
}

/// The table of events: the first message of a stream of events.
pub fn table(events: &[Event], now_ms: i64) -> Result<String, Error> {
    Table { events, now_ms }.render()
}

/// One event, put at the table's beginning.
pub fn row(event: &Event, now_ms: i64) -> Result<String, Error> {
    Row { event, now_ms }.render()
}

#[derive(Template)]
#[template(path = "events/table.html")]
pub(crate) struct Table<'a> {
    pub(crate) events: &'a [Event],
    pub(crate) now_ms: i64,
}

impl<'a> Table<'a> {
    fn rows(&self) -> impl Iterator<Item = Part<Row<'a>>> {
        let now_ms = self.now_ms;
        self.events.iter().map(move |event| Part(Row { event, now_ms }))
    }
}

#[derive(Template)]
#[template(path = "events/row.html")]
struct Row<'a> {
    event: &'a Event,
    now_ms: i64,
}
