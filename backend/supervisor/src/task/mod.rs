//! The one task that owns one container: every change of its state is made here, one at a time.
//!
//! ```text
//!  requests ──► queue ──┐                       ┌─► start    monitor launched, bundle looked at, recorded
//!  monitor ended ───────┼──► what is due next ──┼─► ending   signal, grace, kill; then looked at, recorded
//!  grace is over ───────┤                       ├─► pause, resume, kill
//!  time to restart ─────┘                       └─► delete   and the task is over
//! ```
//! While a container is ending, requests that need it at rest wait in line; those that hurry its end are done at once.
//! What a request asks is admitted by [`belljar_model::machine`], nowhere else.

mod change;
mod delete;
mod end;
mod freeze;
mod health;
mod memory;
mod start;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use belljar_model::machine::{Force, Request, Verdict, admit};
use belljar_model::{Change, Container, ContainerId, EventKind, NewEvent, Signal, State, VolumeName, Wanted};
use belljar_runtime::Bundle;
use belljar_runtime::cgroup::Cgroup;
use belljar_store::Durability;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::health::Watcher;
use crate::launch::{Watched, readable};
use crate::registry::Handle;
use crate::shared::Shared;
use crate::{Answer, Error, Notice, StartNow};

use end::Ending;
pub(crate) use end::policy_restarts;
use memory::Memory;
use start::{Backoff, Why};
pub(crate) use words::line as command_words;

/// Most requests that wait for one container; the next has to wait to be taken.
const REQUESTS_MAX: usize = 64;

/// Why a container that could not be deleted whole does nothing but that.
const HALF_DELETED: &str = "was deleted, but something of it could not be removed: delete it again";

/// Pause before a broken task is replaced: what broke it may break the next one too.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);

/// Where the answer to a request goes. Nobody may be listening any more.
pub(crate) type Reply = oneshot::Sender<Result<Answer, Error>>;

/// Something that a task is told to do.
pub(crate) enum Command {
    /// What its life is asked for.
    Ask(Asked),
    /// Something about it shall be different.
    Change(Box<Change>, Reply),
}

impl Command {
    /// Whoever waits for it.
    fn into_reply(self) -> Reply {
        match self {
            Command::Ask(Asked { reply, .. }) | Command::Change(_, reply) => reply,
        }
    }
}

/// Something asked of a container's life.
pub(crate) struct Asked {
    pub(crate) request: Request,
    /// Instead of the container's own time between stop signal and kill.
    pub(crate) grace: Option<Duration>,
    pub(crate) reply: Reply,
}

/// What a task begins with.
pub(crate) enum Beginning {
    /// The container is new.
    Create { start: StartNow, reply: oneshot::Sender<Result<Container, Error>> },
    /// It was there already; its monitor, if one lives; and what is due for it.
    Restore { monitor: Option<Watched>, due: Due },
}

/// What is due at once for a container that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A start: it rests, and its restart policy says so.
    Start,
    /// A stop: it lives, and a person wanted it to rest before the server went away.
    Stop,
    /// Nothing.
    Nothing,
}

/// Whether the task goes on.
enum Flow {
    Continue,
    Gone,
}

/// What is due next.
enum Next {
    Ended,
    GraceOver,
    Restart,
    LookAgain,
    Memory(memory::Reason),
    Command(Option<Command>),
}

/// The owner of one container.
pub(crate) struct Task {
    shared: Arc<Shared>,
    container: Container,
    snapshot: watch::Sender<Container>,
    bundle: Bundle,
    /// Number of the last start: an exit of an earlier one is never taken for this one's.
    attempt: u64,
    /// The monitor, while it lives.
    monitor: Option<Watched>,
    /// When the monitor is looked for again, because it could not be told whether it lives.
    look_at: Option<Instant>,
    ending: Option<Ending>,
    /// Requests that wait until the container has ended.
    later: VecDeque<Command>,
    backoff: Backoff,
    restart_at: Option<Instant>,
    memory: Memory,
    /// Who checks its health, while that is to be done.
    checks: Option<Watcher>,
    /// Volumes that were made for it: they go where it comes to nothing.
    made: Vec<VolumeName>,
}

