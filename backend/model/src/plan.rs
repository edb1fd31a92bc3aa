//! How a container was made: the steps of its plan, with the time that each took.

use serde::{Deserialize, Serialize};

use crate::Failure;

/// A plan that was carried out, or as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Every step, in order.
    pub steps: Vec<StepRecord>,
    /// Which one failed, and why.
    pub failure: Option<Failure>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step as one line.
    pub text: String,
    /// Who takes it.
    pub place: Place,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took, in microseconds; `None` where it was not reached.
    pub took_usec: Option<u64>,
}

/// Who takes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The monitor, in the host's namespaces.
    Outside,
    /// The container's first process, in its own.
    Inside,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done.
    Done,
    /// Failed; the plan ended here.
    Failed,
    /// Not reached.
    #[default]
    Pending,
}
