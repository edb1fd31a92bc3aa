//! Handing a descriptor to whoever waits for it at a socket: the other end of a terminal, a pidfd.

use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::command::Error;

/// Sends a descriptor, with the name that the receiver shows for it.
pub(crate) fn send(socket: &Path, name: &[u8], descriptor: &OwnedFd) -> Result<(), Error> {
    let failed = |source| Error::File { operation: "connect to", path: socket.to_owned(), source };
    let found = belljar_linux::socket::Found::at(socket)?;
    let stream = UnixStream::connect(found.path()).map_err(failed)?;
    Ok(belljar_linux::fd::send(&stream, name, &[descriptor.as_fd()])?)
}
