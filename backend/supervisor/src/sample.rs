//! Usage over time: one sampler for all containers that are alive, and the latest reading of each.
//!
//! ```text
//!  a round   the list is made what the registry says, then one container after the other is read into the usage that it
//!            had two rounds ago, and exchanged for the latest: nothing is allocated but for what is new
//!  asked     the same kept-open files are read once more, beside the rounds
//! ```
//! Files are opened by the first reading of a container and closed when it ends: what is kept open of its network would keep
//! the namespace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use belljar_linux::reread::{Buffer, Descriptors};
use belljar_model::container::ProcessRef;
use belljar_model::usage::Usage;
use belljar_model::{Container, ContainerId};
use belljar_network::Interfaces;
use belljar_runtime::cgroup::{Hierarchies, UsageFiles};
use rustix::process::{Resource, getrlimit};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Notice;
use crate::clock::now_ms;
use crate::quota::Quotas;
use crate::shared::Shared;

/// Time between two measurements while somebody watches.
const WATCHED_EVERY: Duration = Duration::from_secs(1);
/// The same while nobody does.
const UNWATCHED_EVERY: Duration = Duration::from_secs(10);
/// Two readings closer than this say nothing about a share of a processor, in milliseconds.
const CPU_INTERVAL_MS_MIN: i64 = 100;
/// Descriptors that are left for everything else (connections, the database, monitors); at least half of all are.
const DESCRIPTORS_LEFT: usize = 8192;

/// One measurement of every container that is alive: what [`crate::history`] remembers and [`crate::diagnosis`] judges. They are
/// told of it on the sampler's own thread, one after the other, and must not wait there, nor ask for the latest readings: these
/// are what they hold.
pub(crate) struct Round<'a> {
    /// When it began, in Unix milliseconds.
    pub(crate) at_ms: i64,
    /// What was read, by id; each reading has the moment of its own.
    pub(crate) readings: &'a [Reading],
}

/// What one container used.
pub(crate) struct Reading {
    pub(crate) id: ContainerId,
    pub(crate) usage: Usage,
}

/// The latest measurements, and the files that they are read from.
pub(crate) struct Samples {
    table: Mutex<Table>,
    descriptors: Arc<Descriptors>,
    /// What a round works with, kept for the next one.
    tools: Mutex<Tools>,
    /// Somebody began to watch.
    pub(crate) wake: Notify,
}

/// Two lists of one order: by id.
#[derive(Default)]
struct Table {
    readings: Vec<Reading>,
    files: Vec<Arc<Files>>,
    hierarchies: Hierarchies,
}

#[derive(Default)]
struct Tools {
    buffer: Buffer,
    files: Vec<Arc<Files>>,
}

/// The files of one container from one start to its end.
struct Files {
    id: ContainerId,
    init: ProcessRef,
    kept: Mutex<Kept>,
}

struct Kept {
    cgroup: UsageFiles,
    interfaces: Interfaces,
    /// What its own layer is counted by.
    project: Option<u32>,
    usage: Usage,
    /// What the last round found, to tell a share of a processor by.
    before: Mark,
}

/// As much of a reading as the share of a processor is told by.
#[derive(Clone, Copy, Default)]
struct Mark {
    at_ms: i64,
    cpu_usec_total: Option<u64>,
    cpu_percent: Option<f64>,
}

impl Samples {
    pub(crate) fn new() -> Self {
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        Self {
            table: Mutex::default(),
            descriptors: Descriptors::new(limit - DESCRIPTORS_LEFT.min(limit / 2)),
            tools: Mutex::default(),
            wake: Notify::new(),
        }
    }

    pub(crate) fn all(&self) -> HashMap<ContainerId, Usage> {
        let table = lock(&self.table);
        table.readings.iter().map(|reading| (reading.id.clone(), reading.usage.clone())).collect()
    }

    /// The container has ended: its files are closed.
    pub(crate) fn forget(&self, id: &ContainerId) {
        lock(&self.table).forget(id);
    }

    fn open(&self, shared: &Shared, hierarchies: &Hierarchies, (id, init): (&ContainerId, ProcessRef)) -> Arc<Files> {
        let interfaces = Interfaces::of(init.pid, &self.descriptors);
        let mut cgroup = UsageFiles::of(&shared.cgroup_in(hierarchies, id), &self.descriptors);
        for field in ["network_rx_bytes", "network_tx_bytes", "network"] {
            cgroup.name_source(field, interfaces.source());
        }
        let project = shared.quotas.project(id, &shared.bundle(id));
        for field in crate::quota::FIELDS.into_iter().filter(|_| project.is_some()) {
            cgroup.name_source(field, belljar_runtime::quota::SOURCE.to_owned());
        }
        let kept = Kept { cgroup, interfaces, project, usage: Usage::default(), before: Mark::default() };
        Arc::new(Files { id: id.clone(), init, kept: Mutex::new(kept) })
    }
}

