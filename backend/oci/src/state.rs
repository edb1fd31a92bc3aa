//! What is known of a container between two commands: a folder of `--root` for each, and the kernel.
//!
//! ```text
//! <root>/<id>/            its existence reserves the id; `flock` on it keeps commands that change something apart
//!            state.json   whole or not at all: written beside, then renamed
//!            config.json  the document as it was when the container was created, whatever the bundle holds now
//!            spec.json    what it was translated into
//!            plan.json    the steps that made it, with their times
//!            start.fifo   what its first process waits at; gone once it was told to start
//!            told.fifo    what it says then to whoever starts it
//! <root>/@filters/        compiled filters of system calls, of any container
//! ```
//!
//! What the file says is where to look; the *status* is decided by looking: whether the process of that pid and start time
//! lives, whether its cgroup is frozen, whether it still waits. Nothing is synced: a machine that loses the file has lost the
//! processes too. It must never know how a container is made.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use belljar_linux::process;
use belljar_runtime::cgroup::{Cgroup, Resources};
use serde::{Deserialize, Serialize};

use crate::document;

/// Where containers are kept where `--root` does not say otherwise. Its parent is the run folder of Belljar itself.
pub const DEFAULT_ROOT: &str = "/run/belljar/oci";
/// Longest id, in bytes: it is the name of a folder.
pub const ID_BYTES_MAX: usize = 255;
/// How long a command waits for another one that changes the same container.
const LOCK_LIMIT: Duration = Duration::from_secs(30);

const STATE: &str = "state.json";
const PLAN: &str = "plan.json";
const SPEC: &str = "spec.json";
/// Folder of compiled filters in a root. No container has such an id.
const FILTERS: &str = "@filters";

/// What a state could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An id without a letter.
    #[error("container id cannot be empty")]
    EmptyId,
    /// An id that could lead somewhere else.
    #[error("{id:?}: invalid container ID format: letters, digits and _ + - . only, at most {ID_BYTES_MAX}")]
    InvalidId {
        /// The id.
        id: String,
    },
    /// Nobody has it.
    #[error("{id}: container does not exist")]
    Missing {
        /// The id.
        id: String,
    },
    /// Somebody has it.
    #[error("{id}: container with given ID already exists")]
    Exists {
        /// The id.
        id: String,
    },
    /// Another command does not come to an end.
    #[error("{id}: container is busy: another command has been changing it for {} s", LOCK_LIMIT.as_secs())]
    Busy {
        /// The id.
        id: String,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {operation} {}", path.display())]
    Files {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file says what it never should.
    #[error("{id}: cannot read its state")]
    Damaged {
        /// The id.
        id: String,
        /// What is wrong.
        #[source]
        source: document::Error,
    },
}

/// What is written down of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the specification that its document follows.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// Folder of its bundle.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339.
    pub created: String,
    /// User id of who created it.
    pub owner: u32,
    /// Who makes it; `None` once it is made.
    #[serde(default)]
    pub maker: Option<First>,
    /// Its first process; `None` before there is one.
    pub first: Option<First>,
    /// The folders of its cgroup, as they were found when it was made: where a relative path leads depends on who asks.
    pub cgroup: Cgroup,
    /// What it may use, as last set.
    pub resources: Resources,
    /// Notes of whoever made the bundle.
    pub annotations: BTreeMap<String, String>,
}

/// A process that can be told from a later one of the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct First {
    /// Its pid.
    pub pid: i32,
    /// Clock ticks between boot and its start.
    pub start_ticks: u64,
}

impl First {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        process::start_ticks(pid).ok().map(|start_ticks| Self { pid, start_ticks })
    }

    /// Whether it lives.
    pub fn is_alive(self) -> bool {
        process::is_alive(self.pid, self.start_ticks)
    }
}

/// What a container is doing (runtime-spec, *State*; `paused` is runc's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is being made.
    Creating,
    /// It waits to be started.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It has ended, or its making was cut off.
    Stopped,
}

impl Status {
    /// The specification's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }

    /// Whether it has a process.
    pub fn is_alive(self) -> bool {
        matches!(self, Status::Created | Status::Running | Status::Paused)
    }
}

