//! The log of a container: one line of text per line written, with time and stream, in two files of bounded size.
//!
//! ```text
//! 1763931363123456 stdout F hello          F: a full line
//! 1763931363123999 stderr P abc…           P: the first part of a line longer than 16 KiB
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
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

/// Most bytes of text that one question is answered with, give or take a line: what is not UTF-8 takes three times the room
/// that it has in the file, and there may be many who ask.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// Bytes that are read at once on the way from the end of a file to its beginning.
const BLOCK_BYTES: u64 = 64 << 10;

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

impl Query {
    /// How many lines are asked for.
    fn most(&self) -> usize {
        self.tail.unwrap_or(LINES_MAX).min(LINES_MAX)
    }

    fn wants(&self, line: &Raw) -> bool {
        self.since_usec.is_none_or(|since| line.at_usec > since) && self.stream.is_none_or(|stream| line.stream == stream)
    }
}

/// Lines of the log in `folder`, oldest first, at most [`LINES_MAX`] and [`TEXT_BYTES_MAX`] (the newest). Never written to is
/// no lines.
pub fn read(folder: &Path, query: &Query) -> Result<Vec<LogLine>> {
    let subject = || folder.display().to_string();
    let mut lines = Vec::new();
    let mut bytes = 0;
    let files = open(folder).context("open the log in", subject)?;
    for file in files.iter().flatten().rev() {
        for line in Backwards::new(file).context("read the log in", subject)? {
            if lines.len() >= query.most() || bytes >= TEXT_BYTES_MAX {
                break;
            }
            let (_, line) = line.context("read the log in", subject)?;
            let Some(line) = parse(&line, query) else { continue };
            bytes += line.text.len();
            lines.push(line);
        }
    }
    lines.reverse();
    Ok(lines)
}

/// The files of the log in `folder`, the older one first. What is written later is in them or in newer ones.
pub fn open(folder: &Path) -> io::Result<[Option<File>; 2]> {
    let open = |name| match File::open(folder.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    };
    // The older file is opened last: had the newer one become it meanwhile, it would be read twice, and is left out.
    let current = open(CURRENT)?;
    let previous = open(PREVIOUS)?.filter(|previous| !current.as_ref().is_some_and(|current| same(previous, current)));
    Ok([previous, current])
}

/// Whether both are the same file.
pub fn same(one: &File, other: &File) -> bool {
    let number = |file: &File| file.metadata().map(|metadata| metadata.ino()).ok();
    number(one).is_some() && number(one) == number(other)
}

/// Where in each of the files of a log ([`open`]) to begin, so that no more lines are read than are asked for. A line whose end
/// is not written yet is not counted.
pub fn tail_starts(files: &[Option<File>; 2], query: &Query) -> io::Result<[u64; 2]> {
    let mut left = query.most();
    let mut starts = [0; 2];
    for (file, start) in files.iter().zip(&mut starts).rev() {
        let Some(file) = file else { continue };
        for (index, line) in Backwards::new(file)?.enumerate() {
            // Index 0 is what follows the last line end.
            if left == 0 && index > 0 {
                break;
            }
            let (at, line) = line?;
            *start = at;
            if index > 0 && raw(&line).is_some_and(|line| query.wants(&line)) {
                left -= 1;
            }
        }
    }
    Ok(starts)
}

/// A file's lines with their offsets, from the last to the first, of which it holds one and a block. The first of all is what
/// follows the last line end: nothing, or a line whose end is not written yet.
struct Backwards<'a> {
    file: &'a File,
    /// What of the file is not held yet ends here.
    begin: u64,
    /// What follows there, up to the line end before the line that came last.
    held: Vec<u8>,
    done: bool,
}

impl<'a> Backwards<'a> {
    fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, begin: file.metadata()?.len(), held: Vec::new(), done: false })
    }

    fn hold_more(&mut self) -> io::Result<()> {
        let length = self.begin.min(BLOCK_BYTES);
        self.begin -= length;
        let mut block = vec![0; length as usize];
        self.file.read_exact_at(&mut block, self.begin)?;
        block.append(&mut self.held);
        self.held = block;
        Ok(())
    }
}

