//! Who may come in.
//!
//! ```text
//! on the socket   root, our own user, group belljar           everything
//!                 anybody else                                nothing (403)
//! on TCP          a Host that is not ours, another site       nothing (403)
//!                 a session's cookie, a token                 everything
//!                 nobody                                      /login, /setup, /static/; else 401, or 303 to /login
//! ```
//!
//! Nothing secret is kept: of a password its argon2id hash, of a session, a token and the one-time link the SHA-256 of
//! 256 random bits, which nobody can try through. Start reading at [`guard`].

mod attempts;
mod host;
mod password;
mod secret;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use belljar_api::problem::Kind;
use belljar_frontend::login::PASSWORD_CHARS_MIN;
use belljar_model::Invalid;
use belljar_model::id::NAME_CHARS_MAX;
use belljar_store::{NewSession, SecretHash, Store};
use tokio::sync::Mutex;

use crate::access::attempts::Attempts;
use crate::access::host::Hosts;
use crate::access::password::{PASSWORD_BYTES_MAX, Passwords};
use crate::access::secret::Secret;
use crate::fault::{Answer, Fault};
use crate::listen::Peer;
use crate::{Error, now_ms};

/// The one user of this version.
const USER: &str = "admin";
/// The cookie of a session.
const SESSION_COOKIE: &str = "belljar_session";
/// How long a session lasts: 30 days.
const SESSION_SECONDS: i64 = 30 * 24 * 3600;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Somebody on the socket who may use it.
    Socket,
    /// A browser that is logged in, by the session that it holds.
    Session(SecretHash),
    /// A program, by the name of its token.
    Token(String),
    /// Nobody that we know.
    Nobody,
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or(Who::Nobody))
    }
}

/// What decides about everybody.
pub(crate) struct Access {
    store: Store,
    hosts: Hosts,
    passwords: Passwords,
    attempts: Attempts,
    /// The one-time link's, until it has been used.
    setup: Mutex<Option<SecretHash>>,
}

impl Access {
    /// Access to a server that listens on `address`.
    pub(crate) fn open(store: Store, address: SocketAddr, allowed_hosts: &[String]) -> Self {
        Self {
            store,
            hosts: Hosts::new(address.ip(), allowed_hosts),
            passwords: Passwords::new(),
            attempts: Attempts::new(),
            setup: Mutex::new(None),
        }
    }

    /// A new token for the one-time link; `None` where there is a password.
    pub(crate) async fn issue_setup_token(&self) -> Result<Option<String>, Error> {
        if self.store.has_users().await.map_err(Error::Store)? {
            return Ok(None);
        }
        let secret = Secret::random().map_err(Error::Random)?;
        *self.setup.lock().await = Some(secret.hash());
        Ok(Some(secret.text))
    }

    /// Whether the one-time link with this token can still be used.
    pub(crate) async fn is_setup_token(&self, token: &str) -> bool {
        *self.setup.lock().await == Some(secret::hash(token))
    }

    /// Sets the first password and begins a session; the link is used up. Returns the session's cookie.
    pub(crate) async fn set_up(&self, token: &str, password: &str) -> Answer<HeaderValue> {
        let mut setup = self.setup.lock().await;
        if *setup != Some(secret::hash(token)) {
            return Err(Fault::new(
                Kind::Refused,
                "this link has been used, or is not the newest: Belljar prints a new one when it starts",
            ));
        }
        if self.store.has_users().await? {
            *setup = None;
            return Err(Fault::new(Kind::Conflict, "there is a password already: sign in"));
        }
        let cookie = self.save_password(password).await?;
        *setup = None;
        Ok(cookie)
    }

    /// Begins a session for who knows the password. Returns its cookie.
    pub(crate) async fn log_in(&self, address: IpAddr, password: &str) -> Answer<HeaderValue> {
        self.check_password(address, password).await?;
        self.begin_session().await
    }

    /// Replaces the password by a new one, ends every session, and begins one. Returns its cookie.
    pub(crate) async fn change_password(&self, address: IpAddr, current: &str, new: &str) -> Answer<HeaderValue> {
        check_new_password(new)?;
        self.check_password(address, current).await.map_err(|fault| match fault.problem.status {
            401 => Invalid::new("current", "is not the password").into(),
            _ => fault,
        })?;
        self.save_password(new).await
    }

    async fn check_password(&self, address: IpAddr, password: &str) -> Answer<()> {
        if let Err(wait_s) = self.attempts.admit(address, std::time::Instant::now()) {
            let mut fault = Fault::new(Kind::TooManyRequests, format!("too many wrong passwords: try again in {wait_s} seconds"));
            fault.retry_after_s = Some(wait_s);
            return Err(fault);
        }
        let Some(user) = self.store.user(USER).await? else {
            return Err(Fault::new(Kind::NotLoggedIn, "no password has been set yet: open the link that Belljar printed when it started"));
        };
        if self.passwords.verify(password, user.password_hash).await? {
            self.attempts.forget(address);
            return Ok(());
        }
        Err(wrong_password(address))
    }

    async fn save_password(&self, password: &str) -> Answer<HeaderValue> {
        check_new_password(password)?;
        let hash = self.passwords.hash(password).await?;
        self.store.save_user(USER, &hash, now_ms()).await?;
        self.begin_session().await
    }

