//! HTTP/1.1 over the server's Unix socket: one connection for each request, which ends with its answer.
//!
//! It knows no command and no table. A problem document (RFC 9457) becomes [`Failure::Refused`]; every answer has a
//! longest length, because also a server may be broken.

use std::path::{Path, PathBuf};

use belljar_api::Problem;
use belljar_api::files::{ARCHIVE_MEDIA_TYPE, PathStat, STAT_HEADER};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio_util::io::ReaderStream;

use crate::failure::Failure;

/// Most bytes of an answer that is read as a whole: a list of a hundred thousand changes fits.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Most bytes of one line of an answer that comes as a stream: a log line of 16 KiB, each byte escaped, fits many times.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What is sent with a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// One server, by its socket.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    /// The server that listens at `socket`.
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// `GET path`, read as `T`.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let bytes = self.fetch_bytes(path).await?;
        serde_json::from_slice(&bytes).map_err(|source| Failure::Unreadable { path: path.to_owned(), source })
    }

    /// `GET path`, as it comes.
    pub(crate) async fn fetch_bytes(&self, path: &str) -> Result<Bytes, Failure> {
        let response = self.ask(Method::GET, path, nothing()).await?;
        self.whole(path, response).await
    }

    /// A request without a body whose answer has none either: start, stop, delete, ….
    pub(crate) async fn act(&self, method: Method, path: &str) -> Result<(), Failure> {
        self.ask(method, path, nothing()).await.map(drop)
    }

    /// `POST path` with a JSON document; the answer is read as `T`.
    pub(crate) async fn send<T: DeserializeOwned>(&self, path: &str, document: &impl Serialize) -> Result<T, Failure> {
        let unreadable = |source| Failure::Unreadable { path: path.to_owned(), source };
        let bytes = serde_json::to_vec(document).map_err(unreadable)?;
        let body = Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync();
        let response = self.ask(Method::POST, path, (Some("application/json"), body)).await?;
        let answer = self.whole(path, response).await?;
        serde_json::from_slice(&answer).map_err(unreadable)
    }

    /// `PUT path` with a JSON document; the answer is read as `T`.
    pub(crate) async fn replace<T: DeserializeOwned>(&self, path: &str, document: &impl Serialize) -> Result<T, Failure> {
        let unreadable = |source| Failure::Unreadable { path: path.to_owned(), source };
        let bytes = serde_json::to_vec(document).map_err(unreadable)?;
        let body = Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync();
        let response = self.ask(Method::PUT, path, (Some("application/json"), body)).await?;
        let answer = self.whole(path, response).await?;
        serde_json::from_slice(&answer).map_err(unreadable)
    }

    /// `GET path`, whose answer comes piece by piece for as long as it takes.
    pub(crate) async fn fetch_pieces(&self, path: &str) -> Result<Pieces, Failure> {
        let response = self.ask(Method::GET, path, nothing()).await?;
        Ok(Pieces { socket: self.socket.clone(), path: path.to_owned(), body: response.into_body() })
    }

    /// `POST path` with a JSON document, whose answer comes line by line for as long as it takes.
    pub(crate) async fn send_for_lines(&self, path: &str, document: &impl Serialize) -> Result<Lines, Failure> {
        let Pieces { socket, path, body } = self.send_for_stream(path, document).await?;
        Ok(Lines { socket, path, body, pending: Vec::new(), seen: 0 })
    }

    /// `PATCH path` with what shall be different.
    pub(crate) async fn change(&self, path: &str, document: &impl Serialize) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(document).map_err(|source| Failure::Unreadable { path: path.to_owned(), source })?;
        let body = Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync();
        self.ask(Method::PATCH, path, (Some("application/merge-patch+json"), body)).await.map(drop)
    }

    /// `POST path` with a JSON document, whose answer comes piece by piece for as long as it takes.
    pub(crate) async fn send_for_stream(&self, path: &str, document: &impl Serialize) -> Result<Pieces, Failure> {
        let bytes = serde_json::to_vec(document).map_err(|source| Failure::Unreadable { path: path.to_owned(), source })?;
        let body = Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync();
        let response = self.ask(Method::POST, path, (Some("application/json"), body)).await?;
        Ok(Pieces { socket: self.socket.clone(), path: path.to_owned(), body: response.into_body() })
    }

    /// `POST path` with the content of a file, as it is; the answer is read as `T`.
    pub(crate) async fn upload<T: DeserializeOwned>(&self, path: &str, file: tokio::fs::File) -> Result<T, Failure> {
        use futures_util::TryStreamExt as _;
        let body = StreamBody::new(ReaderStream::new(file).map_ok(Frame::data)).boxed_unsync();
        let response = self.ask(Method::POST, path, (Some("application/octet-stream"), body)).await?;
        let answer = self.whole(path, response).await?;
        serde_json::from_slice(&answer).map_err(|source| Failure::Unreadable { path: path.to_owned(), source })
    }

    /// `PUT path` with the content of a file, as it is; the answer is read as `T`.
    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &str, file: tokio::fs::File) -> Result<T, Failure> {
        use futures_util::TryStreamExt as _;
        let body = StreamBody::new(ReaderStream::new(file).map_ok(Frame::data)).boxed_unsync();
        let response = self.ask(Method::PUT, path, (Some(ARCHIVE_MEDIA_TYPE), body)).await?;
        let answer = self.whole(path, response).await?;
        serde_json::from_slice(&answer).map_err(|source| Failure::Unreadable { path: path.to_owned(), source })
    }

    /// `HEAD path` of an archive: what it would hold; `None` where there is nothing.
    pub(crate) async fn head(&self, path: &str) -> Result<Option<PathStat>, Failure> {
        match self.ask(Method::HEAD, path, nothing()).await {
            Ok(response) => Ok(stat_of(&response)),
            Err(Failure::Status { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// `GET path` of an archive: what it holds, and itself piece by piece.
    pub(crate) async fn download(&self, path: &str) -> Result<(Option<PathStat>, Pieces), Failure> {
        let response = self.ask(Method::GET, path, nothing()).await?;
        let stat = stat_of(&response);
        Ok((stat, Pieces { socket: self.socket.clone(), path: path.to_owned(), body: response.into_body() }))
    }

    /// `GET path`, whose answer comes line by line for as long as it takes.
    pub(crate) async fn stream(&self, path: &str) -> Result<Lines, Failure> {
        let response = self.ask(Method::GET, path, nothing()).await?;
        Ok(Lines { socket: self.socket.clone(), path: path.to_owned(), body: response.into_body(), pending: Vec::new(), seen: 0 })
    }

    async fn ask(&self, method: Method, path: &str, (content_type, body): (Option<&str>, Body)) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| unreachable_because(&self.socket, source))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broke_off(e))?;
        // Its errors come out at the sender and at the body too.
        tokio::spawn(connection);
        let uri = format!("{}{path}", belljar_api::ROOT);
        let mut request = Request::builder().method(method).uri(uri).header(HOST, "localhost").header(ACCEPT, "application/json");
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(body).map_err(|e| self.broke_off(e))?;
        let response = sender.send_request(request).await.map_err(|e| self.broke_off(e))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(path, response).await) }
    }

    async fn refusal(&self, path: &str, response: Response<Incoming>) -> Failure {
        let status = response.status().as_u16();
        match self.whole(path, response).await {
            Ok(bytes) => match serde_json::from_slice::<Problem>(&bytes) {
                Ok(problem) => Failure::Refused(Box::new(problem)),
                Err(_) => Failure::Status { status, path: path.to_owned() },
            },
            Err(failure) => failure,
        }
    }

    async fn whole(&self, path: &str, response: Response<Incoming>) -> Result<Bytes, Failure> {
        match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(Failure::TooLong { path: path.to_owned(), limit_bytes: ANSWER_BYTES_MAX })
            }
            Err(source) => Err(Failure::BrokeOff { socket: self.socket.clone(), source }),
        }
    }

    fn broke_off(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        Failure::BrokeOff { socket: self.socket.clone(), source: error.into() }
    }
}

