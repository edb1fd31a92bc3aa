//! From nothing to a running program: create, start, and start again.

use std::time::Duration;

use belljar_model::exit::Cause;
use belljar_model::host::Support;
use belljar_model::{Container, EventKind, Exit, Failure, NewEvent, State, Wanted, Whose};
use belljar_monitor::Alive;
use belljar_runtime::Spec;
use belljar_runtime::bundle::{Durable, write_whole};
use belljar_runtime::spec::Around;
use belljar_store::{Durability, InsertError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Flow, Reply, Task, answer, words};
use crate::clock::now_ms;
use crate::launch::{START_LIMIT, ready, watched};
use crate::{Answer, Error, Notice, StartNow, crash, evidence, volume};

/// First pause before a container is started again by its policy.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest such pause; each is twice the one before.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A container that lived so long begins with the shortest pause again.
const LIVED_WELL: Duration = Duration::from_secs(10);

/// Why a container is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// A person asked.
    Asked,
    /// A person asked for a restart.
    Restarted,
    /// Its restart policy.
    Policy,
}

/// How long to pause before the next start by policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: PAUSE_MIN }
    }
}

impl Backoff {
    /// The pause after a life of this length.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= LIVED_WELL {
            self.pause = PAUSE_MIN;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

/// What became of a start.
enum Outcome {
    Runs(Alive),
    /// It ran, and has ended already.
    Ran(Exit),
    Failed(Failure),
}

impl Task {
    /// Row, folders, and where asked the start. On a failure of our own nothing of it is left.
    pub(super) async fn create(&mut self, start: StartNow, reply: oneshot::Sender<Result<Container, Error>>) -> Flow {
        if let Err(error) = self.put_down(start).await {
            self.take_back().await;
            answer(reply, Err(error));
            return Flow::Gone;
        }
        let made = match start {
            StartNow::Yes => self.begin(Why::Asked).await.map(drop),
            StartNow::No => {
                self.container.state = State::Created;
                self.record(Vec::new(), Durability::Durable).await
            }
        };
        answer(reply, made.map(|()| self.container.clone()));
        self.end_what_has_ended().await
    }

    async fn put_down(&mut self, start: StartNow) -> Result<(), Error> {
        self.container.wanted = if start == StartNow::Yes { Wanted::Running } else { Wanted::Stopped };
        let event = self.event(EventKind::Created, format!("created from image {}", self.container.config.image));
        let inserted = self.shared.store.insert(&self.container, event, Durability::Deferred).await;
        let event = inserted.map_err(|error| match error {
            InsertError::NameTaken { name, id } => Error::NameTaken { name, id },
            InsertError::Store(error) => Error::Store(error),
            error => Error::failed("insert", self.container.config.name.to_string(), error),
        })?;
        crash::here("create.inserted");
        self.bundle.create().map_err(|error| Error::failed("make the folders of", self.container.config.name.to_string(), error))?;
        crash::here("create.folders");
        crate::quota::begin(&self.shared, (&self.container.id, &self.container.config.name), &self.container.config.limits)?;
        self.made = volume::ensure(&self.shared, &self.container).await?;
        volume::fill_all(&self.shared, &self.container).await?;
        self.show();
        self.shared.notify(Notice::Event(event));
        Ok(())
    }

    async fn take_back(&mut self) {
        self.container.wanted = Wanted::Deleted;
        volume::take_back(&self.shared, &self.container, &self.made).await;
        if let Err(error) = self.erase("could not be created").await {
            self.log(&error, "a container that could not be created left something behind; the next start removes it");
        }
        self.shared.forget(&self.container.id);
    }

    /// Starts because a person asked: counts from the beginning, and a failure is the answer.
    pub(super) async fn start_as_asked(&mut self, why: Why, reply: Reply) {
        let name = self.container.config.name.clone();
        let started = self.begin(why).await.and_then(|failure| match failure {
            Some(failure) => Err(Error::StartFailed { name, failure }),
            None => Ok(Answer::Done(self.container.clone())),
        });
        answer(reply, started);
        // Nothing waits behind a start, so this cannot delete the container under us.
        self.end_what_has_ended().await;
    }

