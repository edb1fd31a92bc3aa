//! A request that was not done, told twice: as a problem document under `/api/`, as a page everywhere else.
//!
//! Handlers return a [`Fault`]. It becomes a problem document at once, and rides along in the answer, so that
//! [`crate::pages::problem`] can put a page in its place where a browser asked.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use belljar_api::problem::{Kind, MEDIA_TYPE, Problem};
use belljar_model::{Container, Failure, Invalid};
use belljar_supervisor::ErrorKind;

/// Why a request was not done.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// What is told.
    pub(crate) problem: Box<Problem>,
    /// Seconds after which it may be tried again.
    pub(crate) retry_after_s: Option<u64>,
}

/// The answer of a handler.
pub(crate) type Answer<T> = Result<T, Fault>;

impl Fault {
    /// A fault of this kind, told by one sentence.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Problem::new(kind, detail).into()
    }

    /// A failure of ours: logged here, where it is turned into an answer, with everything that is known.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let detail = chain(error);
        tracing::error!(error = %detail, "a request failed");
        Self::new(Kind::Internal, detail)
    }

    /// What went wrong with something that was asked of `container`: it is named, so that a page leads back to it.
    pub(crate) fn of(container: &Container, error: belljar_supervisor::Error) -> Self {
        Fault::from(error).about(container)
    }

    /// Names the container, so that a page leads back to it.
    pub(crate) fn about(mut self, container: &Container) -> Self {
        self.problem.container.get_or_insert_with(|| container.id.as_str().to_owned());
        self
    }

    /// The field that is wrong, where one is, in the model's words.
    pub(crate) fn invalid(&self) -> Option<Invalid> {
        let field = self.problem.field.as_ref()?;
        let detail = &self.problem.detail;
        let clause = detail.strip_prefix(field.as_str()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(detail);
        Some(Invalid::new(field, clause))
    }

    /// Step, object and cause, where a container could not be started.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let failure = self.problem.failure.as_ref()?;
        Some(Failure { step: failure.step.clone(), object: failure.object.clone(), cause: failure.cause.clone() })
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The error and its sources in one line; no outer message repeats its source.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), retry_after_s: None }
    }
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Problem::from(invalid).into()
    }
}

impl From<belljar_store::Error> for Fault {
    fn from(error: belljar_store::Error) -> Self {
        Fault::internal(&error)
    }
}

impl From<belljar_supervisor::Error> for Fault {
    fn from(error: belljar_supervisor::Error) -> Self {
        use belljar_supervisor::Error;
        let kind = match error.kind() {
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::Conflict => Kind::Conflict,
            ErrorKind::Invalid => Kind::Invalid,
            ErrorKind::StartFailed => Kind::StartFailed,
            ErrorKind::Unavailable => Kind::Unavailable,
            ErrorKind::Internal => return Fault::internal(&error),
        };
        match &error {
            Error::Invalid(invalid) => invalid.clone().into(),
            Error::StartFailed { name, failure } => Problem::start_failed(name.as_str(), failure).into(),
            Error::ExecFailed { name, failure } => Problem::exec_failed(name.as_str(), failure).into(),
            Error::NameTaken { id, .. } => Problem::new(kind, chain(&error)).at_field("name").about(id.as_str()).into(),
            Error::LimitRefused { field: Some(field), .. } => Problem::new(kind, chain(&error)).at_field(field.clone()).into(),
            Error::LayerTooFull { field, .. } => Problem::new(kind, chain(&error)).at_field(*field).into(),
            Error::ImageExists { .. } | Error::VolumeExists { .. } => Problem::new(kind, chain(&error)).at_field("name").into(),
            _ => Problem::new(kind, chain(&error)).into(),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        // A problem is texts and a number, which always can be written.
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"belljar\""));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_supervisor::Error;

    #[test]
    fn a_name_that_is_taken_names_the_field_and_the_other() {
        let id = belljar_model::ContainerId::from_bytes([1; 32]);
        let taken = Error::NameTaken { name: "web".parse().expect("a name"), id: id.clone() };
        let problem = Fault::from(taken).problem;
        assert_eq!((problem.status, problem.field.as_deref(), problem.container.as_deref()), (409, Some("name"), Some(id.as_str())));
        assert!(problem.detail.contains(id.short()), "{}", problem.detail);
    }

    #[test]
    fn a_start_that_failed_carries_its_failure_to_the_page() {
        let failure = Failure { step: "exec".into(), object: "nope".into(), cause: "ENOENT".into() };
        let fault = Fault::from(Error::StartFailed { name: "web".parse().expect("a name"), failure: failure.clone() });
        assert_eq!((fault.status().as_u16(), fault.failure()), (422, Some(failure)));
    }

    #[test]
    fn a_field_reads_the_same_on_the_wire_and_at_the_form() {
        let invalid = Invalid::new("limits.cpus", "must be less");
        let fault = Fault::from(invalid.clone());
        assert_eq!(fault.problem.detail, "limits.cpus: must be less");
        assert_eq!(fault.invalid(), Some(invalid));
    }
}
