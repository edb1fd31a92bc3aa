//! Every container by its id: its latest snapshot, and the way to the task that owns it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use belljar_model::{Container, ContainerId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::Error;
use crate::task::Command;

/// Most containers of one instance.
pub const CONTAINERS_MAX: usize = 4096;
/// Fewest digits of an id that are taken for its beginning.
const PREFIX_CHARS_MIN: usize = 4;

/// One container, as others see it.
pub(crate) struct Handle {
    pub(crate) snapshot: watch::Receiver<Container>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) task: JoinHandle<()>,
    /// Asks the task to look whether somebody was killed for memory.
    pub(crate) nudge: Arc<Notify>,
}

/// All containers.
#[derive(Default)]
pub(crate) struct Registry {
    handles: RwLock<HashMap<ContainerId, Handle>>,
}

impl Registry {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<ContainerId, Handle>> {
        self.handles.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<ContainerId, Handle>> {
        self.handles.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a new container if its name is free and there is room: `spawn` makes its task.
    pub(crate) fn admit(&self, container: Container, spawn: impl FnOnce(Container) -> Handle) -> Result<(), Error> {
        let mut handles = self.write();
        for handle in handles.values() {
            let other = handle.snapshot.borrow();
            if other.config.name == container.config.name {
                return Err(Error::NameTaken { name: other.config.name.clone(), id: other.id.clone() });
            }
        }
        if handles.len() >= CONTAINERS_MAX {
            let because = format!("there are {CONTAINERS_MAX} containers, which is the most that one instance can have");
            return Err(Error::Unavailable { because });
        }
        handles.insert(container.id.clone(), spawn(container));
        Ok(())
    }

    /// Adds a container that was there before the server was.
    pub(crate) fn restore(&self, id: ContainerId, handle: Handle) {
        self.write().insert(id, handle);
    }

    /// Gives a container that is still here another task.
    pub(crate) fn replace(&self, id: &ContainerId, spawn: impl FnOnce() -> Handle) {
        if let Some(handle) = self.write().get_mut(id) {
            *handle = spawn();
        }
    }

    pub(crate) fn remove(&self, id: &ContainerId) {
        self.write().remove(id);
    }

    /// Removes all, so that their tasks end once they have done what they were asked.
    pub(crate) fn drain(&self) -> Vec<JoinHandle<()>> {
        self.write().drain().map(|(_, handle)| handle.task).collect()
    }

    /// Every container, the newest first.
    pub(crate) fn snapshots(&self) -> Vec<Container> {
        let mut all: Vec<Container> = self.read().values().map(|handle| handle.snapshot.borrow().clone()).collect();
        all.sort_by(|left, right| (right.created_at_ms, &right.id).cmp(&(left.created_at_ms, &left.id)));
        all
    }

    /// What `pick` makes of every container.
    pub(crate) fn collect<T>(&self, pick: impl Fn(&Container) -> Option<T>) -> Vec<T> {
        self.read().values().filter_map(|handle| pick(&handle.snapshot.borrow())).collect()
    }

    /// Looks at every container.
    pub(crate) fn each(&self, mut look: impl FnMut(&Container)) {
        self.read().values().for_each(|handle| look(&handle.snapshot.borrow()));
    }

    /// Names of the containers that stand on the image with this digest.
    pub(crate) fn made_of(&self, digest: &str) -> Vec<String> {
        let stacked = |container: &Container| container.config.mounts.iter().any(|mount| mount.image_digest() == Some(digest));
        self.names_where(|container| container.image_digest.as_deref() == Some(digest) || stacked(container))
    }

    /// Names of the containers that stand on the host's own userland.
    pub(crate) fn made_of_host(&self) -> Vec<String> {
        self.names_where(|container| container.config.image.is_host())
    }

    fn names_where(&self, holds: impl Fn(&Container) -> bool) -> Vec<String> {
        let mut names = self.collect(|container| holds(container).then(|| container.config.name.to_string()));
        names.sort();
        names
    }

    pub(crate) fn snapshot(&self, id: &ContainerId) -> Result<Container, Error> {
        self.read().get(id).map(|handle| handle.snapshot.borrow().clone()).ok_or_else(|| not_found(id.short()))
    }

    pub(crate) fn follow(&self, id: &ContainerId) -> Result<watch::Receiver<Container>, Error> {
        self.read().get(id).map(|handle| handle.snapshot.clone()).ok_or_else(|| not_found(id.short()))
    }

    pub(crate) fn commands(&self, id: &ContainerId) -> Result<mpsc::Sender<Command>, Error> {
        self.read().get(id).map(|handle| handle.commands.clone()).ok_or_else(|| not_found(id.short()))
    }

    /// Asks the task of a container to look whether somebody was killed for memory.
    pub(crate) fn nudge(&self, id: &ContainerId) {
        if let Some(handle) = self.read().get(id) {
            handle.nudge.notify_one();
        }
    }

    /// By id, by name, or by the beginning of an id that fits no other; in this order.
    pub(crate) fn find(&self, key: &str) -> Result<Container, Error> {
        let handles = self.read();
        if let Some(handle) = key.parse::<ContainerId>().ok().and_then(|id| handles.get(&id)) {
            return Ok(handle.snapshot.borrow().clone());
        }
        if let Some(handle) = handles.values().find(|handle| handle.snapshot.borrow().config.name.as_str() == key) {
            return Ok(handle.snapshot.borrow().clone());
        }
        if key.len() < PREFIX_CHARS_MIN {
            return Err(not_found(key));
        }
        let mut fitting = handles.iter().filter(|(id, _)| id.as_str().starts_with(key));
        match (fitting.next(), fitting.next()) {
            (Some((_, handle)), None) => Ok(handle.snapshot.borrow().clone()),
            (Some(_), Some(_)) => Err(Error::Ambiguous { key: key.to_owned(), what: "container" }),
            (None, _) => Err(not_found(key)),
        }
    }
}

/// Whether this may be an id, or the beginning of one.
pub(crate) fn may_be_id(key: &str) -> bool {
    key.len() >= PREFIX_CHARS_MIN && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) fn not_found(key: &str) -> Error {
    Error::NotFound { what: "container", key: key.to_owned() }
}
