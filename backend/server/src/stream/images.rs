//! The list of images, live: its rows, when an image comes, goes, is named or begins to be used; and pulls, as they come along.

use std::time::Duration;

use belljar_frontend::images;
use belljar_supervisor::{Notice, Supervisor};

use super::{Part, Parts, unrendered};
use crate::fault::Answer;
use crate::now_ms;

/// Time between two looks at pulls, each of which says how far it is whenever it is asked.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What the page was sent last: what has not changed is not sent again.
pub(super) struct Live {
    supervisor: Supervisor,
    rows: String,
    pulls: String,
}

impl Live {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor, rows: String::new(), pulls: String::new() }
    }

    pub(super) fn first(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        self.rows.clear();
        self.pulls = images::pulls(&supervisor.pulls()).map_err(unrendered)?;
        parts.push_back(Part::Html(self.pulls.clone()));
        self.look(supervisor, parts)
    }

    pub(super) fn follow(&mut self, supervisor: &Supervisor, notice: Notice, parts: &mut Parts) -> Answer<()> {
        match notice {
            // Every change of an image is an event, and so is every change of who uses one.
            Notice::Event(_) | Notice::Removed(_) => self.look(supervisor, parts),
            Notice::Container(_) | Notice::Checked(_) | Notice::Sampled => Ok(()),
        }
    }

    fn look(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        let rows = images::rows(&supervisor.image_summaries(), now_ms()).map_err(unrendered)?;
        if rows != self.rows {
            parts.push_back(Part::Html(rows.clone()));
            self.rows = rows;
        }
        Ok(())
    }

    /// Pulls, once they are otherwise than they were sent. Cancel safe.
    pub(super) async fn pulls(&mut self) -> Answer<Part> {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let pulls = images::pulls(&self.supervisor.pulls()).map_err(unrendered)?;
            if pulls != self.pulls {
                self.pulls.clone_from(&pulls);
                return Ok(Part::Html(pulls));
            }
        }
    }
}
