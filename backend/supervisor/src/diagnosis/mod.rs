//! Why a container died, and why it is slow: what is known of it, in sentences.
//!
//! ```text
//!  sampler's round ──► samples of a minute ──┬──► alarm      what is worth an event, at most so often
//!  task: a kill ─────────────────────────────┤
//!  its checks ───────────────────────────────┴──► findings   what a person is told who asks
//!  container and its exit ─────────────────────► end         the same of what has ended
//! ```
//! The sentences are made by pure functions; here is what they are made of, and who is told. This must never measure anything
//! itself, nor change a container. Start reading at [`findings`].

mod alarm;
mod end;
mod findings;
mod layer;
mod minute;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use belljar_model::diagnosis::{Finding, FindingKind};
use belljar_model::health::Health;
use belljar_model::overlay::LayerQuota;
use belljar_model::usage::Usage;
use belljar_model::{Container, ContainerId, EventKind, NewEvent};
use belljar_store::Durability;
use tokio::sync::mpsc;

use crate::Notice;
use crate::clock::now_ms;
use crate::sample::Round;
use crate::shared::Shared;

use alarm::Alarms;
use findings::Facts;
pub(crate) use findings::Kill;
use layer::Fill;
use minute::{Sample, Samples};

/// Most events that wait to be recorded. More at once than containers that hit a limit in one round means that the database
/// does not keep up; the next minute tells again.
pub(crate) const TIDINGS_MAX: usize = 1024;

/// What is to be told of a container.
pub(crate) enum Tidings {
    /// As an event.
    Event { id: ContainerId, at_ms: i64, kind: EventKind, message: String },
    /// Its task is to look whether somebody was killed.
    Killed(ContainerId),
}

/// A round was measured.
pub(crate) fn note(shared: &Shared, round: &Round<'_>) {
    shared.diagnosis.note(round);
}

/// What is known of every container that is alive.
pub(crate) struct Diagnosis {
    lives: Mutex<HashMap<ContainerId, Life>>,
    tidings: mpsc::Sender<Tidings>,
    /// Layers that were told to be full, and had no room since: a restart of the container is no news.
    full: Mutex<HashSet<ContainerId>>,
}

/// One life of a container: from a start to its end.
#[derive(Debug, Default)]
struct Life {
    samples: Samples,
    alarms: Alarms,
    kill: Option<Kill>,
}

