//! The tab *logs*: what the program wrote, by time and stream.

use askama::Template;
use belljar_model::Container;
use belljar_model::log::{LogLine, Stream as Output};

use super::{Tab, TabPage, tab};
use crate::frame::Page;
use crate::live::Stream;
use crate::{Error, Frame, Part, figure};

/// What of the log is shown, as the form asks (`?tail=&stream=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// Most lines.
    pub tail: usize,
    /// Only this stream; both where `None`.
    pub stream: Option<Output>,
}

/// The page `/containers/{name}/logs`.
#[derive(Template)]
#[template(path = "container/logs.html")]
pub struct Logs<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose page it is.
    pub container: &'a Container,
    /// What is shown.
    pub filter: Filter,
    /// Oldest first.
    pub lines: &'a [LogLine],
}
tab!(Logs, Logs, |page| Stream::Logs(&page.container.id, page.filter));

/// Choices of how many lines to show.
const TAILS: [usize; 4] = [100, 500, 2_000, 10_000];

impl<'a> Logs<'a> {
    fn log(&self) -> Part<Log<'a>> {
        Part(Log { lines: self.lines })
    }

    /// Whether `stream` alone is shown.
    fn shows(&self, stream: &Output) -> bool {
        self.filter.stream == Some(*stream)
    }
}

/// The whole log element: the first message of the stream of logs.
pub fn log(lines: &[LogLine]) -> Result<String, Error> {
    Log { lines }.render()
}

/// One line, put at the log's end.
pub fn log_line(line: &LogLine) -> Result<String, Error> {
    Line { line }.render()
}

#[derive(Template)]
#[template(path = "container/log.html")]
struct Log<'a> {
    lines: &'a [LogLine],
}

impl<'a> Log<'a> {
    fn lines(&self) -> impl Iterator<Item = Part<Line<'a>>> {
        self.lines.iter().map(|line| Part(Line { line }))
    }
}

#[derive(Template)]
#[template(path = "container/log_line.html")]
struct Line<'a> {
    line: &'a LogLine,
}
