//! Whose files are being worked on, so that no upper layer is mounted twice and no work outlives what it works on.
//!
//! ```text
//! a container that runs     many at a time; each ends when the container is started anew, or deleted
//! one that rests            one at a time, and it is not started meanwhile
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use belljar_model::{Container, ContainerId, State, Wanted};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, Semaphore, watch};

use crate::Error;
use crate::shared::Shared;

/// Most operations on files at once, of all containers: each is two processes of ours.
pub(crate) const OPERATIONS_MAX: usize = 32;

/// Who works on the files of which container.
#[derive(Debug)]
pub(crate) struct Desks {
    desks: Mutex<HashMap<ContainerId, Arc<Desk>>>,
    /// Places for operations.
    pub(crate) places: Arc<Semaphore>,
}

impl Default for Desks {
    fn default() -> Self {
        Self { desks: Mutex::default(), places: Arc::new(Semaphore::new(OPERATIONS_MAX)) }
    }
}

/// Where one container's files are worked on.
#[derive(Debug)]
struct Desk {
    /// Read by who works on one that runs, written by who works on one that rests, starts it or deletes it.
    seats: Arc<RwLock<()>>,
    /// How often everybody was asked to leave.
    asked_to_leave: watch::Sender<u64>,
}

/// The desk is empty, and stays so while this is kept.
#[derive(Debug)]
pub(crate) struct Cleared {
    _all: OwnedRwLockWriteGuard<()>,
}

/// A place at a desk.
#[derive(Debug)]
pub(crate) enum Seat {
    /// Of one that runs.
    OfMany { _one: OwnedRwLockReadGuard<()> },
    /// Of one that rests.
    Alone { _all: OwnedRwLockWriteGuard<()> },
}

impl Desks {
    fn of(&self, id: &ContainerId) -> Arc<Desk> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Desk { seats: Arc::default(), asked_to_leave: watch::Sender::new(0) });
        Arc::clone(desks.entry(id.clone()).or_insert_with(new))
    }

    /// Ends all work on a container's files, and keeps others from it.
    pub(crate) async fn clear(&self, id: &ContainerId) -> Cleared {
        let desk = self.of(id);
        desk.asked_to_leave.send_modify(|times| *times += 1);
        Cleared { _all: Arc::clone(&desk.seats).write_owned().await }
    }

    /// The container is gone.
    pub(crate) fn forget(&self, id: &ContainerId) {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// The container as it is, and a seat at its desk for as long as it stays so.
pub(crate) async fn sit_down(shared: &Shared, id: &ContainerId) -> Result<(Container, Seat, watch::Receiver<u64>), Error> {
    let desk = shared.desks.of(id);
    let leave = desk.asked_to_leave.subscribe();
    let one = Arc::clone(&desk.seats).read_owned().await;
    let container = shared.registry.snapshot(id)?;
    if container.state.is_alive() {
        return Ok((container, Seat::OfMany { _one: one }, leave));
    }
    drop(one);
    let all = Arc::clone(&desk.seats).write_owned().await;
    // It may have been started, or deleted, in between.
    let container = shared.registry.snapshot(id)?;
    let refused = |because| Error::Refused { name: container.config.name.clone(), because };
    match container.state {
        _ if container.wanted == Wanted::Deleted => Err(refused("is being deleted")),
        State::Creating => Err(refused("is still being created")),
        State::Running | State::Paused => Err(refused("has just been started: ask again")),
        State::Created | State::Stopped => Ok((container, Seat::Alone { _all: all }, leave)),
    }
}
