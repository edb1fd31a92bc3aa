//! Checks of containers' health: who runs them and when, and what they found.
//!
//! ```text
//!  task: it lives ──► watcher ── pause ──► a place ──► exec ──► its end, or its time is up ──┐
//!                        ▲                                                                   ▼
//!                        └────────────── board, notice, event where that changed ◄── Health::take (model)
//!  task: paused, told to end ──► the watcher is stopped, and the check that is under way is killed
//! ```
//! A check is an exec like a person's, as strict, but no event, and with places of its own. What checks found is nowhere on disk: a
//! server that comes back asks anew. This must never decide what a result means (`model::health`), nor change a container. Start
//! reading at [`Watcher`].

mod run;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use belljar_model::health::{Checked, Health, HealthCheck, HealthStatus};
use belljar_model::{Container, ContainerId, EventKind, NewEvent};
use belljar_store::Durability;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::shared::Shared;
use crate::{Notice, Supervisor};

/// Most checks at once, of all containers: each is a process of ours and one of the container's, and two processors do not get
/// more done by more of them. Who has to wait for a place has not begun, and its time does not pass.
pub(crate) const CHECKS_MAX: usize = 16;
/// Longest wait for the first check of a container that was found alive.
const FIRST_LOOK_LIMIT: Duration = Duration::from_secs(10);
/// By which part of a pause the first checks of containers that were started together are spread.
const SPREAD: f64 = 0.25;
/// Changes of one container's health that are told one after the other: one that goes back and forth does not fill the diary.
const EVENTS_AT_ONCE_MAX: u32 = 10;
/// Then one more is told after so long.
const EVENT_EVERY: Duration = Duration::from_secs(60);

/// What is known of every container that has a check.
#[derive(Debug)]
pub(crate) struct Board {
    known: Mutex<HashMap<ContainerId, Arc<Health>>>,
    places: Arc<Semaphore>,
}

impl Default for Board {
    fn default() -> Self {
        Self { known: Mutex::default(), places: Arc::new(Semaphore::new(CHECKS_MAX)) }
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Arc<Health>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of(&self, id: &ContainerId) -> Arc<Health> {
        self.lock().get(id).cloned().unwrap_or_default()
    }

    pub(crate) fn all(&self) -> HashMap<ContainerId, Arc<Health>> {
        self.lock().clone()
    }

    /// A life begins, or one is found: nothing is known of it.
    pub(crate) fn begin(&self, id: &ContainerId) {
        self.lock().insert(id.clone(), Arc::new(Health::starting()));
    }

    /// Its life is over. What its last checks said may be why, and stays until it is started again.
    pub(crate) fn end(&self, id: &ContainerId) {
        if let Some(health) = self.lock().get_mut(id) {
            let health = Arc::make_mut(health);
            (health.status, health.failing_streak) = (HealthStatus::None, 0);
        }
    }

    /// The container is gone.
    pub(crate) fn forget(&self, id: &ContainerId) {
        self.lock().remove(id);
    }

    /// Takes a result in; what that makes of a container that is still alive.
    fn take(&self, id: &ContainerId, take: impl FnOnce(&mut Health)) -> Option<Arc<Health>> {
        let mut known = self.lock();
        let health = known.get_mut(id).filter(|health| health.status != HealthStatus::None)?;
        take(Arc::make_mut(health));
        Some(Arc::clone(health))
    }
}

impl Supervisor {
    /// What the container's checks found since its start; empty where it has none.
    pub fn health(&self, id: &ContainerId) -> Arc<Health> {
        self.shared.health.of(id)
    }

    /// The same of every container that has a check.
    pub fn healths(&self) -> HashMap<ContainerId, Arc<Health>> {
        self.shared.health.all()
    }
}

/// Where in its life a container is when its checks begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// It was started.
    Start,
    /// It was found alive.
    Found,
    /// It goes on after a pause.
    Pause,
}

/// Checks one container again and again. Dropping it kills the check that is under way.
#[derive(Debug)]
pub(crate) struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watcher {
    /// Begins, where the container has a check.
    pub(crate) fn begin(shared: &Arc<Shared>, container: &Container, from: From) -> Option<Self> {
        let check = container.config.health_check()?.clone();
        let patient = Patient {
            shared: Arc::clone(shared),
            id: container.id.clone(),
            name: container.config.name.to_string(),
            started_at_ms: container.started_at_ms.unwrap_or_else(now_ms),
            check,
            told: Told::new(shared.health.of(&container.id).status),
        };
        Some(Self(tokio::spawn(patient.watch(from))))
    }

    /// Stops, and returns when nothing is begun any more.
    pub(crate) async fn stop(mut self) {
        self.0.abort();
        // Cancelled, as was asked; or it had a mistake, which the runtime has reported.
        drop((&mut self.0).await);
    }
}

