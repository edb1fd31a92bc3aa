//! The overlay of one container, live: its head, and its layers, the folder that is shown, and its changes when they are other ones.
//!
//! Nobody tells when a program writes a file. So it is looked at with the measurements, and the more seldom the longer a look takes: a
//! page that is open costs at most a twentieth of a processor.

use std::time::{Duration, Instant};

use belljar_frontend::container as view;
use belljar_model::{ContainerId, EventKind};
use belljar_supervisor::{Notice, Supervisor};

use super::{Part, Parts, unrendered};
use crate::fault::Answer;
use crate::now_ms;

/// Part of the time that is spent on looking, at most: one in so many.
const SHARE: u32 = 20;

/// What the page was sent last, and when it is looked at again.
pub(super) struct Live {
    id: ContainerId,
    path: String,
    body: String,
    next: Instant,
}

impl Live {
    pub(super) fn new(id: ContainerId, path: String) -> Self {
        Self { id, path, body: String::new(), next: Instant::now() }
    }

    pub(super) async fn first(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        self.body.clear();
        self.change(supervisor, parts).await
    }

    pub(super) async fn follow(&mut self, supervisor: &Supervisor, notice: Notice, parts: &mut Parts) -> Answer<()> {
        match notice {
            Notice::Removed(id) if id == self.id => parts.push_back(Part::Gone(view::HEADER_ID.to_owned())),
            Notice::Container(id) if id == self.id => self.change(supervisor, parts).await?,
            Notice::Event(event) if event.kind == EventKind::FilesChanged && event.container.as_ref() == Some(&self.id) => {
                self.look(supervisor, parts).await?;
            }
            Notice::Sampled if Instant::now() >= self.next => self.look(supervisor, parts).await?,
            Notice::Removed(_) | Notice::Container(_) | Notice::Event(_) | Notice::Sampled | Notice::Checked(_) => {}
        }
        Ok(())
    }

    /// Head and body.
    async fn change(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        let Ok(container) = supervisor.find(self.id.as_str()) else {
            parts.push_back(Part::Gone(view::HEADER_ID.to_owned()));
            return Ok(());
        };
        parts.push_back(Part::Html(view::header(&container, now_ms()).map_err(unrendered)?));
        self.look(supervisor, parts).await
    }

    async fn look(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        let began = Instant::now();
        let Ok(container) = supervisor.find(self.id.as_str()) else { return Ok(()) };
        let stack = supervisor.overlay(&self.id).await?;
        // A folder that is gone leaves what was shown of it.
        let Ok(entries) = supervisor.entries(&self.id, &self.path).await else { return Ok(()) };
        let changes = supervisor.changes(&self.id).await.map_err(|error| crate::fault::chain(&error));
        let changes = match &changes {
            Ok(changes) => view::Changes::Known(changes),
            Err(because) => view::Changes::Unknown(because),
        };
        let body = view::OverlayBody { container: &container, stack: &stack, path: &self.path, entries: &entries, changes };
        let body = body.html().map_err(unrendered)?;
        if body != self.body {
            parts.push_back(Part::Html(body.clone()));
            self.body = body;
        }
        let took: Duration = began.elapsed();
        self.next = Instant::now() + took * SHARE;
        Ok(())
    }
}