impl Table {
    fn place(&self, id: &ContainerId) -> Result<usize, usize> {
        self.files.binary_search_by(|files| files.id.cmp(id))
    }

    fn files(&self, id: &ContainerId, init: ProcessRef) -> Option<Arc<Files>> {
        let files = &self.files[self.place(id).ok()?];
        (files.init == init).then(|| Arc::clone(files))
    }

    /// Takes a container in, or one that was started again in the place of what it was.
    fn enter(&mut self, files: Arc<Files>) {
        match self.place(&files.id) {
            Ok(place) => self.files[place] = files,
            Err(place) => {
                self.readings.insert(place, Reading { id: files.id.clone(), usage: Usage::default() });
                self.files.insert(place, files);
            }
        }
    }

    fn forget(&mut self, id: &ContainerId) {
        if let Ok(place) = self.place(id) {
            self.readings.remove(place);
            self.files.remove(place);
        }
    }
}

impl Kept {
    fn read(&mut self, quotas: &Quotas, buffer: &mut Buffer) {
        let usage = &mut self.usage;
        self.cgroup.read(now_ms(), usage, buffer);
        let mut list = usage.network.take().unwrap_or_default();
        usage.network = self.interfaces.read(&mut list, buffer).map(|()| list);
        let totals = usage.network.as_deref().map(belljar_network::totals);
        (usage.network_rx_bytes, usage.network_tx_bytes) = (totals.map(|(rx, _)| rx), totals.map(|(_, tx)| tx));
        usage.cpu_percent = cpu_percent(&self.before, usage);
        if let Some(project) = self.project {
            quotas.fill(project, usage);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The share of one processor between two readings. One that comes too soon after the other keeps the earlier share.
fn cpu_percent(before: &Mark, now: &Usage) -> Option<f64> {
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
    let Some(init) = living(container) else { return at_rest(shared, container) };
    let samples = &shared.samples;
    let known = lock(&samples.table).files(&container.id, init);
    let files = known.unwrap_or_else(|| {
        let files = samples.open(shared, &shared.hierarchies(), (&container.id, init));
        lock(&samples.table).enter(Arc::clone(&files));
        files
    });
    let mut kept = lock(&files.kept);
    kept.read(&shared.quotas, &mut Buffer::default());
    kept.usage.clone()
}

/// Of a container that is not alive there is its layer alone.
fn at_rest(shared: &Shared, container: &Container) -> Usage {
    let mut usage = Usage { at_ms: now_ms(), ..Usage::default() };
    if let Some(project) = shared.quotas.project(&container.id, &shared.bundle(&container.id)) {
        shared.quotas.fill(project, &mut usage);
        let sources = crate::quota::FIELDS.map(|field| (field.to_owned(), belljar_runtime::quota::SOURCE.to_owned()));
        usage.sources = Arc::new(sources.into());
    }
    usage
}

/// Measures every container that is alive, again and again, until the instance is gone.
pub(crate) async fn run(shared: Weak<Shared>) {
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let (watched, begun) = (shared.notices.receiver_count() > 0, Instant::now());
        let measured = Arc::clone(&shared);
        crate::blocking(move || round(&measured)).await;
        if watched {
            shared.notify(Notice::Sampled);
        }
        let pause = tokio::time::sleep_until(begun + if watched { WATCHED_EVERY } else { UNWATCHED_EVERY });
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

fn round(shared: &Shared) {
    let samples = &shared.samples;
    let at_ms = now_ms();
    let mut tools = lock(&samples.tools);
    let Tools { buffer, files } = &mut *tools;
    look_around(shared);
    files.extend(lock(&samples.table).files.iter().map(Arc::clone));
    for files in files.drain(..) {
        let mut kept = lock(&files.kept);
        kept.read(&shared.quotas, buffer);
        let Usage { at_ms, cpu_usec_total, cpu_percent, .. } = kept.usage;
        kept.before = Mark { at_ms, cpu_usec_total, cpu_percent };
        let mut table = lock(&samples.table);
        // It may have ended meanwhile.
        if let Ok(place) = table.place(&files.id)
            && Arc::ptr_eq(&table.files[place], &files)
        {
            std::mem::swap(&mut table.readings[place].usage, &mut kept.usage);
        }
    }
    let table = lock(&samples.table);
    let round = Round { at_ms, readings: &table.readings };
    crate::history::note(shared, &round);
    crate::diagnosis::note(shared, &round);
}

/// Makes the list what is alive now, where it is now: another engine may have mounted a hierarchy meanwhile.
fn look_around(shared: &Shared) {
    let samples = &shared.samples;
    let hierarchies = shared.hierarchies();
    let mut table = lock(&samples.table);
    if table.hierarchies != hierarchies {
        *table = Table { hierarchies: hierarchies.clone(), ..Table::default() };
    }
    let mut alive = 0;
    shared.registry.each(|container| {
        let Some(init) = living(container) else { return };
        alive += 1;
        if table.files(&container.id, init).is_none() {
            table.enter(samples.open(shared, &hierarchies, (&container.id, init)));
        }
    });
    if table.files.len() > alive {
        let gone = |files: &Files| shared.registry.snapshot(&files.id).map_or(true, |container| living(&container) != Some(files.init));
        let gone: Vec<ContainerId> = table.files.iter().filter(|files| gone(files)).map(|files| files.id.clone()).collect();
        gone.iter().for_each(|id| table.forget(id));
    }
}

/// Its first process, while it is alive.
fn living(container: &Container) -> Option<ProcessRef> {
    container.init.filter(|_| container.state.is_alive())
}

#[cfg(test)]
mod tests {
    use belljar_model::machine::{Force, Request};

    use super::*;
    use crate::testing::{Bench, DEAF};

    fn mark(at_ms: i64, cpu_usec_total: u64) -> Mark {
        Mark { at_ms, cpu_usec_total: Some(cpu_usec_total), cpu_percent: None }
    }

    fn reading(at_ms: i64, cpu_usec_total: u64) -> Usage {
        Usage { at_ms, cpu_usec_total: Some(cpu_usec_total), ..Usage::default() }
    }

    /// Descriptors that the readings of this bench keep open. Its containers have a network, and no cgroups.
    fn kept(bench: &Bench, before: usize) -> usize {
        before - bench.shared().samples.descriptors.left()
    }

    #[tokio::test]
    async fn files_are_kept_open_from_the_first_reading_to_the_end() {
        let bench = Bench::new().await;
        let before = bench.shared().samples.descriptors.left();
        let web = bench.run("web", DEAF).await;
        let usage = bench.supervisor.usage(&web.id).await.expect("read");
        assert!(usage.network.is_some() && usage.network_rx_bytes.is_some(), "{usage:?}");
        assert_eq!((usage.memory_bytes, usage.cpu_usec_total, usage.pids), (None, None, None), "what is missing is unknown");
        assert_eq!(kept(&bench, before), 1);
        round(bench.shared());
        let latest = bench.supervisor.usages();
        assert!(latest[&web.id].network.is_some());
        assert_eq!((latest.len(), kept(&bench, before)), (1, 1), "a round reads the same files");
        let again = bench.supervisor.ask_within(&web.id, Request::Restart, 0).await.expect("restarted").into_container();
        assert_ne!(again.init, web.init);
        let usage = bench.supervisor.usage(&web.id).await.expect("read");
        let source = format!("/proc/{}/net/dev", again.init.expect("it runs").pid);
        assert_eq!((usage.sources.get("network"), kept(&bench, before)), (Some(&source), 1), "another start has other files");
        bench.supervisor.ask(&web.id, Request::Delete(Force::Yes)).await.expect("deleted");
        assert_eq!((bench.supervisor.usages().len(), kept(&bench, before)), (0, 0));
    }

    #[tokio::test]
    async fn a_round_finds_what_began_and_leaves_out_what_ended() {
        let bench = Bench::new().await;
        let (web, db) = (bench.run("web", DEAF).await, bench.run("db", DEAF).await);
        round(bench.shared());
        let ids =
            || -> Vec<ContainerId> { lock(&bench.shared().samples.table).readings.iter().map(|reading| reading.id.clone()).collect() };
        let mut both = vec![web.id.clone(), db.id.clone()];
        both.sort();
        assert_eq!(ids(), both, "by id");
        // As if nobody had told the sampler of an end: the next round finds out.
        let stranger = crate::testing::running("stranger");
        let files =
            bench.shared().samples.open(bench.shared(), &Hierarchies::default(), (&stranger.id, ProcessRef { pid: 1, start_ticks: 0 }));
        lock(&bench.shared().samples.table).enter(files);
        assert_eq!(ids().len(), 3);
        round(bench.shared());
        assert_eq!(ids(), both);
        for container in [web, db] {
            bench.supervisor.ask(&container.id, Request::Delete(Force::Yes)).await.expect("deleted");
        }
    }

    #[test]
    fn the_share_of_a_processor_is_what_was_used_of_what_passed() {
        assert_eq!(cpu_percent(&mark(1000, 0), &reading(2000, 1_500_000)), Some(150.0));
        assert_eq!(cpu_percent(&mark(1000, 0), &Usage { at_ms: 2000, ..Usage::default() }), None);
    }

    #[test]
    fn a_container_that_was_started_again_has_no_share_yet() {
        assert_eq!(cpu_percent(&mark(1000, 5_000_000), &reading(2000, 10)), None);
    }

    #[test]
    fn readings_that_follow_too_closely_keep_the_earlier_share() {
        let before = Mark { cpu_percent: Some(7.0), ..mark(1000, 0) };
        assert_eq!(cpu_percent(&before, &reading(1001, 1000)), Some(7.0));
    }
}
