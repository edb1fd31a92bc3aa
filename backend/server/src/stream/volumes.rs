//! The list of volumes, live: rows as volumes come, go, are used and grow.

use belljar_frontend::volumes;
use belljar_supervisor::{Notice, Supervisor};

use super::{Part, Parts, unrendered};
use crate::fault::Answer;

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
            // With the measurements of containers it is time to see whether volumes have been measured.
            Notice::Event(_) | Notice::Removed(_) | Notice::Container(_) | Notice::Sampled => self.look(supervisor, parts),
            Notice::Checked(_) => Ok(()),
        }
    }

    fn look(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        let rows = volumes::rows(&supervisor.volumes()).map_err(unrendered)?;
        if rows != self.rows {
            parts.push_back(Part::Html(rows.clone()));
            self.rows = rows;
        }
        Ok(())
    }
}
