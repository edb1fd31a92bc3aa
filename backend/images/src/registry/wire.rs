//! One request and its answer over one connection: TLS, a proxy's tunnel, HTTP/1.1, and connections that are kept for the next.
//!
//! What an answer means, where it leads, and who may ask, is not known here. A body is read piece by piece ([`Answer::piece`]), and a
//! server that sends next to nothing is taken for one that sends nothing.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::http::{self, HeaderMap, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Host;

use super::address::{self, Endpoint, NamedBy, Scheme};
use super::error::Cause;
use super::limits::{
    BUFFER_BYTES_MAX, CONNECTIONS_KEPT, HANDSHAKE_LIMIT, HEAD_LIMIT, IDLE_CONNECTION_KEPT, LOOPBACK_HANDSHAKE_LIMIT, SLOW_BYTES,
};
use super::proxy::{self, Proxies};
use super::tls::Authorities;

/// What is read and written: TCP, TLS, TLS through a tunnel.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Sender = SendRequest<Full<Bytes>>;

/// A connection that waits for the next request.
struct Kept {
    endpoint: Endpoint,
    since: Instant,
    sender: Sender,
}

/// How servers are reached, and the connections to them.
pub(super) struct Wire {
    authorities: Arc<Authorities>,
    proxies: Proxies,
    /// How long silence may last.
    stall: Duration,
    kept: Mutex<Vec<Kept>>,
}

impl Wire {
    pub(super) fn new(authorities: Authorities, proxies: Proxies, stall: Duration) -> Arc<Self> {
        Arc::new(Self { authorities: Arc::new(authorities), proxies, stall, kept: Mutex::default() })
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        by: NamedBy,
        request: &http::Request<Full<Bytes>>,
    ) -> Result<Answer, Cause> {
        while let Some(sender) = self.take(endpoint).await {
            // The server may have closed it a moment ago. Nothing is asked for that cannot be asked for twice.
            match self.send(endpoint, sender, request.clone()).await {
                Err(Cause::Broken { .. }) => {}
                answered => return answered,
            }
        }
        let sender = self.connect(endpoint, by).await?;
        self.send(endpoint, sender, request.clone()).await
    }

    async fn send(self: &Arc<Self>, endpoint: &Endpoint, mut sender: Sender, request: http::Request<Full<Bytes>>) -> Result<Answer, Cause> {
        let host = endpoint.to_string();
        let answered = tokio::time::timeout(HEAD_LIMIT, sender.send_request(request)).await;
        let answered = answered.map_err(|_| Cause::Stalled { host: host.clone(), seconds: HEAD_LIMIT.as_secs() })?;
        let (head, body) = answered.map_err(|source| Cause::Broken { host, source })?.into_parts();
        let kept = Some((self.clone(), sender));
        Ok(Answer { head, body, endpoint: endpoint.clone(), stall: self.stall, window: Window::default(), kept })
    }

    /// Finds out how a server on loopback is spoken to: by TLS if it does, else plainly.
    pub(super) async fn scheme_on_loopback(self: &Arc<Self>, host: &Host<String>, port: u16) -> Result<Scheme, Cause> {
        let endpoint = Endpoint { scheme: Scheme::Https, host: host.clone(), port };
        let stream = address::dial(&endpoint, NamedBy::Person).await?;
        let secured = tokio::time::timeout(LOOPBACK_HANDSHAKE_LIMIT, self.secure(&endpoint, Box::new(stream))).await;
        match secured {
            Ok(Ok(stream)) => {
                let sender = speak(&endpoint, stream).await?;
                self.keep(endpoint, sender);
                Ok(Scheme::Https)
            }
            // It speaks TLS, and is not who it should be: that is no reason to do without.
            Ok(Err(Cause::Tls { source, .. })) if speaks_tls(&source) => Err(Cause::Tls { host: endpoint.to_string(), source }),
            Ok(Err(_)) | Err(_) => Ok(Scheme::Http),
        }
    }

    async fn connect(&self, endpoint: &Endpoint, by: NamedBy) -> Result<Sender, Cause> {
        let stream: Box<dyn Io> = match self.proxies.to(endpoint)? {
            None => Box::new(address::dial(endpoint, by).await?),
            Some(proxy) => {
                address::check_name(endpoint, by)?;
                let mut stream: Box<dyn Io> = Box::new(address::dial(&proxy.endpoint, NamedBy::Person).await?);
                if proxy::needs_tls(proxy) {
                    stream = self.secure_in_time(&proxy.endpoint, stream).await?;
                }
                proxy::tunnel(stream, proxy, endpoint).await?
            }
        };
        let stream = match endpoint.scheme {
            Scheme::Https => self.secure_in_time(endpoint, stream).await?,
            Scheme::Http => stream,
        };
        speak(endpoint, stream).await
    }

    async fn secure_in_time(&self, endpoint: &Endpoint, stream: Box<dyn Io>) -> Result<Box<dyn Io>, Cause> {
        let late = |_| Cause::Stalled { host: endpoint.to_string(), seconds: HANDSHAKE_LIMIT.as_secs() };
        tokio::time::timeout(HANDSHAKE_LIMIT, self.secure(endpoint, stream)).await.map_err(late)?
    }

