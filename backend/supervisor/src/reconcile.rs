//! What an opening does before anything else: it looks at every row, folder, cgroup and process of the instance, makes the
//! rows say what is so, and removes what belongs to nothing.
//!
//! ```text
//! row            monitor and program live    an end is noted            neither
//! creating       adopted as running          adopted as stopped         removed: nobody was told of it
//! wanted deleted removed                     removed                    removed
//! alive          as it is, or stopped now    stopped, as noted          stopped, lost
//!                where that was wanted
//! at rest        adopted as running          stopped, as noted          as it is
//! ```
//! It takes no input and trusts no memory: an ordinary start is the same path as the one after a crash. Where it cannot be
//! told which of the columns it is (no descriptors, no memory, a failing disk), nothing is opened and nothing touched.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use belljar_linux::process;
use belljar_model::container::{ProcessRef, Restart};
use belljar_model::exit::Cause;
use belljar_model::{Container, ContainerId, EventKind, Exit, NewEvent, State, Wanted};
use belljar_monitor::record::lives;
use belljar_monitor::{Alive, look};
use belljar_runtime::{Bundle, cgroup};
use belljar_store::Durability;

use crate::boot::Boot;
use crate::clock::now_ms;
use crate::launch::{Watched, readable};
use crate::registry::Handle;
use crate::shared::Shared;
use crate::task::{Beginning, Due, Task, policy_restarts};
use crate::{Error, Notice, evidence, image};

/// How long a monitor that was still making its container when the server went away may take to finish.
const MAKING_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at such a monitor. Only a crash in the middle of a start leads here.
const MAKING_PAUSE: Duration = Duration::from_millis(5);

/// Brings rows and kernel together, and starts a task for every container that remains.
pub(crate) async fn all(shared: &Arc<Shared>) -> Result<(), Error> {
    let mut rows = shared.store.load_all().await?;
    let boot = Boot::look(shared).await?;
    boot.forget_processes(shared, &mut rows)?;
    let mut kept = Vec::new();
    for row in rows {
        if let Some(found) = one(shared, row).await? {
            kept.push(found);
        }
    }
    remove_strays(shared, &kept).await;
    boot.note(shared).await?;
    for found in kept {
        let id = found.container.id.clone();
        shared.registry.restore(id, found.taken_over(shared));
    }
    Ok(())
}

/// Does so for one container whose task broke. One that was closed or deleted meanwhile stays so.
pub(crate) async fn again(shared: &Arc<Shared>, id: &ContainerId) -> Result<(), Error> {
    let row = shared.store.load_all().await?.into_iter().find(|row| row.id == *id);
    let found = match row {
        Some(row) => one(shared, row).await?,
        None => None,
    };
    match found {
        Some(found) => {
            shared.registry.replace(id, || found.taken_over(shared));
            shared.notify(Notice::Container(id.clone()));
        }
        None => shared.forget(id),
    }
    Ok(())
}

/// A container as it was found.
struct Found {
    container: Container,
    attempt: u64,
    monitor: Option<Watched>,
    due: Due,
}

impl Found {
    fn taken_over(self, shared: &Arc<Shared>) -> Handle {
        let Found { container, attempt, monitor, due } = self;
        Task::spawn(Arc::clone(shared), container, attempt, Beginning::Restore { monitor, due })
    }
}

/// What there is of a container.
enum Seen {
    Lives(Alive, Watched),
    Ended(Exit),
    Nothing,
}

async fn one(shared: &Shared, mut container: Container) -> Result<Option<Found>, Error> {
    let (bundle, name) = (shared.bundle(&container.id), container.config.name.clone());
    wait_for_making(&bundle).await;
    let untold = |error| Error::failed("find out about, and leaves as it is,", format!("container {name}"), error);
    let attempt = last_attempt(&bundle).map_err(untold)?;
    let mut seen = see(&bundle, attempt).map_err(untold)?;
    if let Seen::Lives(alive, monitor) = &seen
        && !lives(alive.init)
    {
        // Its program has ended, and its monitor is about to note how.
        drop(tokio::time::timeout(MAKING_LIMIT, readable(Some(monitor))).await);
        seen = see(&bundle, attempt).map_err(untold)?;
    }
    if container.wanted == Wanted::Deleted {
        return Ok(erase_or_keep(shared, container, attempt, "deleted, with everything of it").await);
    }
    if container.state == State::Creating && matches!(seen, Seen::Nothing) {
        return Ok(erase_or_keep(shared, container, attempt, "was never finished, and is removed").await);
    }
    let before = container.clone();
    let was_held = image::let_go(shared, &container.id).await;
    let (mut events, monitor) = match seen {
        Seen::Lives(alive, monitor) => (vec![adopt(shared, &mut container, &alive)], Some(monitor)),
        Seen::Ended(exit) => (rest(&mut container, exit), None),
        Seen::Nothing if container.state.is_alive() => {
            let why = "it ended while the server was away, and nobody saw how".to_owned();
            (rest(&mut container, Exit { cause: Cause::Lost { why }, out_of_memory: None, at_ms: now_ms() }), None)
        }
        Seen::Nothing => (Vec::new(), None),
    };
    if was_held && monitor.is_some() {
        let message = "its processes go on: the commit that they were frozen for was cut off".to_owned();
        events.push(event(&container, EventKind::Resumed, message));
    }
    if monitor.is_none() {
        clear(shared, &container.id, container_processes(&before)).await;
    }
    keep_range(shared, &mut container)?;
    if container != before || !events.is_empty() {
        // Lost by a power cut, it would be found again: nobody was told.
        shared.store.record(&container, events, Durability::Deferred).await?;
    }
    let due = match &monitor {
        Some(_) if container.wanted == Wanted::Stopped => Due::Stop,
        None if starts_now(&container) => Due::Start,
        _ => Due::Nothing,
    };
    Ok(Some(Found { container, attempt, monitor, due }))
}

