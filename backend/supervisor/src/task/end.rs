//! From a running program to rest: stop, kill, and what to make of an end, asked for or not.
//!
//! A container has ended when its monitor has. How, is in its bundle; where nothing is there, nobody saw it, and that is
//! what is said.

use std::time::Duration;

use belljar_linux::process::{self, Attention};
use belljar_model::container::Restart;
use belljar_model::exit::Cause;
use belljar_model::namespace::Kind;
use belljar_model::{EventKind, Exit, NewEvent, Signal, State, Wanted, Whose};
use belljar_store::Durability;
use tokio::time::Instant;

use super::words::Manner;
use super::{Command, Flow, Reply, Task, answer};
use crate::clock::now_ms;
use crate::{Answer, Error, crash, evidence};

/// When a signal that was blocked is asked about again: a shell blocks it for a moment whenever it forks.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// When a look that failed is tried again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a killed container may take to be gone, before its whole cgroup is killed, and again before it is given up.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A container that was told to end.
pub(super) struct Ending {
    began: Instant,
    /// When the next, harder means is taken.
    pub(super) deadline: Instant,
    means: Means,
    manner: Manner,
    grace: Duration,
    /// When the grace is over.
    grace_ends: Instant,
    /// Who waits for the end.
    waiters: Vec<Reply>,
}

/// What was last done to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// The stop signal, which may have been dropped: asked about again.
    Signal,
    /// The stop signal, which it has.
    Grace,
    Kill,
    KillAll,
}

impl Ending {
    fn new(manner: Manner, grace: Duration, waiter: Option<Reply>) -> Self {
        let began = Instant::now();
        let grace_ends = began + grace;
        let deadline = grace_ends.min(began + ASK_AGAIN);
        Self { began, deadline, means: Means::Signal, manner, grace, grace_ends, waiters: Vec::from_iter(waiter) }
    }

    /// Whether it was not killed yet.
    fn is_polite(&self) -> bool {
        matches!(self.means, Means::Signal | Means::Grace)
    }
}

impl Task {
    /// Stop signal, then grace, then kill. Where its first process would drop the signal, waiting is pointless.
    pub(super) async fn stop(&mut self, grace: Option<Duration>, wanted: Wanted, waiter: Option<Reply>) {
        let signal = self.container.config.stop_signal;
        let grace = grace.unwrap_or(Duration::from_millis(self.container.config.stop_grace_ms));
        self.ending = Some(Ending::new(Manner::Signal(signal), grace, waiter));
        // Who is told to end may well fail its checks.
        self.stop_checks().await;
        self.want(wanted).await;
        self.thaw_to_end().await;
        let attention = self.attention(signal);
        if attention == Attention::None {
            // Nothing listens for SIGKILL, and nothing has to.
            if signal != Signal::KILL {
                self.manner(Manner::Unnoticed(signal));
            }
            return self.kill_now().await;
        }
        if let Some(ending) = &mut self.ending
            && attention == Attention::Catches
        {
            (ending.means, ending.deadline) = (Means::Grace, ending.grace_ends);
        }
        if let Err(error) = self.signal(signal) {
            self.log(&error, "the stop signal could not be sent; the grace runs all the same");
        }
        crash::here("stop.signalled");
    }

    /// Ends it at once.
    pub(super) async fn kill(&mut self, waiter: Option<Reply>) {
        self.ending = Some(Ending::new(Manner::Killed, Duration::ZERO, waiter));
        self.stop_checks().await;
        self.want(Wanted::Stopped).await;
        self.thaw_to_end().await;
        self.kill_now().await;
    }

    /// Writes down what is wanted before anything is done for it, so that a restart policy does not undo it after a crash.
    async fn want(&mut self, wanted: Wanted) {
        if self.container.wanted != wanted {
            self.container.wanted = wanted;
            if let Err(error) = self.record(Vec::new(), Durability::Deferred).await {
                self.log(&error, "what is wanted could not be recorded; it is done all the same");
            }
        }
        crash::here("stop.wanted");
    }

    /// A frozen process takes no signal.
    async fn thaw_to_end(&mut self) {
        if self.container.state == State::Paused {
            self.container.state = State::Running;
            if let Err(error) = self.thaw().await
                && !self.program_has_ended()
            {
                self.log(&error, "could not be thawed before its end; it is killed all the same");
            }
            self.show();
        }
    }

    /// SIGKILL to the first process: the kernel then ends every other process of its pid namespace (`pid_namespaces(7)`).
    pub(super) async fn kill_now(&mut self) {
        if let Err(error) = self.signal(Signal::KILL) {
            self.log(&error, "could not be killed by signal; its cgroup is killed next");
        }
        crash::here("stop.killed");
        if self.ending.as_ref().is_some_and(Ending::is_polite) {
            self.take_means(Means::Kill);
        }
    }

    fn take_means(&mut self, means: Means) {
        if let Some(ending) = &mut self.ending {
            ending.means = means;
            ending.deadline = Instant::now() + KILL_LIMIT;
        }
    }