impl Diagnosis {
    /// One that knows nothing yet; and what it will tell, for [`tell`].
    pub(crate) fn new() -> (Self, mpsc::Receiver<Tidings>) {
        let (tidings, told) = mpsc::channel(TIDINGS_MAX);
        (Self { lives: Mutex::default(), tidings, full: Mutex::default() }, told)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container was started: everything counts from zero.
    pub(crate) fn began(&self, id: &ContainerId, at_ms: i64) {
        let mut samples = Samples::default();
        samples.push(Sample::zero(at_ms));
        self.lock().insert(id.clone(), Life { samples, ..Life::default() });
    }

    /// Its life is over, or it is gone.
    pub(crate) fn forget(&self, id: &ContainerId) {
        self.lock().remove(id);
    }

    /// What its layer takes was read: what there is to tell of that, once, and again only after there was room in between.
    pub(crate) fn layer(&self, id: &ContainerId, layer: &LayerQuota) -> Option<String> {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        match layer::fill(layer) {
            Fill::Room => {
                full.remove(id);
                None
            }
            Fill::Between => None,
            Fill::Near | Fill::Full => full.insert(id.clone()).then(|| layer::sentence(layer)).flatten(),
        }
    }

    /// The container is gone.
    pub(crate) fn forget_layer(&self, id: &ContainerId) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The kernel killed a process of it, and it went on.
    pub(crate) fn killed(&self, id: &ContainerId, kill: Kill) {
        self.lock().entry(id.clone()).or_default().kill = Some(kill);
    }

    /// Looks at a round of the sampler, on its thread: nothing waits here.
    fn note(&self, round: &Round<'_>) {
        let mut tidings: Vec<Tidings> = Vec::new();
        let mut lives = self.lock();
        // What came into the list while the round went on was not read in it.
        for reading in round.readings.iter().filter(|reading| reading.usage.at_ms >= round.at_ms) {
            // The common case has no need of an id of its own.
            if !lives.contains_key(&reading.id) {
                lives.insert(reading.id.clone(), Life::default());
            }
            if let Some(life) = lives.get_mut(&reading.id) {
                life.note(&reading.id, &reading.usage, &mut tidings);
            }
            if let Some(message) = layer::of_usage(&reading.usage).and_then(|layer| self.layer(&reading.id, &layer)) {
                let (id, at_ms) = (reading.id.clone(), reading.usage.at_ms);
                tidings.push(Tidings::Event { id, at_ms, kind: EventKind::LimitHit, message });
            }
        }
        drop(lives);
        for told in tidings {
            if self.tidings.try_send(told).is_err() {
                tracing::warn!("what happened to containers cannot be recorded as fast as it happens; some of it is told later");
                return;
            }
        }
    }

    /// What there is to say about a container, the worst first, with the kernel's files; `usage` was read for it just now.
    fn of(&self, container: &Container, usage: &Usage, health: &Health) -> Vec<Finding> {
        let (mut samples, kill) = self.life(container);
        if container.state.is_alive() {
            samples.push(Sample::from(usage));
        }
        let (minute, sources, layer) = (samples.minute(), &usage.sources, layer::of_usage(usage));
        findings::findings(&Facts { container, minute: minute.as_ref(), kill: kill.as_ref(), health, layer, sources, now_ms: now_ms() })
    }

    /// The worst of it, by what is known without reading anything, and by what its limited layer takes.
    pub(crate) fn worst(&self, container: &Container, health: &Health, layer: Option<LayerQuota>) -> Option<Finding> {
        let (minute, kill) = match self.lock().get(&container.id) {
            Some(life) => (life.samples.minute(), life.kill.clone()),
            None => (None, None),
        };
        let (minute, kill, sources) = (minute.as_ref(), kill.as_ref(), &BTreeMap::new());
        let found = findings::findings(&Facts { container, minute, kill, health, layer, sources, now_ms: now_ms() });
        found.into_iter().find(|finding| finding.kind != FindingKind::Suggestion)
    }

    fn life(&self, container: &Container) -> (Samples, Option<Kill>) {
        self.lock().get(&container.id).map_or_else(Default::default, |life| (life.samples.clone(), life.kill.clone()))
    }
}

/// What there is to say about a container, by what is read of it now.
pub(crate) fn now(shared: &Shared, container: &Container) -> Vec<Finding> {
    shared.diagnosis.of(container, &crate::sample::read(shared, container), &shared.health.of(&container.id))
}

impl Life {
    fn note(&mut self, id: &ContainerId, usage: &Usage, tidings: &mut Vec<Tidings>) {
        self.samples.push(Sample::from(usage));
        if self.samples.step().is_some_and(|(before, now)| now.oom_kills_total > before.oom_kills_total.or(Some(0))) {
            tidings.push(Tidings::Killed(id.clone()));
        }
        for (kind, message) in self.alarms.hear(&self.samples) {
            tidings.push(Tidings::Event { id: id.clone(), at_ms: usage.at_ms, kind, message });
        }
    }
}

/// Hands on what is to be told, until the instance is gone.
pub(crate) async fn tell(shared: Weak<Shared>, mut tidings: mpsc::Receiver<Tidings>) {
    while let Some(told) = tidings.recv().await {
        let Some(shared) = shared.upgrade() else { return };
        match told {
            Tidings::Killed(id) => shared.registry.nudge(&id),
            Tidings::Event { id, at_ms, kind, message } => {
                // It may be gone by now.
                let Ok(container) = shared.registry.snapshot(&id) else { continue };
                let event = NewEvent { at_ms, kind, container: Some(id), subject: container.config.name.to_string(), message };
                record(&shared, event).await;
            }
        }
    }
}

async fn record(shared: &Shared, event: NewEvent) {
    match shared.store.tell(event, Durability::Deferred).await {
        Ok(event) => event.into_iter().for_each(|event| shared.notify(Notice::Event(event))),
        Err(error) => tracing::error!(error = crate::error::chain(&error), "what happened to a container could not be recorded"),
    }
}
