//! The list of containers, live: rows on a change, figures with every measurement.

use std::collections::HashMap;

use belljar_frontend::containers::{self, Known, Latest};
use belljar_model::ContainerId;
use belljar_supervisor::{Notice, Supervisor};

use super::{Part, Parts, unrendered};
use crate::fault::Answer;
use crate::now_ms;
use crate::pages::{findings, uppers};

/// What the page was sent last of each container's figures: what has not moved is not sent again.
#[derive(Default)]
pub(super) struct List {
    figures: HashMap<ContainerId, String>,
}

impl List {
    pub(super) fn first(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        self.figures.clear();
        let (all, usages, healths) = (supervisor.containers(), supervisor.usages(), supervisor.healths());
        let findings = findings(supervisor, &all);
        let uppers = uppers(supervisor, &all);
        let known = Known { usages: &usages, findings: &findings, healths: &healths, uppers: &uppers };
        parts.push_back(Part::Html(containers::list(&all, known, now_ms()).map_err(unrendered)?));
        parts.push_back(Part::Html(containers::summary(&all, &healths).map_err(unrendered)?));
        Ok(())
    }

    pub(super) fn follow(&mut self, supervisor: &Supervisor, notice: Notice, parts: &mut Parts) -> Answer<()> {
        match notice {
            Notice::Container(id) => self.change(supervisor, &id, parts),
            Notice::Removed(id) => {
                self.figures.remove(&id);
                parts.push_back(Part::Gone(containers::row_id(&id)));
                parts.push_back(summary(supervisor)?);
                Ok(())
            }
            Notice::Sampled => self.measure(supervisor, parts),
            // What a check says in the row is told by its finding; a row that is another one has a notice of its own.
            Notice::Event(_) | Notice::Checked(_) => Ok(()),
        }
    }

    fn change(&mut self, supervisor: &Supervisor, id: &ContainerId, parts: &mut Parts) -> Answer<()> {
        // One that is gone by now has its own notice on the way.
        let Ok(container) = supervisor.find(id.as_str()) else { return Ok(()) };
        self.figures.remove(id);
        let usages = supervisor.usages();
        let finding = supervisor.finding(&container);
        let health = supervisor.health(id).status;
        let latest = Latest { usage: usages.get(id), finding: finding.as_ref(), health, upper_bytes: supervisor.upper_bytes(id) };
        let row = containers::row(&container, latest, now_ms()).map_err(unrendered)?;
        parts.push_back(Part::Html(row));
        parts.push_back(summary(supervisor)?);
        Ok(())
    }

    fn measure(&mut self, supervisor: &Supervisor, parts: &mut Parts) -> Answer<()> {
        let (now_ms, usages) = (now_ms(), supervisor.usages());
        let mut moved = String::new();
        for container in supervisor.containers().iter().filter(|container| container.state.is_alive()) {
            let finding = supervisor.finding(container);
            let latest = Latest { usage: usages.get(&container.id), finding: finding.as_ref(), ..Latest::default() };
            let figures = containers::figures(container, latest, now_ms).map_err(unrendered)?;
            if self.figures.get(&container.id) != Some(&figures) {
                moved.push_str(&figures);
                self.figures.insert(container.id.clone(), figures);
            }
        }
        if !moved.is_empty() {
            parts.push_back(Part::Html(moved));
        }
        Ok(())
    }
}

fn summary(supervisor: &Supervisor) -> Answer<Part> {
    containers::summary(&supervisor.containers(), &supervisor.healths()).map(Part::Html).map_err(unrendered)
}