    pub(super) async fn grace_over(&mut self) -> Flow {
        let Some((means, manner)) = self.ending.as_ref().map(|ending| (ending.means, ending.manner)) else { return Flow::Continue };
        match (means, manner) {
            (Means::Signal, Manner::Signal(signal)) if self.attention(signal) == Attention::None => {
                self.manner(Manner::Unnoticed(signal));
                self.kill_now().await;
            }
            (Means::Signal | Means::Grace, Manner::Signal(signal)) => self.go_on_waiting(signal).await,
            (Means::Signal | Means::Grace, _) => self.kill_now().await,
            (Means::Kill, _) => {
                self.take_means(Means::KillAll);
                self.clear_cgroup().await;
            }
            (Means::KillAll, _) => self.give_up(),
        }
        Flow::Continue
    }

    /// It has the signal: the rest of the grace, and then no more.
    async fn go_on_waiting(&mut self, signal: Signal) {
        let Some(ending) = &mut self.ending else { return };
        if Instant::now() < ending.grace_ends {
            (ending.means, ending.deadline) = (Means::Grace, ending.grace_ends);
            return;
        }
        let grace = ending.grace;
        self.manner(Manner::Overdue(signal, grace));
        self.kill_now().await;
    }

    fn attention(&self, signal: Signal) -> Attention {
        let attention = self.container.init.map_or(Attention::None, |init| process::attention(init.pid, signal.number()));
        // Only the first process of a pid namespace is spared what a signal does by itself.
        let is_pid_1 = self.container.config.namespaces.of(Kind::Pid) == Whose::Private;
        if attention == Attention::None && !is_pid_1 { Attention::Catches } else { attention }
    }

    /// The kernel does not let go of it (a process waits for a disk that does not answer). It is still watched.
    fn give_up(&mut self) {
        let because = format!("{} was killed, but a process of it is stuck in the kernel", self.container.config.name);
        let waiters = self.ending.take().map(|ending| ending.waiters).unwrap_or_default();
        let waiting = self.later.drain(..).map(Command::into_reply);
        for waiter in waiters.into_iter().chain(waiting) {
            answer(waiter, Err(Error::Unavailable { because: because.clone() }));
        }
    }

    fn manner(&mut self, manner: Manner) {
        if let Some(ending) = &mut self.ending {
            ending.manner = manner;
        }
    }

    /// Another stop while it is ending: the shorter grace counts.
    pub(super) fn hurry(&mut self, grace: Option<Duration>, waiter: Reply) {
        let grace = grace.unwrap_or(Duration::from_millis(self.container.config.stop_grace_ms));
        if let Some(ending) = &mut self.ending
            && ending.is_polite()
        {
            ending.grace_ends = ending.grace_ends.min(Instant::now() + grace);
            ending.deadline = ending.deadline.min(ending.grace_ends);
        }
        self.wait_for_end(waiter);
    }

    pub(super) fn wait_for_end(&mut self, waiter: Reply) {
        if let Some(ending) = &mut self.ending {
            ending.waiters.push(waiter);
        }
    }

    /// One signal, because a person asked.
    pub(super) async fn send(&mut self, signal: Signal) -> Result<(), Error> {
        self.signal(signal)?;
        if signal == self.container.config.stop_signal {
            self.container.wanted = Wanted::Stopped;
        }
        let events = vec![self.event(EventKind::Killed, format!("{signal} sent to its first process"))];
        self.record(events, Durability::Durable).await
    }

    pub(super) fn program_has_ended(&self) -> bool {
        self.container.init.is_none_or(|init| !process::is_alive(init.pid, init.start_ticks))
    }

