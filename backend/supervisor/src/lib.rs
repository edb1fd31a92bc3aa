//! What should run, what runs, and closing the distance between them.
//!
//! This crate must never know HTTP, a page, SQL or a system call's number: it decides, and lets others do. It is the one
//! place where [`Container::state`] changes. Start reading at [`Supervisor`], the only thing that a server calls.

mod around;
mod boot;
mod clock;
pub mod crash;
mod desks;
mod diagnosis;
mod error;
mod evidence;
pub mod exec;
pub mod files;
mod health;
mod history;
mod hold;
mod host;
mod image;
mod inspect;
mod launch;
mod limit;
mod logs;
mod quota;
mod ranges;
mod reconcile;
mod registry;
mod sample;
mod shared;
mod sources;
mod space;
mod task;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upper;
mod volume;

use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use belljar_model::cgroup::Cgroup;
use belljar_model::denied::Denied;
use belljar_model::diagnosis::Finding;
use belljar_model::exec::Exec;
use belljar_model::host::Support;
use belljar_model::log::LogLine;
use belljar_model::machine::Request;
use belljar_model::namespace::Namespace;
use belljar_model::overlay::Entry;
use belljar_model::plan::PlanRecord;
use belljar_model::usage::{Pressure, Usage};
use belljar_model::{Change, Config, Container, ContainerId, Draft, Event, Host, Limits, Process, State, Wanted};
use belljar_monitor::Spawner;
use belljar_runtime::cgroup::Hierarchies;
use belljar_runtime::spec::Folders;
use belljar_runtime::{Instance, overlay};
use belljar_store::{EventQuery, Store};
use tokio::sync::{Semaphore, broadcast, oneshot};

pub use belljar_runtime::idmap::Mapper;
pub use error::{Error, ErrorKind};
pub use image::{Commit, Damage, Deleted, Export, KnownRegistry, Login, Mended, Pause, Prune, PruneScope, Pulling, Repair, Verified};
pub use logs::{LINES_AT_ONCE_MAX, LogFollow, LogQuery};
pub use registry::CONTAINERS_MAX;
pub use volume::{VOLUMES_MAX, VolumeScope};

use launch::Launch;
use ranges::Ranges;
use registry::Registry;
use shared::{Probe, Shared};
use sources::Looks;
use task::{Asked, Beginning, Command, Reply, Task};

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

/// What was made for the supervisor while the process had one thread.
#[derive(Debug)]
pub struct Helpers {
    /// Makes monitors.
    pub spawner: Spawner,
    /// Tells whether owners of files can be mapped; or why this host has no user namespaces.
    pub mapper: belljar_linux::Result<Mapper>,
}

/// What a supervisor stands on. The tests' own is without root.
struct Ground {
    launcher: Box<dyn Launch>,
    probe: Probe,
    /// `None`: nobody is asked, and everything can be mapped.
    mapper: Option<belljar_linux::Result<Mapper>>,
    /// Folder of the ranges of ids.
    ranges: PathBuf,
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
    /// Its health was checked: see [`Supervisor::health`]. Where that changed what it is, [`Notice::Container`] follows.
    Checked(ContainerId),
    /// Usage was measured: see [`Supervisor::usages`].
    Sampled,
}

/// The supervisor of one instance. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

impl Supervisor {
    /// Looks at everything of the instance, makes the database say what is so, removes what belongs to nothing, and takes
    /// every container over. [`Error::InstanceTaken`] where another process serves the instance; nobody else may use the folders
    /// either.
    ///
    /// `mapper` is asked whether owners of files can be mapped; the error is why this host has no user namespaces to map into.
    pub async fn open(settings: Settings, store: Store, helpers: Helpers) -> Result<Supervisor, Error> {
        let Helpers { spawner, mapper } = helpers;
        let ground = Ground { launcher: Box::new(spawner), probe: Hierarchies::probe, mapper: Some(mapper), ranges: ranges::FOLDER.into() };
        Self::open_on(settings, store, ground).await
    }

