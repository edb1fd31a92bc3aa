//! Another limit, another policy: for a container that is alive at once, for one that rests with its next start.
//!
//! ```text
//!  change ──► checked against the host ──► told to the kernel ──► recorded ──► shown
//!                     │ no                      │ no                 │ no
//!                     ▼                         ▼                    ▼
//!               nothing happened        nothing happened     the kernel gets back what it had
//! ```

use belljar_model::change::differences;
use belljar_model::container::Restart;
use belljar_model::{Change, Config, Container, EventKind};
use belljar_store::Durability;

use super::Task;
use crate::limit::{self, Live};
use crate::{Answer, Error};

impl Task {
    pub(super) async fn change(&mut self, change: &Change) -> Result<Answer, Error> {
        let new = change.apply(&self.container.config);
        if new == self.container.config {
            return Ok(Answer::AlreadySo(self.container.clone()));
        }
        self.check_change(&new).await?;
        let limits = self.container.config.limits.clone();
        crate::quota::change(&self.shared, (&self.container.id, &self.container.config.name), (&limits, &new.limits))?;
        let live = self.container.state.is_alive().then(|| Live::new(&self.shared, &self.container, &self.bundle));
        if let Some(live) = &live
            && let Err(error) = self.tell_kernel(live, &new).await
        {
            self.limit_layer_to(&limits);
            return Err(error);
        }
        let old = std::mem::replace(&mut self.container.config, new);
        let message = differences(&old, &self.container.config).join("; ");
        let due = self.restart_at;
        if self.container.config.restart == Restart::No {
            self.restart_at = None;
        }
        let events = vec![self.event(EventKind::LimitsChanged, message)];
        if let Err(error) = self.record(events, Durability::Durable).await {
            let new = std::mem::replace(&mut self.container.config, old);
            self.restart_at = due;
            self.limit_layer_to(&limits);
            if let Some(live) = live {
                let old = self.container.config.clone();
                let back = self.tell_kernel(&live.with(new), &old).await;
                back.unwrap_or_else(|error| self.log(&error, "a change that could not be recorded could not be taken back either"));
            }
            self.show();
            return Err(error);
        }
        Ok(Answer::Done(self.container.clone()))
    }

    /// Refuses what makes no sense, what the host does not have, and what it cannot enforce.
    async fn check_change(&self, new: &Config) -> Result<(), Error> {
        new.check()?;
        new.limits.check(&limit::capacity(&self.shared.host))?;
        let (shared, asked, before) = (self.shared.clone(), new.limits.clone(), self.container.config.limits.clone());
        Ok(crate::blocking(move || limit::check(&shared, &asked, &before)).await?)
    }

    /// Its layer gets back what it had. Where that is refused, what was refused is told by whoever asks next.
    fn limit_layer_to(&self, limits: &belljar_model::Limits) {
        let Container { id, config, .. } = &self.container;
        if let Err(error) = crate::quota::set(&self.shared, (id, &config.name), limits) {
            self.log(&error, "a limit of its layer could not be taken back");
        }
    }

    async fn tell_kernel(&self, live: &Live, new: &Config) -> Result<(), Error> {
        let (live, new) = (live.clone(), new.clone());
        crate::blocking(move || live.become_like(&new)).await
    }
}
