//! The way in and out: the first password, login, logout.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use belljar_api::problem::Kind;
use belljar_frontend::login::{Login, Setup};
use serde::Deserialize;

use crate::access::Who;
use crate::app::App;
use crate::extract::{Form, Query};
use crate::fault::{Answer, Fault};
use crate::listen::Peer;
use crate::pages::surroundings::Surroundings;

/// Where to go after the login.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Next {
    next: String,
}

/// A path of this server: whoever follows a link to our login must not end up elsewhere.
fn local(next: &str) -> &str {
    let is_local = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n', '\t']);
    if is_local { next } else { "/containers" }
}

/// Where somebody comes from, to count tries. Whoever sits on the machine counts as one.
pub(super) fn address_of(peer: Peer) -> IpAddr {
    match peer {
        Peer::Network(address) => address,
        Peer::Trusted | Peer::Stranger => IpAddr::from(Ipv4Addr::LOCALHOST),
    }
}

fn enter(cookie: HeaderValue, location: &str) -> Response {
    ([(header::SET_COOKIE, cookie)], Redirect::to(location)).into_response()
}

pub(super) async fn login(who: Who, around: Surroundings, Query(Next { next }): Query<Next>) -> Answer<Response> {
    if who != Who::Nobody {
        return Ok(Redirect::to(local(&next)).into_response());
    }
    around.page(&Login { frame: around.frame(), next: local(&next), problem: None })
}

/// The form of the login.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Password {
    password: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn log_in(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    around: Surroundings,
    Form(form): Form<Password>,
) -> Answer<Response> {
    let next = local(&form.next);
    match app.access.log_in(address_of(peer), &form.password).await {
        Ok(cookie) => Ok(enter(cookie, next)),
        Err(fault) if fault.status().is_server_error() => Err(fault),
        Err(fault) => {
            let view = Login { frame: around.frame(), next, problem: Some(&fault.problem.detail) };
            let mut response = around.page_with(fault.status(), &view)?;
            if let Some(seconds) = fault.retry_after_s {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            Ok(response)
        }
    }
}

/// The query of the one-time link.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Link {
    token: String,
}

pub(super) async fn setup(State(app): State<Arc<App>>, around: Surroundings, Query(Link { token }): Query<Link>) -> Answer<Response> {
    if !app.access.is_setup_token(&token).await {
        let detail =
            "this link has been used, or is not the newest: Belljar prints a new one when it starts, as long as there is no password";
        return Err(Fault::new(Kind::Refused, detail));
    }
    around.page(&Setup { frame: around.frame(), token: &token, problem: None })
}

/// The form of the first password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FirstPassword {
    token: String,
    password: String,
    again: String,
}

pub(super) async fn set_up(State(app): State<Arc<App>>, around: Surroundings, Form(form): Form<FirstPassword>) -> Answer<Response> {
    let again =
        |problem: &str, status| around.page_with(status, &Setup { frame: around.frame(), token: &form.token, problem: Some(problem) });
    if form.password != form.again {
        return again("the two are not the same", StatusCode::UNPROCESSABLE_ENTITY);
    }
    match app.access.set_up(&form.token, &form.password).await {
        Ok(cookie) => Ok(enter(cookie, "/containers")),
        Err(fault) if fault.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let problem = fault.invalid().map_or_else(|| fault.problem.detail.clone(), |invalid| format!("It {}", invalid.problem));
            again(&problem, fault.status())
        }
        Err(fault) => Err(fault),
    }
}

pub(super) async fn log_out(State(app): State<Arc<App>>, who: Who) -> Answer<Response> {
    Ok(enter(app.access.log_out(&who).await?, "/login"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_leads_nowhere_but_here() {
        for next in ["//evil.example", "https://evil.example", "/\\evil.example", "", "javascript:x", "/\t/evil.example"] {
            assert_eq!(local(next), "/containers", "{next}");
        }
        assert_eq!(local("/containers/web/logs?tail=5"), "/containers/web/logs?tail=5");
    }
}