    async fn open_on(settings: Settings, store: Store, ground: Ground) -> Result<Supervisor, Error> {
        let Settings { instance, data_dir, run_dir } = settings;
        let Ground { launcher, probe, mapper, ranges } = ground;
        let hierarchies = probe().map_err(|error| Error::failed("find", "the cgroup hierarchies", error))?;
        let hold = hold::take(&hierarchies, &instance)?;
        for folder in [&data_dir, &run_dir] {
            make_folder(&folder.join("containers"))?;
        }
        let images = image::open(&data_dir.join("images"), &store).await?;
        let volumes = volume::open(data_dir.join(belljar_runtime::volume::FOLDER), &store).await?;
        let home = Instance { name: instance, folders: Folders { data_dir, run_dir } };
        let mut host = host::look(&home, &hierarchies).map_err(|error| Error::failed("look at", "the host", error))?;
        if mapper.is_some() {
            host.own_layers = host::own_layers(&home);
        }
        let mapper = match mapper.transpose() {
            Ok(mapper) => mapper,
            Err(error) => {
                host.user_namespaces = Support::No(format!("none can be made: {}", error.cause()));
                None
            }
        };
        let quotas = quota::Quotas::new(&home.folders.data_dir.join("containers"));
        let ranges = Ranges::open(&ranges, &home.name, &home.folders.data_dir)?;
        let (registry, samples, looks) = (Registry::default(), sample::Samples::new(), Looks::default());
        let (diagnosis, tidings) = diagnosis::Diagnosis::new();
        let (notices, _) = broadcast::channel(shared::NOTICES_MAX);
        let shared = Arc::new(Shared {
            home,
            _hold: hold,
            store,
            launcher,
            probe,
            at_opening: hierarchies,
            host,
            mapper,
            ranges,
            images,
            volumes,
            registry,
            samples,
            diagnosis,
            health: health::Board::default(),
            history: Arc::default(),
            notices,
            looks,
            execs: Arc::new(Semaphore::new(exec::EXECS_MAX)),
            desks: desks::Desks::default(),
            uppers: upper::Uppers::default(),
            quotas,
        });
        reconcile::all(&shared).await?;
        volume::settle(&shared).await?;
        image::sweep(&shared).await;
        tokio::spawn(diagnosis::tell(Arc::downgrade(&shared), tidings));
        tokio::spawn(sample::run(Arc::downgrade(&shared)));
        tokio::spawn(space::watch(Arc::downgrade(&shared)));
        tokio::spawn(upper::run(Arc::downgrade(&shared)));
        Ok(Supervisor { shared })
    }

    /// Lets go of every container, after what is under way is done. They keep running; where none does, the instance's own
    /// cgroup goes too.
    pub async fn close(&self) {
        for task in self.shared.registry.drain() {
            drop(task.await); // A task that panicked has been reported by the runtime.
        }
        image::let_all_go(&self.shared).await;
        history::finish(&self.shared).await;
        self.shared.hierarchies().abandon(&self.shared.home.name);
    }

    /// Every container, the newest first.
    pub fn containers(&self) -> Vec<Container> {
        self.shared.registry.snapshots()
    }

    /// The container with this id, name, or beginning (four digits or more) of an id that fits no other.
    pub fn find(&self, key: &str) -> Result<Container, Error> {
        self.shared.registry.find(key)
    }

