//! The list of images, live: its rows, when an image comes, goes, is named or begins to be used.

use belljar_frontend::images;
use belljar_supervisor::{Notice, Supervisor};

use super::{Part, Parts, unrendered};
use crate::fault::Answer;
use crate::now_ms;

/// What the page was sent last: what has not changed is not sent again.
#[derive(Default)]
pub(super) struct Live {
    rows: String,
}

impl Live {
    pub(super) fn first(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        self.rows.clear();
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
}
