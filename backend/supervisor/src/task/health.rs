//! When a container's health is checked: while its program runs and nobody is ending it.

use belljar_model::State;

use super::Task;
use crate::health::{From, Watcher};

impl Task {
    /// The container began to live.
    pub(super) fn begin_checks(&mut self) {
        self.check_from(From::Start);
    }

    /// The container was found alive: what an earlier server knew of it may be true no more.
    pub(super) fn check_health_anew(&mut self) {
        if self.container.state.is_alive() {
            self.check_from(From::Found);
        }
    }

    fn check_from(&mut self, from: From) {
        self.checks = None;
        if self.container.config.health_check().is_none() {
            return;
        }
        if from != From::Pause {
            self.shared.health.begin(&self.container.id);
        }
        if self.container.state == State::Running {
            self.checks = Watcher::begin(&self.shared, &self.container, from);
        }
    }

    /// It goes on after a pause, and is what it was.
    pub(super) fn go_on_checking(&mut self) {
        self.check_from(From::Pause);
    }

    /// Nothing is checked from here on; a check that is under way is killed, and counts for nothing.
    pub(super) async fn stop_checks(&mut self) {
        if let Some(checks) = self.checks.take() {
            checks.stop().await;
        }
    }

    /// Its life is over.
    pub(super) fn end_checks(&mut self) {
        self.checks = None;
        self.shared.health.end(&self.container.id);
    }
}
