//! What a person sees of a pull while it goes on: whole pictures, so that one that is missed is no loss.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use belljar_model::pull::{PullLayer, PullLayerState, PullState};
use jiff::Timestamp;
use tokio::sync::watch;

use super::error::Cause;

/// Time between two pictures that differ in numbers alone.
const PICTURE_EVERY: Duration = Duration::from_millis(100);

/// A pull at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// How far it is. The end is not told here but by what the pull returns: it is done when it has a name, which others give.
    pub state: PullState,
    /// Its layers, the lowest first; none before the manifest is there.
    pub layers: Vec<PullLayer>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { state: PullState::Resolving, layers: Vec::new() }
    }
}

/// Where pictures go.
pub(super) struct Progress {
    to: watch::Sender<Snapshot>,
    /// Requests that wait just now.
    waiting: AtomicUsize,
}

impl Progress {
    pub(super) fn new(to: watch::Sender<Snapshot>) -> Self {
        Self { to, waiting: AtomicUsize::new(0) }
    }

    /// The layers are known, and none has been begun.
    pub(super) fn layers(&self, layers: Vec<PullLayer>) {
        self.to.send_modify(|picture| *picture = Snapshot { state: PullState::Fetching, layers });
    }

    pub(super) fn layer(&self, index: usize, state: PullLayerState) {
        self.change(index, |layer| {
            layer.state = state;
            if matches!(state, PullLayerState::Done) {
                layer.received_bytes = layer.total_bytes;
            }
        });
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut PullLayer)) {
        self.to.send_modify(|picture| {
            if let Some(layer) = picture.layers.get_mut(index) {
                change(layer);
            }
        });
    }

    /// Shows that something is waited for, until what is returned is gone.
    pub(super) fn waiting(&self, cause: &Cause, pause: Duration) -> Shown<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let until_ms = Timestamp::now().as_millisecond().saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        self.to.send_modify(|picture| picture.state = PullState::Waiting { because: cause.to_string(), until_ms });
        Shown { progress: self }
    }
}

/// A pause that is shown.
pub(super) struct Shown<'a> {
    progress: &'a Progress,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if self.progress.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.progress.to.send_modify(|picture| {
                picture.state = if picture.layers.is_empty() { PullState::Resolving } else { PullState::Fetching };
            });
        }
    }
}

/// The bytes of one layer, told now and then.
pub(super) struct Tally<'a> {
    progress: &'a Progress,
    index: usize,
    told: Instant,
}

impl<'a> Tally<'a> {
    pub(super) fn new(progress: &'a Progress, index: usize) -> Self {
        Self { progress, index, told: Instant::now() }
    }

    pub(super) fn received(&mut self, bytes: u64) {
        if self.told.elapsed() >= PICTURE_EVERY {
            self.told = Instant::now();
            self.progress.change(self.index, |layer| layer.received_bytes = bytes);
        }
    }
}
