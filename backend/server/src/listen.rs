//! Connections: a TCP port for browsers, a Unix socket for root and the group `belljar`.
//!
//! Every connection carries who is at its other end ([`Peer`]) into each of its requests. A connection costs memory, so
//! both ways in have a number that they hold at most, each its own: a crowd on the port cannot lock root out of the
//! socket.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use nix::unistd::{Gid, Uid};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::accounts::Group;
use crate::{Error, Settings};

/// Most connections at one time, on the port and on the socket each.
const CONNECTIONS_MAX: usize = 512;
/// Longest time that a client may take to send the head of a request, and that a connection is kept without one.
const HEAD_LIMIT: Duration = Duration::from_secs(60);
/// The same where more than half of the places are taken: nobody can keep others out by only connecting.
const HEAD_LIMIT_CROWDED: Duration = Duration::from_secs(3);
/// Most bytes of a request's head, and most that a connection buffers.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Most header lines of a request.
const HEADERS_MAX: usize = 64;
/// Longest time that answers under way may still take when the server ends.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted because something ran out: file descriptors, memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Members may use the socket without a login.
const GROUP: &str = "belljar";

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Somebody on the network.
    Network(IpAddr),
    /// Root, the server's own user or a member of the group, on the socket.
    Trusted,
    /// Somebody else on the socket.
    Stranger,
}

/// Both ways in.
pub(crate) struct Listeners {
    tcp: TcpListener,
    address: SocketAddr,
    socket: UnixListener,
    socket_path: PathBuf,
    drain_limit: Duration,
}

impl Listeners {
    /// Listens on the port and on the socket.
    pub(crate) async fn bind(settings: &Settings) -> Result<Self, Error> {
        let address = settings.listen;
        let listen_failed = |source| Error::Listen { address, source };
        let tcp = TcpListener::bind(address).await.map_err(listen_failed)?;
        let address = tcp.local_addr().map_err(listen_failed)?;
        let socket = bind_socket(&settings.socket).await?;
        Ok(Self { tcp, address, socket, socket_path: settings.socket.clone(), drain_limit: DRAIN_LIMIT })
    }

    /// The port's address, with the number that was taken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end` is ready, then cancels `ending`, which every stream listens to, and waits for answers.
    pub(crate) async fn run(self, router: Router, ending: CancellationToken, end: impl Future<Output = ()> + Send) {
        let graceful = GracefulShutdown::new();
        let (on_port, on_socket) = (Door::new(&router, &graceful), Door::new(&router, &graceful));
        tokio::select! {
            () = end => {}
            () = accept_tcp(&self.tcp, on_port) => {}
            () = accept_socket(&self.socket, on_socket) => {}
        }
        drop((self.tcp, self.socket));
        ending.cancel();
        if tokio::time::timeout(self.drain_limit, graceful.shutdown()).await.is_err() {
            tracing::warn!(limit_ms = self.drain_limit.as_millis(), "some answers were cut off");
        }
        if let Err(error) = std::fs::remove_file(&self.socket_path) {
            tracing::warn!(path = %self.socket_path.display(), %error, "could not remove the socket");
        }
    }
}

/// Makes the socket, in place of one that nobody listens on any more.
async fn bind_socket(path: &Path) -> Result<UnixListener, Error> {
    let socket_failed = |source| Error::Socket { path: path.to_owned(), source };
    match UnixStream::connect(path).await {
        Ok(_) => return Err(Error::AlreadyRuns { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(socket_failed)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(socket_failed)?;
    // Who connects before the mode is set is still asked for who he is (SO_PEERCRED).
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(socket_failed)?;
    if let Some(group) = Group::of_name(GROUP) {
        chown(path, None, Some(group.gid)).map_err(socket_failed)?;
    }
    Ok(listener)
}

/// One way in: what every connection through it is given.
struct Door<'a> {
    router: Router,
    graceful: &'a GracefulShutdown,
    places: Arc<Semaphore>,
}

impl<'a> Door<'a> {
    fn new(router: &Router, graceful: &'a GracefulShutdown) -> Self {
        Self { router: router.clone(), graceful, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// Waits until one more connection has a place.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// Answers the requests of one connection in a task of its own.
    fn welcome(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer, place: Option<OwnedSemaphorePermit>) {
        let router = self.router.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.clone().oneshot(request)
        });
        let mut http = http1::Builder::new();
        let is_crowded = self.places.available_permits() < CONNECTIONS_MAX / 2;
        let head_limit = if is_crowded { HEAD_LIMIT_CROWDED } else { HEAD_LIMIT };
        http.timer(TokioTimer::new()).header_read_timeout(head_limit).max_buf_size(BUFFER_BYTES_MAX).max_headers(HEADERS_MAX);
        let connection = self.graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A connection that breaks is the client's affair; what matters to us was logged by a handler.
            let _ = connection.await;
            drop(place);
        });
    }
}

