//! Logins and tokens: what a registry wants to see, where it is fetched, and to whom it is shown.
//!
//! ```text
//! 401 + challenge ──▶ realm (login, or nobody) ──▶ token ──▶ the registry, until it says 401 again
//! ```
//!
//! A login goes to the registry that it is for and to the realm that this one names, by TLS, or plainly on loopback; a token goes to the
//! registry alone. Neither is ever part of an error or of what is printed for debugging.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::http::{HeaderValue, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::address::NamedBy;
use super::challenge::Challenge;
use super::error::Cause;
use super::limits::{ERROR_BYTES_MAX, TOKEN_ANSWER_BYTES_MAX, TOKEN_BYTES_MAX};
use super::session::{Ask, Session};
use super::wire::Answer;

/// Time that a token is good for where nobody says (the token specification's own).
const TOKEN_SECONDS: u64 = 60;
/// A token that ends within this time is not begun with.
const TOKEN_SPARE: Duration = Duration::from_secs(5);
/// What Docker says it is when it trades a token for another.
const CLIENT_ID: &str = "belljar";

/// Who pulls.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and its password, or an access token in the place of one.
    Password {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// What Docker's `config.json` calls `identitytoken`: traded for a token at the realm (OAuth 2, `refresh_token`).
    IdentityToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Password { .. } => "Password(…)",
            Self::IdentityToken(_) => "IdentityToken(…)",
        })
    }
}

impl Credentials {
    /// `Authorization` by the login itself.
    fn basic(&self) -> Option<HeaderValue> {
        match self {
            Self::Password { user, password } => secret(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))),
            Self::IdentityToken(_) => None,
        }
    }
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What is shown to the registry.
struct Ticket {
    header: HeaderValue,
    /// When it is no longer begun with.
    until: Option<Instant>,
}

/// What is shown from now on.
pub(super) struct Renewed {
    pub(super) header: HeaderValue,
    /// Whether another request had it made.
    pub(super) is_anothers: bool,
}

/// The login of one pull, and what it was traded for.
pub(super) struct Auth {
    credentials: Option<Credentials>,
    ticket: Mutex<Option<Ticket>>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Auth {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials, ticket: Mutex::default() }
    }

    /// What requests begin with.
    pub(super) async fn current(&self) -> Option<HeaderValue> {
        let ticket = self.ticket.lock().await;
        ticket.as_ref().filter(|ticket| ticket.until.is_none_or(|until| Instant::now() < until)).map(|ticket| ticket.header.clone())
    }

    /// What the registry wants to see in the place of `refused`.
    pub(super) async fn renewed(
        &self,
        session: &Session,
        refused: Option<&HeaderValue>,
        challenge: Option<Challenge>,
    ) -> Result<Renewed, Cause> {
        // One at a time: several layers meet the end of a token together.
        let mut ticket = self.ticket.lock().await;
        if let Some(held) = ticket.as_ref()
            && refused != Some(&held.header)
            && held.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(Renewed { header: held.header.clone(), is_anothers: true });
        }
        let new = match challenge {
            None => return Err(Cause::Challenge { problem: "it says 401 and not what it wants" }),
            Some(Challenge::Basic) => {
                let header = self.credentials.as_ref().and_then(Credentials::basic).ok_or_else(|| self.denied(session))?;
                Ticket { header, until: None }
            }
            Some(Challenge::Bearer { realm, service, scope }) => self.token(session, &realm, service.as_deref(), scope).await?,
        };
        let header = new.header.clone();
        *ticket = Some(new);
        Ok(Renewed { header, is_anothers: false })
    }

    /// What a no means for whoever is logged in, or not.
    pub(super) fn denied(&self, session: &Session) -> Cause {
        let repository = session.repository().to_owned();
        if self.credentials.is_some() { Cause::Denied { repository } } else { Cause::LoginNeeded { repository } }
    }

    async fn token(&self, session: &Session, realm: &str, service: Option<&str>, scope: Option<String>) -> Result<Ticket, Cause> {
        let refused = |problem| Cause::Challenge { problem };
        let mut url = Url::parse(realm).map_err(|_| refused("the address where tokens are is none"))?;
        let by = session.names(&url).ok_or_else(|| refused("it gives out tokens by plain HTTP"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("the address where tokens are holds a login"));
        }
        let scope = scope.filter(|scope| only_pulls(scope)).unwrap_or_else(|| format!("repository:{}:pull", session.repository()));
        let mut ask = Ask::get("a token");
        match &self.credentials {
            Some(Credentials::IdentityToken(identity)) => {
                let form = [("grant_type", "refresh_token"), ("client_id", CLIENT_ID), ("refresh_token", identity), ("scope", &scope)];
                let form = form.into_iter().chain(service.map(|service| ("service", service)));
                ask = Ask::post("a token", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish());
            }
            _ => {
                url.query_pairs_mut().append_pair("scope", &scope).extend_pairs(service.map(|service| ("service", service)));
            }
        }
        let login = self.credentials.as_ref().and_then(Credentials::basic);
        let mut answer = session.follow(&ask, url, by, login.as_ref()).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.no_token(session, &mut answer).await);
        }
        ticket(&answer.whole("the answer with the token", TOKEN_ANSWER_BYTES_MAX).await?)
    }

    async fn no_token(&self, session: &Session, answer: &mut Answer) -> Cause {
        answer.pass_over(ERROR_BYTES_MAX).await;
        match answer.status() {
            StatusCode::UNAUTHORIZED if self.credentials.is_some() => Cause::LoginRefused,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.denied(session),
            _ => Session::no(answer, "the request for a token"),
        }
    }
}