    /// A first process that is gone already is as good as signalled: its end is about to be seen.
    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let Some(init) = self.container.init else { return Ok(()) };
        let sent = process::open(init.pid, init.start_ticks).and_then(|pidfd| process::signal(pidfd, signal.number()));
        match sent {
            Err(error) if !self.program_has_ended() => Err(Error::failed("signal", self.container.config.name.to_string(), error)),
            _ => Ok(()),
        }
    }

    /// A program so short that its monitor was gone before it could be watched.
    pub(super) async fn end_what_has_ended(&mut self) -> Flow {
        let unwatched = self.monitor.is_none() && self.look_at.is_none();
        if self.container.state.is_alive() && unwatched { self.end().await } else { Flow::Continue }
    }

    /// Watches the monitor, if it lives. Where that cannot be told, it is looked for again, and nothing is done until then.
    pub(super) fn watch_monitor(&mut self) {
        self.look_at = None;
        match self.container.monitor.map(evidence::watch).transpose() {
            Ok(monitor) => self.monitor = monitor.flatten(),
            Err(error) => self.look_later(&error),
        }
    }

    fn look_later(&mut self, error: &Error) {
        self.log(error, "whether a container still runs cannot be told now; it is left alone and looked at again");
        self.look_at = Some(Instant::now() + LOOK_AGAIN);
    }

    pub(super) async fn look_for_monitor(&mut self) -> Flow {
        self.watch_monitor();
        self.end_what_has_ended().await
    }

    /// Its monitor has ended: looks how, and records that.
    pub(super) async fn end(&mut self) -> Flow {
        self.monitor = None;
        let exit = match evidence::look(&self.bundle) {
            Ok(look) => look.exit_of(self.attempt).cloned(),
            Err(error) => {
                self.look_later(&error);
                return Flow::Continue;
            }
        };
        crash::here("stop.ended");
        let why = "its monitor was killed, and nobody saw how it ended".to_owned();
        let exit = exit.unwrap_or_else(|| Exit { cause: Cause::Lost { why }, out_of_memory: None, at_ms: now_ms() });
        if matches!(exit.cause, Cause::Lost { .. })
            && let Err(error) = self.signal(Signal::KILL)
        {
            self.log(&error, "the first process of a lost container could not be killed");
        }
        self.clear_cgroup().await;
        let ending = self.ending.take();
        let events = self.rest_with(exit, ending.as_ref());
        let recorded = self.record(events, Durability::Durable).await;
        crash::here("stop.recorded");
        if let Err(error) = &recorded {
            self.log(error, "an end could not be recorded");
        }
        for waiter in ending.map(|ending| ending.waiters).unwrap_or_default() {
            let unrecorded =
                || Error::Unavailable { because: format!("{} ended, but that could not be recorded", self.container.config.name) };
            answer(waiter, if recorded.is_ok() { Ok(Answer::Done(self.container.clone())) } else { Err(unrecorded()) });
        }
        self.handle_what_waited().await
    }

    /// Makes it rest, and returns the events that tell how it ended. Where nobody asked for the end, its policy decides
    /// whether it starts again.
    pub(super) fn rest_with(&mut self, mut exit: Exit, ending: Option<&Ending>) -> Vec<NewEvent> {
        if let Some(kill) = &mut exit.out_of_memory {
            kill.went_on = !self.memory.is_news(kill.kills);
        }
        let mut events = self.end_events(&exit, ending);
        self.forget_memory();
        self.end_checks();
        self.container.state = State::Stopped;
        self.container.init = None;
        self.container.monitor = None;
        let starts_again =
            ending.is_none() && self.container.wanted == Wanted::Running && policy_restarts(self.container.config.restart, &exit);
        if starts_again {
            let lived = exit.at_ms.saturating_sub(self.container.started_at_ms.unwrap_or(exit.at_ms));
            let pause = self.backoff.after(Duration::from_millis(u64::try_from(lived).unwrap_or_default()));
            self.restart_at = Some(Instant::now() + pause);
            if let Some(last) = events.last_mut() {
                last.message.push_str(&format!("; it is started again in {}", super::words::seconds(pause)));
            }
        }
        self.container.exit = Some(exit);
        // What it left is often why it ended, and nobody measures it any more.
        let layer = crate::quota::limited(&self.shared, &self.container);
        let full = layer.and_then(|layer| self.shared.diagnosis.layer(&self.container.id, &layer));
        events.extend(full.map(|message| self.event(EventKind::LimitHit, message)));
        events
    }

    fn end_events(&self, exit: &Exit, ending: Option<&Ending>) -> Vec<NewEvent> {
        let mut events = Vec::new();
        if let Some(kill) = exit.out_of_memory.as_ref().filter(|kill| !kill.went_on) {
            events.push(self.event(EventKind::OutOfMemory, format!("out of memory, {kill}")));
        }
        match (&exit.cause, ending) {
            (_, Some(ending)) => {
                let kind = if ending.manner == Manner::Killed { EventKind::Killed } else { EventKind::Stopped };
                events.push(self.event(kind, ending.manner.sentence(ending.began.elapsed(), exit)));
            }
            (Cause::Lost { .. }, None) => events.push(self.event(EventKind::Lost, exit.to_string())),
            (_, None) if exit.is_out_of_memory() => {}
            (_, None) => events.push(self.event(EventKind::Exited, exit.to_string())),
        }
        events
    }

    /// Kills and removes whatever is left of its cgroup: nothing, where the monitor came to do so itself.
    pub(super) async fn clear_cgroup(&mut self) {
        let cgroup = self.cgroup();
        if !cgroup.exists() {
            return;
        }
        let cleared = crate::blocking(move || cgroup.kill_all().and_then(|()| cgroup.remove())).await;
        if let Err(error) = cleared {
            let error = Error::failed("clear the cgroup of", self.container.config.name.to_string(), error);
            self.log(&error, "processes or cgroups of a container are left; the next start removes them");
        }
    }
}

/// Whether a container that ended so, by itself, is started again.
pub(crate) fn policy_restarts(policy: Restart, exit: &Exit) -> bool {
    match policy {
        Restart::No => false,
        Restart::OnFailure => !exit.is_success(),
        Restart::Always | Restart::UnlessStopped => true,
    }
}
