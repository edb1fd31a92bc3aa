//! A container's log, read at once or followed as it grows. Only its monitor writes to it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use belljar_model::Container;
use belljar_model::log::{LogLine, Stream};
use belljar_monitor::log::{self, CURRENT};
use rustix::fs::inotify;
use tokio::sync::watch;

use crate::Error;
use crate::launch::{Watched, watched};

/// Most lines that [`LogFollow::next`] returns at once.
pub const LINES_AT_ONCE_MAX: usize = 1000;
/// Bytes of the file after which [`LogFollow::next`] returns what it has, give or take a line: however long its lines are, a
/// reader holds no more of a log than this.
const BYTES_AT_ONCE_MAX: usize = 256 << 10;
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

impl From<LogQuery> for log::Query {
    fn from(LogQuery { since_usec, tail, stream }: LogQuery) -> Self {
        Self { since_usec, tail, stream }
    }
}

/// The lines that are there, oldest first.
pub(crate) fn read(folder: &Path, query: LogQuery) -> Result<Vec<LogLine>, Error> {
    let lines = log::read(folder, &query.into());
    lines.map_err(|error| Error::failed("read the log in", folder.display().to_string(), error))
}

/// A log that is read on as it grows; made by [`crate::Supervisor::follow_logs`].
pub struct LogFollow {
    folder: PathBuf,
    query: log::Query,
    position: Position,
    /// The file that comes after, where two were there at the beginning.
    next: Option<Position>,
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

/// Lines that were read at once.
#[derive(Default)]
struct Batch {
    lines: Vec<LogLine>,
    /// What they, and those that were not asked for, take in the file.
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.lines.len() >= LINES_AT_ONCE_MAX || self.bytes >= BYTES_AT_ONCE_MAX
    }
}

impl LogFollow {
    pub(crate) fn open(folder: PathBuf, query: LogQuery, snapshot: watch::Receiver<Container>) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::File { operation: "follow", path: folder.clone(), source };
        // Watched before it is read: what is written meanwhile is read twice over, or told, but never missed.
        let changes = watch_folder(&folder).map_err(failed)?;
        let query = query.into();
        let (position, next) = begin(&folder, &query).map_err(failed)?;
        Ok(Self { folder, query, position, next, changes, snapshot })
    }

    /// The next lines, at least one; `None` when the container has ended and everything was read. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Vec<LogLine>>, Error> {
        loop {
            // Whether it lives is asked first: what it wrote before its end is then there to be read.
            let alive = self.snapshot.has_changed().is_ok() && self.snapshot.borrow_and_update().state.is_alive();
            let batch = self.read_on().map_err(|source| Error::File { operation: "read", path: self.folder.join(CURRENT), source })?;
            if !batch.lines.is_empty() {
                return Ok(Some(batch.lines));
            }
            if batch.is_full() {
                // None of all that was asked for, and there may be more: others have their turn meanwhile.
                tokio::task::yield_now().await;
                continue;
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

    fn read_on(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        loop {
            self.position.read(&self.query, &mut batch)?;
            if batch.is_full() {
                return Ok(batch);
            }
            if let Some(next) = self.next.take() {
                self.position = next;
            } else if !self.position.move_on(&self.folder)? {
                return Ok(batch);
            }
        }
    }
}

impl Position {
    fn at(mut file: File, start: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { file: Some(BufReader::new(file)), rest: Vec::new() })
    }

    /// Reads lines until the end of the file, or enough of them.
    fn read(&mut self, query: &log::Query, batch: &mut Batch) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        while !batch.is_full() {
            let count = file.read_until(b'\n', &mut self.rest)?;
            if count == 0 || self.rest.pop_if(|byte| *byte == b'\n').is_none() {
                return Ok(());
            }
            batch.bytes += self.rest.len();
            batch.lines.extend(log::parse(&self.rest, query));
            self.rest.clear();
        }
        Ok(())
    }

    /// Turns to the file that is written to now, if that is another; `false` if it is the same, or none.
    fn move_on(&mut self, folder: &Path) -> io::Result<bool> {
        let [_, Some(current)] = log::open(folder)? else { return Ok(false) };
        if self.file.as_ref().is_some_and(|file| log::same(file.get_ref(), &current)) {
            return Ok(false);
        }
        *self = Self::at(current, 0)?;
        Ok(true)
    }
}

/// Where to begin, and with which file to go on.
fn begin(folder: &Path, query: &log::Query) -> io::Result<(Position, Option<Position>)> {
    let files = log::open(folder)?;
    let [older, newer] = log::tail_starts(&files, query)?;
    let [previous, current] = files;
    let current = current.map(|file| Position::at(file, newer)).transpose()?;
    Ok(match previous {
        Some(file) => (Position::at(file, older)?, current),
        None => (current.unwrap_or_default(), None),
    })
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
        write(path, log::PREVIOUS, "1 stdout F zero\n");
        write(path, CURRENT, "2 stdout F one\n2 stdout F two\n2 stderr F th");
        let (sender, mut follow) = follow(path, LogQuery { tail: Some(2), ..LogQuery::default() });
        assert_eq!(texts(&mut follow).await, said(["one", "two"]));
        write(path, CURRENT, "ree\n");
        assert_eq!(texts(&mut follow).await, said(["three"]));
        write(path, CURRENT, "3 stdout F four\n");
        std::fs::rename(path.join(CURRENT), path.join(log::PREVIOUS)).expect("renamed");
        write(path, CURRENT, "3 stdout F five\n");
        assert_eq!(texts(&mut follow).await, said(["four", "five"]));
        write(path, CURRENT, "4 stdout F last\n");
        sender.send_modify(|container| container.state = belljar_model::State::Stopped);
        assert_eq!(texts(&mut follow).await, said(["last"]));
        assert_eq!(texts(&mut follow).await, None);
    }

    #[tokio::test]
    async fn what_was_there_comes_in_portions_of_bounded_size() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let long = format!("1 stdout F {}\n", "x".repeat(log::LINE_BYTES_MAX));
        write(path, log::PREVIOUS, &long.repeat(100));
        write(path, CURRENT, &format!("{}2 stderr F last\n", long.repeat(100)));
        let (sender, mut all) = follow(path, LogQuery::default());
        let (mut lines, mut portions) = (0, 0);
        sender.send_modify(|container| container.state = belljar_model::State::Stopped);
        while let Some(portion) = all.next().await.expect("read") {
            let bytes: usize = portion.iter().map(|line| line.text.len()).sum();
            assert!(bytes <= BYTES_AT_ONCE_MAX + long.len(), "{bytes}");
            (lines, portions) = (lines + portion.len(), portions + 1);
        }
        assert_eq!(lines, 201);
        assert!(portions >= 200 * log::LINE_BYTES_MAX / (BYTES_AT_ONCE_MAX + long.len()), "{portions}");
        // Far behind much that is not asked for.
        let (_sender, mut few) = follow(path, LogQuery { stream: Some(Stream::Stderr), ..LogQuery::default() });
        assert_eq!(texts(&mut few).await, said(["last"]));
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