    pub(super) async fn restart_by_policy(&mut self) -> Flow {
        match self.begin(Why::Policy).await {
            Ok(None) => {}
            Ok(Some(_)) => self.restart_at = Some(Instant::now() + self.backoff.after(Duration::ZERO)),
            Err(error) => {
                self.log(&error, "a start by policy could not be recorded");
                self.try_policy_again();
            }
        }
        self.end_what_has_ended().await
    }

    /// A policy holds, whatever the database does: what rests now and is not to rest is started again after the next pause.
    fn try_policy_again(&mut self) {
        if !self.container.state.is_alive() && self.restart_at.is_none() {
            self.restart_at = Some(Instant::now() + self.backoff.after(Duration::ZERO));
        }
    }

    /// Launches a monitor, looks at what it did, and records that: the failure, where the program could not begin.
    pub(super) async fn begin(&mut self, why: Why) -> Result<Option<Failure>, Error> {
        self.restart_at = None;
        self.container.wanted = Wanted::Running;
        match why {
            Why::Asked | Why::Restarted => {
                self.container.restarts = 0;
                self.backoff = Backoff::default();
            }
            Why::Policy => self.container.restarts = self.container.restarts.saturating_add(1),
        }
        // An upper layer is mounted once: whoever has it mounted for a copy is ended, and nobody begins before it is known that it runs.
        let _nobody_copies = self.shared.desks.clear(&self.container.id).await;
        let shared = std::sync::Arc::clone(&self.shared);
        let _layers_stay = shared.images.mending.read().await;
        let outcome = match self.launch().await {
            Ok(()) => self.outcome(),
            Err(failure) => Outcome::Failed(failure),
        };
        match outcome {
            Outcome::Runs(alive) => self.runs(alive, why).await.map(|()| None),
            Outcome::Ran(exit) => self.ran(exit, why).await.map(|()| None),
            Outcome::Failed(failure) => self.failed(failure.clone(), why).await.map(|()| Some(failure)),
        }
    }

    /// Lets a monitor make the container, and returns when it has written down what became of that.
    async fn launch(&mut self) -> Result<(), Failure> {
        // A reboot empties the run folder; then all are made again, and what is there stays.
        if !self.bundle.run().is_dir() || !self.bundle.log().is_dir() {
            self.bundle.create().map_err(of_kernel)?;
        }
        crash::here("start.folders");
        let _not_filled_meanwhile = self.shared.volumes.hold(&self.container.config.mounts).await;
        self.attempt += 1;
        self.write_spec()?;
        crash::here("start.spec");
        let pipe = self.shared.launcher.start(&self.bundle.spec()).map_err(of_kernel)?;
        let pipe = watched(pipe).map_err(|error| of_kernel(belljar_linux::Error::from_io("wait for", "monitor", &error)))?;
        crash::here("start.launched");
        if !ready(&pipe).await {
            self.clear_cgroup().await;
            if !ready(&pipe).await {
                let limit = words::seconds(START_LIMIT);
                let cause = format!("ETIMEDOUT: not ready after {limit}, and its processes do not end");
                return Err(Failure { step: "start".into(), object: "container".into(), cause });
            }
        }
        crash::here("start.ready");
        Ok(())
    }

    fn write_spec(&mut self) -> Result<(), Failure> {
        if let Support::No(because) = &self.shared.host.own_layers {
            return Err(Failure { step: "mount".into(), object: "its own layer".into(), cause: because.clone() });
        }
        let image = &self.container.config.image;
        let layers = self.shared.images.layers(&self.container).map_err(|error| {
            let cause = crate::error::chain(&error);
            Failure { step: "find".into(), object: format!("image {image}"), cause }
        })?;
        self.container.without_ids = crate::around::why_without_ids(&self.shared, &self.container, &layers);
        if let (Some(because), Some(Whose::Private)) = (&self.container.without_ids, &self.container.config.namespaces.user) {
            let cause = format!("{because}; without them it may not run, because namespaces.user is private");
            return Err(Failure { step: "map".into(), object: "user ids of its own".into(), cause });
        }
        let joined = crate::around::joined(&self.shared, &self.container)?;
        let (id, name) = (&self.container.id, &self.container.config.name);
        let project = crate::quota::for_start(&self.shared, (id, name), &self.container.config.limits)?;
        let devices = crate::around::devices(&self.container.config)?;
        let disks = crate::around::disks(&self.container.config)?;
        let around = Around { image: &layers, instance: &self.shared.home, joined, devices, disks, project };
        let spec = Spec::of(&self.container, &around, self.attempt).map_err(|invalid| Failure {
            step: "read".into(),
            object: invalid.field,
            cause: invalid.problem,
        })?;
        let json = serde_json::to_vec(&spec).map_err(|error| of_kernel(belljar_linux::Error::from_io("write", "spec", &error.into())))?;
        // A start that a power cut ends leaves nothing that would need it.
        write_whole(&self.bundle.spec(), &json, Durable::No).map_err(of_kernel)
    }

