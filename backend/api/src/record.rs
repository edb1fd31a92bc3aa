//! What was recorded: events, lines of a log.

use belljar_model::log::Stream;
use belljar_model::{EventKind, event, log};
use serde::{Deserialize, Serialize};

use crate::time;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Number in order of recording.
    pub id: i64,
    /// When.
    #[serde(rename = "at", with = "time::millis")]
    pub at_ms: i64,
    /// What kind.
    pub kind: EventKind,
    /// The container it is about.
    pub container_id: Option<String>,
    /// Name of the container or image at that time.
    pub subject: String,
    /// One sentence for a person.
    pub message: String,
}

impl From<event::Event> for Event {
    fn from(event: event::Event) -> Self {
        let event::Event { id, at_ms, kind, container, subject, message } = event;
        Self { id, at_ms, kind, container_id: container.map(String::from), subject, message }
    }
}

/// A line that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When the monitor read it, to the microsecond.
    #[serde(rename = "at", with = "time::micros")]
    pub at_usec: i64,
    /// `stdout` or `stderr`.
    pub stream: Stream,
    /// Without its line end; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Whether the line goes on in the next one.
    pub partial: bool,
}

impl From<log::LogLine> for LogLine {
    fn from(line: log::LogLine) -> Self {
        let log::LogLine { at_usec, stream, text, partial } = line;
        Self { at_usec, stream, text, partial }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_keeps_its_microsecond() {
        let line = LogLine::from(log::LogLine { at_usec: 1_000_001, stream: Stream::Stderr, text: "x".into(), partial: false });
        let json = serde_json::to_string(&line).expect("JSON");
        assert_eq!(json, r#"{"at":"1970-01-01T00:00:01.000001Z","stream":"stderr","text":"x","partial":false}"#);
        assert_eq!(serde_json::from_str::<LogLine>(&json).expect("readable"), line);
    }

    #[test]
    fn an_event_names_its_container_by_id() {
        let event =
            event::Event { id: 1, at_ms: 0, kind: EventKind::OutOfMemory, container: None, subject: "web".into(), message: "m".into() };
        let json = serde_json::to_value(Event::from(event)).expect("JSON");
        assert_eq!((&json["kind"], &json["container_id"]), (&"out_of_memory".into(), &serde_json::Value::Null));
    }
}