/// Whether a scope asks for nothing but to read repositories: a registry must not make us ask for more.
fn only_pulls(scope: &str) -> bool {
    let one = |part: &str| part.starts_with("repository:") && part.ends_with(":pull");
    !scope.is_empty() && scope.split(' ').all(one)
}

fn ticket(answer: &[u8]) -> Result<Ticket, Cause> {
    let refused = |problem| Cause::Challenge { problem };
    let answer: TokenAnswer = serde_json::from_slice(answer).map_err(|_| refused("the answer with the token cannot be read"))?;
    let given = |token: &String| !token.is_empty();
    let token = answer.token.filter(given).or(answer.access_token.filter(given)).ok_or_else(|| refused("its token is missing"))?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(refused("its token is too long"));
    }
    let header = secret(&format!("Bearer {token}")).ok_or_else(|| refused("its token holds what no token holds"))?;
    let lasts = Duration::from_secs(answer.expires_in.unwrap_or(TOKEN_SECONDS));
    // A time without end, or a shorter one than is spared, is found out by the registry's own answer.
    let until = Instant::now().checked_add(lasts.saturating_sub(TOKEN_SPARE).max(Duration::from_secs(1)));
    Ok(Ticket { header, until })
}

impl Session {
    /// Who names a realm, if it may be named at all: by TLS, or on loopback by a registry that is there itself.
    fn names(&self, realm: &Url) -> Option<NamedBy> {
        let endpoint = super::address::Endpoint::of(realm)?;
        let own = self.is_own(realm);
        match realm.scheme() {
            _ if own => Some(NamedBy::Person),
            _ if self.is_on_loopback() && endpoint.is_loopback() => Some(NamedBy::OwnMachine),
            "https" => Some(NamedBy::Answer),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_not_printed() {
        let password = Credentials::Password { user: "user".into(), password: "hunter2".into() };
        assert!(!format!("{password:?}{:?}", password.basic()).contains("hunter2"));
        assert!(!format!("{:?}", password.basic()).contains(&BASE64_STANDARD.encode("user:hunter2")));
        assert!(!format!("{:?}", Credentials::IdentityToken("hunter2".into())).contains("hunter2"));
    }

    #[test]
    fn a_scope_that_asks_for_more_than_reading_is_not_asked_for() {
        assert!(only_pulls("repository:a/b:pull") && only_pulls("repository:a/b:pull repository:c:pull"));
        for scope in ["", "repository:a/b:pull,push", "registry:catalog:*", "repository:a:pull repository:b:delete"] {
            assert!(!only_pulls(scope), "{scope}");
        }
    }

    #[test]
    fn the_answer_with_a_token_is_read_in_both_ways_that_there_are() {
        for (answer, expected) in [
            (r#"{"token":"a"}"#, Some("Bearer a")),
            (r#"{"access_token":"b","expires_in":300}"#, Some("Bearer b")),
            (r#"{"token":"","access_token":"c"}"#, Some("Bearer c")),
            (r#"{"token":"a","expires_in":18446744073709551615}"#, Some("Bearer a")),
            (r#"{"token":"a","expires_in":0}"#, Some("Bearer a")),
            (r#"{"token":"a\r\nX: y"}"#, None),
            (r#"{"token":1}"#, None),
            (r#"{"expires_in":1}"#, None),
            ("[]", None),
            ("", None),
        ] {
            let ticket = ticket(answer.as_bytes()).ok();
            assert_eq!(ticket.map(|ticket| ticket.header), expected.and_then(secret), "{answer}");
        }
    }
}
