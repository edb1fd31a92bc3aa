//! A registry that can do everything wrong: a server of raw bytes on loopback, whose every answer the test writes.
//!
//! ```text
//! Fake::start(rule)   every connection has a thread; each request goes to `rule`, which gives a Reply
//! Reply               status, headers, body, and what goes wrong with it: a length that lies, a cut, a stall, no end
//! Content             images, served as they should be, by Range too: what a rule falls back on (content.rs)
//! Proxy               a way (CONNECT) to a fake by any host's name (proxy.rs)
//! ```
//!
//! It knows HTTP only as far as a request's head and body go; what it sends is what the test says, right or not.

mod content;
mod proxy;

pub use content::{Content, Layer, digest, document};
pub use proxy::Proxy;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    /// Names are in small letters.
    pub headers: Vec<(String, String)>,
    /// Of a POST.
    pub body: Vec<u8>,
    /// How many requests for the same path came before.
    pub earlier: usize,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As it should.
    Well,
    /// The connection is closed after so many bytes.
    CutAfter(usize),
    /// Nothing comes after so many bytes, and the connection stays.
    StallAfter(usize),
    /// It begins again and again.
    Never,
}

/// How a body's length is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Said(u64),
    Right,
    Chunked,
    /// By the end of the connection.
    Unsaid,
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Arc<Vec<u8>>,
    length: Length,
    end: End,
    pace: Option<Duration>,
    /// Sent in the place of everything else.
    raw: Option<Vec<u8>>,
}

impl Reply {
    /// A body with status 200.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: Arc::new(body.into()), length: Length::Right, end: End::Well, pace: None, raw: None }
    }

    /// These bytes and nothing else, head and all; then the connection is closed.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::ok("") }
    }

    /// Everything that would be sent of it, if nothing went wrong.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head().as_bytes(), &self.body].concat()
    }

    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok("") }
    }

    /// A no as registries say it, with this code.
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"as said"}}]}}"#);
        Self { status, ..Self::ok(body) }.header("content-type", "application/json")
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Self {
        Self::status(307).header("location", to)
    }

    /// With another status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// With another body.
    pub fn with_body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Arc::new(body.into()), ..self }
    }

    /// The body, as it is meant to be.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Says that the body has this length, whatever it has.
    pub fn says_length(self, bytes: u64) -> Self {
        Self { length: Length::Said(bytes), ..self }
    }

    /// Sends the body in chunks, without a length.
    pub fn chunked(self) -> Self {
        Self { length: Length::Chunked, ..self }
    }

    /// Ends the body by the end of the connection.
    pub fn unsaid(self) -> Self {
        Self { length: Length::Unsaid, ..self }
    }

    /// Closes the connection after so many bytes of the body.
    pub fn cut_after(self, bytes: usize) -> Self {
        Self { end: End::CutAfter(bytes), ..self }
    }

    /// Sends nothing more after so many bytes of the body, and keeps the connection.
    pub fn stall_after(self, bytes: usize) -> Self {
        Self { end: End::StallAfter(bytes), ..self }
    }

    /// Sends the body again and again.
    pub fn endless(self) -> Self {
        Self { end: End::Never, ..self }
    }

    /// Sends one byte at a time, with this pause after each.
    pub fn paced(self, pause: Duration) -> Self {
        Self { pace: Some(pause), ..self }
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} As Said\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match self.length {
            Length::Said(bytes) => head.push_str(&format!("content-length: {bytes}\r\n")),
            Length::Right => head.push_str(&format!("content-length: {}\r\n", self.body.len())),
            Length::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
            Length::Unsaid => head.push_str("connection: close\r\n"),
        }
        head + "\r\n"
    }

    /// Sends it; whether the connection is good for more.
    fn send(&self, to: &mut dyn Write, method: &str, ending: &AtomicBool) -> io::Result<bool> {
        if let Some(bytes) = &self.raw {
            return to.write_all(bytes).and_then(|()| to.flush()).map(|()| false);
        }
        to.write_all(self.head().as_bytes())?;
        if method == "HEAD" {
            return to.flush().map(|()| true);
        }
        match self.end {
            End::Well => self.send_part(to, &self.body, ending)?,
            End::CutAfter(bytes) | End::StallAfter(bytes) => self.send_part(to, &self.body[..bytes.min(self.body.len())], ending)?,
            End::Never => loop {
                self.send_part(to, &self.body, ending)?;
            },
        }
        to.flush()?;
        if matches!(self.end, End::StallAfter(_)) {
            while !ending.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if self.length == Length::Chunked && self.end == End::Well {
            to.write_all(b"0\r\n\r\n")?;
        }
        to.flush()?;
        Ok(self.end == End::Well && matches!(self.length, Length::Right | Length::Chunked))
    }

    fn send_part(&self, to: &mut dyn Write, part: &[u8], ending: &AtomicBool) -> io::Result<()> {
        let size = if self.pace.is_some() { 1 } else { 64 << 10 };
        for piece in part.chunks(size) {
            if ending.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if self.length == Length::Chunked {
                to.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            }
            to.write_all(piece)?;
            if self.length == Length::Chunked {
                to.write_all(b"\r\n")?;
            }
            if let Some(pause) = self.pace {
                to.flush()?;
                std::thread::sleep(pause);
            }
        }
        Ok(())
    }
}

