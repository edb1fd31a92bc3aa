//! Pause and resume.

use belljar_model::{EventKind, State};
use belljar_store::Durability;

use super::Task;
use crate::{Answer, Error};

/// Its cgroup may be gone before its monitor is; then that is the answer, and no failure.
const JUST_ENDED: &str = "has just ended";

impl Task {
    pub(super) async fn pause(&mut self) -> Result<Answer, Error> {
        let cgroup = self.cgroup();
        self.stop_checks().await;
        if let Err(error) = crate::blocking(move || cgroup.freeze()).await {
            if self.program_has_ended() {
                return Err(self.refused(JUST_ENDED));
            }
            // Half frozen is worse than not: what could be frozen is let go again.
            let thawed = self.thaw().await;
            thawed.unwrap_or_else(|error| self.log(&error, "a container that could not be frozen could not be thawed either"));
            self.go_on_checking();
            return Err(Error::failed("freeze", self.container.config.name.to_string(), error));
        }
        self.container.state = State::Paused;
        let events = vec![self.event(EventKind::Paused, "its processes are frozen")];
        self.record(events, Durability::Durable).await?;
        Ok(Answer::Done(self.container.clone()))
    }

    pub(super) async fn resume(&mut self) -> Result<Answer, Error> {
        match self.thaw().await {
            Err(_) if self.program_has_ended() => return Err(self.refused(JUST_ENDED)),
            thawed => thawed?,
        }
        self.container.state = State::Running;
        self.go_on_checking();
        let events = vec![self.event(EventKind::Resumed, "its processes go on")];
        self.record(events, Durability::Durable).await?;
        Ok(Answer::Done(self.container.clone()))
    }

    pub(super) async fn thaw(&self) -> Result<(), Error> {
        let cgroup = self.cgroup();
        let thawed = crate::blocking(move || cgroup.thaw()).await;
        thawed.map_err(|error| Error::failed("thaw", self.container.config.name.to_string(), error))
    }
}
