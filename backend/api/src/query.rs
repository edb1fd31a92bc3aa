//! Query strings: what may follow the `?`, by route. Unknown parameters are refused by name.
//!
//! A switch is on when it is named without a value: `?follow` is `?follow=true`.

use belljar_model::files::Owners;
use belljar_model::log::Stream;
use belljar_model::{Invalid, Signal, State};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::document::refuse;
use crate::problem::{Kind, Problem};
use crate::time;

/// Most events that one answer holds, and as many as it holds where no limit is given.
pub const EVENTS_MAX: u32 = 1000;
/// Most lines that one answer holds.
pub const LINES_MAX: u32 = 10_000;

/// Reads a query string (without its `?`).
pub fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = serde_urlencoded::from_str::<Vec<(String, String)>>(query)
        .map_err(|error| Problem::new(Kind::Malformed, format!("the query cannot be read: {error}")))?;
    let pairs = serde::de::value::MapDeserializer::new(pairs.into_iter().map(|(name, value)| (name, Parameter(value))));
    serde_path_to_error::deserialize(pairs)
        .map_err(|error: serde_path_to_error::Error<serde::de::value::Error>| refuse(&error.path().to_string(), &error.inner().to_string()))
}

/// Writes a query string (without its `?`).
pub fn write<T: Serialize>(query: &T) -> String {
    // Every type of this module is a flat structure of texts, numbers and switches, which always can be written.
    serde_urlencoded::to_string(query).unwrap_or_default()
}

/// The text of one parameter, from which numbers are read as numbers.
struct Parameter(String);

impl<'de> serde::de::IntoDeserializer<'de> for Parameter {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Parameter {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: serde::de::Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_enum(serde::de::value::StringDeserializer::new(self.0))
    }

    fn deserialize_u64<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let refuse = |_| Self::Error::custom(format_args!("{:?} is not a whole number, 0 or more", self.0));
        visitor.visit_u64(self.0.parse().map_err(refuse)?)
    }

    fn deserialize_u32<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_i64<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let refuse = |_| Self::Error::custom(format_args!("{:?} is not a whole number", self.0));
        visitor.visit_i64(self.0.parse().map_err(refuse)?)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// A switch of a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Switch {
    /// On.
    On,
    /// Off, which is what a missing one is.
    #[default]
    Off,
}

impl Switch {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == Switch::On
    }

    /// Whether it is off: what is off need not be written.
    pub fn is_off(&self) -> bool {
        *self == Switch::Off
    }
}

impl From<bool> for Switch {
    fn from(on: bool) -> Self {
        if on { Switch::On } else { Switch::Off }
    }
}

impl Serialize for Switch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_on() { "true" } else { "false" })
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "" | "true" | "1" => Ok(Switch::On),
            "false" | "0" => Ok(Switch::Off),
            other => Err(D::Error::custom(format_args!("{other:?} is neither true nor false"))),
        }
    }
}

/// A route without parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// `GET /containers`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
}

/// `DELETE /containers/{id}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Delete {
    /// Whether it is killed first where it runs.
    #[serde(skip_serializing_if = "Switch::is_off")]
    pub force: Switch,
}

/// `POST /containers/{id}/stop` and `…/restart`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// Milliseconds between the stop signal and the kill, this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// `POST /containers/{id}/kill`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kill {
    /// Name or number of the signal; `SIGKILL` where missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

impl Kill {
    /// The signal that is asked for.
    pub fn signal(&self) -> Result<Signal, Invalid> {
        self.signal.as_deref().map_or(Ok(Signal::KILL), str::parse)
    }
}

/// `POST /containers/{id}/exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exec {
    /// Whether its outputs come as they are written ([`crate::exec`]), instead of at its end.
    #[serde(skip_serializing_if = "Switch::is_off")]
    pub stream: Switch,
}

/// `GET /containers/{id}/logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// Whether the answer goes on with what is written from now on.
    #[serde(skip_serializing_if = "Switch::is_off")]
    pub follow: Switch,
    /// Only what was written at this moment (RFC 3339) or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only the last so many lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Only `stdout` or `stderr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
}

impl Logs {
    /// The moment of `since`, in Unix microseconds.
    pub fn since_usec(&self) -> Result<Option<i64>, Invalid> {
        let read = |text: &String| {
            time::to_micros(text).ok_or_else(|| Invalid::new("since", format!("{text:?} is not a moment such as 2026-11-23T21:31:20Z")))
        };
        self.since.as_ref().map(read).transpose()
    }
}

/// `GET /containers/{id}/usage/history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsageHistory {
    /// From this moment on (RFC 3339, or Unix milliseconds); an hour before `to` where missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until then; now where missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// In slots of at least this length, at most an hour: seconds, or `10s`, `1m`, `10m`, `1h`; as short as they are known where missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// A stretch of a past, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its beginning, in Unix milliseconds.
    pub from_ms: i64,
    /// Its end.
    pub to_ms: i64,
    /// Least length of a slot; 0 where any will do.
    pub step_ms: i64,
}

