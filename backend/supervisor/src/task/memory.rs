//! Processes that the kernel kills for memory while the container goes on: told at once, not only at its end.
//!
//! ```text
//!  the kernel tells, or the sampler ──► look: more kills than were told? ──no──► again in a moment, for a while
//!                                         └─yes─► again in a moment ─► its first process ends ──► left to the end
//!                                                                        └─ it goes on ──► told, with the victim
//! ```
//! On v1 the kernel tells *before* it kills, on v2 it counts before it kills: hence the second look. An end tells of its own
//! kill with everything that is known then; no kill is told twice.

use std::sync::Arc;
use std::time::Duration;

use belljar_linux::{ending, kmsg};
use belljar_model::exit::Victim;
use belljar_model::{EventKind, size};
use belljar_runtime::cgroup::events::Watch;
use belljar_store::{Durability, EventQuery};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Flow, Task, until};
use crate::clock::now_ms;
use crate::diagnosis::Kill;
use crate::launch::watched;

/// When is looked again: by then the kernel has done what it told.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often, before what was told turns out to have killed nobody.
const LOOKS_MAX: u32 = 50;
/// Shortest time between two of these events: a container that is killed from all the time does not fill the diary.
const PAUSE: Duration = Duration::from_secs(10);

/// Why is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Memory may have run out.
    Told,
    /// Again, as was meant to be.
    Due,
}

/// What a task knows of its container's lack of memory.
#[derive(Default)]
pub(super) struct Memory {
    /// `None` where the container does not live, or the kernel does not tell; then the sampler's rounds do.
    watch: Option<AsyncFd<Watch>>,
    /// Somebody else saw a reason to look.
    nudge: Arc<Notify>,
    /// Kills that were told of this life.
    told: u64,
    look_at: Option<Instant>,
    looks: u32,
    /// Whether more kills than were told have been seen already.
    seen: bool,
    quiet_until: Option<Instant>,
}

impl Memory {
    pub(super) fn nudge(&self) -> Arc<Notify> {
        Arc::clone(&self.nudge)
    }

    /// Waits until there is a reason to look. Cancel safe.
    pub(super) async fn worth_a_look(&self) -> Reason {
        tokio::select! {
            () = told(self.watch.as_ref()) => Reason::Told,
            () = self.nudge.notified() => Reason::Told,
            () = until(self.look_at) => Reason::Due,
        }
    }

    /// Takes note of what the kernel told. What it tells no more of is not waited for any more.
    fn hear(&mut self) {
        let seen = self.watch.as_mut().map(|watch| watch.get_mut().look());
        if !matches!(seen, Some(Ok(seen)) if !seen.is_over) {
            self.watch = None;
        }
    }

    fn look_in(&mut self, pause: Duration) {
        self.look_at = Some(Instant::now() + pause);
    }

    /// Whether an end that counted so many kills has one to tell of.
    pub(super) fn is_news(&self, kills: u64) -> bool {
        kills > self.told
    }
}

/// Waits until the kernel tells that memory ran out; forever where it does not.
async fn told(watch: Option<&AsyncFd<Watch>>) {
    let Some(watch) = watch else { return std::future::pending().await };
    match watch.readable().await {
        // Before it is read: what comes after the reading wakes again.
        Ok(mut guard) => guard.clear_ready(),
        // The runtime is shutting down.
        Err(_) => std::future::pending().await,
    }
}

impl Task {
    /// The container began to live. Where it cannot be watched, the sampler's rounds are what is left.
    pub(super) fn watch_memory(&mut self) {
        let watch = Watch::begin(&self.cgroup()).ok().flatten().and_then(|watch| watched(watch).ok());
        self.memory = Memory { watch, nudge: self.memory.nudge(), ..Memory::default() };
        // Somebody may have been killed before it was watched.
        self.memory.look_in(LOOK_AGAIN);
        self.memory.looks = LOOKS_MAX;
    }

