//! What should run, what runs, and closing the distance between them.
//!
//! This crate must never know HTTP, a page, SQL or a system call's number: it decides, and lets others do. It is the one
//! place where [`Container::state`] changes. Start reading at [`Supervisor`], the only thing that a server calls.

mod error;

use std::collections::HashMap;
use std::path::PathBuf;

use belljar_model::cgroup::Cgroup;
use belljar_model::log::{LogLine, Stream};
use belljar_model::namespace::Namespace;
use belljar_model::overlay::{Change, Entry, Stack};
use belljar_model::plan::PlanRecord;
use belljar_model::usage::Usage;
use belljar_model::{Config, Container, ContainerId, Event, Host, Image, ImageName, Process, machine};
use belljar_store::{EventQuery, Store};
use tokio::io::AsyncRead;
use tokio::sync::broadcast;

pub use error::{Error, ErrorKind};

/// Where an instance of Belljar lives. Several can run side by side on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name: its part of the cgroup tree.
    pub instance: String,
    /// Folder of the database, images and containers.
    pub data_dir: PathBuf,
    /// Folder of what lives only while the machine is up.
    pub run_dir: PathBuf,
}

/// Whether a new container's program begins at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartNow {
    /// It does.
    Yes,
    /// It stays `created`.
    No,
}

/// What became of a request that was not refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It was done. The container as it is now; for a delete, as it last was.
    Done(Container),
    /// It was so already.
    AlreadySo(Container),
}

impl Answer {
    /// The container, whichever it was.
    pub fn into_container(self) -> Container {
        match self {
            Answer::Done(container) | Answer::AlreadySo(container) => container,
        }
    }
}

/// Something worth looking at has happened. A notice carries no state (but an event is what it is): whoever gets one looks.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The container is new, or something about it changed.
    Container(ContainerId),
    /// The container is gone.
    Removed(ContainerId),
    /// This was recorded.
    Event(Event),
    /// Usage was measured: see [`Supervisor::usages`].
    Sampled,
}

/// Which lines of a container's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only lines that were read at this time or later, in Unix microseconds.
    pub since_usec: Option<i64>,
    /// Only the last so many of them.
    pub tail: Option<usize>,
    /// Only this output.
    pub stream: Option<Stream>,
}

/// A log that is read on as it grows; made by [`Supervisor::follow_logs`].
pub struct LogFollow {}

impl LogFollow {
    /// The next lines, at least one; `None` when the container has ended and everything was read. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Vec<LogLine>>, Error> {
        unimplemented!()
    }
}

/// The supervisor of one instance. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Supervisor {}

#[expect(unused_variables, reason = "the surface first, so that the layers above can be written beside it")]
impl Supervisor {
    /// Every container, the newest first.
    pub fn containers(&self) -> Vec<Container> {
        unimplemented!()
    }

    /// The container with this id, name, or beginning (four digits or more) of an id that fits no other.
    pub fn find(&self, key: &str) -> Result<Container, Error> {
        unimplemented!()
    }

    /// Creates a container and starts it where asked. A program that could not begin is no error here: the container is
    /// there, `stopped`, and its exit says which step failed.
    pub async fn create(&self, config: Config, start: StartNow) -> Result<Container, Error> {
        unimplemented!()
    }

    /// Asks something of a container, and waits until it is done.
    pub async fn ask(&self, id: &ContainerId, request: machine::Request) -> Result<Answer, Error> {
        unimplemented!()
    }

    /// As [`Supervisor::ask`], with another time between stop signal and kill than the container's own. It matters to
    /// `Stop` and `Restart` only.
    pub async fn ask_within(&self, id: &ContainerId, request: machine::Request, grace_ms: u64) -> Result<Answer, Error> {
        unimplemented!()
    }

    /// Waits until the container is not alive, and returns it as it is then.
    pub async fn wait(&self, id: &ContainerId) -> Result<Container, Error> {
        unimplemented!()
    }

    /// What the container uses, read now. All figures are unknown where it is not alive.
    pub async fn usage(&self, id: &ContainerId) -> Result<Usage, Error> {
        unimplemented!()
    }

    /// What every container that is alive used at the last measurement: every second while somebody watches
    /// ([`Supervisor::watch`]), else every ten.
    pub fn usages(&self) -> HashMap<ContainerId, Usage> {
        unimplemented!()
    }

    /// The container's namespaces beside the host's; empty where it is not alive.
    pub async fn namespaces(&self, id: &ContainerId) -> Result<Vec<Namespace>, Error> {
        unimplemented!()
    }

    /// The container's cgroup, read now; without controllers where it is not alive.
    pub async fn cgroup(&self, id: &ContainerId) -> Result<Cgroup, Error> {
        unimplemented!()
    }

    /// The layers of the container's root.
    pub async fn stack(&self, id: &ContainerId) -> Result<Stack, Error> {
        unimplemented!()
    }

    /// What is in one folder of the container's root, whether it is alive or not.
    pub async fn entries(&self, id: &ContainerId, path: &str) -> Result<Vec<Entry>, Error> {
        unimplemented!()
    }

    /// What the container changed in its root, whether it is alive or not.
    pub async fn changes(&self, id: &ContainerId) -> Result<Vec<Change>, Error> {
        unimplemented!()
    }

    /// The plan that made the container when it was last started; empty where it never was.
    pub async fn plan(&self, id: &ContainerId) -> Result<PlanRecord, Error> {
        unimplemented!()
    }

    /// The processes in the container; none where it is not alive.
    pub async fn processes(&self, id: &ContainerId) -> Result<Vec<Process>, Error> {
        unimplemented!()
    }

    /// Lines of the container's log, oldest first.
    pub async fn logs(&self, id: &ContainerId, query: LogQuery) -> Result<Vec<LogLine>, Error> {
        unimplemented!()
    }

    /// The same lines as [`Supervisor::logs`], and then what is written while the container is alive.
    pub async fn follow_logs(&self, id: &ContainerId, query: LogQuery) -> Result<LogFollow, Error> {
        unimplemented!()
    }

    /// What happened, newest first.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<Event>, Error> {
        unimplemented!()
    }

    /// Notices from now on. Whoever lags behind (`RecvError::Lagged`) looks at everything again.
    pub fn watch(&self) -> broadcast::Receiver<Notice> {
        unimplemented!()
    }

    /// Every image, `host` first, then by name.
    pub fn images(&self) -> Vec<Image> {
        unimplemented!()
    }

    /// Brings a root file system archive in under a name that is not taken.
    pub async fn import_image(&self, name: ImageName, archive: impl AsyncRead + Send + Unpin + 'static) -> Result<Image, Error> {
        unimplemented!()
    }

    /// Deletes an image that no container is made of.
    pub async fn delete_image(&self, name: &ImageName) -> Result<(), Error> {
        unimplemented!()
    }

    /// The machine, as it was when the supervisor was opened.
    pub fn host(&self) -> Host {
        unimplemented!()
    }
}