impl UsageHistory {
    /// What is asked for at the moment `now_ms`.
    pub fn stretch(&self, now_ms: i64) -> Result<Stretch, Invalid> {
        const HOUR_MS: i64 = 3_600_000;
        let moment = |field: &str, text: &Option<String>| text.as_deref().map(|text| moment(field, text)).transpose();
        let to_ms = moment("to", &self.to)?.unwrap_or(now_ms);
        let from_ms = moment("from", &self.from)?.unwrap_or(to_ms.saturating_sub(HOUR_MS));
        if from_ms >= to_ms {
            return Err(Invalid::new("from", "must be before to, which is now where it is not given"));
        }
        let step_ms = self.step.as_deref().map(|text| time::length_ms("step", text)).transpose()?.unwrap_or(0);
        if step_ms > HOUR_MS {
            return Err(Invalid::new("step", "must be at most 1h: nothing is remembered in longer slots"));
        }
        Ok(Stretch { from_ms, to_ms, step_ms })
    }
}

/// Reads a moment as RFC 3339, or as Unix milliseconds.
fn moment(field: &str, text: &str) -> Result<i64, Invalid> {
    let problem = || Invalid::new(field, format!("{text:?} is neither a moment such as 2026-11-23T21:31:20Z nor Unix milliseconds"));
    text.parse().ok().or_else(|| time::to_millis(text)).ok_or_else(problem)
}

/// `GET /containers/{id}/overlay/files`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Folder in the container, absolute; `/` where missing.
    #[serde(default = "root")]
    pub path: String,
}

fn root() -> String {
    "/".to_owned()
}

/// `GET /containers/{id}/overlay/difference`, `GET` and `HEAD /containers/{id}/archive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// A path in the container, absolute.
    pub path: String,
}

/// `PUT /containers/{id}/archive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpack {
    /// The folder in the container that the archive is unpacked into, absolute.
    pub path: String,
    /// Whose the files are: `root`, which is the container's own, or `archive`, of whom it says.
    #[serde(default)]
    pub owners: Owners,
}

/// `GET /events` and `GET /containers/{id}/events`; newest first, or as a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// Whether the answer is a stream of what happens from now on (or after `after`).
    #[serde(skip_serializing_if = "Switch::is_off")]
    pub follow: Switch,
    /// Only those of this container, by id or name; where the path does not name one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Only those recorded before this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// Only those recorded after this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// Most events; 1 to [`EVENTS_MAX`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `GET /volumes/{name}/files` and `GET /volumes/{name}/file`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InVolume {
    /// Path in the volume; its top where missing.
    #[serde(default)]
    pub path: String,
}

/// `POST /images/import`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Name of the new image; those that the archive has where missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_without_a_value_is_on() {
        for (query, follow) in [("follow", Switch::On), ("follow=1", Switch::On), ("follow=false", Switch::Off), ("", Switch::Off)] {
            assert_eq!(parse::<Logs>(query).map(|logs| logs.follow), Ok(follow), "{query}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let logs = Logs { follow: Switch::On, since: Some("2026-11-23T21:31:20Z".into()), tail: Some(10), stream: Some(Stream::Stderr) };
        assert_eq!(parse(&write(&logs)), Ok(logs));
        let events = Events { container: Some("a b&c".into()), before: Some(-1), limit: Some(5), ..Events::default() };
        assert_eq!(parse(&write(&events)), Ok(events));
        assert_eq!(write(&Events::default()), "");
    }

    #[test]
    fn a_stretch_of_the_past_is_the_last_hour_where_nothing_is_said() {
        let stretch = |query: &str| parse::<UsageHistory>(query).expect("a query").stretch(10_000_000_000).map_err(|invalid| invalid.field);
        let of = |from_ms, to_ms, step_ms| Ok(Stretch { from_ms, to_ms, step_ms });
        assert_eq!(stretch(""), of(9_996_400_000, 10_000_000_000, 0));
        assert_eq!(stretch("from=5&to=1970-01-01T00:00:10Z&step=10m"), of(5, 10_000, 600_000));
        assert_eq!(stretch("from=-9999999999999999&step=60"), of(-9_999_999_999_999_999, 10_000_000_000, 60_000));
        let wrong = [
            ("from=yesterday", "from"),
            ("to=5.5", "to"),
            ("from=7&to=7", "from"),
            ("from=99999999999999", "from"),
            ("step=0", "step"),
            ("step=2h", "step"),
            ("step=soon", "step"),
            ("step=99999999999999999999m", "step"),
        ];
        for (query, field) in wrong {
            assert_eq!(stretch(query), Err(field.to_owned()), "{query}");
        }
        assert_eq!(parse::<UsageHistory>("since=5").map_err(|problem| problem.field), Err(Some("since".into())));
    }

    #[test]
    fn wrong_parameters_are_named() {
        let field = |problem: Problem| (problem.status, problem.field);
        assert_eq!(parse::<Logs>("folow=1").map_err(field), Err((400, Some("folow".into()))));
        assert_eq!(parse::<Logs>("tail=-1").map_err(field), Err((400, Some("tail".into()))));
        assert_eq!(parse::<Logs>("stream=stdin").map_err(field), Err((400, Some("stream".into()))));
        assert_eq!(parse::<Stop>("grace_ms=soon").map_err(field), Err((400, Some("grace_ms".into()))));
        assert_eq!(parse::<Import>("nme=a").map_err(field), Err((400, Some("nme".into()))));
        assert_eq!(parse::<Nothing>("x").map_err(field), Err((400, Some("x".into()))));
        assert_eq!(parse::<Logs>("tail=1&tail=2").map_err(|problem| problem.status), Err(400));
        assert_eq!(parse::<Logs>("since=now").map(|logs| logs.since_usec().is_err()), Ok(true));
        assert_eq!(parse::<Kill>("signal=NOPE").map(|kill| kill.signal().is_err()), Ok(true));
    }
}
