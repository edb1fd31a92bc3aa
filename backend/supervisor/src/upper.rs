//! How much each container's own layer takes: measured in the background, one after the other, and known to the list without a
//! walk. What was not measured yet is unknown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use belljar_model::{Container, ContainerId};
use belljar_runtime::overlay;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::shared::Shared;
use crate::{Notice, inspect};

/// How often the layers of containers that are alive are measured again.
const MEASURED_EVERY: Duration = Duration::from_secs(60);
/// Pause between two rounds, however often somebody asks for one.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Uppers {
    known: Mutex<HashMap<ContainerId, Measured>>,
    wake: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    bytes: u64,
    at: Instant,
    is_stale: bool,
}

impl Uppers {
    fn known(&self) -> MutexGuard<'_, HashMap<ContainerId, Measured>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes on disk of a container's own layer when it was last measured.
    pub(crate) fn bytes(&self, id: &ContainerId) -> Option<u64> {
        self.known().get(id).map(|measured| measured.bytes)
    }

    /// It was measured by somebody.
    pub(crate) fn note(&self, id: &ContainerId, bytes: u64) {
        self.known().insert(id.clone(), Measured { bytes, at: Instant::now(), is_stale: false });
    }

    /// It may be other by now: it is measured soon.
    pub(crate) fn stale(&self, id: &ContainerId) {
        if let Some(measured) = self.known().get_mut(id) {
            measured.is_stale = true;
        }
        self.wake.notify_one();
    }

    /// The container is gone.
    pub(crate) fn forget(&self, id: &ContainerId) {
        self.known().remove(id);
    }

    fn is_due(&self, container: &Container) -> bool {
        let is_alive = container.state.is_alive();
        self.known().get(&container.id).is_none_or(|measured| measured.is_stale || (is_alive && measured.at.elapsed() >= MEASURED_EVERY))
    }
}

/// Measures as long as there is a supervisor.
pub(crate) async fn run(shared: Weak<Shared>) {
    loop {
        let Some(shared) = shared.upgrade() else { return };
        for container in shared.registry.snapshots() {
            if !shared.uppers.is_due(&container) {
                continue;
            }
            let measured = Arc::clone(&shared);
            let sized = crate::blocking(move || {
                if let Some(quota) = crate::quota::of(&measured, &container.id) {
                    return Some((quota.bytes, container.id));
                }
                let stack = inspect::stack_of(&measured, &container).ok()?;
                Some((overlay::sizes(&stack).ok()?.upper_bytes, container.id))
            });
            // What cannot be measured stays as unknown as it was.
            if let Some((bytes, id)) = sized.await {
                let is_new = shared.uppers.bytes(&id) != Some(bytes);
                shared.uppers.note(&id, bytes);
                // It may be gone meanwhile.
                if shared.registry.snapshot(&id).is_err() {
                    shared.uppers.forget(&id);
                } else if is_new {
                    shared.notify(Notice::Container(id));
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        let wake = shared.uppers.wake.notified();
        drop(tokio::time::timeout(MEASURED_EVERY / 4, wake).await);
    }
}
