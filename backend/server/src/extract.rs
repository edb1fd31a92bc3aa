//! What handlers take from a request: a JSON document, a form, a query. Each is read whole within a limit, or refused with
//! the name of what is wrong.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use belljar_api::document::{self, JSON_BYTES_MAX};
use belljar_api::problem::Kind;
use belljar_api::query;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::access::Who;
use crate::fault::{Answer, Fault};

/// Most bytes of a body that is too long which are still read, and thrown away, before the answer. A client that is cut off
/// while it sends may never see why.
const DRAINED_BYTES_MAX: usize = 16 << 20;
/// Most bytes of a body from somebody who is not logged in: a password fits many times.
const STRANGERS_BYTES_MAX: usize = 16 << 10;
/// Longest time that a body may take, uploads of images apart.
const BODY_LIMIT: Duration = Duration::from_secs(60);

/// A JSON body.
pub(crate) struct Document<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Document<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _state: &S) -> Answer<Self> {
        if !is_json(request.headers()) {
            let detail = "the body must be JSON, and say so: `Content-Type: application/json` (with curl: `--json '{…}'`)";
            return Err(Fault::new(Kind::UnsupportedMediaType, detail));
        }
        Ok(Self(document::parse(&whole(request).await?)?))
    }
}

/// Only a declared JSON body counts: a form of another site can send `text/plain` without asking first.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type
        .split(';')
        .next()
        .map(str::trim)
        .is_some_and(|essence| ["application/json", "application/merge-patch+json"].iter().any(|known| essence.eq_ignore_ascii_case(known)))
}

/// A form, as a browser sends it.
pub(crate) struct Form<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Form<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _state: &S) -> Answer<Self> {
        let bytes = whole(request).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Fault::new(Kind::Malformed, "the form is not text"))?;
        Ok(Self(query::parse(text)?))
    }
}

/// The query string. A route that takes none asks for [`query::Nothing`].
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Answer<Self> {
        Ok(Self(query::parse(parts.uri.query().unwrap_or_default())?))
    }
}

/// The whole of a body, within its limits.
async fn whole(request: Request) -> Answer<Bytes> {
    let bytes_max = match request.extensions().get::<Who>() {
        None | Some(Who::Nobody) => STRANGERS_BYTES_MAX,
        Some(Who::Socket | Who::Session(_) | Who::Token(_)) => JSON_BYTES_MAX,
    };
    let read = tokio::time::timeout(BODY_LIMIT, read(request.into_body(), bytes_max)).await;
    read.map_err(|_| Fault::new(Kind::Malformed, format!("the body took longer than {} seconds", BODY_LIMIT.as_secs())))?
}

async fn read(mut body: Body, bytes_max: usize) -> Answer<Bytes> {
    match Limited::new(&mut body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            drain(&mut body).await;
            Err(Fault::new(Kind::TooLarge, format!("the body has more than {bytes_max} bytes")))
        }
        Err(_) => Err(Fault::new(Kind::Malformed, "the body ended before its end")),
    }
}

/// Reads on and throws away, up to [`DRAINED_BYTES_MAX`].
pub(crate) async fn drain(body: &mut Body) {
    let mut left = DRAINED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belljar_api::CreateRequest;

    fn request(content_type: &str, body: Vec<u8>) -> Request {
        Request::builder().header(header::CONTENT_TYPE, content_type).extension(Who::Socket).body(Body::from(body)).expect("a request")
    }

    async fn refusal(content_type: &str, body: Vec<u8>) -> (u16, Option<String>) {
        let refused = Document::<CreateRequest>::from_request(request(content_type, body), &()).await;
        let problem = refused.err().expect("it is refused").problem;
        (problem.status, problem.field)
    }

    #[tokio::test]
    async fn a_body_of_ten_megabytes_is_too_large() {
        assert_eq!(refusal("application/json", vec![b' '; 10_000_000]).await, (413, None));
    }

    #[tokio::test]
    async fn who_is_not_logged_in_may_send_little() {
        let mut long = request("application/x-www-form-urlencoded", format!("name={}", "x".repeat(STRANGERS_BYTES_MAX)).into_bytes());
        assert!(Form::<query::Import>::from_request(long, &()).await.is_ok());
        long = request("application/x-www-form-urlencoded", format!("name={}", "x".repeat(STRANGERS_BYTES_MAX)).into_bytes());
        long.extensions_mut().insert(Who::Nobody);
        assert_eq!(Form::<query::Import>::from_request(long, &()).await.err().map(|fault| fault.problem.status), Some(413));
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_it_is_json_is_refused() {
        let body = br#"{"image":"host","command":["a"]}"#.to_vec();
        assert_eq!(refusal("text/plain", body.clone()).await.0, 415);
        assert_eq!(refusal("application/x-www-form-urlencoded", body.clone()).await.0, 415);
        let taken = Document::<CreateRequest>::from_request(request("application/json; charset=utf-8", body), &()).await;
        assert!(taken.is_ok());
    }

    #[tokio::test]
    async fn an_unknown_field_and_a_wrong_type_are_named() {
        assert_eq!(refusal("application/json", br#"{"image":"host","command":["a"],"x":1}"#.to_vec()).await, (400, Some("x".into())));
        let wrong = br#"{"image":"host","command":["a"],"limits":{"pids":"many"}}"#.to_vec();
        assert_eq!(refusal("application/json", wrong).await, (400, Some("limits.pids".into())));
    }

    #[tokio::test]
    async fn a_form_with_an_unknown_field_is_refused_by_name() {
        let refused = Form::<query::Import>::from_request(request("application/x-www-form-urlencoded", b"name=a&x=1".to_vec()), &()).await;
        assert_eq!(refused.err().expect("it is refused").problem.field.as_deref(), Some("x"));
    }
}