impl Task {
    /// Makes the task of a container and lets it run.
    pub(crate) fn spawn(shared: Arc<Shared>, container: Container, attempt: u64, beginning: Beginning) -> Handle {
        let (commands, queue) = mpsc::channel(REQUESTS_MAX);
        let (sender, snapshot) = watch::channel(container.clone());
        let task = Task {
            bundle: shared.bundle(&container.id),
            shared,
            container,
            snapshot: sender,
            attempt,
            monitor: None,
            look_at: None,
            ending: None,
            later: VecDeque::new(),
            backoff: Backoff::default(),
            restart_at: None,
            memory: Memory::default(),
            checks: None,
            made: Vec::new(),
        };
        let nudge = task.memory.nudge();
        let (shared, id) = (Arc::clone(&task.shared), task.container.id.clone());
        let run = tokio::spawn(task.run(beginning, queue));
        Handle { snapshot, commands, task: tokio::spawn(replace_broken(shared, id, run)), nudge }
    }

    async fn run(mut self, beginning: Beginning, mut queue: mpsc::Receiver<Command>) {
        if let Flow::Gone = self.begin_with(beginning).await {
            return;
        }
        loop {
            let next = tokio::select! {
                () = readable(self.monitor.as_ref()) => Next::Ended,
                () = until(self.ending.as_ref().map(|ending| ending.deadline)) => Next::GraceOver,
                () = until(self.restart_at) => Next::Restart,
                () = until(self.look_at) => Next::LookAgain,
                reason = self.memory.worth_a_look() => Next::Memory(reason),
                command = queue.recv() => Next::Command(command),
            };
            let flow = match next {
                Next::Ended => self.end().await,
                Next::GraceOver => self.grace_over().await,
                Next::Restart => self.restart_by_policy().await,
                Next::LookAgain => self.look_for_monitor().await,
                Next::Memory(reason) => self.look_at_memory(reason).await,
                Next::Command(Some(command)) => self.handle(command).await,
                // The supervisor was closed: the container goes on without us.
                Next::Command(None) => return,
            };
            if let Flow::Gone = flow {
                return;
            }
        }
    }

    async fn begin_with(&mut self, beginning: Beginning) -> Flow {
        match beginning {
            Beginning::Create { start, reply } => self.create(start, reply).await,
            Beginning::Restore { monitor, due } => {
                self.monitor = monitor;
                self.remember_memory().await;
                self.check_health_anew();
                match due {
                    Due::Start => self.restart_at = Some(Instant::now()),
                    Due::Stop => self.stop(None, Wanted::Stopped, None).await,
                    Due::Nothing => {}
                }
                Flow::Continue
            }
        }
    }

    async fn handle(&mut self, command: Command) -> Flow {
        let asked = match command {
            Command::Ask(asked) => asked,
            Command::Change(..) if self.ending.is_some() => {
                self.later.push_back(command);
                return Flow::Continue;
            }
            Command::Change(_, reply) if self.container.wanted == Wanted::Deleted => {
                answer(reply, Err(self.refused(HALF_DELETED)));
                return Flow::Continue;
            }
            Command::Change(change, reply) => {
                answer(reply, self.change(&change).await);
                return Flow::Continue;
            }
        };
        self.handle_asked(asked).await
    }

    async fn handle_asked(&mut self, command: Asked) -> Flow {
        if self.ending.is_some() {
            self.handle_while_ending(command).await;
            return Flow::Continue;
        }
        if self.container.wanted == Wanted::Deleted && !matches!(command.request, Request::Delete(_)) {
            answer(command.reply, Err(self.refused(HALF_DELETED)));
            return Flow::Continue;
        }
        match admit(self.container.state, command.request) {
            Verdict::No(because) => answer(command.reply, Err(self.refused(because))),
            Verdict::AlreadySo => {
                let so = self.keep_at_rest(command.request).await.map(|()| Answer::AlreadySo(self.container.clone()));
                answer(command.reply, so);
            }
            Verdict::Do => return self.carry_out(command).await,
        }
        Flow::Continue
    }

    async fn carry_out(&mut self, command: Asked) -> Flow {
        let Asked { request, grace, reply } = command;
        let alive = self.container.state.is_alive();
        match request {
            Request::Start => self.start_as_asked(Why::Asked, reply).await,
            Request::Restart if !alive => self.start_as_asked(Why::Restarted, reply).await,
            Request::Restart => {
                self.later.push_back(Command::Ask(Asked { request, grace, reply }));
                self.stop(grace, Wanted::Running, None).await;
            }
            Request::Stop => self.stop(grace, Wanted::Stopped, Some(reply)).await,
            Request::Kill(Signal::KILL) => self.kill(Some(reply)).await,
            Request::Kill(signal) => {
                let sent = self.send(signal).await.map(|()| Answer::Done(self.container.clone()));
                answer(reply, sent);
            }
            Request::Pause => answer(reply, self.pause().await),
            Request::Resume => answer(reply, self.resume().await),
            Request::Delete(_) if alive => {
                self.later.push_back(Command::Ask(Asked { request, grace, reply }));
                self.kill(None).await;
            }
            Request::Delete(_) => return self.delete_as_asked(reply).await,
        }
        Flow::Continue
    }