impl Iterator for Backwards<'_> {
    type Item = io::Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            if let Some(end) = self.held.iter().rposition(|byte| *byte == b'\n') {
                let line = self.held.split_off(end + 1);
                self.held.pop();
                return Some(Ok((self.begin + end as u64 + 1, line)));
            }
            if self.begin == 0 {
                self.done = true;
                return Some(Ok((0, std::mem::take(&mut self.held))));
            }
            if let Err(error) = self.hold_more() {
                self.done = true;
                return Some(Err(error));
            }
        }
        None
    }
}

/// One line of the file, its text as it is.
struct Raw<'a> {
    at_usec: i64,
    stream: Stream,
    partial: bool,
    text: &'a [u8],
}

fn raw(line: &[u8]) -> Option<Raw<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let mut field = || fields.next();
    let at_usec = std::str::from_utf8(field()?).ok()?.parse().ok()?;
    let stream = match field()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let partial = field()? == b"P";
    Some(Raw { at_usec, stream, partial, text: field()? })
}

/// Reads one line of the file, if it is asked for; `None` also for one that was cut off.
pub fn parse(line: &[u8], query: &Query) -> Option<LogLine> {
    let Raw { at_usec, stream, partial, text } = raw(line).filter(|line| query.wants(line))?;
    Some(LogLine { at_usec, stream, text: String::from_utf8_lossy(text).into_owned(), partial })
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
    fn the_tail_is_found_from_the_end_whatever_block_a_line_begins_in() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path()).unwrap();
        for at_usec in 0..2000 {
            let stream = if at_usec % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            writer.write(at_usec, stream, "x".repeat(at_usec as usize % 997).as_bytes(), Piece::End);
            if at_usec == 900 {
                writer.rotate();
            }
        }
        std::fs::write(folder.path().join(CURRENT), {
            let mut text = std::fs::read(folder.path().join(CURRENT)).unwrap();
            text.extend_from_slice(b"2000 stdout F not ended");
            text
        })
        .unwrap();
        for (tail, stream) in [(0, None), (1, None), (700, Some(Stream::Stdout)), (1500, None), (5000, Some(Stream::Stderr))] {
            let query = Query { tail: Some(tail), stream, since_usec: None };
            let files = open(folder.path()).unwrap();
            let starts = tail_starts(&files, &query).unwrap();
            let mut found = Vec::new();
            for (file, start) in files.iter().zip(starts) {
                let mut text = vec![0; (file.as_ref().unwrap().metadata().unwrap().len() - start) as usize];
                file.as_ref().unwrap().read_exact_at(&mut text, start).unwrap();
                found.extend(text.split(|byte| *byte == b'\n').filter_map(|line| parse(line, &query)).map(|line| line.at_usec));
            }
            let ended: Vec<i64> = (0..2000).filter(|at| stream.is_none_or(|one| (one == Stream::Stdout) == (at % 2 == 0))).collect();
            let mut expected = ended[ended.len().saturating_sub(tail)..].to_vec();
            expected.extend((stream != Some(Stream::Stderr)).then_some(2000));
            assert_eq!(found, expected, "{tail} {stream:?}");
            let read: Vec<i64> = read(folder.path(), &query).unwrap().iter().map(|line| line.at_usec).collect();
            assert_eq!(read, expected[expected.len() - tail.min(expected.len())..], "{tail} {stream:?}");
        }
    }

    #[test]
    fn no_answer_holds_more_text_than_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path()).unwrap();
        // Three bytes each, once they are replaced.
        let line = vec![0xff; LINE_BYTES_MAX];
        for at_usec in 0..2 * TEXT_BYTES_MAX as i64 / line.len() as i64 {
            writer.write(at_usec, Stream::Stdout, &line, Piece::End);
        }
        let lines = read(folder.path(), &Query::default()).unwrap();
        let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
        assert!((TEXT_BYTES_MAX..TEXT_BYTES_MAX + 3 * LINE_BYTES_MAX).contains(&bytes), "{bytes}");
        assert_eq!(lines.last().unwrap().at_usec, 2 * TEXT_BYTES_MAX as i64 / line.len() as i64 - 1, "the newest are there");
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
