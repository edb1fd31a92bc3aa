//! How a monitor is started and waited for. What it did is then looked up in its bundle, never believed.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use belljar_monitor::Spawner;
use belljar_monitor::files::Order;
use belljar_runtime::spec::Exec;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Longest time that the making of a container may take: a bind mount of a server that does not answer can hang.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);

/// Starts monitors. The tests' own starts a script, which lets everything above be tested without root.
pub(crate) trait Launch: Send + Sync + 'static {
    /// Starts a monitor for the spec at this path. The descriptor is readable (its end) once the monitor has written down
    /// that the program runs, or why it does not.
    fn start(&self, spec: &Path) -> belljar_linux::Result<OwnedFd>;

    /// Starts a further program in a container. What becomes of it is told over the socket that is returned.
    fn exec(&self, order: &Exec, stdout: OwnedFd, stderr: OwnedFd) -> belljar_linux::Result<OwnedFd>;

    /// Starts an operation on files. What becomes of it is told over the socket that is returned.
    fn files(&self, order: &Order, data: Option<OwnedFd>) -> belljar_linux::Result<OwnedFd>;
}

impl Launch for Spawner {
    fn start(&self, spec: &Path) -> belljar_linux::Result<OwnedFd> {
        Spawner::start(self, spec)
    }

    fn exec(&self, order: &Exec, stdout: OwnedFd, stderr: OwnedFd) -> belljar_linux::Result<OwnedFd> {
        Spawner::exec(self, order, stdout, stderr)
    }

    fn files(&self, order: &Order, data: Option<OwnedFd>) -> belljar_linux::Result<OwnedFd> {
        Spawner::files(self, order, data)
    }
}

/// A process that is waited for: readable once it has ended (`pidfd_open(2)`).
pub(crate) type Watched = AsyncFd<OwnedFd>;

/// Makes a descriptor one that tasks can wait for.
#[expect(
    deprecated,
    reason = "deprecated for types whose descriptor may change or close early; those here cannot, and the new way is unsafe code"
)]
pub(crate) fn watched<T: AsRawFd>(descriptor: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// The next word, of at most so many bytes, of whoever tells over a socket; `None` where that is gone. Cancel safe.
pub(crate) async fn next_word<T: serde::de::DeserializeOwned>(tells: &Watched, bytes_max: usize) -> Option<T> {
    let mut buffer = vec![0; bytes_max];
    loop {
        let mut ready = tells.readable().await.ok()?;
        let received = ready.try_io(|tells| {
            let received = rustix::net::recv(tells.get_ref(), &mut buffer[..], rustix::net::RecvFlags::DONTWAIT);
            received.map(|(length, _)| length).map_err(io::Error::from)
        });
        match received {
            Ok(Ok(0) | Err(_)) => return None,
            Ok(Ok(length)) => return serde_json::from_slice(&buffer[..length]).ok(),
            Err(_would_block) => {}
        }
    }
}

/// Waits until the descriptor is readable; forever where there is none. Cancel safe.
pub(crate) async fn readable(descriptor: Option<&Watched>) {
    match descriptor {
        // An error here means that the runtime is shutting down: nobody will ask any more.
        Some(descriptor) => drop(descriptor.readable().await),
        None => std::future::pending().await,
    }
}

/// Waits until a monitor is ready; `false` where it took longer than [`START_LIMIT`].
pub(crate) async fn ready(pipe: &Watched) -> bool {
    tokio::time::timeout(START_LIMIT, readable(Some(pipe))).await.is_ok()
}