    fn outcome(&self) -> Outcome {
        let look = match evidence::look(&self.bundle) {
            Ok(look) => look,
            Err(error) => {
                let cause = crate::error::chain(&error);
                return Outcome::Failed(Failure { step: "look at".into(), object: "container".into(), cause });
            }
        };
        let exit = look.exit_of(self.attempt).cloned();
        let alive = look.alive.filter(|alive| alive.attempt == self.attempt);
        match (alive, exit) {
            (_, Some(Exit { cause: Cause::NeverStarted(failure), .. })) => Outcome::Failed(failure),
            // Where it has ended meanwhile, its monitor is about to end or has: that is seen when it is waited for.
            (Some(alive), _) => Outcome::Runs(alive),
            (None, Some(exit)) => Outcome::Ran(exit),
            (None, None) => {
                let cause = "its monitor ended without a word".to_owned();
                Outcome::Failed(Failure { step: "start".into(), object: "container".into(), cause })
            }
        }
    }

    async fn runs(&mut self, alive: Alive, why: Why) -> Result<(), Error> {
        self.container.state = State::Running;
        self.container.started_at_ms = Some(alive.started_at_ms);
        self.container.init = Some(alive.init);
        self.container.monitor = Some(alive.monitor);
        let message = format!("{} (pid {})", self.started_words(why), alive.init.pid);
        let mut events = vec![self.event(started_kind(why), message)];
        events.extend(self.loosened());
        // Watched before it is recorded: whatever happens meanwhile, the end is not missed. One that is gone already is
        // seen by `end_what_has_ended`.
        self.watch_monitor();
        self.shared.diagnosis.began(&self.container.id, alive.started_at_ms);
        self.watch_memory();
        self.begin_checks();
        self.record(events, Durability::Durable).await?;
        crash::here("start.recorded");
        Ok(())
    }

    async fn ran(&mut self, exit: Exit, why: Why) -> Result<(), Error> {
        self.container.started_at_ms = Some(now_ms());
        let mut events = vec![self.event(started_kind(why), self.started_words(why))];
        events.extend(self.loosened());
        events.extend(self.rest_with(exit, None));
        self.record(events, Durability::Durable).await?;
        crash::here("start.recorded");
        Ok(())
    }

    async fn failed(&mut self, failure: Failure, why: Why) -> Result<(), Error> {
        self.clear_cgroup().await;
        if why != Why::Policy {
            self.container.wanted = Wanted::Stopped;
        }
        let message = format!("could not start: {failure}");
        let exit = Exit { cause: Cause::NeverStarted(failure), out_of_memory: None, at_ms: now_ms() };
        self.container.state = State::Stopped;
        self.container.init = None;
        self.container.monitor = None;
        self.container.exit = Some(exit);
        let events: Vec<NewEvent> = vec![self.event(EventKind::StartFailed, message)];
        self.record(events, Durability::Durable).await?;
        crash::here("start.recorded");
        Ok(())
    }

    /// What this host could not give it is told with every start.
    fn loosened(&self) -> Option<NewEvent> {
        let because = self.container.without_ids.as_ref()?;
        Some(self.event(EventKind::Loosened, format!("started without user ids of its own, so its root is the host's root: {because}")))
    }

    fn started_words(&self, why: Why) -> String {
        let command = words::command(&self.container);
        match why {
            Why::Asked => format!("started: {command}"),
            Why::Restarted => format!("started again: {command}"),
            Why::Policy => format!("started again by its restart policy, time {}: {command}", self.container.restarts),
        }
    }
}

fn started_kind(why: Why) -> EventKind {
    match why {
        Why::Asked => EventKind::Started,
        Why::Restarted | Why::Policy => EventKind::Restarted,
    }
}

fn of_kernel(error: belljar_linux::Error) -> Failure {
    Failure { step: error.operation.to_owned(), cause: error.cause(), object: error.subject }
}