/// A container that is checked, in one life of it.
struct Patient {
    shared: Arc<Shared>,
    id: ContainerId,
    name: String,
    started_at_ms: i64,
    check: HealthCheck,
    told: Told,
}

impl Patient {
    async fn watch(mut self, from: From) {
        let status = self.shared.health.of(&self.id).status;
        let mut pause = first_pause(self.pause(status), from, spread(&self.id));
        loop {
            tokio::time::sleep(pause).await;
            self.look().await;
            pause = match self.shared.health.of(&self.id).status {
                HealthStatus::None => return,
                status => self.pause(status),
            };
        }
    }

    fn pause(&self, status: HealthStatus) -> Duration {
        Duration::from_millis(self.check.pause_ms(status, self.age_ms(now_ms())))
    }

    fn age_ms(&self, at_ms: i64) -> i64 {
        at_ms.saturating_sub(self.started_at_ms)
    }

    /// One check, and what it makes of the container; `None` where nothing came of it, because that does not run just now.
    async fn look(&mut self) -> Option<()> {
        // The places are never taken away.
        let place = Arc::clone(&self.shared.health.places).acquire_owned().await.ok()?;
        let container = self.shared.registry.snapshot(&self.id).ok()?;
        let checked = run::check(&self.shared, container, &self.check, place).await?;
        let age_ms = self.age_ms(checked.began_at_ms);
        let before = self.shared.health.of(&self.id).status;
        let (check, reason) = (&self.check, checked.clone());
        let health = self.shared.health.take(&self.id, |health| health.take(check, age_ms, checked))?;
        self.shared.notify(Notice::Checked(self.id.clone()));
        if health.status != before {
            self.shared.notify(Notice::Container(self.id.clone()));
        }
        if let Some((kind, message)) = self.told.news(&health, &reason, Instant::now()) {
            self.record(kind, message).await;
        }
        Some(())
    }

    async fn record(&self, kind: EventKind, message: String) {
        let event = NewEvent { at_ms: now_ms(), kind, container: Some(self.id.clone()), subject: self.name.clone(), message };
        match self.shared.store.tell(event, Durability::Deferred).await {
            Ok(event) => event.into_iter().for_each(|event| self.shared.notify(Notice::Event(event))),
            Err(error) => {
                tracing::error!(
                    container.id = self.id.short(),
                    error = crate::error::chain(&error),
                    "a change of its health could not be recorded"
                );
            }
        }
    }
}

/// What was told of a container's health last, and how much more may be told now.
#[derive(Debug)]
struct Told {
    status: HealthStatus,
    left: u32,
    refilled: Instant,
}

impl Told {
    fn new(status: HealthStatus) -> Self {
        Self { status, left: EVENTS_AT_ONCE_MAX, refilled: Instant::now() }
    }

    /// The event that is due after this check: what the container is now, where that was not told yet and may be.
    fn news(&mut self, health: &Health, checked: &Checked, now: Instant) -> Option<(EventKind, String)> {
        while self.left < EVENTS_AT_ONCE_MAX && now >= self.refilled + EVENT_EVERY {
            (self.left, self.refilled) = (self.left + 1, self.refilled + EVENT_EVERY);
        }
        let (kind, message) = match health.status {
            status if status == self.status => return None,
            HealthStatus::None | HealthStatus::Starting => return None,
            HealthStatus::Healthy => {
                let line = checked.last_line().map(|line| format!(": {line}")).unwrap_or_default();
                (EventKind::Healthy, format!("its check succeeds{line}"))
            }
            HealthStatus::Unhealthy => {
                let times =
                    if health.failing_streak == 1 { "once".to_owned() } else { format!("{} times in a row", health.failing_streak) };
                (EventKind::Unhealthy, format!("its check failed {times}: {}", checked.reason()))
            }
        };
        if self.left == EVENTS_AT_ONCE_MAX {
            self.refilled = now;
        }
        self.left = self.left.checked_sub(1)?;
        self.status = health.status;
        Some((kind, message))
    }
}

/// Where in a spread this container is, from 0 to 1: ids are random.
fn spread(id: &ContainerId) -> f64 {
    let digits = id.as_str().get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default();
    f64::from(digits) / f64::from(u32::MAX)
}

/// Those that begin together are not all checked at once, and none later than it would be by itself.
fn first_pause(pause: Duration, from: From, spread: f64) -> Duration {
    match from {
        From::Start | From::Pause => pause.mul_f64(1.0 - SPREAD * spread),
        From::Found => pause.min(FIRST_LOOK_LIMIT).mul_f64(spread),
    }
}

#[cfg(test)]
mod tests;
