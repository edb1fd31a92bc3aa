//! The start of a container that waits for it. The first process listens at a socket in the container's state folder, opened
//! before its root was changed and never to be reached from its tree; whoever starts it connects, and the connection takes the
//! place of the socket that made it: what is left of the plan is walked over it.

use std::os::fd::OwnedFd;
use std::path::Path;

use belljar_linux::{Result, fd, tree as paths};
use rustix::io::Errno;

/// Name of the socket.
const SOCKET: &str = "start.sock";

/// Listens.
pub(super) fn prepare(folder: &Path) -> Result<OwnedFd> {
    take_away(folder);
    fd::listen(paths::root(folder)?, SOCKET)
}

/// Connects to a first process that waits. `ECONNREFUSED` or `ENOENT`: none does.
pub(super) fn connect(folder: &Path) -> Result<OwnedFd> {
    fd::connect(paths::root(folder)?, SOCKET)
}

/// Removes the socket, if there is one.
pub(super) fn take_away(folder: &Path) {
    // What is not there need not go; where it cannot go, nobody listens at it any more.
    let _ = std::fs::remove_file(folder.join(SOCKET));
}

/// Whether a failed [`connect`] means that nobody waits.
pub fn nobody_waits(errno: Errno) -> bool {
    matches!(errno, Errno::CONNREFUSED | Errno::NOENT)
}
