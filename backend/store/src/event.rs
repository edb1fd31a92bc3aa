//! The diary: events are written with what they tell of, and read newest first.

use belljar_model::{ContainerId, Event, EventKind, NewEvent};
use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::writer::{arguments, batch};
use crate::{Durability, Error, Store};

/// Most events of one answer.
pub const EVENTS_PAGE_MAX: u32 = 1000;
/// Most events that are kept: the oldest make room.
pub const EVENTS_KEPT: u32 = 100_000;

/// Which events, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// Only of this container.
    pub container: Option<ContainerId>,
    /// Only with a smaller number: the next page of an earlier answer.
    pub before_id: Option<i64>,
    /// Only with a larger number: what is new since an earlier answer.
    pub after_id: Option<i64>,
    /// At most so many; never more than [`EVENTS_PAGE_MAX`].
    pub limit: u32,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self { container: None, before_id: None, after_id: None, limit: 100 }
    }
}

/// Statements that write the events in parameter `?1`, a JSON array of [`EventRow`], and let the oldest go. They return the
/// new numbers.
macro_rules! write_events {
    () => {
        "INSERT INTO events (at_ms, kind, container_id, subject, message) \
         SELECT value ->> 'at_ms', value ->> 'kind', value ->> 'container_id', value ->> 'subject', value ->> 'message' \
         FROM json_each(?1) ORDER BY key RETURNING id; \
         DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - 100000"
    };
}
pub(crate) use write_events;

#[derive(Serialize)]
struct EventRow<'a> {
    at_ms: i64,
    kind: &'static str,
    container_id: Option<&'a str>,
    subject: &'a str,
    message: &'a str,
}

impl<'a> EventRow<'a> {
    fn of(event: &'a NewEvent) -> Self {
        let NewEvent { at_ms, kind, container, subject, message } = event;
        let container_id = container.as_ref().map(ContainerId::as_str);
        Self { at_ms: *at_ms, kind: kind.as_str(), container_id, subject, message }
    }
}

/// The parameter of [`write_events`]. Numbers, words and texts always have a form in JSON.
pub(crate) fn to_json(events: &[NewEvent]) -> String {
    let rows: Vec<EventRow<'_>> = events.iter().map(EventRow::of).collect();
    serde_json::to_string(&rows).unwrap_or_else(|_| "[]".to_owned())
}

/// The events as recorded: `rows` are what [`write_events`] returned.
pub(crate) fn recorded(events: Vec<NewEvent>, rows: &[SqliteRow]) -> Result<Vec<Event>, sqlx::Error> {
    let mut ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    // The order of RETURNING is not promised; that numbers rise in the order of insertion is.
    ids.sort_unstable();
    let number = |(id, event)| {
        let NewEvent { at_ms, kind, container, subject, message } = event;
        Event { id, at_ms, kind, container, subject, message }
    };
    Ok(ids.into_iter().zip(events).map(number).collect())
}

const TELL: &str = batch!(write_events!());

impl Store {
    /// Records an event that changes nothing but the diary.
    pub async fn tell(&self, event: NewEvent, durability: Durability) -> Result<Option<Event>, Error> {
        let statement = Error::statement("record an event");
        let events = vec![event];
        let arguments = arguments!(to_json(&events)).map_err(&statement)?;
        let rows = self.writer.commit(TELL, arguments, durability).await.map_err(&statement)?;
        Ok(recorded(events, &rows).map_err(&statement)?.pop())
    }

    /// What happened, newest first.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<Event>, Error> {
        // Two statements: with `?1 IS NULL OR container_id = ?1` no index would be used.
        let of_all = "SELECT id, at_ms, kind, container_id, subject, message FROM events \
             WHERE ?1 IS NULL AND id < ?2 AND id > ?3 ORDER BY id DESC LIMIT ?4";
        let of_one = "SELECT id, at_ms, kind, container_id, subject, message FROM events \
             WHERE container_id = ?1 AND id < ?2 AND id > ?3 ORDER BY id DESC LIMIT ?4";
        let rows = sqlx::query(if query.container.is_some() { of_one } else { of_all })
            .bind(query.container.as_ref().map(ContainerId::as_str))
            .bind(query.before_id.unwrap_or(i64::MAX))
            .bind(query.after_id.unwrap_or(i64::MIN))
            .bind(query.limit.min(EVENTS_PAGE_MAX))
            .fetch_all(&self.readers)
            .await
            .map_err(Error::statement("read events"))?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &SqliteRow) -> Result<Event, Error> {
    let statement = Error::statement("read events");
    let column = |index| row.try_get::<String, _>(index);
    let id: i64 = row.try_get("id").map_err(&statement)?;
    let word = column("kind").map_err(&statement)?;
    let kind = EventKind::from_word(&word).ok_or_else(|| Error::word("events", id.to_string(), "kind", word))?;
    let container: Option<String> = row.try_get("container_id").map_err(&statement)?;
    let container = container.map(|text| text.parse()).transpose().map_err(Error::row("events", id.to_string(), "container_id"))?;
    Ok(Event {
        id,
        at_ms: row.try_get("at_ms").map_err(&statement)?,
        kind,
        container,
        subject: column("subject").map_err(&statement)?,
        message: column("message").map_err(&statement)?,
    })
}