    /// The container was found alive. What was killed while nobody was there is told now, unless that was done then.
    pub(super) async fn remember_memory(&mut self) {
        if !self.container.state.is_alive() {
            return;
        }
        self.watch_memory();
        let query = EventQuery { container: Some(self.container.id.clone()), ..EventQuery::default() };
        let events = self.shared.store.events(&query).await.unwrap_or_default();
        let since_ms = self.container.started_at_ms.unwrap_or_default();
        let last = events.into_iter().find(|event| event.kind == EventKind::OutOfMemory && event.at_ms >= since_ms);
        if let Some(event) = last {
            self.memory.told = self.kills();
            self.shared.diagnosis.killed(&self.container.id, Kill { at_ms: event.at_ms, text: event.message });
        }
    }

    /// Its life is over.
    pub(super) fn forget_memory(&mut self) {
        self.memory = Memory { nudge: self.memory.nudge(), ..Memory::default() };
        self.shared.diagnosis.forget(&self.container.id);
    }

    fn kills(&self) -> u64 {
        self.cgroup().figure("memory", "memory_oom_kills").unwrap_or_default()
    }

    /// Somebody may have been killed.
    pub(super) async fn look_at_memory(&mut self, reason: Reason) -> Flow {
        self.memory.look_at = None;
        if reason == Reason::Told {
            self.memory.looks = 0;
        }
        self.memory.hear();
        let kills = if self.container.state.is_alive() { self.kills() } else { 0 };
        if !self.memory.is_news(kills) {
            self.memory.seen = false;
            self.memory.looks = self.memory.looks.saturating_add(1);
            if self.memory.looks < LOOKS_MAX {
                self.memory.look_in(LOOK_AGAIN);
            }
            return Flow::Continue;
        }
        if !std::mem::replace(&mut self.memory.seen, true) {
            self.memory.look_in(LOOK_AGAIN);
        } else if let Some(quiet_until) = self.memory.quiet_until.filter(|until| *until > Instant::now()) {
            self.memory.look_at = Some(quiet_until);
        } else if self.container.init.is_some_and(|init| !ending::is_ending(init.pid)) {
            self.tell_of_kills(kills).await;
        }
        Flow::Continue
    }

    async fn tell_of_kills(&mut self, kills: u64) {
        let cgroup = self.cgroup();
        let limit_bytes = cgroup.figure("memory", "memory_bytes_max");
        // The kernel's log is long, and may be closed to us.
        let victim = crate::blocking(move || kmsg::last_kill(&cgroup.kernel_path())).await.ok().flatten();
        let victim = victim.map(|kill| Victim { pid: kill.pid, command: kill.command });
        let text = sentence(kills.saturating_sub(self.memory.told), limit_bytes, victim.as_ref());
        let event = self.event(EventKind::OutOfMemory, text.clone());
        (self.memory.told, self.memory.seen) = (kills, false);
        self.memory.quiet_until = Some(Instant::now() + PAUSE);
        self.shared.diagnosis.killed(&self.container.id, Kill { at_ms: now_ms(), text });
        if let Err(error) = self.record(vec![event], Durability::Deferred).await {
            self.log(&error, "that a process of a container was killed for memory could not be recorded");
        }
    }
}

fn sentence(killed: u64, limit_bytes: Option<u64>, victim: Option<&Victim>) -> String {
    let place = limit_bytes.map_or(" of the whole host".to_owned(), |limit| format!(" at {}", size::display(limit)));
    let victim = victim.map(|victim| format!("{} (pid {})", victim.command, victim.pid));
    match (killed, victim) {
        (1, None) => format!("a process of it was killed by OOM{place}"),
        (1, Some(victim)) => format!("a process of it, {victim}, was killed by OOM{place}"),
        (killed, None) => format!("{killed} processes of it were killed by OOM{place}"),
        (killed, Some(victim)) => format!("{killed} processes of it were killed by OOM{place}, the last {victim}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_told_with_limit_and_victim_as_far_as_they_are_known() {
        let java = Victim { pid: 7, command: "java".into() };
        let limit = Some(512 << 20);
        assert_eq!(sentence(1, limit, Some(&java)), "a process of it, java (pid 7), was killed by OOM at 512 MiB");
        assert_eq!(sentence(1, None, None), "a process of it was killed by OOM of the whole host");
        assert_eq!(sentence(3, limit, Some(&java)), "3 processes of it were killed by OOM at 512 MiB, the last java (pid 7)");
    }
}