fn stat_of(response: &Response<Incoming>) -> Option<PathStat> {
    response.headers().get(STAT_HEADER)?.to_str().ok().and_then(PathStat::from_header)
}

fn nothing() -> (Option<&'static str>, Body) {
    (None, Empty::new().map_err(|never| match never {}).boxed_unsync())
}

fn unreachable_because(socket: &Path, source: std::io::Error) -> Failure {
    let socket = socket.to_owned();
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => Failure::NotAllowed { socket, source },
        _ => Failure::NobodyListens { socket, source },
    }
}

/// An answer that comes piece by piece, cut anywhere.
pub(crate) struct Pieces {
    socket: PathBuf,
    path: String,
    body: Incoming,
}

impl Pieces {
    /// The next piece; `None` when the answer is over.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self.body.frame().await {
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
            Some(Err(source)) => Err(Failure::BrokeOff { socket: self.socket.clone(), source: source.into() }),
            None => Ok(None),
        }
    }

    /// What was asked for.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whom.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

/// An answer that comes line by line.
pub(crate) struct Lines {
    socket: PathBuf,
    path: String,
    body: Incoming,
    pending: Vec<u8>,
    /// How much of `pending` is known to hold no line end.
    seen: usize,
}

impl Lines {
    /// The next line without its end; `None` when the answer is over. Cancel-safe: what was read stays pending.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(end) = self.pending[self.seen..].iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.pending.drain(..=self.seen + end).collect();
                line.pop();
                self.seen = 0;
                return Ok(Some(line));
            }
            self.seen = self.pending.len();
            if self.seen > LINE_BYTES_MAX {
                return Err(Failure::TooLong { path: self.path.clone(), limit_bytes: LINE_BYTES_MAX });
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.pending.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Some(Err(source)) => return Err(Failure::BrokeOff { socket: self.socket.clone(), source: source.into() }),
                None if self.pending.is_empty() => return Ok(None),
                None => {
                    self.seen = 0;
                    return Ok(Some(std::mem::take(&mut self.pending)));
                }
            }
        }
    }

    /// The next line as `T`, from a stream of JSON documents or of server-sent events (whose other fields are skipped).
    pub(crate) async fn next_document<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        while let Some(line) = self.next().await? {
            let text = line.strip_prefix(b"data:").unwrap_or(&line).trim_ascii();
            if text.first() == Some(&b'{') {
                let unreadable = |source| Failure::Unreadable { path: self.path.clone(), source };
                return serde_json::from_slice(text).map(Some).map_err(unreadable);
            }
        }
        Ok(None)
    }
}