    /// Creates a container and starts it where asked. A program that could not begin is no error here: the container is
    /// there, `stopped`, and its exit says which step failed. It is done even when whoever asked goes away meanwhile.
    pub async fn create(&self, draft: impl Into<Draft>, start: StartNow) -> Result<Container, Error> {
        let draft = draft.into();
        draft.check()?;
        let image = image::wanted(&self.shared, &draft).await?;
        let mut config = Config { image: image.name.clone(), ..draft.with(&image.contents.config)? };
        self.shared.images.pin(&mut config.mounts)?;
        volume::give_own(&mut config, &image.contents.config.volumes)?;
        self.check_limits(&config.limits).await?;
        self.shared.looks.check(&config.mounts).await?;
        self.check_idmaps(&config.mounts).await?;
        around::check_joined(&self.shared, &config, start)?;
        belljar_runtime::spec::container::check_filter(&config)?;
        let stacked = config.mounts.clone();
        let mut container = new_container(config)?;
        container.image_digest = (!image.name.is_host()).then(|| image.digest.clone());
        if container.config.namespaces.has_own_ids() {
            container.uid_base = Some(self.shared.ranges.reserve(&container.id)?);
        }
        let kept = (container.uid_base, container.id.clone());
        let (reply, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let spawn = move |container| Task::spawn(shared, container, 0, Beginning::Create { start, reply });
        let admitted = self.shared.images.with(&image, &stacked, || self.shared.registry.admit(container, spawn));
        if let (Err(_), (Some(base), id)) = (&admitted, kept) {
            self.shared.give_back(base, &id);
        }
        admitted?;
        answer.await.unwrap_or_else(|_| Err(unanswered()))
    }

    /// Asks something of a container, and waits until it is done.
    pub async fn ask(&self, id: &ContainerId, request: Request) -> Result<Answer, Error> {
        self.send(id, request, None).await
    }

    /// As [`Supervisor::ask`], with another time between stop signal and kill than the container's own. It matters to
    /// `Stop` and `Restart` only.
    pub async fn ask_within(&self, id: &ContainerId, request: Request, grace_ms: u64) -> Result<Answer, Error> {
        self.send(id, request, Some(Duration::from_millis(grace_ms))).await
    }

    async fn send(&self, id: &ContainerId, request: Request, grace: Option<Duration>) -> Result<Answer, Error> {
        self.command(id, |reply| Command::Ask(Asked { request, grace, reply })).await
    }

    /// Changes a container: one that is alive at once, where the kernel takes it, and one that rests for its next start. All of it or
    /// nothing: [`Error::LimitRefused`] where the kernel refused, and then everything is as it was.
    pub async fn change(&self, id: &ContainerId, change: Change) -> Result<Container, Error> {
        let before = self.shared.registry.snapshot(id)?.config;
        let limits = change.apply(&before).limits;
        if limits.io != before.limits.io {
            limits.check(&limit::capacity(&self.shared.host))?;
            self.shared.looks.check_disks(&limits).await?;
        }
        self.command(id, |reply| Command::Change(Box::new(change), reply)).await.map(Answer::into_container)
    }

    async fn command(&self, id: &ContainerId, command: impl FnOnce(Reply) -> Command) -> Result<Answer, Error> {
        let commands = self.shared.registry.commands(id)?;
        let (reply, answer) = oneshot::channel();
        // A container that is deleted while others ask something of it answers nobody any more.
        let gone = || match self.shared.registry.snapshot(id) {
            Ok(_) => unanswered(),
            Err(not_found) => not_found,
        };
        commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Runs a further program in a container that runs. It is as strict as the container's start.
    pub async fn exec(&self, id: &ContainerId, exec: Exec) -> Result<exec::Running, Error> {
        exec::start(&self.shared, id, exec).await
    }

    /// Waits until the container is not alive, and returns it as it is then.
    pub async fn wait(&self, id: &ContainerId) -> Result<Container, Error> {
        let mut snapshot = self.shared.registry.follow(id)?;
        let ended = snapshot.wait_for(|container| !container.state.is_alive() && container.state != State::Creating).await;
        ended.map(|container| container.clone()).map_err(|_| registry::not_found(id.short()))
    }

    /// What the container uses, read now. All figures but those of its own layer are unknown where it is not alive.
    pub async fn usage(&self, id: &ContainerId) -> Result<Usage, Error> {
        self.inspect(id, sample::read).await
    }

    /// What every container that is alive used at the last measurement: every second while somebody watches
    /// ([`Supervisor::watch`]), else every ten.
    pub fn usages(&self) -> HashMap<ContainerId, Usage> {
        self.shared.samples.all()
    }

    /// Why the container died, or why it is slow, and what its history suggests: the worst first, nothing where all is well.
    pub async fn diagnosis(&self, id: &ContainerId) -> Result<Vec<Finding>, Error> {
        let mut found = self.inspect(id, diagnosis::now).await?;
        found.extend(self.suggestion(id).await?);
        Ok(found)
    }

    /// The worst of that, by what was measured last; `None` where all is well.
    pub fn finding(&self, container: &Container) -> Option<Finding> {
        self.shared.diagnosis.worst(container, &self.shared.health.of(&container.id), quota::limited(&self.shared, container))
    }

    /// The container's namespaces beside the host's; empty where it is not alive.
    pub async fn namespaces(&self, id: &ContainerId) -> Result<Vec<Namespace>, Error> {
        self.inspect(id, inspect::namespaces_of).await
    }

    /// The container's cgroup, read now; without controllers where it is not alive.
    pub async fn cgroup(&self, id: &ContainerId) -> Result<Cgroup, Error> {
        self.inspect(id, inspect::cgroup_of).await
    }

    /// What is in one folder of the container's root, whether it is alive or not.
    pub async fn entries(&self, id: &ContainerId, path: &str) -> Result<Vec<Entry>, Error> {
        let (stack, path) = (self.stack(id).await?, path.to_owned());
        blocking(move || overlay::entries(&stack, &path)).await.map_err(inspect::overlay_error)
    }

    /// What the container changed in its root, whether it is alive or not.
    pub async fn changes(&self, id: &ContainerId) -> Result<Vec<belljar_model::overlay::Change>, Error> {
        let stack = self.stack(id).await?;
        blocking(move || overlay::changes(&stack)).await.map_err(inspect::overlay_error)
    }

    /// The plan that made the container when it was last started; empty where it never was.
    pub async fn plan(&self, id: &ContainerId) -> Result<PlanRecord, Error> {
        self.inspect(id, |shared, container| belljar_monitor::record::plan(&shared.bundle(&container.id)).unwrap_or_default()).await
    }

    /// The processes in the container; none where it is not alive.
    pub async fn processes(&self, id: &ContainerId) -> Result<Vec<Process>, Error> {
        self.inspect(id, inspect::processes_of).await
    }

    /// The system calls that the container asked for and was denied since its start; none where that is not recorded.
    pub async fn denied(&self, id: &ContainerId) -> Result<Vec<Denied>, Error> {
        self.inspect(id, inspect::denied_of).await
    }

    /// Reads something of a container, away from the threads that answer: a file of `/proc` or of a cgroup may make its
    /// reader wait, for as long as what it tells of waits for a disk.
    async fn inspect<T: Send + 'static>(
        &self,
        id: &ContainerId,
        read: impl FnOnce(&Shared, &Container) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let container = self.shared.registry.snapshot(id)?;
        let shared = Arc::clone(&self.shared);
        Ok(blocking(move || read(&shared, &container)).await)
    }

    /// Lines of the container's log, oldest first.
    pub async fn logs(&self, id: &ContainerId, query: LogQuery) -> Result<Vec<LogLine>, Error> {
        self.shared.registry.snapshot(id)?;
        let folder = self.shared.bundle(id).log();
        blocking(move || logs::read(&folder, query)).await
    }

    /// The same lines as [`Supervisor::logs`], and then what is written while the container is alive.
    pub async fn follow_logs(&self, id: &ContainerId, query: LogQuery) -> Result<LogFollow, Error> {
        let snapshot = self.shared.registry.follow(id)?;
        let folder = self.shared.bundle(id).log();
        blocking(move || LogFollow::open(folder, query, snapshot)).await
    }

    /// What happened, newest first.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<Event>, Error> {
        Ok(self.shared.store.events(&query).await?)
    }