type Rule = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    rule: Box<Rule>,
    requests: Mutex<Vec<Request>>,
    open: Mutex<Vec<TcpStream>>,
    ending: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

/// A server that answers as its rule says, until it is dropped.
pub struct Fake {
    port: u16,
    authority: Option<Vec<u8>>,
    shared: Arc<Shared>,
}

impl Fake {
    /// One that speaks plainly.
    pub fn start(rule: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(Box::new(rule), None)
    }

    /// One that speaks TLS and proves to be each of these hosts, by a certificate of its own ([`Fake::authority`]).
    pub fn start_with_tls(hosts: &[&str], rule: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let certificate = made.cert.der().clone();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
        let builder = builder.expect("versions of TLS").with_no_client_auth();
        let config = builder.with_single_cert(vec![certificate.clone()], key).expect("a configuration");
        let mut fake = Self::listen(Box::new(rule), Some(Arc::new(config)));
        fake.authority = Some(certificate.to_vec());
        fake
    }

    fn listen(rule: Box<Rule>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let port = listener.local_addr().expect("its number").port();
        let shared = Shared { rule, requests: Mutex::default(), open: Mutex::default(), ending: AtomicBool::new(false), tls };
        let shared = Arc::new(shared);
        let own = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.ending.load(Ordering::Relaxed) {
                    return;
                }
                lock(&own.open).extend(stream.try_clone());
                let own = own.clone();
                std::thread::spawn(move || serve(&own, stream));
            }
        });
        Self { port, authority: None, shared }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as in a reference.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its certificate as DER, for whoever shall believe it. None where it speaks plainly.
    pub fn authority(&self) -> Option<Vec<u8>> {
        self.authority.clone()
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// How many requests had this method and a path that ends so.
    pub fn count(&self, method: &str, end: &str) -> usize {
        self.requests().iter().filter(|request| request.method == method && request.path.ends_with(end)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
        for stream in lock(&self.shared.open).drain(..) {
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(shared: &Shared, stream: TcpStream) {
    let closed = stream.try_clone();
    let _ended = match &shared.tls {
        None => talk(shared, stream),
        Some(config) => ServerConnection::new(config.clone())
            .map_err(io::Error::other)
            .and_then(|connection| talk(shared, StreamOwned::new(connection, stream))),
    };
    if let Ok(closed) = closed {
        let _either = closed.shutdown(Shutdown::Both);
    }
}

fn talk(shared: &Shared, stream: impl Read + Write) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(16 << 10, stream);
    loop {
        let Some(mut request) = read_request(&mut stream)? else { return Ok(()) };
        {
            let mut requests = lock(&shared.requests);
            request.earlier = requests.iter().filter(|earlier| earlier.path == request.path && earlier.method == request.method).count();
            requests.push(request.clone());
        }
        let reply = (shared.rule)(&request);
        if !reply.send(stream.get_mut(), &request.method, &shared.ending)? {
            return Ok(());
        }
    }
}

fn read_request(stream: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        stream.by_ref().take(64 << 10).read_until(b'\n', &mut line)?;
        // What is not text is no request: a greeting of TLS, say. A server of HTTP says so and closes.
        let Ok(line) = String::from_utf8(line) else { return Ok(None) };
        match line.trim_end() {
            "" if line.is_empty() => return Ok(None),
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let mut words = lines.first().map(String::as_str).unwrap_or_default().split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let header = |line: &String| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let headers: Vec<(String, String)> = lines[1..].iter().filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, body, earlier: 0 }))
}
