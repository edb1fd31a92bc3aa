//! Why containers died, and why they are slow. Nothing is judged yet.

use crate::sample::Round;
use crate::shared::Shared;

/// A round was measured.
pub(crate) fn note(shared: &Shared, round: &Round<'_>) {
    for reading in round.readings {
        tracing::trace!(instance = shared.home.name, container.id = reading.id.short(), at_ms = round.at_ms, "not judged yet");
    }
}
