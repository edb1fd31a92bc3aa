//! Problem documents (RFC 9457): how a "no" is told on the wire, with the field, or the step, object and cause.

use belljar_model::{Failure, Invalid};
use serde::{Deserialize, Serialize};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What kind of "no" it is. One kind has one status, one title and one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not JSON, an unknown field, or a value of a wrong type: 400.
    Malformed,
    /// Nobody is logged in: 401.
    NotLoggedIn,
    /// Asked by another site, or under a name that is not this server's: 403.
    Refused,
    /// There is no such thing: 404.
    NotFound,
    /// There is such a thing, but not with this method: 405.
    MethodNotAllowed,
    /// It cannot be done in this state, or the name is taken: 409.
    Conflict,
    /// The body is longer than its limit: 413.
    TooLarge,
    /// The body is of a kind that is not taken here: 415.
    UnsupportedMediaType,
    /// A field has a value that cannot be: 422.
    Invalid,
    /// The container could not be started: 422, with step, object and cause.
    StartFailed,
    /// Too many tries in a short time: 429.
    TooManyRequests,
    /// Something in Belljar or on the host failed: 500.
    Internal,
    /// Belljar cannot do it now: 503.
    Unavailable,
}

impl Kind {
    /// Every kind, for tables and tests.
    pub const ALL: [Kind; 13] = [
        Kind::Malformed,
        Kind::NotLoggedIn,
        Kind::Refused,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::Conflict,
        Kind::TooLarge,
        Kind::UnsupportedMediaType,
        Kind::Invalid,
        Kind::StartFailed,
        Kind::TooManyRequests,
        Kind::Internal,
        Kind::Unavailable,
    ];

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Kind::Malformed => 400,
            Kind::NotLoggedIn => 401,
            Kind::Refused => 403,
            Kind::NotFound => 404,
            Kind::MethodNotAllowed => 405,
            Kind::Conflict => 409,
            Kind::TooLarge => 413,
            Kind::UnsupportedMediaType => 415,
            Kind::Invalid | Kind::StartFailed => 422,
            Kind::TooManyRequests => 429,
            Kind::Internal => 500,
            Kind::Unavailable => 503,
        }
    }

    /// The same words for every problem of this kind.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Malformed => "The request cannot be read",
            Kind::NotLoggedIn => "Log in first",
            Kind::Refused => "Refused",
            Kind::NotFound => "Not found",
            Kind::MethodNotAllowed => "Not with this method",
            Kind::Conflict => "In conflict with what is",
            Kind::TooLarge => "Too large",
            Kind::UnsupportedMediaType => "Not in this format",
            Kind::Invalid => "A field is not valid",
            Kind::StartFailed => "The container could not be started",
            Kind::TooManyRequests => "Too many tries",
            Kind::Internal => "Something failed",
            Kind::Unavailable => "Not now",
        }
    }

    /// The problem's type: a URN that tools may compare.
    pub fn urn(self) -> &'static str {
        match self {
            Kind::Malformed => "urn:belljar:problem:malformed",
            Kind::NotLoggedIn => "urn:belljar:problem:not-logged-in",
            Kind::Refused => "urn:belljar:problem:refused",
            Kind::NotFound => "urn:belljar:problem:not-found",
            Kind::MethodNotAllowed => "urn:belljar:problem:method-not-allowed",
            Kind::Conflict => "urn:belljar:problem:conflict",
            Kind::TooLarge => "urn:belljar:problem:too-large",
            Kind::UnsupportedMediaType => "urn:belljar:problem:unsupported-media-type",
            Kind::Invalid => "urn:belljar:problem:invalid-field",
            Kind::StartFailed => "urn:belljar:problem:start-failed",
            Kind::TooManyRequests => "urn:belljar:problem:too-many-requests",
            Kind::Internal => "urn:belljar:problem:internal",
            Kind::Unavailable => "urn:belljar:problem:unavailable",
        }
    }
}

/// One problem document. Texts that never change are boxed: a result that carries a problem stays small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Which kind of problem, as a URN ([`Kind::urn`]).
    #[serde(rename = "type")]
    pub urn: Box<str>,
    /// The kind in words.
    pub title: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time, as a sentence.
    pub detail: String,
    /// Path of the field that is wrong: `limits.cpus`, `mounts[0].source`; or the query parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// `step`, `object` and `cause`, where a container could not be started.
    #[serde(flatten)]
    pub failure: Option<Box<StepFailure>>,
    /// The container that it is about, by id; for a name that is taken, the one that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

impl Problem {
    /// A problem of this kind, told by one sentence.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            urn: kind.urn().into(),
            title: kind.title().into(),
            status: kind.status(),
            detail: detail.into(),
            field: None,
            failure: None,
            container: None,
        }
    }

    /// The same problem with the field named.
    pub fn at_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same problem with the container named, by id.
    pub fn about(mut self, container: impl Into<String>) -> Self {
        self.container = Some(container.into());
        self
    }

    /// A start that failed: which container, and step, object and cause.
    pub fn start_failed(container_name: &str, failure: &Failure) -> Self {
        let mut problem = Self::new(Kind::StartFailed, format!("could not start {container_name}: {failure}"));
        problem.failure = Some(Box::new(failure.clone().into()));
        problem
    }

    /// A further program that could not begin in a container.
    pub fn exec_failed(container_name: &str, failure: &Failure) -> Self {
        let started = Self::start_failed(container_name, failure);
        Self { detail: format!("could not run it in {container_name}: {failure}"), ..started }
    }
}

/// A failure told as step, object, cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailure {
    /// The step of the plan, by its verb: `mount`, `exec`.
    pub step: String,
    /// What it was done to.
    pub object: String,
    /// Why it failed: the kernel's word and its meaning.
    pub cause: String,
}

impl From<Failure> for StepFailure {
    fn from(failure: Failure) -> Self {
        let Failure { step, object, cause } = failure;
        Self { step, object, cause }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Problem::new(Kind::Invalid, invalid.to_string()).at_field(invalid.field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_its_own_type() {
        let urns: BTreeSet<_> = Kind::ALL.into_iter().map(Kind::urn).collect();
        assert_eq!(urns.len(), Kind::ALL.len());
    }

    #[test]
    fn a_start_that_failed_says_step_object_and_cause() {
        let failure = Failure { step: "mount".into(), object: "proc at /proc".into(), cause: "EPERM: operation not permitted".into() };
        let problem = Problem::start_failed("web", &failure);
        let json = serde_json::to_value(&problem).expect("a problem is JSON");
        assert_eq!(json["detail"], "could not start web: mount proc at /proc: EPERM: operation not permitted");
        assert_eq!((&json["status"], &json["step"], &json["field"]), (&422.into(), &"mount".into(), &serde_json::Value::Null));
        assert_eq!(serde_json::from_value::<Problem>(json).expect("readable"), problem);
    }

    #[test]
    fn a_problem_without_a_step_reads_back_without_one() {
        let problem = Problem::new(Kind::NotFound, "there is no container web").about("x");
        let json = serde_json::to_string(&problem).expect("a problem is JSON");
        assert_eq!(serde_json::from_str::<Problem>(&json).expect("readable"), problem);
    }
}
