//! One pull's talk with one registry: what is asked, with which token, where redirects may lead, and what a no means.
//!
//! ```text
//! document = tries of ( once )           pauses, Retry-After                 patience
//! once     = follow, and again on 401     tokens                              auth
//! follow   = exchange, and where it leads redirects                           here
//! exchange                               connections, TLS, proxies           wire
//! ```

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::http::{self, HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use url::Url;

use super::address::{Endpoint, NamedBy, Scheme};
use super::auth::{Auth, Credentials};
use super::challenge::{self, Challenge};
use super::error::Cause;
use super::limits::{ERROR_BYTES_MAX, REDIRECTS_MAX};
use super::patience::{Patience, Tries, retry_after};
use super::progress::Progress;
use super::wire::{Answer, Wire};
use crate::config::brief;

/// The default registry's API has a host of its own.
const DEFAULT_REGISTRY_HOST: &str = "registry-1.docker.io";
/// Who we are.
const USER_AGENT: &str = concat!("belljar/", env!("CARGO_PKG_VERSION"));

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    method: Method,
    /// What it is for, in words for errors.
    pub(super) what: String,
    /// Media types that are understood.
    accept: &'static str,
    /// The first byte that is wanted, and of which version.
    range: Option<(u64, Option<HeaderValue>)>,
    /// A form that is sent along.
    form: Option<String>,
}

impl Ask {
    pub(super) fn get(what: &str) -> Self {
        Self { method: Method::GET, what: what.to_owned(), accept: "*/*", range: None, form: None }
    }

    pub(super) fn head(what: &str) -> Self {
        Self { method: Method::HEAD, ..Self::get(what) }
    }

    pub(super) fn post(what: &str, form: String) -> Self {
        Self { method: Method::POST, form: Some(form), ..Self::get(what) }
    }

    pub(super) fn accepting(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    /// From this byte on, of the version with this validator where one is known.
    pub(super) fn from(self, byte: u64, validator: Option<HeaderValue>) -> Self {
        Self { range: (byte > 0).then_some((byte, validator)), ..self }
    }

    fn request(&self, url: &Url, authorization: Option<&HeaderValue>) -> http::Request<Full<Bytes>> {
        let mut path = url.path().to_owned();
        if let Some(query) = url.query() {
            path.push('?');
            path.push_str(query);
        }
        let mut request = http::Request::new(Full::new(Bytes::from(self.form.clone().unwrap_or_default())));
        *request.method_mut() = self.method.clone();
        // A parsed URL's path and query hold nothing that this refuses; were it otherwise, the root is asked and answers with a no.
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        let host = url
            .port()
            .map_or_else(|| url.host_str().unwrap_or_default().to_owned(), |port| format!("{}:{port}", url.host_str().unwrap_or_default()));
        headers.extend(HeaderValue::from_str(&host).ok().map(|host| (header::HOST, host)));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::ACCEPT, HeaderValue::from_static(self.accept));
        // Digests are of what lies in the registry, not of what a server on the way made of it.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some((from, validator)) = &self.range {
            headers.extend(HeaderValue::from_str(&format!("bytes={from}-")).ok().map(|range| (header::RANGE, range)));
            headers.extend(validator.clone().map(|validator| (header::IF_RANGE, validator)));
        }
        if self.form.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        headers.extend(authorization.cloned().map(|authorization| (header::AUTHORIZATION, authorization)));
        request
    }
}

/// One pull's talk with one registry.
pub(super) struct Session {
    wire: Arc<Wire>,
    /// Scheme, host and port of the registry.
    base: Url,
    repository: String,
    auth: Auth,
    patience: Patience,
    progress: Arc<Progress>,
}

/// Who is asked, by whom, and who sees how it goes.
pub(super) struct Opening {
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) credentials: Option<Credentials>,
    pub(super) patience: Patience,
    pub(super) progress: Arc<Progress>,
}