/// Refuses ids that are no name of a folder, or mean another one.
pub fn check_id(id: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'.');
    match id {
        "" => Err(Error::EmptyId),
        "." | ".." => Err(Error::InvalidId { id: id.to_owned() }),
        id if id.len() > ID_BYTES_MAX || !id.bytes().all(allowed) => Err(Error::InvalidId { id: id.to_owned() }),
        _ => Ok(()),
    }
}

/// The folder of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    id: String,
    path: PathBuf,
}

/// Keeps other commands from changing the container until it is dropped.
#[derive(Debug)]
pub struct Lock {
    folder: Arc<OwnedFd>,
}

impl Drop for Lock {
    /// Not by closing alone: a first process that waits for its start is a copy of us, and holds the same open folder.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.folder, rustix::fs::FlockOperation::Unlock);
    }
}

/// The folder of a container that others may change by now, or have removed.
#[derive(Debug)]
pub struct Released {
    folder: Arc<OwnedFd>,
}

impl Lock {
    /// Lets others change the container; which folder it was is kept in mind.
    pub fn release(self) -> Released {
        Released { folder: self.folder.clone() }
    }
}

impl Folder {
    /// The folder of an id, whether it exists or not.
    pub fn of(root: &Path, id: &str) -> Result<Self, Error> {
        check_id(id)?;
        Ok(Self { id: id.to_owned(), path: root.join(id) })
    }

