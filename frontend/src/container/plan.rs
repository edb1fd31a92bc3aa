//! The tab *plan*: how the container was made, step by step.

use askama::Template;
use belljar_model::Container;
use belljar_model::plan::{Outcome, Place, PlanRecord};

use super::{Tab, TabPage, tab};
use crate::frame::Page;
use crate::live::Stream;
use crate::{Frame, figure};

/// The page `/containers/{name}/plan`.
#[derive(Template)]
#[template(path = "container/plan.html")]
pub struct Plan<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose page it is.
    pub container: &'a Container,
    /// The plan of its last start; without steps where it was never started.
    pub plan: &'a PlanRecord,
}
tab!(Plan, Plan, |page| Stream::Container(&page.container.id));

impl Plan<'_> {
    fn total_usec(&self) -> u64 {
        self.plan.steps.iter().filter_map(|step| step.took_usec).sum()
    }

    fn longest_usec(&self) -> u64 {
        self.plan.steps.iter().filter_map(|step| step.took_usec).max().unwrap_or(0).max(1)
    }

    fn done(&self) -> usize {
        self.plan.steps.iter().filter(|step| step.outcome == Outcome::Done).count()
    }
}

fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Failed => "failed",
        Outcome::Pending => "not reached",
    }
}

fn place(place: &Place) -> &'static str {
    match place {
        Place::Outside => "outside",
        Place::Inside => "inside",
    }
}