    async fn secure(&self, endpoint: &Endpoint, stream: Box<dyn Io>) -> Result<Box<dyn Io>, Cause> {
        let failed = |source| Cause::Tls { host: endpoint.to_string(), source };
        let invalid = |error: tokio_rustls::rustls::Error| failed(io::Error::new(io::ErrorKind::InvalidData, error));
        let authorities = self.authorities.clone();
        let config = tokio::task::spawn_blocking(move || authorities.config()).await.map_err(|error| failed(error.into()))?;
        let name = match &endpoint.host {
            Host::Domain(name) => {
                ServerName::try_from(name.clone()).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?
            }
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(*address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(*address)),
        };
        let connector = TlsConnector::from(config.map_err(invalid)?);
        Ok(Box::new(connector.connect(name, stream).await.map_err(failed)?))
    }

    /// A connection that is ready for a request.
    async fn take(&self, endpoint: &Endpoint) -> Option<Sender> {
        loop {
            let mut sender = {
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.retain(|kept| kept.since.elapsed() < IDLE_CONNECTION_KEPT && !kept.sender.is_closed());
                let index = kept.iter().rposition(|kept| kept.endpoint == *endpoint)?;
                kept.remove(index).sender
            };
            // It comes back before the connection's own task has seen the end of the last answer: a moment, or never.
            if let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(100), sender.ready()).await {
                return Some(sender);
            }
        }
    }

    fn keep(&self, endpoint: Endpoint, sender: Sender) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CONNECTIONS_KEPT {
            kept.remove(0);
        }
        kept.push(Kept { endpoint, since: Instant::now(), sender });
    }
}

/// Whether a failed agreement on TLS was one with a server that speaks it.
fn speaks_tls(error: &io::Error) -> bool {
    use tokio_rustls::rustls::Error;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(_)) | None => false,
        Some(_) => true,
    }
}

async fn speak(endpoint: &Endpoint, stream: Box<dyn Io>) -> Result<Sender, Cause> {
    let agreed = http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = agreed.map_err(|source| Cause::Broken { host: endpoint.to_string(), source })?;
    // It ends with the last of sender and body. What it fails of, they hear.
    tokio::spawn(connection);
    Ok(sender)
}

/// What came within the last stretch of waiting.
#[derive(Default)]
struct Window {
    waited: Duration,
    bytes: u64,
}

/// An answer whose body is still on its way.
pub(super) struct Answer {
    head: http::response::Parts,
    body: Incoming,
    endpoint: Endpoint,
    stall: Duration,
    window: Window,
    /// Where the connection goes when the body has ended.
    kept: Option<(Arc<Wire>, Sender)>,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// A header's text, where it is one.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Bytes of the body, where the head says how many.
    pub(super) fn said_bytes(&self) -> Option<u64> {
        if self.header(header::CONTENT_LENGTH).is_some() { self.body.size_hint().exact() } else { None }
    }

    /// Whether the end of the connection is all that ends the body, so that nobody can tell whether it is whole.
    pub(super) fn ends_with_the_connection(&self) -> bool {
        !self.head.headers.contains_key(header::CONTENT_LENGTH) && !self.head.headers.contains_key(header::TRANSFER_ENCODING)
    }

    /// The next bytes of the body; `None` at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Cause> {
        loop {
            let begun = Instant::now();
            let stalled = || Cause::Stalled { host: self.endpoint.to_string(), seconds: self.stall.as_secs() };
            let frame = tokio::time::timeout(self.stall, self.body.frame()).await.map_err(|_| stalled())?;
            let frame = match frame {
                None => {
                    self.end();
                    return Ok(None);
                }
                Some(frame) => frame.map_err(|source| Cause::Broken { host: self.endpoint.to_string(), source })?,
            };
            // Only what is waited for the server counts: a slow disk is not its fault.
            self.window.waited += begun.elapsed();
            let piece = frame.into_data().unwrap_or_default();
            self.window.bytes += piece.len() as u64;
            if self.window.waited >= self.stall {
                if self.window.bytes < SLOW_BYTES && !self.body.is_end_stream() {
                    return Err(stalled());
                }
                self.window = Window::default();
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// The whole body, if it has at most `max_bytes`.
    pub(super) async fn whole(&mut self, what: &str, max_bytes: u64) -> Result<Vec<u8>, Cause> {
        let too_large = || Cause::TooLarge { what: what.to_owned(), max_bytes };
        if self.said_bytes().is_some_and(|said| said > max_bytes) {
            return Err(too_large());
        }
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await? {
            if (whole.len() + piece.len()) as u64 > max_bytes {
                return Err(too_large());
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    /// Reads a body away that nobody wants, if it is short, so that the connection can be used again.
    pub(super) async fn pass_over(&mut self, max_bytes: u64) {
        let _either = self.whole("an answer", max_bytes).await;
    }

    fn end(&mut self) {
        if let Some((wire, sender)) = self.kept.take() {
            wire.keep(self.endpoint.clone(), sender);
        }
    }
}
