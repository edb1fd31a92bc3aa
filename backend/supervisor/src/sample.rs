//! Usage over time: the latest measurement of every container that is alive.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use belljar_model::usage::Usage;
use belljar_model::{Container, ContainerId};
use belljar_runtime::cgroup::{Cgroup, Hierarchies};
use tokio::sync::Notify;

use crate::Notice;
use crate::clock::now_ms;
use crate::shared::Shared;

/// Time between two measurements while somebody watches.
const WATCHED_EVERY: Duration = Duration::from_secs(1);
/// The same while nobody does.
const UNWATCHED_EVERY: Duration = Duration::from_secs(10);
/// Two readings closer than this say nothing about a share of a processor, in milliseconds.
const CPU_INTERVAL_MS_MIN: i64 = 100;

/// One measurement of every container that is alive: what [`crate::history`] remembers and [`crate::diagnosis`] judges. They are
/// told of it on the sampler's own thread, one after the other, and must not wait there.
pub(crate) struct Round<'a> {
    /// When it began, in Unix milliseconds.
    pub(crate) at_ms: i64,
    /// What was read; each reading has the moment of its own.
    pub(crate) readings: &'a [Reading],
}

/// What one container used.
pub(crate) struct Reading {
    pub(crate) id: ContainerId,
    pub(crate) usage: Usage,
}

/// The latest measurements.
#[derive(Default)]
pub(crate) struct Samples {
    latest: Mutex<HashMap<ContainerId, Usage>>,
    /// Somebody began to watch.
    pub(crate) wake: Notify,
}

impl Samples {
    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Usage>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> HashMap<ContainerId, Usage> {
        self.lock().clone()
    }

    pub(crate) fn forget(&self, id: &ContainerId) {
        self.lock().remove(id);
    }

    /// A reading with the share of a processor since the last measurement.
    fn compared(&self, id: &ContainerId, mut usage: Usage) -> Usage {
        usage.cpu_percent = self.lock().get(id).and_then(|before| cpu_percent(before, &usage));
        usage
    }
}

/// The share of one processor between two readings. One that comes too soon after the other keeps the earlier share.
fn cpu_percent(before: &Usage, now: &Usage) -> Option<f64> {
    let passed_ms = now.at_ms - before.at_ms;
    if passed_ms < CPU_INTERVAL_MS_MIN {
        return before.cpu_percent;
    }
    // A container that was started again counts from zero: unknown until the next reading.
    let used_usec = now.cpu_usec_total?.checked_sub(before.cpu_usec_total?)?;
    Some(used_usec as f64 / (passed_ms as f64 * 1000.0) * 100.0)
}

/// Reads what a container uses now; all is unknown where it is not alive.
pub(crate) fn read(shared: &Shared, container: &Container) -> Usage {
    read_in(shared, &shared.hierarchies(), container)
}

fn read_in(shared: &Shared, hierarchies: &Hierarchies, container: &Container) -> Usage {
    let Some(init) = container.init else { return Usage { at_ms: now_ms(), ..Usage::default() } };
    let usage = measure(&shared.cgroup_in(hierarchies, &container.id), init.pid);
    shared.samples.compared(&container.id, usage)
}

fn measure(cgroup: &Cgroup, pid: i32) -> Usage {
    let mut usage = cgroup.usage(now_ms());
    if let Ok(interfaces) = belljar_network::interfaces(pid) {
        let outside = || interfaces.iter().filter(|interface| !interface.is_loopback());
        usage.network_rx_bytes = Some(outside().map(|interface| interface.rx_bytes).sum());
        usage.network_tx_bytes = Some(outside().map(|interface| interface.tx_bytes).sum());
        for field in ["network_rx_bytes", "network_tx_bytes"] {
            usage.sources.insert(field.to_owned(), belljar_network::interfaces_source(pid));
        }
    }
    usage
}

/// Measures every container that is alive, again and again, until the instance is gone.
pub(crate) async fn run(shared: Weak<Shared>) {
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let watched = shared.notices.receiver_count() > 0;
        let measured = Arc::clone(&shared);
        crate::blocking(move || all(&measured)).await;
        if watched {
            shared.notify(Notice::Sampled);
        }
        let pause = tokio::time::sleep(if watched { WATCHED_EVERY } else { UNWATCHED_EVERY });
        if watched {
            drop(shared);
            pause.await;
        } else {
            tokio::select! {
                () = pause => {}
                () = shared.samples.wake.notified() => {}
            }
        }
    }
}

fn all(shared: &Shared) {
    let alive = shared.registry.collect(|container| container.state.is_alive().then(|| container.clone()));
    let hierarchies = shared.hierarchies();
    let at_ms = now_ms();
    let reading = |container: &Container| Reading { id: container.id.clone(), usage: read_in(shared, &hierarchies, container) };
    let readings: Vec<Reading> = alive.iter().map(reading).collect();
    *shared.samples.lock() = readings.iter().map(|reading| (reading.id.clone(), reading.usage.clone())).collect();
    let round = Round { at_ms, readings: &readings };
    crate::history::note(shared, &round);
    crate::diagnosis::note(shared, &round);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_ms: i64, cpu_usec_total: u64) -> Usage {
        Usage { at_ms, cpu_usec_total: Some(cpu_usec_total), ..Usage::default() }
    }

    #[test]
    fn the_share_of_a_processor_is_what_was_used_of_what_passed() {
        assert_eq!(cpu_percent(&reading(1000, 0), &reading(2000, 1_500_000)), Some(150.0));
        assert_eq!(cpu_percent(&reading(1000, 0), &Usage { at_ms: 2000, ..Usage::default() }), None);
    }

    #[test]
    fn a_container_that_was_started_again_has_no_share_yet() {
        assert_eq!(cpu_percent(&reading(1000, 5_000_000), &reading(2000, 10)), None);
    }

    #[test]
    fn readings_that_follow_too_closely_keep_the_earlier_share() {
        let before = Usage { cpu_percent: Some(7.0), ..reading(1000, 0) };
        assert_eq!(cpu_percent(&before, &reading(1001, 1000)), Some(7.0));
    }
}