    /// Notices from now on. Whoever lags behind (`RecvError::Lagged`) looks at everything again.
    pub fn watch(&self) -> broadcast::Receiver<Notice> {
        let receiver = self.shared.notices.subscribe();
        self.shared.samples.wake.notify_one();
        receiver
    }

    /// The machine, with what it can enforce now.
    pub fn host(&self) -> Host {
        host::now(&self.shared)
    }

    /// How long something waited on the whole machine, now; `None` where its kernel does not measure it.
    pub fn pressure(&self) -> Option<Pressure> {
        belljar_runtime::cgroup::usage::host_pressure()
    }

    /// The machine's own name.
    pub fn hostname(&self) -> &str {
        &self.shared.host.hostname
    }

    /// Refuses limits that the host does not have, or cannot enforce.
    async fn check_limits(&self, limits: &Limits) -> Result<(), Error> {
        if *limits == Limits::default() {
            return Ok(());
        }
        limits.check(&limit::capacity(&self.shared.host))?;
        self.shared.looks.check_disks(limits).await?;
        let (shared, limits) = (Arc::clone(&self.shared), limits.clone());
        Ok(blocking(move || limit::check(&shared, &limits, &Limits::default())).await?)
    }
}

/// Makes a folder that only root may look into.
fn make_folder(path: &Path) -> Result<(), Error> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| Error::File { operation: "make", path: path.to_owned(), source })
}

fn new_container(config: Config) -> Result<Container, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::failed("make", "a random id", error))?;
    Ok(Container {
        id: ContainerId::from_bytes(bytes),
        config,
        state: State::Creating,
        wanted: Wanted::Stopped,
        uid_base: None,
        without_ids: None,
        image_digest: None,
        created_at_ms: clock::now_ms(),
        started_at_ms: None,
        init: None,
        monitor: None,
        exit: None,
        restarts: 0,
    })
}

/// The task of a container ended without an answer: the server is closing, or it found a mistake of its own.
fn unanswered() -> Error {
    Error::Unavailable { because: "the server is closing, or found a mistake of its own; ask again in a moment".to_owned() }
}

/// Runs what waits for a disk or the kernel where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // Only its own panic ends it: it goes on where it was asked for.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
