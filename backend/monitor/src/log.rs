//! The log of a container: one line of text per line written, with time and stream, in two files of bounded size.
//!
//! ```text
//! 1763931363123456 stdout F hello          F: a full line
//! 1763931363123999 stderr P abc…           P: the first part of a line longer than 16 KiB
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use belljar_linux::Result;
use belljar_linux::error::Context;
use belljar_model::log::{LogLine, Stream};

/// Most bytes of one file; with its predecessor a container's log takes twice that.
pub const FILE_BYTES_MAX: u64 = 10 << 20;
/// Longest line that is kept in one piece, in bytes.
pub const LINE_BYTES_MAX: usize = 16 << 10;
/// Most lines that one question is answered with.
pub const LINES_MAX: usize = 100_000;

/// Name of the file that is written to.
pub const CURRENT: &str = "container.log";
/// Name of the file that it was before; older lines are gone.
pub const PREVIOUS: &str = "container.log.1";

/// What of a line a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// All of it, or its last part.
    End,
    /// A part that others follow.
    Part,
}

/// Appends to a container's log.
pub(crate) struct Writer {
    folder: PathBuf,
    file: File,
    bytes: u64,
}

impl Writer {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let (file, bytes) = append(folder)?;
        Ok(Self { folder: folder.to_owned(), file, bytes })
    }

    /// Writes one line, or part of one. A full disk loses lines, never the container: it would block on its output.
    pub(crate) fn write(&mut self, at_usec: i64, stream: Stream, text: &[u8], piece: Piece) {
        let mark = match piece {
            Piece::End => 'F',
            Piece::Part => 'P',
        };
        let mut line = format!("{at_usec} {} {mark} ", stream.as_str()).into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        if self.file.write_all(&line).is_ok() {
            self.bytes += line.len() as u64;
        }
        if self.bytes > FILE_BYTES_MAX {
            self.rotate();
        }
    }

    /// The current file becomes the previous one. Where that fails the current one is emptied: the bound holds.
    fn rotate(&mut self) {
        if std::fs::rename(self.folder.join(CURRENT), self.folder.join(PREVIOUS)).is_err() {
            let _ = self.file.set_len(0);
        }
        if let Ok((file, bytes)) = append(&self.folder) {
            (self.file, self.bytes) = (file, bytes);
        }
    }
}

fn append(folder: &Path) -> Result<(File, u64)> {
    let path = folder.join(CURRENT);
    let file = File::options().append(true).create(true).open(&path).context("open", || path.display().to_string())?;
    let bytes = file.metadata().context("stat", || path.display().to_string())?.len();
    Ok((file, bytes))
}

/// Which lines are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Query {
    /// Only lines after this moment, in Unix microseconds.
    pub since_usec: Option<i64>,
    /// Only the last so many.
    pub tail: Option<usize>,
    /// Only this stream.
    pub stream: Option<Stream>,
}

/// Lines of the log in `folder`, oldest first, at most [`LINES_MAX`] (the newest). Never written to is no lines.
pub fn read(folder: &Path, query: &Query) -> Result<Vec<LogLine>> {
    let most = query.tail.unwrap_or(LINES_MAX).min(LINES_MAX);
    let mut lines = std::collections::VecDeque::new();
    for name in [PREVIOUS, CURRENT] {
        let path = folder.join(name);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened.context("open", || path.display().to_string())?,
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line.context("read", || path.display().to_string())?;
            let Some(line) = parse(&line).filter(|line| wanted(line, query)) else { continue };
            lines.push_back(line);
            if lines.len() > most {
                lines.pop_front();
            }
        }
    }
    Ok(lines.into())
}

fn wanted(line: &LogLine, query: &Query) -> bool {
    query.since_usec.is_none_or(|since| line.at_usec > since) && query.stream.is_none_or(|stream| line.stream == stream)
}

/// Reads one line of the file; `None` for one that was cut off.
pub fn parse(line: &[u8]) -> Option<LogLine> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let mut field = || fields.next();
    let at_usec = std::str::from_utf8(field()?).ok()?.parse().ok()?;
    let stream = match field()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let partial = field()? == b"P";
    Some(LogLine { at_usec, stream, text: String::from_utf8_lossy(field()?).into_owned(), partial })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_with_stream_and_time() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path(), &Query::default()).unwrap(), []);
        let mut writer = Writer::open(folder.path()).unwrap();
        writer.write(1, Stream::Stdout, b"one two", Piece::End);
        writer.write(2, Stream::Stderr, b"\xff", Piece::Part);
        writer.write(3, Stream::Stdout, b"", Piece::End);
        let texts = |query| read(folder.path(), &query).unwrap().into_iter().map(|line| line.text).collect::<Vec<_>>();
        assert_eq!(texts(Query::default()), ["one two", "\u{fffd}", ""]);
        assert_eq!(texts(Query { stream: Some(Stream::Stderr), ..Query::default() }), ["\u{fffd}"]);
        assert_eq!(texts(Query { since_usec: Some(1), ..Query::default() }).len(), 2);
        assert_eq!(texts(Query { tail: Some(1), ..Query::default() }), [""]);
    }

    #[test]
    fn a_flood_takes_no_more_than_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path()).unwrap();
        let line = vec![b'x'; LINE_BYTES_MAX];
        for _ in 0..(5 * FILE_BYTES_MAX) / LINE_BYTES_MAX as u64 {
            writer.write(1, Stream::Stdout, &line, Piece::End);
        }
        let size: u64 = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(size <= 2 * (FILE_BYTES_MAX + LINE_BYTES_MAX as u64 + 64), "{size}");
    }
}
