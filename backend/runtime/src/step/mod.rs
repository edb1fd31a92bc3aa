//! The steps of which every container is made, in three families: its cgroup ([`cgroup`]), its file system ([`tree`]), its
//! process ([`process`]). Each prints as one line, *verb object*; a failure names both.

pub mod cgroup;
pub mod process;
pub mod tree;

use std::fmt;

use belljar_model::plan::Place;

pub use cgroup::CgroupStep;
pub use process::ProcessStep;
pub use tree::TreeStep;

/// One step. It carries everything that it needs, so that whoever takes it looks nothing up.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Of the cgroup.
    Cgroup(CgroupStep),
    /// Of the file system.
    Tree(TreeStep),
    /// Of the process.
    Process(ProcessStep),
}

impl Step {
    /// Who takes it.
    pub fn place(&self) -> Place {
        match self {
            Step::Cgroup(step) => step.place(),
            Step::Tree(step) => step.place(),
            Step::Process(step) => step.place(),
        }
    }

    /// Whether the outside goes on while the inside takes it, since nothing outside needs it until the next step inside.
    pub(crate) fn goes_on_beside(&self) -> bool {
        matches!(self, Step::Process(ProcessStep::Unshare(_)))
    }

    /// What is done.
    pub fn verb(&self) -> &'static str {
        match self {
            Step::Cgroup(step) => step.verb(),
            Step::Tree(step) => step.verb(),
            Step::Process(step) => step.verb(),
        }
    }

    /// What it is done to.
    pub fn object(&self) -> String {
        match self {
            Step::Cgroup(step) => step.object(),
            Step::Tree(step) => step.object(),
            Step::Process(step) => step.object(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb(), self.object())
    }
}

impl From<CgroupStep> for Step {
    fn from(step: CgroupStep) -> Self {
        Step::Cgroup(step)
    }
}

impl From<TreeStep> for Step {
    fn from(step: TreeStep) -> Self {
        Step::Tree(step)
    }
}

impl From<ProcessStep> for Step {
    fn from(step: ProcessStep) -> Self {
        Step::Process(step)
    }
}
