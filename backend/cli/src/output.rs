//! What is printed: lines, tables, times as people say them. Colours only on a terminal; a reader that goes away ends the
//! command quietly.

pub(crate) mod age;
pub(crate) mod table;

use std::io::{BufWriter, IsTerminal as _, Stdout, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Failure;

pub(crate) use self::table::Table;

/// Standard output, and what is known about who reads it.
pub(crate) struct Paper {
    out: BufWriter<Stdout>,
    paint: Paint,
}

/// Whether colours may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// A terminal shows it.
    Coloured,
    /// A file, a pipe, or a person who set `NO_COLOR` (no-color.org).
    Plain,
}

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    Normal,
    /// Alive, added.
    Good,
    /// Waiting, changed.
    Careful,
    /// Failed, deleted.
    Bad,
    /// Less important than the rest.
    Quiet,
}

impl Tone {
    /// `text` with this tone, by the escape sequences of ECMA-48.
    pub(crate) fn on(self, text: &str, paint: Paint) -> String {
        let code = match self {
            _ if paint == Paint::Plain => return text.to_owned(),
            Tone::Normal => return text.to_owned(),
            Tone::Good => "32",
            Tone::Careful => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

impl Paper {
    /// This process's standard output.
    pub(crate) fn new() -> Self {
        let out = std::io::stdout();
        let coloured = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { out: BufWriter::new(out), paint: if coloured { Paint::Coloured } else { Paint::Plain } }
    }

    /// Whether colours may be used.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Whether a person looks at it as it comes.
    pub(crate) fn is_terminal(&self) -> bool {
        self.out.get_ref().is_terminal()
    }

    /// One line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(|source| Failure::Output { source })
    }

    /// Text as it is.
    pub(crate) fn text(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.out.write_all(text).map_err(|source| Failure::Output { source })
    }

    /// A table.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let text = table.render(self.paint);
        self.text(text.as_bytes())
    }

    /// A JSON document as the server sent it, laid out for reading.
    pub(crate) fn json(&mut self, document: &impl serde::Serialize) -> Result<(), Failure> {
        let unwritable = |source: serde_json::Error| Failure::Output { source: source.into() };
        serde_json::to_writer_pretty(&mut self.out, document).map_err(unwritable)?;
        self.line("")
    }

    /// Sends on what waits. Called after every line of a stream, and at the end.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|source| Failure::Output { source })
    }
}

/// The time, in Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// One line of standard error. There is nobody to tell when even that fails.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "belljar: {text}");
}

/// Text of a container or an archive on a terminal: what could move the cursor or set the title is shown, not obeyed. A tab does
/// neither, and a difference with its tabs replaced would be one that `patch` refuses.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|character| if character.is_control() && character != '\t' { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_of_a_container_do_not_reach_the_terminal() {
        assert_eq!(harmless("a\x1b]0;title\x07b\nc\td"), "a\u{fffd}]0;title\u{fffd}b\u{fffd}c\td");
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Tone::Bad.on("lost", Paint::Plain), "lost");
        assert_eq!(Tone::Bad.on("lost", Paint::Coloured), "\x1b[31mlost\x1b[0m");
    }
}