async fn accept_tcp(listener: &TcpListener, door: Door<'_>) {
    loop {
        let place = door.place().await;
        let Some((stream, address)) = accepted(listener.accept().await).await else { continue };
        // An answer is one write; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        door.welcome(stream, Peer::Network(address.ip().to_canonical()), place);
    }
}

async fn accept_socket(listener: &UnixListener, door: Door<'_>) {
    loop {
        let place = door.place().await;
        let Some((stream, _)) = accepted(listener.accept().await).await else { continue };
        let peer = peer_of(&stream);
        door.welcome(stream, peer, place);
    }
}

/// A connection, or a short pause: where file descriptors ran out, the next call would fail as well.
async fn accepted<T>(result: io::Result<T>) -> Option<T> {
    match result {
        Ok(connection) => Some(connection),
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => None,
        Err(error) => {
            tracing::warn!(%error, "could not accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Who connected to the socket, as the kernel says (`SO_PEERCRED`, unix(7)).
fn peer_of(stream: &UnixStream) -> Peer {
    let Ok(credentials) = stream.peer_cred() else { return Peer::Stranger };
    let uid = Uid::from_raw(credentials.uid());
    if uid.is_root() || uid == Uid::effective() || is_member(uid, Gid::from_raw(credentials.gid())) {
        Peer::Trusted
    } else {
        Peer::Stranger
    }
}

fn is_member(uid: Uid, gid: Gid) -> bool {
    let Some(group) = Group::of_name(GROUP) else { return false };
    group.gid == gid.as_raw() || group.has(uid.as_raw())
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    fn settings(folder: &Path) -> Settings {
        Settings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), socket: folder.join("belljar.sock"), allowed_hosts: Vec::new() }
    }

    fn router() -> Router {
        let endless = || async { Body::from_stream(futures_util::stream::pending::<io::Result<axum::body::Bytes>>()) };
        Router::new().route("/", get(|Extension(peer): Extension<Peer>| async move { format!("{peer:?}") })).route("/endless", get(endless))
    }

    async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    /// A server, by its address, what ends it when it is dropped, and its task.
    async fn served(settings: &Settings) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listeners = Listeners::bind(settings).await.expect("it listens");
        let address = listeners.address();
        let (end, ended) = oneshot::channel::<()>();
        let running = tokio::spawn(listeners.run(router(), CancellationToken::new(), async { drop(ended.await) }));
        (address, end, running)
    }

    #[tokio::test]
    async fn every_request_carries_who_sent_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let (address, end, running) = served(&settings).await;
        let over_tcp = exchange(TcpStream::connect(address).await.expect("a connection")).await;
        assert!(over_tcp.ends_with("Network(127.0.0.1)"), "{over_tcp}");
        let over_socket = exchange(UnixStream::connect(&settings.socket).await.expect("a connection")).await;
        assert!(over_socket.ends_with("Trusted"), "{over_socket}");
        drop(end);
        running.await.expect("it ends");
        assert!(!settings.socket.exists());
    }

    #[tokio::test]
    async fn whoever_only_connects_keeps_nobody_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let (address, end, running) = served(&settings).await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(b"GET / HTTP/1.1\r\nHost: local").await.expect("sent");
            silent.push(stream);
        }
        let answer = exchange(TcpStream::connect(address).await.expect("a connection"));
        let answer = tokio::time::timeout(HEAD_LIMIT / 2, answer).await.expect("in much less time than a lone client is given");
        assert!(answer.ends_with("Network(127.0.0.1)"), "{answer}");
        drop((silent, end));
        running.await.expect("it ends");
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        drop(UnixListener::bind(&settings.socket).expect("a socket"));
        assert!(settings.socket.exists(), "a server that was killed leaves it");
        let first = Listeners::bind(&settings).await.expect("it is replaced");
        let mode = std::fs::metadata(&settings.socket).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(matches!(Listeners::bind(&settings).await, Err(Error::AlreadyRuns { .. })));
        drop(first);
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_with_its_address() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let listen = taken.local_addr().expect("its address");
        let refused = Listeners::bind(&Settings { listen, ..settings(folder.path()) }).await.err().expect("it is refused");
        assert_eq!(refused.to_string(), format!("could not listen on {listen}"));
    }

    #[tokio::test]
    async fn an_answer_without_end_does_not_keep_the_server_from_ending() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let listeners = Listeners::bind(&settings).await.expect("it listens");
        let listeners = Listeners { drain_limit: Duration::from_millis(10), ..listeners };
        let (end, ended) = oneshot::channel::<()>();
        let running = tokio::spawn(listeners.run(router(), CancellationToken::new(), async { drop(ended.await) }));
        let mut stream = UnixStream::connect(&settings.socket).await.expect("a connection");
        stream.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("a head");
        assert_eq!(&head, b"HTTP/1.1 200");
        drop(end);
        running.await.expect("it ends");
    }
}