/// `text` as one segment of a path or one value of a query: everything but RFC 3986's unreserved characters is escaped.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        assert_eq!(escape("web-1.2_~"), "web-1.2_~");
        assert_eq!(escape("../x?y=1&z#ä"), "..%2Fx%3Fy%3D1%26z%23%C3%A4");
    }

    /// A server that reads one request and gives this answer, and what it was asked.
    async fn answering(answer: &'static str) -> (tempfile::TempDir, Client, tokio::task::JoinHandle<String>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("belljar.sock");
        let listener = tokio::net::UnixListener::bind(&socket).expect("a socket in it");
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                stream.read_buf(&mut request).await.expect("a request");
            }
            stream.write_all(answer.as_bytes()).await.expect("it listens");
            String::from_utf8_lossy(&request).into_owned()
        });
        (folder, Client::at(socket), asked)
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_servers_own_words() {
        let problem = concat!(
            "HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\r\n",
            r#"{"type":"urn:belljar:problem:conflict","title":"In conflict","status":409,"detail":"the name web is taken by container abc"}"#
        );
        let (_folder, client, asked) = answering(problem).await;
        let failure = client.act(Method::POST, "/containers/web/start").await.expect_err("refused");
        assert_eq!(failure.sentence(), "the name web is taken by container abc");
        assert!(asked.await.expect("it was asked").starts_with("POST /api/v1/containers/web/start HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn lines_arrive_whole_however_they_were_cut() {
        let events =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nid: 1\nda\r\n6\r\nta: {}\r\n3\r\n\n\n{\r\n1\r\n}\r\n0\r\n\r\n";
        let (_folder, client, _asked) = answering(events).await;
        let mut lines = client.stream("/events?follow=true").await.expect("a stream");
        let mut documents = 0;
        while let Some(document) = lines.next_document::<serde_json::Value>().await.expect("readable") {
            assert_eq!(document, serde_json::json!({}));
            documents += 1;
        }
        assert_eq!(documents, 2);
    }

    #[tokio::test]
    async fn a_server_that_dies_in_the_middle_is_not_taken_for_an_end() {
        let (_folder, client, _asked) = answering("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}\n").await;
        let mut lines = client.stream("/containers/web/logs?follow=true").await.expect("a stream");
        assert!(lines.next().await.expect("one line").is_some());
        assert!(matches!(lines.next().await, Err(Failure::BrokeOff { .. })));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let client = Client::at(folder.path().join("belljar.sock"));
        let failure = client.act(Method::POST, "/containers/web/start").await.expect_err("nobody listens");
        assert!(failure.sentence().contains("start one with `belljar serve`"), "{}", failure.sentence());
    }
}
