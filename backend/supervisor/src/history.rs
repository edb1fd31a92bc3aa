//! Usage over a month: what is between the sampler, which reads, and the store, which remembers. It must never know how
//! coarser slots are made of finer ones.
//!
//! A round of the sampler is noted at once and in memory; when a slot of ten seconds is over, those of all containers are
//! written in one transaction, beside the sampler. What cannot be written (a full disk) is kept for a while, and tried again
//! with the next.

mod slots;
mod suggestion;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use belljar_model::ContainerId;
use belljar_model::diagnosis::Finding;
use belljar_model::history::{History as Answer, Tier};
use belljar_store::{Slot, Store};

use crate::clock::now_ms;
use crate::sample::Round;
use crate::shared::Shared;
use crate::{Error, Supervisor, error};
use slots::{Past, Reading, SLOT_MS};

/// Most slots that wait for the disk; the oldest make room. Ten minutes of 300 containers.
const SLOTS_WAITING_MAX: usize = 20_000;
/// A question for the last hour is answered in slots of ten seconds, though it comes a moment later.
const LATE_MS: i64 = SLOT_MS;

/// What was read and is not yet written.
#[derive(Default)]
pub(crate) struct History {
    state: Mutex<State>,
    /// Writes come one after the other.
    writing: tokio::sync::Mutex<Disk>,
}

#[derive(Default)]
struct State {
    pasts: HashMap<ContainerId, Noted>,
    /// Number of the last round.
    round: u64,
    /// Slots that are over.
    waiting: Vec<(ContainerId, Slot)>,
    /// All that is before has been read.
    until_ms: i64,
    /// The server is closing.
    is_closed: bool,
}

struct Noted {
    past: Past,
    round: u64,
}

/// Whether the last write was possible.
#[derive(Default, PartialEq)]
enum Disk {
    #[default]
    Writes,
    Fails,
}

/// Whether there is something to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Yes,
    No,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was read of every container that is alive, beside its limit in processors. Who is missing has ended.
    fn note(&self, measured: &Round<'_>, cpus: &HashMap<ContainerId, f64>) -> Due {
        let mut guard = self.lock();
        let State { pasts, round, waiting, until_ms, is_closed } = &mut *guard;
        if *is_closed {
            return Due::No;
        }
        *round += 1;
        for crate::sample::Reading { id, usage } in measured.readings {
            let reading = Reading::of(usage, cpus.get(id).copied());
            match pasts.get_mut(id) {
                Some(noted) => {
                    noted.past.take(reading, |slot| waiting.push((id.clone(), slot)));
                    noted.round = *round;
                }
                None => drop(pasts.insert(id.clone(), Noted { past: Past::new(reading), round: *round })),
            }
        }
        pasts.retain(|id, noted| {
            if noted.round != *round {
                waiting.push((id.clone(), noted.past.end()));
            }
            noted.round == *round
        });
        let over_ms = measured.at_ms - measured.at_ms.rem_euclid(SLOT_MS);
        if std::mem::replace(until_ms, over_ms) == over_ms { Due::No } else { Due::Yes }
    }

    /// Ends every slot, also those that are not over.
    fn close(&self) {
        let mut guard = self.lock();
        let State { pasts, waiting, is_closed, .. } = &mut *guard;
        waiting.extend(pasts.drain().map(|(id, noted)| (id, noted.past.end())));
        *is_closed = true;
    }

    fn take_waiting(&self) -> (Vec<(ContainerId, Slot)>, i64) {
        let mut state = self.lock();
        (std::mem::take(&mut state.waiting), state.until_ms)
    }

    /// Writes what waits. A failure is told once, and so is its end.
    async fn write(&self, store: &Store) {
        let mut disk = self.writing.lock().await;
        let (slots, until_ms) = self.take_waiting();
        match store.write_history(&slots, until_ms).await {
            Ok(()) if *disk == Disk::Fails => {
                *disk = Disk::Writes;
                tracing::info!("the history of usage is written again");
            }
            Ok(()) => {}
            Err(error) => {
                if *disk == Disk::Writes {
                    *disk = Disk::Fails;
                    let error = error::chain(&error);
                    tracing::warn!(error, "the history of usage cannot be written; it is tried again every ten seconds");
                }
                self.put_back(slots);
            }
        }
    }

    fn put_back(&self, mut slots: Vec<(ContainerId, Slot)>) {
        let mut state = self.lock();
        slots.append(&mut state.waiting);
        slots.drain(..slots.len().saturating_sub(SLOTS_WAITING_MAX));
        state.waiting = slots;
    }
}

/// Notes a round, and has written what is over, beside whoever calls.
pub(crate) fn note(shared: &Shared, round: &Round<'_>) {
    let cpus: HashMap<ContainerId, f64> =
        shared.registry.collect(|container| Some((container.id.clone(), container.config.limits.cpus?))).into_iter().collect();
    if shared.history.note(round, &cpus) == Due::Yes {
        let (history, store) = (Arc::clone(&shared.history), shared.store.clone());
        tokio::spawn(async move { history.write(&store).await });
    }
}

/// Writes all that was read, because the server is closing.
pub(crate) async fn finish(shared: &Shared) {
    shared.history.close();
    shared.history.write(&shared.store).await;
}

impl Supervisor {
    /// What the container used between two moments, in slots of at least `step_ms`, as finely as is still known: also of one
    /// that is gone. What was not measured is not there.
    pub async fn history(&self, id: &ContainerId, from_ms: i64, to_ms: i64, step_ms: i64) -> Result<Answer, Error> {
        let now_ms = now_ms();
        let from_ms = from_ms.clamp(now_ms - Tier::Hour.kept_ms(), now_ms);
        let tier = Tier::for_range((now_ms - from_ms - LATE_MS).max(0), step_ms);
        let points = self.shared.store.history(id, tier, from_ms, to_ms.min(now_ms)).await?;
        Ok(Answer { step_ms: tier.step_ms(), points })
    }

    /// The container of this id, name, or beginning of an id; where there is none any more, the one that there was.
    pub async fn remembered(&self, key: &str) -> Result<ContainerId, Error> {
        let not_found = match self.find(key) {
            Ok(container) => return Ok(container.id),
            Err(error @ Error::NotFound { .. }) => error,
            Err(error) => return Err(error),
        };
        if !crate::registry::may_be_id(key) {
            return Err(not_found);
        }
        if let Some(id) = self.shared.store.remembered(key).await? {
            return Ok(id);
        }
        // The diary forgets sooner than the history where much happens.
        match key.parse() {
            Ok(id) if !self.shared.store.history(&id, Tier::Hour, 0, i64::MAX).await?.is_empty() => Ok(id),
            _ => Err(not_found),
        }
    }

    /// What limits would have been enough for the container for the last week, where its own say much more, or nothing. Nobody
    /// sets limits of one that is gone.
    pub async fn suggestion(&self, id: &ContainerId) -> Result<Option<Finding>, Error> {
        let Ok(container) = self.shared.registry.snapshot(id) else { return Ok(None) };
        let now_ms = now_ms();
        let week = self.history(id, now_ms - Tier::TenMinutes.kept_ms(), now_ms, Tier::TenMinutes.step_ms()).await?;
        Ok(suggestion::suggest(&container.config.limits, &week, now_ms))
    }
}

#[cfg(test)]
mod tests;
