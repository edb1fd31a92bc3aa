//! Layers that somebody is about to use: counted in memory, so that none is removed between being found (or put in its place) and
//! being named by a row of the database. A crash forgets them, and the sweep that follows removes what no row names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;

/// How many pins each layer has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins(Arc<Mutex<BTreeMap<Digest, usize>>>);

/// Holds one layer in its place, until it is dropped.
#[derive(Debug)]
pub struct Pin {
    digest: Digest,
    pins: Pins,
}

impl Pins {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<Digest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more pin for a layer, which need not be there yet.
    pub(crate) fn pin(&self, digest: &Digest) -> Pin {
        *self.counts().entry(*digest).or_default() += 1;
        Pin { digest: *digest, pins: self.clone() }
    }

    /// Does something to a layer that nobody holds, while nobody can begin to; `None` where somebody does.
    pub(crate) fn unless_pinned<T>(&self, digest: &Digest, work: impl FnOnce() -> T) -> Option<T> {
        let counts = self.counts();
        (!counts.contains_key(digest)).then(work)
    }
}

impl Pin {
    /// Which layer is held.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        self.pins.pin(&self.digest)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut counts = self.pins.counts();
        match counts.get_mut(&self.digest) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_held_until_its_last_pin_is_dropped() {
        let pins = Pins::default();
        let digest = Digest::of(b"a");
        let first = pins.pin(&digest);
        let second = first.clone();
        drop(first);
        assert_eq!(pins.unless_pinned(&digest, || ()), None);
        assert_eq!(pins.unless_pinned(&Digest::of(b"b"), || 1), Some(1));
        drop(second);
        assert_eq!(pins.unless_pinned(&digest, || 2), Some(2));
    }
}
