//! A container's log, read at once or followed as it grows. Only its monitor writes to it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use belljar_model::Container;
use belljar_model::log::{LogLine, Stream};
use belljar_monitor::log::{self, CURRENT, LINES_MAX, PREVIOUS};
use rustix::fs::inotify;
use tokio::sync::watch;

use crate::Error;
use crate::launch::{Watched, watched};

/// Most lines that [`LogFollow::next`] returns at once.
pub const LINES_AT_ONCE_MAX: usize = 1000;
/// Bytes that are read of what the kernel tells about changed files; what is told does not matter, only that it is.
const NOTES_BYTES: usize = 4096;

/// Which lines of a container's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only lines that were read after this moment, in Unix microseconds.
    pub since_usec: Option<i64>,
    /// Only the last so many of them.
    pub tail: Option<usize>,
    /// Only this output.
    pub stream: Option<Stream>,
}

impl LogQuery {
    fn wants(&self, line: &LogLine) -> bool {
        self.since_usec.is_none_or(|since| line.at_usec > since) && self.stream.is_none_or(|stream| line.stream == stream)
    }
}

/// The lines that are there, oldest first.
pub(crate) fn read(folder: &Path, query: LogQuery) -> Result<Vec<LogLine>, Error> {
    let LogQuery { since_usec, tail, stream } = query;
    let lines = log::read(folder, &log::Query { since_usec, tail, stream });
    lines.map_err(|error| Error::failed("read the log in", folder.display().to_string(), error))
}

/// A log that is read on as it grows; made by [`crate::Supervisor::follow_logs`].
pub struct LogFollow {
    folder: PathBuf,
    query: LogQuery,
    /// What was there at the beginning and has not been returned yet.
    backlog: VecDeque<LogLine>,
    position: Position,
    changes: Watched,
    snapshot: watch::Receiver<Container>,
}

/// How far the file was read.
#[derive(Default)]
struct Position {
    file: Option<BufReader<File>>,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl LogFollow {
    pub(crate) fn open(folder: PathBuf, query: LogQuery, snapshot: watch::Receiver<Container>) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::File { operation: "follow", path: folder.clone(), source };
        // Watched before it is read: what is written meanwhile is read twice over, or told, but never missed.
        let changes = watch_folder(&folder).map_err(failed)?;
        let (backlog, position) = backlog(&folder, &query).map_err(failed)?;
        Ok(Self { folder, query, backlog, position, changes, snapshot })
    }

    /// The next lines, at least one; `None` when the container has ended and everything was read. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Vec<LogLine>>, Error> {
        loop {
            // Whether it lives is asked first: what it wrote before its end is then there to be read.
            let alive = self.snapshot.has_changed().is_ok() && self.snapshot.borrow_and_update().state.is_alive();
            let lines = self.read_on().map_err(|source| Error::File { operation: "read", path: self.folder.join(CURRENT), source })?;
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
            if !alive {
                return Ok(None);
            }
            tokio::select! {
                changed = drained(&self.changes) => {
                    changed.map_err(|source| Error::File { operation: "watch", path: self.folder.clone(), source })?;
                }
                // An error means that the container is gone, which the next round sees.
                _ = self.snapshot.changed() => {}
            }
        }
    }

    fn read_on(&mut self) -> io::Result<Vec<LogLine>> {
        if !self.backlog.is_empty() {
            let count = self.backlog.len().min(LINES_AT_ONCE_MAX);
            return Ok(self.backlog.drain(..count).collect());
        }
        let mut lines = Vec::new();
        loop {
            self.position.read(&self.query, &mut lines)?;
            if lines.len() >= LINES_AT_ONCE_MAX || !self.position.move_on(&self.folder.join(CURRENT))? {
                return Ok(lines);
            }
        }
    }
}

impl Position {
    /// Reads lines until the end of the file, or enough of them.
    fn read(&mut self, query: &LogQuery, lines: &mut Vec<LogLine>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        while lines.len() < LINES_AT_ONCE_MAX {
            let count = file.read_until(b'\n', &mut self.rest)?;
            if count == 0 || self.rest.pop_if(|byte| *byte == b'\n').is_none() {
                return Ok(());
            }
            lines.extend(log::parse(&self.rest).filter(|line| query.wants(line)));
            self.rest.clear();
        }
        Ok(())
    }

