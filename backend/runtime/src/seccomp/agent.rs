//! Handing a listener to whoever a profile names: `listenerPath` of the OCI runtime specification (config-linux.md, *Seccomp*;
//! *The Container Process State*).

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use belljar_linux::error::{Context, Error, Result};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use serde::Serialize;

/// What is sent beside the descriptor.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessState {
    /// Version of the specification.
    pub oci_version: String,
    /// Names of the descriptors, in their order: one, `seccompFd`.
    fds: [&'static str; 1],
    /// The process that has the filter, as the runtime's process namespace knows it.
    pub pid: i32,
    /// `listenerMetadata` of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The container's state, as `state` prints it.
    pub state: serde_json::Value,
}

impl ProcessState {
    /// Of the process `pid` of a container in `state`.
    pub fn new(oci_version: &str, pid: i32, metadata: Option<String>, state: serde_json::Value) -> Self {
        Self { oci_version: oci_version.to_owned(), fds: ["seccompFd"], pid, metadata, state }
    }
}

/// Connects to the socket at `path` and sends the listener with the state. Whoever is there answers from then on; closing our
/// copy is the caller's, by dropping it.
pub fn hand_over(path: &str, state: &ProcessState, listener: &OwnedFd) -> Result<()> {
    let found = belljar_linux::socket::Found::at(std::path::Path::new(path))?;
    let address = SocketAddrUnix::new(found.path()).context("name", || format!("seccomp listener {path}"))?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.context("make", || "socket".into())?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address)).context("connect to", || format!("seccomp listener {path}"))?;
    let broken = || Error::new("write", "container process state", rustix::io::Errno::INVAL);
    let text = serde_json::to_vec(state).map_err(|_| broken())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let passed = [listener.as_fd()];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&passed)) {
        return Err(broken());
    }
    let send = || rustix::net::sendmsg(&socket, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL);
    let sent = rustix::io::retry_on_intr(send).context("send to", || format!("seccomp listener {path}"))?;
    // The descriptor went with the first byte; a stream may take the rest in parts.
    let mut rest = &text[sent..];
    while !rest.is_empty() {
        let sent = rustix::io::retry_on_intr(|| rustix::net::send(&socket, rest, SendFlags::NOSIGNAL));
        rest = &rest[sent.context("send to", || format!("seccomp listener {path}"))?..];
    }
    Ok(())
}
