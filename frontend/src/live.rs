//! Where live parts come from, and how the stream is spoken.
//!
//! A page names its stream in `data-live` of `<main>`; `static/live.js` opens an `EventSource` on it. A message without a
//! name carries one or more elements as HTML:
//!
//! ```text
//! element with an id that is on the page        takes its place (focus, open <details>, selection stay)
//! else, with data-into="LIST"                   is put at the end of the element with that id
//! else, with data-before="LIST"                 is put at its beginning
//! else                                          ignored: the page does not show it
//! event: gone, data: ID                         the element with that id is removed
//! ```
//!
//! What happened while nobody listened is lost, so the first message after each connect is the whole part:
//!
//! | stream | first | then |
//! |---|---|---|
//! | [`Stream::Containers`] | [`crate::containers::list`] | [`crate::containers::row`] and [`crate::containers::summary`] on a change, [`crate::containers::figures`] per sample, `gone` + [`crate::containers::row_id`] |
//! | [`Stream::Container`] | [`crate::container::header`], [`crate::container::findings`], [`crate::container::usage`], [`crate::container::health`] | the same; `gone` + [`crate::container::HEADER_ID`] when deleted |
//! | [`Stream::Limits`] | header, [`crate::container::limits_now`] | the same |
//! | [`Stream::Logs`] | header, [`crate::container::log`] | [`crate::container::log_line`] |
//! | [`Stream::ContainerEvents`] | header, [`crate::events::table`] | [`crate::events::row`] |
//! | [`Stream::Mounts`] | header, [`crate::container::mounts`] | the same, when it starts or ends |
//! | [`Stream::Overlay`] | header, [`crate::container::OverlayBody`] | the same, when files are other ones |
//! | [`Stream::Image`] | [`crate::images::image`] | the same; `gone` + [`crate::images::HEAD_ID`] when deleted |
//! | [`Stream::Volume`] | [`crate::volumes::body`] | the same, when it is another one |
//! | [`Stream::Volumes`] | [`crate::volumes::rows`] | the same, when it is another one |
//! | [`Stream::Images`] | [`crate::images::pulls`], [`crate::images::rows`] | the one that changed |
//! | [`Stream::Events`] | [`crate::events::table`] | [`crate::events::row`] |

use std::fmt;

use belljar_model::ContainerId;
use belljar_model::log::Stream as Output;

use crate::container::Filter;

/// The stream of a page. Displayed as the path and query to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream<'a> {
    /// The list.
    Containers,
    /// One container: header and usage.
    Container(&'a ContainerId),
    /// One container: header, and what it uses of each limit.
    Limits(&'a ContainerId),
    /// One container: header and log, of which only what the page shows.
    Logs(&'a ContainerId, Filter),
    /// One container: header and events.
    ContainerEvents(&'a ContainerId),
    /// One container: header, and what is mounted in it.
    Mounts(&'a ContainerId),
    /// One container: header, layers, a folder of its tree, and what it changed.
    Overlay(&'a ContainerId, &'a str),
    /// One image, by name.
    Image(&'a str),
    /// One volume, by name, and a folder in it.
    Volume(&'a str, &'a str),
    /// All events.
    Events,
    /// The list of volumes.
    Volumes,
    /// The list of images, and pulls.
    Images,
}

impl fmt::Display for Stream<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stream::Containers => formatter.write_str("/stream?page=containers"),
            Stream::Container(id) => write!(formatter, "/stream?page=container&id={id}"),
            Stream::Limits(id) => write!(formatter, "/stream?page=limits&id={id}"),
            Stream::Logs(id, Filter { tail, stream }) => {
                let stream = stream.map_or("", Output::as_str);
                write!(formatter, "/stream?page=logs&id={id}&tail={tail}&stream={stream}")
            }
            Stream::ContainerEvents(id) => write!(formatter, "/stream?page=container-events&id={id}"),
            Stream::Mounts(id) => write!(formatter, "/stream?page=mounts&id={id}"),
            Stream::Overlay(id, path) => write!(formatter, "/stream?page=overlay&id={id}&path={}", escaped(path)),
            Stream::Image(name) => write!(formatter, "/stream?page=image&name={}", escaped(name)),
            Stream::Volume(name, path) => write!(formatter, "/stream?page=volume&name={}&path={}", escaped(name), escaped(path)),
            Stream::Volumes => formatter.write_str("/stream?page=volumes"),
            Stream::Images => formatter.write_str("/stream?page=images"),
            Stream::Events => formatter.write_str("/stream?page=events"),
        }
    }
}

/// A value of a query, in which only what means nothing to it stands as it is.
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => escaped.push(char::from(byte)),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}