    /// A container that is ending takes what hurries it; everything else waits in line.
    async fn handle_while_ending(&mut self, command: Asked) {
        let Asked { request, grace, reply } = command;
        match request {
            Request::Stop => self.hurry(grace, reply),
            Request::Kill(Signal::KILL) => {
                self.wait_for_end(reply);
                self.kill_now().await;
            }
            Request::Kill(signal) => {
                let sent = self.send(signal).await.map(|()| Answer::Done(self.container.clone()));
                answer(reply, sent);
            }
            Request::Pause | Request::Resume => answer(reply, Err(self.refused("is being stopped"))),
            Request::Delete(Force::Yes) => {
                self.later.push_back(Command::Ask(Asked { request, grace, reply }));
                self.kill_now().await;
            }
            Request::Start | Request::Restart | Request::Delete(Force::No) => {
                self.later.push_back(Command::Ask(Asked { request, grace, reply }))
            }
        }
    }

    /// Carries out what waited for the end.
    async fn handle_what_waited(&mut self) -> Flow {
        while self.ending.is_none()
            && let Some(command) = self.later.pop_front()
        {
            if let Flow::Gone = Box::pin(self.handle(command)).await {
                return Flow::Gone;
            }
        }
        Flow::Continue
    }

    /// A stop of what is at rest already: it must not be started again by its policy either.
    async fn keep_at_rest(&mut self, request: Request) -> Result<(), Error> {
        let stays = matches!(request, Request::Stop | Request::Kill(_)) && self.container.state == State::Stopped;
        if !stays || self.container.wanted == Wanted::Stopped {
            return Ok(());
        }
        self.restart_at = None;
        self.container.wanted = Wanted::Stopped;
        self.record(Vec::new(), Durability::Durable).await
    }

    /// Commits the container as it is, with the events that tell of it, and shows it to everybody. What is shown is what is
    /// so, even where the database failed: the next opening looks again.
    async fn record(&mut self, events: Vec<NewEvent>, durability: Durability) -> Result<(), Error> {
        let recorded = self.shared.store.record(&self.container, events, durability).await;
        self.show();
        for event in recorded? {
            self.shared.notify(Notice::Event(event));
        }
        Ok(())
    }

    fn cgroup(&self) -> Cgroup {
        self.shared.cgroup(&self.container.id)
    }

    fn show(&self) {
        if !self.container.state.is_alive() {
            self.shared.samples.forget(&self.container.id);
            self.shared.uppers.stale(&self.container.id);
        }
        self.snapshot.send_replace(self.container.clone());
        self.shared.notify(Notice::Container(self.container.id.clone()));
    }

    fn event(&self, kind: EventKind, message: impl Into<String>) -> NewEvent {
        let Container { id, config, .. } = &self.container;
        NewEvent { at_ms: now_ms(), kind, container: Some(id.clone()), subject: config.name.to_string(), message: message.into() }
    }

    fn refused(&self, because: &'static str) -> Error {
        Error::Refused { name: self.container.config.name.clone(), because }
    }

    /// A failure that nobody waits for is logged here, once.
    fn log(&self, error: &Error, what: &str) {
        tracing::error!(container.id = self.container.id.short(), container.name = %self.container.config.name, error = crate::error::chain(error), "{what}");
    }
}

/// A task that found a mistake of ours is replaced by one that looks at the container anew, so that it can still be stopped.
async fn replace_broken(shared: Arc<Shared>, id: ContainerId, run: JoinHandle<()>) {
    if !run.await.is_err_and(|error| error.is_panic()) {
        return;
    }
    tracing::error!(container.id = id.short(), "the task of a container broke, and is replaced");
    tokio::time::sleep(REPLACE_PAUSE).await;
    if let Err(error) = crate::reconcile::again(&shared, &id).await {
        tracing::error!(container.id = id.short(), error = crate::error::chain(&error), "it could not be replaced");
    }
}

fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    // Who asked may have gone away; what was done is done.
    drop(reply.send(value));
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