    async fn begin_session(&self) -> Answer<HeaderValue> {
        let user = self.store.user(USER).await?.ok_or_else(|| Fault::new(Kind::Internal, "the user is gone"))?;
        let secret = Secret::random().map_err(|error| Fault::internal(&error))?;
        let created_at_ms = now_ms();
        let expires_at_ms = created_at_ms + SESSION_SECONDS * 1000;
        self.store.insert_session(&NewSession { user_id: user.id, secret: secret.hash(), created_at_ms, expires_at_ms }).await?;
        let cookie = format!("{SESSION_COOKIE}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={SESSION_SECONDS}", secret.text);
        HeaderValue::try_from(cookie).map_err(|error| Fault::internal(&error))
    }

    /// Ends the session. Returns the cookie that takes the browser's away.
    pub(crate) async fn log_out(&self, who: &Who) -> Answer<HeaderValue> {
        if let Who::Session(secret) = who {
            self.store.remove_session(secret).await?;
        }
        Ok(HeaderValue::from_static("belljar_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"))
    }

    /// Makes a token for a program. Returns its text, which is never shown again.
    pub(crate) async fn create_token(&self, name: &str) -> Answer<String> {
        check_token_name(name)?;
        let secret = Secret::random().map_err(|error| Fault::internal(&error))?;
        if self.store.insert_token(name, &secret.hash(), now_ms()).await? {
            return Ok(secret.text);
        }
        let taken = belljar_api::Problem::new(Kind::Conflict, format!("name: there is already a token {name}")).at_field("name");
        Err(taken.into())
    }

    /// Every token, by name.
    pub(crate) async fn tokens(&self) -> Answer<Vec<belljar_model::Token>> {
        Ok(self.store.tokens().await?)
    }

    /// Deletes a token.
    pub(crate) async fn delete_token(&self, name: &str) -> Answer<()> {
        if self.store.remove_token(name).await? { Ok(()) } else { Err(Fault::new(Kind::NotFound, format!("there is no token {name}"))) }
    }

    /// Who sent these headers over the network. A token that is shown counts before a cookie, also a wrong one.
    async fn recognise(&self, headers: &HeaderMap) -> Answer<Who> {
        if let Some(token) = bearer(headers) {
            let known = self.store.use_token(&secret::hash(token), now_ms()).await?;
            return Ok(known.map_or(Who::Nobody, |token| Who::Token(token.name)));
        }
        let Some(cookie) = cookie(headers, SESSION_COOKIE) else { return Ok(Who::Nobody) };
        let hash = secret::hash(cookie);
        Ok(self.store.session(&hash, now_ms()).await?.map_or(Who::Nobody, |_| Who::Session(hash)))
    }

    async fn decide(&self, request: &Parts) -> Answer<Who> {
        match request.extensions.get::<Peer>() {
            Some(Peer::Trusted) => Ok(Who::Socket),
            Some(Peer::Stranger) => Err(Fault::new(Kind::Refused, "the socket is for root and members of the group belljar")),
            Some(Peer::Network(_)) | None => {
                self.hosts.check(request)?;
                self.recognise(&request.headers).await
            }
        }
    }
}

/// Told to the person, and to whoever watches the log for those who try.
fn wrong_password(address: IpAddr) -> Fault {
    tracing::warn!(%address, "a wrong password was tried");
    Fault::new(Kind::NotLoggedIn, "that is not the password")
}

fn check_token_name(name: &str) -> Result<(), Invalid> {
    let is_plain = !name.trim().is_empty() && name.trim() == name && !name.contains(char::is_control);
    if is_plain && name.chars().count() <= NAME_CHARS_MAX {
        return Ok(());
    }
    Err(Invalid::new("name", format!("must have 1 to {NAME_CHARS_MAX} characters, without control characters or spaces at an end")))
}

fn check_new_password(password: &str) -> Result<(), Invalid> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(Invalid::new("password", format!("must have at least {PASSWORD_CHARS_MIN} characters")));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(Invalid::new("password", format!("must have at most {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// The layer around everything: finds out who asks, tells the handlers ([`Who`]), and turns away who may not.
pub(crate) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let who = match access.decide(&parts).await {
        Ok(who) => who,
        Err(fault) => return fault.into_response(),
    };
    if who == Who::Nobody && !is_open(parts.uri.path()) {
        return turn_away(&parts.method, &parts.uri);
    }
    parts.extensions.insert(who);
    next.run(Request::from_parts(parts, body)).await
}

/// What answers without a login.
fn is_open(path: &str) -> bool {
    matches!(path, "/login" | "/setup") || path.starts_with("/static/")
}

fn turn_away(method: &Method, uri: &Uri) -> Response {
    let path = uri.path();
    if path.starts_with("/api/") || path == "/stream" {
        let detail = "log in first: with a token (`Authorization: Bearer …`; `belljar token create`), or use the socket as root";
        return Fault::new(Kind::NotLoggedIn, detail).into_response();
    }
    if !matches!(*method, Method::GET | Method::HEAD) || path == "/" {
        return Redirect::to("/login").into_response();
    }
    let next = uri.path_and_query().map_or("/", |next| next.as_str());
    let query = belljar_api::query::write(&[("next", next)]);
    Redirect::to(&format!("/login?{query}")).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests;