    /// Makes it, which reserves the id, and locks it.
    pub fn reserve(root: &Path, id: &str) -> Result<(Self, Lock), Error> {
        let folder = Self::of(root, id)?;
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        let made = builder.create(&folder.path).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                std::fs::DirBuilder::new().mode(0o700).recursive(true).create(root)?;
                builder.create(&folder.path)
            }
            _ => Err(error),
        });
        match made {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(Error::Exists { id: id.to_owned() }),
            Err(source) => return Err(Error::Files { operation: "make", path: folder.path, source }),
        }
        match folder.lock() {
            Ok(lock) => Ok((folder, lock)),
            Err(error) => {
                // Who deletes meanwhile takes it away as well.
                let _ = std::fs::remove_dir(&folder.path);
                Err(error)
            }
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where compiled filters of all containers of the root are kept.
    pub fn filters(&self) -> PathBuf {
        self.path.with_file_name(FILTERS)
    }

    /// Waits for whoever is changing the container, and keeps others from it.
    pub fn lock(&self) -> Result<Lock, Error> {
        self.patiently(|| self.try_lock())
    }

    /// Waits for whoever is changing the container, and keeps others from it. `None` where it was removed meanwhile, and what has
    /// its name now, if anything, is another.
    pub fn lock_again(&self, released: Released) -> Result<Option<Lock>, Error> {
        // What cannot be locked, or looked at, is taken for what it was.
        if let Err(busy @ Error::Busy { .. }) = self.patiently(|| self.has_locked(&released.folder).map(|has| has.then_some(()))) {
            return Err(busy);
        }
        let lock = Lock { folder: released.folder };
        let is_gone = matches!(self.is_at_its_place(&lock.folder), Ok(false) | Err(Error::Missing { .. }));
        Ok((!is_gone).then_some(lock))
    }

    /// Tries until something comes of it, or the time is over.
    fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<Option<T>, Error>) -> Result<T, Error> {
        let deadline = Instant::now() + LOCK_LIMIT;
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(outcome) = attempt()? {
                return Ok(outcome);
            }
            if Instant::now() > deadline {
                return Err(Error::Busy { id: self.id.clone() });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// `None` where somebody else has it.
    fn try_lock(&self) -> Result<Option<Lock>, Error> {
        use rustix::fs::{Mode, OFlags};
        let opened = rustix::fs::open(&self.path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let folder = match opened {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Err(self.missing()),
            opened => opened.map_err(|errno| self.failed("open", &self.path, errno.into()))?,
        };
        if !self.has_locked(&folder)? {
            return Ok(None);
        }
        // Deleted, and perhaps made anew, while this waited: then it is not the folder of that name any more.
        let lock = Lock { folder: Arc::new(folder) };
        Ok(self.is_at_its_place(&lock.folder)?.then_some(lock))
    }

    /// `false` where somebody else has it.
    fn has_locked(&self, folder: &OwnedFd) -> Result<bool, Error> {
        match rustix::fs::flock(folder, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(self.failed("lock", &self.path, errno.into())),
        }
    }

    /// Whether an open folder is the one of this name: as long as it is open, no other has its number.
    fn is_at_its_place(&self, folder: &OwnedFd) -> Result<bool, Error> {
        let ours = rustix::fs::fstat(folder).map_err(|errno| self.failed("look at", &self.path, errno.into()))?;
        let there = std::fs::metadata(&self.path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => self.missing(),
            _ => self.failed("look at", &self.path, error),
        })?;
        Ok((there.dev(), there.ino()) == (ours.st_dev, ours.st_ino))
    }

    /// Whether somebody is changing the container.
    pub fn is_locked(&self) -> bool {
        matches!(self.try_lock(), Ok(None))
    }

    /// Writes what is known, whole or not at all.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        self.put(STATE, &serde_json::to_vec(record).unwrap_or_default())
    }

    /// Keeps the document as it was.
    pub fn write_config(&self, text: &[u8]) -> Result<(), Error> {
        self.put_first(document::CONFIG, text)
    }

    /// Keeps what the document was translated into.
    pub fn write_spec(&self, spec: &belljar_runtime::Spec) -> Result<(), Error> {
        self.put_first(SPEC, &serde_json::to_vec(spec).unwrap_or_default())
    }

    /// Keeps the steps that made it.
    pub fn write_plan(&self, plan: &belljar_model::plan::PlanRecord) -> Result<(), Error> {
        self.put_first(PLAN, &serde_json::to_vec(plan).unwrap_or_default())
    }

    /// Writes a file that nobody reads before the state names a first process, and that is not written again.
    fn put_first(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        create(&path, content).map_err(|source| self.failed("write", &path, source))
    }

    /// Writes a file whole or not at all, also where there is one already. The two change places: a file system that keeps its
    /// blocks on a disk would write the new one out at once if it were renamed over the old one (ext4's `auto_da_alloc`).
    fn put(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let (path, beside) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let write = || {
            create(&beside, content)?;
            match renameat_with(CWD, &beside, CWD, &path, RenameFlags::EXCHANGE) {
                Ok(()) => std::fs::remove_file(&beside),
                // There is none yet, or the file system cannot.
                Err(_) => std::fs::rename(&beside, &path),
            }
        };
        write().map_err(|source| self.failed("write", &path, source))
    }

    /// What is known of it.
    pub fn read(&self) -> Result<Record, Error> {
        match document::read(&self.path.join(STATE)) {
            Ok(record) => Ok(record),
            Err(document::Error::Missing { .. }) => Err(self.missing()),
            Err(source) => Err(Error::Damaged { id: self.id.clone(), source }),
        }
    }

    /// The program of that document.
    pub fn program_of(&self, text: &[u8]) -> Result<document::Process, Error> {
        let damaged = |source| Error::Damaged { id: self.id.clone(), source };
        document::program_of_text(&self.path, text).map_err(damaged)
    }

    /// The text of the document that it was made from.
    pub fn config_text(&self) -> Result<Vec<u8>, Error> {
        document::text_of_bundle(&self.path).map_err(|source| Error::Damaged { id: self.id.clone(), source })
    }

    /// What that was translated into.
    pub fn spec(&self) -> Result<belljar_runtime::Spec, Error> {
        let damaged = |source| Error::Damaged { id: self.id.clone(), source };
        document::read(&self.path.join(SPEC)).map_err(damaged)
    }

    /// Decides what it is doing, by looking.
    pub fn look(&self, record: &Record) -> Status {
        // Where whoever made it is gone, the making was cut off: what came to be by then is looked at like any other.
        if record.maker.is_some_and(First::is_alive) {
            return Status::Creating;
        }
        self.look_alone(record)
    }

    /// The same for whoever holds the lock, as who makes it does: nobody is making it.
    pub fn look_alone(&self, record: &Record) -> Status {
        let Some(first) = record.first else { return Status::Stopped };
        if !first.is_alive() {
            return Status::Stopped;
        }
        if record.cgroup.is_frozen() {
            return Status::Paused;
        }
        if belljar_runtime::apply::waits(&self.path) { Status::Created } else { Status::Running }
    }

    /// Removes it, which gives the id back. Gone already is fine.
    pub fn remove(&self) -> Result<(), Error> {
        // What is usually there, without a look; the state last, by which the rest is found again where this is cut off.
        for name in [PLAN, SPEC, document::CONFIG, STATE] {
            let _ = std::fs::remove_file(self.path.join(name));
        }
        if std::fs::remove_dir(&self.path).is_ok() {
            return Ok(());
        }
        match belljar_linux::removal::remove(&self.path) {
            Err(error) if error.errno == rustix::io::Errno::NOENT => Ok(()),
            done => done.map_err(|error| self.failed("remove", &self.path, error.errno.into())),
        }
    }

    fn missing(&self) -> Error {
        Error::Missing { id: self.id.clone() }
    }

    fn failed(&self, operation: &'static str, path: &Path, source: std::io::Error) -> Error {
        Error::Files { operation, path: path.to_owned(), source }
    }
}