/// After a boot its range of ids may have become that of another server's container. At rest it then gets a new one: nothing on
/// disk carries a host id. Where it runs, the range was its own all the time, and the other one's is told to be the mistake.
fn keep_range(shared: &Shared, container: &mut Container) -> Result<(), Error> {
    let Some(base) = container.uid_base else { return Ok(()) };
    if shared.ranges.keep(base, &container.id)? {
        return Ok(());
    }
    if container.init.is_some() {
        tracing::warn!(
            container.id = container.id.short(),
            uid_base = base,
            "a running container shares its user ids with another server's"
        );
    } else {
        container.uid_base = Some(shared.ranges.reserve(&container.id)?);
    }
    Ok(())
}

/// A monitor holds a lock on the bundle as long as it lives, and reads the spec only when it has it. So either it is
/// waited for until it has noted how the start went, or, where none has the lock, the spec is taken away: a monitor that is
/// still to come then finds nothing, and goes.
async fn wait_for_making(bundle: &Bundle) {
    let Ok(folder) = File::open(bundle.dir()) else { return };
    let deadline = Instant::now() + MAKING_LIMIT;
    while folder.try_lock().is_err() {
        let noted = look(bundle).alive.is_some_and(|alive| lives(alive.monitor));
        if noted || Instant::now() > deadline {
            return;
        }
        tokio::time::sleep(MAKING_PAUSE).await;
    }
    // With nobody alive the number of the attempt is what it is still good for; see `last_attempt`.
    let unread = bundle.spec().with_extension("was");
    drop(std::fs::rename(bundle.spec(), unread));
}

/// The number of the last start, by every trace of it.
fn last_attempt(bundle: &Bundle) -> Result<u64, Error> {
    let look = evidence::look(bundle)?;
    let spec = match evidence::spec(&bundle.spec())? {
        Some(spec) => Some(spec),
        None => evidence::spec(&bundle.spec().with_extension("was"))?,
    };
    let numbers = [look.alive.map(|alive| alive.attempt), look.ended.map(|ended| ended.attempt), spec.map(|spec| spec.attempt)];
    Ok(numbers.into_iter().flatten().max().unwrap_or_default())
}

fn see(bundle: &Bundle, attempt: u64) -> Result<Seen, Error> {
    let look = evidence::look(bundle)?;
    if let Some(alive) = look.alive.as_ref().filter(|alive| alive.attempt == attempt)
        && let Some(monitor) = evidence::watch(alive.monitor)?
    {
        return Ok(Seen::Lives(alive.clone(), monitor));
    }
    Ok(look.exit_of(attempt).cloned().map_or(Seen::Nothing, Seen::Ended))
}

/// It runs, whatever the row said.
fn adopt(shared: &Shared, container: &mut Container, alive: &Alive) -> NewEvent {
    let frozen = shared.cgroup(&container.id).is_frozen();
    container.state = if frozen { State::Paused } else { State::Running };
    if container.init != Some(alive.init) {
        // A start that the row does not know yet: that is what was wanted last.
        container.wanted = Wanted::Running;
    }
    container.started_at_ms = Some(alive.started_at_ms);
    container.init = Some(alive.init);
    container.monitor = Some(alive.monitor);
    event(container, EventKind::Found, format!("found {}, as pid {}", container.state.as_str(), alive.init.pid))
}

/// It rests, and ended so. An end that the row knows already is no news.
fn rest(container: &mut Container, exit: Exit) -> Vec<NewEvent> {
    // What the row says beside that was seen by the server that was there.
    let same = |known: &Exit| known.at_ms == exit.at_ms && known.cause == exit.cause;
    let known = !container.state.is_alive() && container.exit.as_ref().is_some_and(same);
    container.state = State::Stopped;
    container.init = None;
    container.monitor = None;
    if known {
        return Vec::new();
    }
    let kind = match &exit.cause {
        Cause::Lost { .. } => EventKind::Lost,
        Cause::NeverStarted(_) => EventKind::StartFailed,
        Cause::Exited { .. } | Cause::Signaled { .. } if exit.is_out_of_memory() => EventKind::OutOfMemory,
        Cause::Exited { .. } | Cause::Signaled { .. } => EventKind::Exited,
    };
    let message = format!("{exit} (while the server was away)");
    container.exit = Some(exit);
    vec![event(container, kind, message)]
}

