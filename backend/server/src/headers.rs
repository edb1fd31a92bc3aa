//! Headers of every answer: what a browser may do with it.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// Only what this server serves, never inside another page, and nothing inline (no `'unsafe-inline'`).
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// Set on every answer that has not set them itself.
///
/// `Referrer-Policy` is `same-origin`, not `no-referrer`: with that, a browser sends `Origin: null` with our own forms,
/// and on a plain HTTP address, where it sends no `Sec-Fetch-Site`, they could not be told from another site's.
const ALWAYS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // Pages and documents are true for a moment and for one person; files say otherwise themselves.
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds what is missing.
pub(crate) async fn add(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
