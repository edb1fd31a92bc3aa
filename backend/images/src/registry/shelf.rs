//! Layers between being unpacked and being in their places, shared by all pulls that want them.
//!
//! A layer stays here until every layer of its image is unpacked. So a pull that fails has put nothing in its place, and what is not in its
//! place is gone with the last pull that holds it. Two images that share a layer and are pulled at once fetch it once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use super::limits::LAYERS_AT_ONCE_MAX;
use crate::digest::Digest;
use crate::import::{ImportError, StagedLayer};

/// Where one layer waits. Locked by whoever brings it.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) staged: AsyncMutex<Option<StagedLayer>>,
}

/// All of them, and the places of each registry.
#[derive(Default)]
pub(super) struct Shelf {
    slots: Mutex<HashMap<Digest, Weak<Slot>>>,
    places: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Shelf {
    /// The slot of a layer.
    pub(super) fn slot(&self, diff_id: &Digest) -> Arc<Slot> {
        shared(&self.slots, diff_id, Slot::default)
    }

    /// The places for layers that come from `registry` at once.
    pub(super) fn places(&self, registry: &str) -> Arc<Semaphore> {
        shared(&self.places, &registry.to_owned(), || Semaphore::new(LAYERS_AT_ONCE_MAX))
    }
}

/// What is kept for `key` while anybody has it.
fn shared<K: Clone + Eq + std::hash::Hash, T>(all: &Mutex<HashMap<K, Weak<T>>>, key: &K, make: impl FnOnce() -> T) -> Arc<T> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|_, held| held.strong_count() > 0);
    if let Some(held) = all.get(key).and_then(Weak::upgrade) {
        return held;
    }
    let made = Arc::new(make());
    all.insert(key.clone(), Arc::downgrade(&made));
    made
}

/// The slots that a pull holds. Dropping thousands of files takes a while, so that happens on a thread that may wait.
pub(super) struct Held(Vec<Arc<Slot>>);

impl Held {
    pub(super) fn new(slots: Vec<Arc<Slot>>) -> Self {
        Self(slots)
    }

    /// Puts all layers that are still here in their places. Waits for the disk, once for all of them.
    pub(super) fn put_in_place(&self) -> Result<(), ImportError> {
        // An image may have a layer twice, and another pull may want the same ones in another order: each is locked once, and by
        // everybody in the same order.
        let mut slots: Vec<&Arc<Slot>> = self.0.iter().collect();
        slots.sort_by_key(|slot| Arc::as_ptr(slot));
        slots.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let mut locked: Vec<_> = slots.iter().map(|slot| slot.staged.blocking_lock()).collect();
        // Those that are missing were put there by another pull. The pin of the pull itself holds them from here on.
        let staged = locked.iter_mut().filter_map(|staged| staged.take()).collect();
        StagedLayer::put_all_in_place(staged).map(drop)
    }

    /// Lets go of them, and waits until what nobody else holds is gone.
    pub(super) async fn let_go(mut self) {
        let slots = std::mem::take(&mut self.0);
        let _gone = tokio::task::spawn_blocking(move || drop(slots)).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let slots = std::mem::take(&mut self.0);
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !slots.is_empty()
        {
            runtime.spawn_blocking(move || drop(slots));
        }
    }
}