fn event(container: &Container, kind: EventKind, message: String) -> NewEvent {
    NewEvent { at_ms: now_ms(), kind, container: Some(container.id.clone()), subject: container.config.name.to_string(), message }
}

/// Whether a container at rest is started because Belljar starts.
fn starts_now(container: &Container) -> bool {
    if container.state != State::Stopped {
        return false;
    }
    let policy = container.config.restart;
    match container.wanted {
        Wanted::Running => container.exit.as_ref().is_some_and(|exit| policy_restarts(policy, exit)),
        // A stop by a person holds over a start of Belljar, except with this policy.
        Wanted::Stopped => policy == Restart::Always,
        Wanted::Deleted => false,
    }
}

/// One that cannot be erased is no reason to leave the others alone: it is shown at rest, and can be deleted again.
async fn erase_or_keep(shared: &Shared, mut container: Container, attempt: u64, message: &str) -> Option<Found> {
    let error = erase(shared, &container, message).await.err()?;
    let (id, name) = (container.id.short().to_owned(), container.config.name.to_string());
    tracing::error!(container.id = id, container.name = name, error = crate::error::chain(&error), "what is left of it stays for now");
    container.wanted = Wanted::Deleted;
    container.state = State::Stopped;
    (container.init, container.monitor) = (None, None);
    let why = "it was being deleted".to_owned();
    container.exit.get_or_insert(Exit { cause: Cause::Lost { why }, out_of_memory: None, at_ms: now_ms() });
    if let Err(error) = shared.store.record(&container, Vec::new(), Durability::Deferred).await {
        tracing::error!(container.id = id, error = crate::error::chain(&error), "and that could not be recorded");
    }
    Some(Found { container, attempt, monitor: None, due: Due::Nothing })
}

/// Finishes a delete, or takes back a create that nobody was told of. Volumes of its own go once every container is known: another
/// one may have them by name.
async fn erase(shared: &Shared, container: &Container, message: &str) -> Result<(), Error> {
    end_all_of(shared, &container.id, container_processes(container)).await;
    let bundle = shared.bundle(&container.id);
    let removed = crate::blocking(move || bundle.remove()).await;
    removed.map_err(|error| Error::failed("remove the folders of", container.config.name.to_string(), error))?;
    shared.store.remove(&container.id, event(container, EventKind::Deleted, message.to_owned())).await?;
    if let Some(base) = container.uid_base {
        shared.give_back(base, &container.id);
    }
    Ok(())
}

fn container_processes(container: &Container) -> Vec<ProcessRef> {
    container.init.into_iter().collect()
}

/// Ends whatever still lives of a container, its monitor too.
async fn end_all_of(shared: &Shared, id: &ContainerId, mut processes: Vec<ProcessRef>) {
    let look = look(&shared.bundle(id));
    let alive = look.alive.map(|alive| [alive.init, alive.monitor]);
    processes.extend(alive.into_iter().flatten());
    clear(shared, id, processes).await;
}

/// Kills processes, and the cgroup with everything in it.
async fn clear(shared: &Shared, id: &ContainerId, processes: Vec<ProcessRef>) {
    for ProcessRef { pid, start_ticks } in processes {
        // One that is gone is what we want.
        let _ = process::open(pid, start_ticks).and_then(|pidfd| process::signal(pidfd, belljar_model::Signal::KILL.number()));
    }
    let cgroup = shared.cgroup(id);
    if !cgroup.exists() {
        return;
    }
    if let Err(error) = crate::blocking(move || cgroup.kill_all().and_then(|()| cgroup.remove())).await {
        tracing::error!(
            container.id = id.short(),
            error = crate::error::chain(&error),
            "a cgroup that belongs to nothing could not be removed"
        );
    }
}

/// Removes folders and cgroups of containers that have no row.
async fn remove_strays(shared: &Shared, kept: &[Found]) {
    let folders = &shared.home.folders;
    let names = cgroup::children(&shared.hierarchies(), &shared.home.name);
    let mut ids: Vec<ContainerId> = names.iter().filter_map(|name| name.parse().ok()).collect();
    for folder in [&folders.data_dir, &folders.run_dir] {
        ids.extend(ids_in(&folder.join("containers")));
    }
    ids.sort();
    ids.dedup();
    for id in ids {
        if kept.iter().any(|found| found.container.id == id) {
            continue;
        }
        tracing::warn!(container.id = id.short(), "removing what is left of a container that does not exist");
        end_all_of(shared, &id, Vec::new()).await;
        let bundle = shared.bundle(&id);
        if let Err(error) = crate::blocking(move || bundle.remove()).await {
            tracing::error!(
                container.id = id.short(),
                error = crate::error::chain(&error),
                "folders that belong to nothing could not be removed"
            );
        }
    }
}

/// The containers that have something in a folder. What does not look like one of ours was put there by a person.
pub(crate) fn ids_in(folder: &Path) -> Vec<ContainerId> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
