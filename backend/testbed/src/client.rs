//! HTTP/1.1 over the Unix socket or TCP: one connection per request, and nothing hidden from the test (no redirects, no
//! cookies kept, no retries).

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// No answer is worth waiting for longer than this.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Where requests go.
#[derive(Debug, Clone)]
enum Target {
    Socket(PathBuf),
    Tcp(String),
}

/// Speaks to one server.
#[derive(Debug, Clone)]
pub struct Client {
    target: Target,
    headers: HeaderMap,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body, as it was on the wire.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text; what is not UTF-8 becomes U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics with the body where it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{} is not JSON ({error}): {}", self.status, self.text()))
    }

    /// A header's value, or "" where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Panics with the body unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

impl Client {
    /// A client of the Unix socket at `path`.
    pub fn on_socket(path: &Path) -> Self {
        Self { target: Target::Socket(path.to_owned()), headers: HeaderMap::new() }
    }

    /// A client of `address`, such as `127.0.0.1:7070`.
    pub fn on_tcp(address: &str) -> Self {
        Self { target: Target::Tcp(address.to_owned()), headers: HeaderMap::new() }
    }

    /// The same client, which sends this header with every request; it replaces one of the same name.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a header's value is visible ASCII");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    /// GET.
    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, Vec::new())
    }

    /// POST with a body; its type is what [`Client::with`] set.
    pub fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Response {
        self.send("POST", path, body.into())
    }

    /// POST of JSON.
    pub fn post_json(&self, path: &str, body: &Value) -> Response {
        self.clone().with("content-type", "application/json").post(path, body.to_string())
    }

    /// POST of a form, already encoded.
    pub fn post_form(&self, path: &str, body: &str) -> Response {
        self.clone().with("content-type", "application/x-www-form-urlencoded").post(path, body)
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Response {
        self.send("DELETE", path, Vec::new())
    }

    /// One request; panics where no answer comes.
    pub fn send(&self, method: &str, path: &str, body: Vec<u8>) -> Response {
        self.try_send(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// One request; an error where the server cannot be reached or does not answer.
    pub fn try_send(&self, method: &str, path: &str, body: Vec<u8>) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let exchange = async {
                match &self.target {
                    Target::Socket(socket) => {
                        self.exchange(UnixStream::connect(socket).await?, self.request("localhost", method, path, body)?).await
                    }
                    Target::Tcp(address) => {
                        self.exchange(TcpStream::connect(address).await?, self.request(address, method, path, body)?).await
                    }
                }
            };
            tokio::time::timeout(ANSWER_LIMIT * crate::wait::patience(), exchange).await?
        })
    }

    fn request(&self, host: &str, method: &str, path: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder().method(method).uri(path).header("host", host).body(Full::new(Bytes::from(body)))?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    async fn exchange<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Response, Box<dyn std::error::Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        drop(sender);
        connection.abort();
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
    }
}