    /// Turns to the file that is written to now, if that is another; `false` if it is the same, or none.
    fn move_on(&mut self, path: &Path) -> io::Result<bool> {
        let Some(current) = open(path)? else { return Ok(false) };
        let number = |file: &File| file.metadata().map(|metadata| metadata.ino());
        let new = number(&current)?;
        if let Some(file) = &self.file
            && number(file.get_ref())? == new
        {
            return Ok(false);
        }
        *self = Self { file: Some(BufReader::new(current)), rest: Vec::new() };
        Ok(true)
    }
}

/// The lines that are there, and where to read on.
fn backlog(folder: &Path, query: &LogQuery) -> io::Result<(VecDeque<LogLine>, Position)> {
    let most = query.tail.unwrap_or(LINES_MAX).min(LINES_MAX);
    let mut lines = VecDeque::new();
    let mut position = Position::default();
    // The older file is opened last: had the newer one become it meanwhile, it would be read twice, and is left out.
    let current = open(&folder.join(CURRENT))?;
    let previous = open(&folder.join(PREVIOUS))?.filter(|previous| !same(previous, current.as_ref()));
    for mut file in [previous, current].into_iter().flatten() {
        file.seek(SeekFrom::Start(0))?;
        position = Position { file: Some(BufReader::new(file)), rest: Vec::new() };
        loop {
            let mut some = Vec::new();
            position.read(query, &mut some)?;
            if some.is_empty() {
                break;
            }
            lines.extend(some);
            lines.drain(..lines.len().saturating_sub(most));
        }
    }
    Ok((lines, position))
}

fn same(file: &File, other: Option<&File>) -> bool {
    let number = |file: &File| file.metadata().map(|metadata| metadata.ino()).ok();
    other.is_some_and(|other| number(file) == number(other))
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

fn watch_folder(folder: &Path) -> io::Result<Watched> {
    let descriptor = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&descriptor, folder, flags)?;
    watched(descriptor)
}

/// Waits until something in the folder changed, and forgets what it was.
async fn drained(changes: &Watched) -> io::Result<()> {
    let mut ready = changes.readable().await?;
    let mut notes = [0; NOTES_BYTES];
    loop {
        match rustix::io::read(changes, &mut notes) {
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    ready.clear_ready();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let file = File::options().append(true).create(true).open(folder.join(name));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
    }

    fn follow(folder: &Path, query: LogQuery) -> (watch::Sender<Container>, LogFollow) {
        let (sender, snapshot) = watch::channel(crate::testing::running("web"));
        let follow = LogFollow::open(folder.to_owned(), query, snapshot).expect("followed");
        (sender, follow)
    }

    async fn texts(follow: &mut LogFollow) -> Option<Vec<String>> {
        let lines = follow.next().await.expect("read");
        lines.map(|lines| lines.into_iter().map(|line| line.text).collect())
    }

    fn said<const N: usize>(texts: [&str; N]) -> Option<Vec<String>> {
        Some(texts.map(str::to_owned).to_vec())
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_over_a_change_of_files_and_ends_with_the_container() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        write(path, PREVIOUS, "1 stdout F zero\n");
        write(path, CURRENT, "2 stdout F one\n2 stdout F two\n2 stderr F th");
        let (sender, mut follow) = follow(path, LogQuery { tail: Some(2), ..LogQuery::default() });
        assert_eq!(texts(&mut follow).await, said(["one", "two"]));
        write(path, CURRENT, "ree\n");
        assert_eq!(texts(&mut follow).await, said(["three"]));
        write(path, CURRENT, "3 stdout F four\n");
        std::fs::rename(path.join(CURRENT), path.join(PREVIOUS)).expect("renamed");
        write(path, CURRENT, "3 stdout F five\n");
        assert_eq!(texts(&mut follow).await, said(["four", "five"]));
        write(path, CURRENT, "4 stdout F last\n");
        sender.send_modify(|container| container.state = belljar_model::State::Stopped);
        assert_eq!(texts(&mut follow).await, said(["last"]));
        assert_eq!(texts(&mut follow).await, None);
    }

    #[tokio::test]
    async fn a_log_that_does_not_exist_yet_is_followed_from_its_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        let (sender, mut follow) = follow(folder.path(), LogQuery { stream: Some(Stream::Stderr), ..LogQuery::default() });
        write(folder.path(), CURRENT, "1 stdout F no\n1 stderr F yes\n");
        assert_eq!(texts(&mut follow).await, said(["yes"]));
        drop(sender);
        assert_eq!(texts(&mut follow).await, None, "the container was deleted");
    }
}
