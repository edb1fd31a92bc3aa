//! What containers used in the past. Nothing is remembered yet.

use crate::sample::Round;
use crate::shared::Shared;

/// A round was measured.
pub(crate) fn note(shared: &Shared, round: &Round<'_>) {
    for reading in round.readings {
        tracing::trace!(instance = shared.home.name, container.id = reading.id.short(), at_ms = round.at_ms, "not remembered yet");
    }
}