fn create(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, content)
}

/// Every id that is reserved, in order.
pub fn ids(root: &Path) -> Result<Vec<String>, Error> {
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|source| Error::Files { operation: "read", path: root.to_owned(), source })?,
    };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut ids: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).filter(|id| check_id(id).is_ok()).collect();
    ids.sort();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use belljar_runtime::cgroup::Hierarchies;

    use super::*;

    fn record(first: Option<First>) -> Record {
        Record {
            oci_version: "1.2.0".into(),
            id: "one".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-01-01T00:00:00Z".into(),
            owner: 0,
            maker: None,
            first,
            cgroup: Cgroup::at(&Hierarchies::of_list(Vec::new()), "one"),
            resources: Resources::default(),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn an_id_is_a_name_and_never_a_way() {
        for id in ["a", "A_b+c-d.e", "0123", ".hidden"] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "ä", "a\n", "a:b", &"x".repeat(256)] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn an_id_can_be_had_once() {
        let root = tempfile::tempdir().expect("a folder");
        let deep = root.path().join("not/there/yet");
        let (folder, _lock) = Folder::reserve(&deep, "one").expect("it is free");
        assert!(matches!(Folder::reserve(&deep, "one"), Err(Error::Exists { .. })));
        std::fs::create_dir(folder.filters()).expect("a folder");
        assert_eq!(ids(&deep).expect("a folder"), ["one"]);
        folder.remove().expect("it goes");
        assert!(Folder::reserve(&deep, "one").is_ok());
    }

    #[test]
    fn what_was_written_is_read_and_nothing_is_a_container_that_does_not_exist() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, _lock) = Folder::reserve(root.path(), "one").expect("it is free");
        assert!(matches!(folder.read(), Err(Error::Missing { .. })));
        let record = record(Some(First { pid: 7, start_ticks: 9 }));
        folder.write(&record).expect("it is written");
        assert_eq!(folder.read().expect("it is there"), record);
        std::fs::write(folder.path().join(STATE), "{").expect("damage");
        assert!(matches!(folder.read(), Err(Error::Damaged { .. })));
    }

    #[test]
    fn the_status_is_what_the_kernel_shows() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, _lock) = Folder::reserve(root.path(), "one").expect("it is free");
        let pid = std::process::id() as i32;
        let start_ticks = process::start_ticks(pid).expect("this process");
        let mut made_by = record(None);
        made_by.maker = First::of(pid);
        assert_eq!(folder.look(&made_by), Status::Creating, "its maker lives");
        assert_eq!(folder.look_alone(&made_by), Status::Stopped, "who has the lock is not its maker");
        made_by.first = made_by.maker;
        assert_eq!(folder.look(&made_by), Status::Creating, "whatever its first process does");
        made_by.maker = Some(First { pid, start_ticks: start_ticks + 1 });
        assert_eq!(folder.look(&made_by), Status::Running, "its maker is gone, and it is not");
        assert_eq!(folder.look(&record(None)), Status::Stopped, "nothing came to be");
        assert_eq!(folder.look(&record(Some(First { pid, start_ticks }))), Status::Running);
        assert_eq!(folder.look(&record(Some(First { pid, start_ticks: start_ticks + 1 }))), Status::Stopped, "another one of that pid");
        std::fs::write(folder.path().join("start.fifo"), "").expect("a file");
        assert_eq!(folder.look(&record(Some(First { pid, start_ticks }))), Status::Created);
    }

    #[test]
    fn a_lock_on_a_folder_that_is_gone_is_a_container_that_does_not_exist() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, lock) = Folder::reserve(root.path(), "one").expect("it is free");
        folder.remove().expect("it goes");
        drop(lock);
        assert!(matches!(folder.lock(), Err(Error::Missing { .. })));
    }
}