impl Session {
    /// Finds out how the registry is spoken to. Plainly is only what is on this machine by its very name, and does not speak TLS.
    pub(super) async fn open(wire: Arc<Wire>, opening: Opening) -> Result<Self, Cause> {
        let Opening { registry, repository, credentials, patience, progress } = opening;
        let host = if registry == belljar_model::reference::DEFAULT_REGISTRY { DEFAULT_REGISTRY_HOST } else { &registry };
        let unusable = || Cause::Led { to: registry.clone(), problem: "which is no address".to_owned() };
        let mut base = Url::parse(&format!("https://{host}/v2/")).map_err(|_| unusable())?;
        let endpoint = Endpoint::of(&base).ok_or_else(unusable)?;
        if endpoint.is_loopback() {
            let mut tries = Tries::new(patience, &progress);
            // A port that none was named for is the one of each way to speak.
            let plain_port = base.port().unwrap_or(80);
            let scheme = loop {
                match wire.scheme_on_loopback(&endpoint.host, endpoint.port).await {
                    Ok(scheme) => break scheme,
                    Err(Cause::Connect { .. }) if base.port().is_none() => break Scheme::Http,
                    // Nobody is there: on this machine that is no passing matter.
                    Err(cause @ Cause::Connect { .. }) => return Err(cause),
                    Err(cause) => tries.after(cause, 0).await?,
                }
            };
            if scheme == Scheme::Http {
                base = Url::parse(&format!("http://{}:{plain_port}/v2/", endpoint.host)).map_err(|_| unusable())?;
            }
        }
        Ok(Self { wire, base, repository, auth: Auth::new(credentials), patience, progress })
    }

    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(super) fn tries(&self) -> Tries<'_> {
        Tries::new(self.patience, &self.progress)
    }

    /// Whether this is the registry itself: same scheme, host and port.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    pub(super) fn is_on_loopback(&self) -> bool {
        Endpoint::of(&self.base).is_some_and(|endpoint| endpoint.is_loopback())
    }

    /// Asks for a document of the repository (`manifests/latest`), and again where that helps; the whole of it.
    pub(super) async fn document(&self, ask: &Ask, path: &str, max_bytes: u64) -> Result<(HeaderMap, Vec<u8>), Cause> {
        let mut tries = self.tries();
        loop {
            match self.document_once(ask, path, max_bytes).await {
                Ok(document) => return Ok(document),
                Err(cause) => tries.after(cause, 0).await?,
            }
        }
    }

    async fn document_once(&self, ask: &Ask, path: &str, max_bytes: u64) -> Result<(HeaderMap, Vec<u8>), Cause> {
        let mut answer = self.once(ask, path).await?;
        if answer.status() != StatusCode::OK {
            return Err(Cause::Status { what: ask.what.clone(), status: answer.status().as_u16() });
        }
        let bytes = answer.whole(&ask.what, max_bytes).await?;
        Ok((answer.headers().clone(), bytes))
    }

    /// Asks for something of the repository, once. The answer's status is one of success, or 416.
    pub(super) async fn once(&self, ask: &Ask, path: &str) -> Result<Answer, Cause> {
        let unusable = |_| Cause::Led { to: self.base.to_string(), problem: "which is no address".to_owned() };
        let url = self.base.join(&format!("{}/{path}", self.repository)).map_err(unusable)?;
        let mut shown = self.auth.current().await;
        let mut answer = self.follow(ask, url.clone(), NamedBy::Person, shown.as_ref()).await?;
        let mut may_renew = true;
        while answer.status() == StatusCode::UNAUTHORIZED && self.is_from_registry(&answer) {
            let challenge = wants(&answer);
            if !may_renew {
                // What is shown was made for this very request. A login that is shown itself can only be wrong.
                return Err(if challenge == Some(Challenge::Basic) { Cause::LoginRefused } else { self.auth.denied(self) });
            }
            answer.pass_over(ERROR_BYTES_MAX).await;
            let renewed = self.auth.renewed(self, shown.as_ref(), challenge).await?;
            // Another layer's may have ended since.
            may_renew = renewed.is_anothers && shown.is_none_or(|shown| shown != renewed.header);
            answer = self.follow(ask, url.clone(), NamedBy::Person, Some(&renewed.header)).await?;
            shown = Some(renewed.header);
        }
        if answer.status().is_success() || answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(answer);
        }
        let code = self.code(&mut answer).await;
        Err(self.refusal(&answer, &ask.what, code.as_deref()))
    }

    fn is_from_registry(&self, answer: &Answer) -> bool {
        Endpoint::of(&self.base).as_ref() == Some(answer.endpoint())
    }

    /// Sends a request to `url`, and to wherever that leads. The authorization goes to the first server alone.
    pub(super) async fn follow(&self, ask: &Ask, url: Url, by: NamedBy, authorization: Option<&HeaderValue>) -> Result<Answer, Cause> {
        let first = url.origin();
        let (mut url, mut by) = (url, by);
        for _ in 0..=REDIRECTS_MAX {
            let endpoint = Endpoint::of(&url).ok_or_else(|| led(&url, "which is no address"))?;
            let authorization = authorization.filter(|_| url.origin() == first);
            let mut answer = self.wire.exchange(&endpoint, by, &ask.request(&url, authorization)).await?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            if ask.form.is_some() {
                // The form holds a login.
                return Err(led(&url, "which leads elsewhere with a login"));
            }
            let next = answer.header(header::LOCATION).ok_or_else(|| led(&url, "which leads on and does not say where"))?;
            url = url.join(next).map_err(|_| led(&url, "which leads to no address"))?;
            by = self.may_lead(&url)?;
            answer.pass_over(ERROR_BYTES_MAX).await;
        }
        Err(led(&url, &format!("the end of more than {REDIRECTS_MAX} redirects")))
    }

    /// Whether an answer may lead to `url`, and as what its host counts there.
    fn may_lead(&self, url: &Url) -> Result<NamedBy, Cause> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(led(url, "with a login in the address"));
        }
        match url.scheme() {
            _ if self.is_own(url) => Ok(NamedBy::Person),
            "https" => Ok(NamedBy::Answer),
            "http" => Err(led(url, "which is plain HTTP")),
            _ => Err(led(url, "which is neither http nor https")),
        }
    }

    /// The code in an answer that says no, if it is one of those that mean something here.
    async fn code(&self, answer: &mut Answer) -> Option<String> {
        let body = answer.whole("an answer", ERROR_BYTES_MAX).await.ok()?;
        let document: serde_json::Value = serde_json::from_slice(&body).ok()?;
        document.get("errors")?.get(0)?.get("code")?.as_str().map(str::to_owned)
    }

    /// What a no means to whoever asked for something of the repository.
    fn refusal(&self, answer: &Answer, what: &str, code: Option<&str>) -> Cause {
        let repository = || self.repository.clone();
        match (answer.status(), code) {
            // Some registries say so with a 403, or a 404.
            (_, Some("TOOMANYREQUESTS")) => Cause::RateLimited { after: retry_after(answer.headers(), Timestamp::now()) },
            (StatusCode::NOT_FOUND, Some("NAME_UNKNOWN" | "NAME_INVALID")) => Cause::NoRepository { repository: repository() },
            (StatusCode::NOT_FOUND, _) => Cause::NotThere { wanted: what.to_owned(), repository: repository() },
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) if self.is_from_registry(answer) => self.auth.denied(self),
            _ => Self::no(answer, what),
        }
    }

    /// What a no means to anybody.
    pub(super) fn no(answer: &Answer, what: &str) -> Cause {
        let (what, status) = (what.to_owned(), answer.status());
        let after = retry_after(answer.headers(), Timestamp::now());
        match status.as_u16() {
            429 => Cause::RateLimited { after },
            408 | 425 | 500..=599 => Cause::Busy { what, status: status.as_u16(), after },
            status => Cause::Status { what, status },
        }
    }
}

/// What an answer wants to see.
fn wants(answer: &Answer) -> Option<Challenge> {
    challenge::best(answer.headers().get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()))
}

/// An answer leads where it must not.
fn led(url: &Url, problem: &str) -> Cause {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let to = brief(&format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default()));
    Cause::Led { to, problem: problem.to_owned() }
}
