//! From rest to nothing: the wish first, then what is on the host, then the row. A crash in between is made up for by the
//! next opening, which finds the wish.

use belljar_model::{EventKind, Wanted};
use belljar_store::Durability;

use super::{Flow, Reply, Task, answer};
use crate::{Answer, Error, Notice, crash};

impl Task {
    pub(super) async fn delete_as_asked(&mut self, reply: Reply) -> Flow {
        self.restart_at = None;
        self.container.wanted = Wanted::Deleted;
        // Durable before a file is touched: half of a container must never look like a whole one after a power cut.
        let erased = match self.record(Vec::new(), Durability::Durable).await {
            Ok(()) => {
                crash::here("delete.wanted");
                self.erase("deleted, with everything of it").await
            }
            Err(error) => Err(error),
        };
        match erased {
            Ok(()) => {
                self.shared.forget(&self.container.id);
                answer(reply, Ok(Answer::Done(self.container.clone())));
                Flow::Gone
            }
            Err(error) => {
                answer(reply, Err(error));
                Flow::Continue
            }
        }
    }

    /// Removes cgroup, folders, the volumes that are its own, and row.
    pub(super) async fn erase(&mut self, message: &str) -> Result<(), Error> {
        self.clear_cgroup().await;
        crash::here("delete.cgroup");
        let _nobody_copies = self.shared.desks.clear(&self.container.id).await;
        let bundle = self.bundle.clone();
        let removed = crate::blocking(move || bundle.remove()).await;
        removed.map_err(|error| Error::failed("remove the folders of", self.container.config.name.to_string(), error))?;
        crash::here("delete.folders");
        crate::volume::remove_own(&self.shared, &self.container).await?;
        let event = self.event(EventKind::Deleted, message);
        let event = self.shared.store.remove(&self.container.id, event).await?;
        crash::here("delete.row");
        if let Some(base) = self.container.uid_base {
            self.shared.give_back(base, &self.container.id);
        }
        if let Some(event) = event {
            self.shared.notify(Notice::Event(event));
        }
        Ok(())
    }
}
