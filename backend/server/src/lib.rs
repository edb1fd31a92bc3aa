//! HTTP: the REST API, the pages, the live streams, and who may come in. The only crate that knows HTTP.
//!
//! ```text
//!   TCP ─────► listen ─► fault ─► headers ─► access ─┬─► rest     /api/v1/…      JSON in, JSON out
//!   socket ──►                                       ├─► pages    /containers …  forms in, HTML out
//!                                                    ├─► stream   /stream        fragments of pages, as they change
//!                                                    └─► assets   /static/…
//! ```
//!
//! REST and pages are two renderings of the same nouns: both ask the supervisor, neither asks the other. This crate must
//! never know SQL, a system call, or how a container is made. Nothing here decides about a container; it reads what
//! came, asks, and tells what became of it. Start reading at [`Server`], then `app` for the layers around every request.

mod access;
mod accounts;
mod app;
mod assets;
mod extract;
mod fault;
mod headers;
mod listen;
mod name;
mod pages;
mod rest;
mod stream;
mod upload;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use belljar_store::Store;
use belljar_supervisor::Supervisor;

use crate::access::Access;
use crate::app::App;
use crate::listen::Listeners;

/// Version of Belljar, as pages and the API tell it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the server listens, and under which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Address of the TCP port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Path of the Unix socket. A socket that nobody listens on is replaced.
    pub socket: PathBuf,
    /// Names beside `localhost` and addresses under which browsers may ask for this server, without a port.
    pub allowed_hosts: Vec<String>,
}

/// What a person is told when the server has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banner {
    /// The address to open in a browser: `http://127.0.0.1:7070`.
    pub url: String,
    /// The link that sets the first password; it works once. `None` where there is a password.
    pub setup_link: Option<String>,
    /// The socket for `curl --unix-socket` and the client commands.
    pub socket: PathBuf,
}

/// The server could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The TCP port is in use, or not ours to have.
    #[error("could not listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The socket could not be made.
    #[error("could not listen on the socket {}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A server of the same instance runs already.
    #[error("another server listens on the socket {}", path.display())]
    AlreadyRuns {
        /// The socket.
        path: PathBuf,
    },
    /// The database did not say whether there is a password.
    #[error("could not look up whether there is a password")]
    Store(#[source] belljar_store::Error),
    /// The kernel gave no random bytes for the one-time link.
    #[error("the kernel gave no random bytes")]
    Random(#[source] getrandom::Error),
}

/// A server that listens, and answers once it runs.
pub struct Server {
    listeners: Listeners,
    app: Arc<App>,
    banner: Banner,
}

impl Server {
    /// Listens on both, and makes the one-time link where there is no password. Nothing is answered before
    /// [`Server::run`]; what connects waits.
    pub async fn bind(settings: &Settings, supervisor: Supervisor, store: Store) -> Result<Server, Error> {
        let listeners = Listeners::bind(settings).await?;
        let address = listeners.address();
        let access = Access::open(store, address, &settings.allowed_hosts);
        let url = format!("http://{address}");
        let setup_link = access.issue_setup_token().await?.map(|token| format!("{url}/setup?token={token}"));
        let banner = Banner { url, setup_link, socket: settings.socket.clone() };
        Ok(Server { listeners, app: Arc::new(App::new(supervisor, access)), banner })
    }

    /// What to tell the person who started it.
    pub fn banner(&self) -> &Banner {
        &self.banner
    }

    /// Answers until `end` is ready; then ends every stream, lets answers that are under way finish for at most
    /// five seconds, and removes the socket. Containers keep running.
    pub async fn run(self, end: impl Future<Output = ()> + Send) {
        let Server { listeners, app, banner: _ } = self;
        let ending = app.ending.clone();
        let router = app::router(app);
        listeners.run(router, ending, end).await;
    }
}

/// Now, in Unix milliseconds. A clock before 1970 is read as 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
