//! `sd_notify(3)` through the wall: a socket of the container's own, whose word that it is ready is handed on to whoever waits
//! for it on the host.
//!
//! A container cannot reach `$NOTIFY_SOCKET` of the host, and must not: a message on it can stop or replace the service. So a
//! socket is bound in the container's own folder and mounted into it, and of what arrives two words go on: `READY=1`, with the
//! host's pid of the container as `MAINPID`, and `BARRIER=1`.

use std::io::IoSliceMut;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use belljar_linux::error::Context as _;
use belljar_linux::{Error, Result, process};
use rustix::event::{PollFd, PollFlags, poll};

use crate::document::{Document, Mount};
use crate::state::{First, Folder};

/// What the variable is called, on both sides.
const VARIABLE: &str = "NOTIFY_SOCKET";
/// Where the socket's folder is in the container.
const INSIDE: &str = "/run/notify";
/// Its name there.
const NAME: &str = "notify.sock";
/// Longest message that is looked at, in bytes.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Puts the socket's folder into a document, where somebody on the host waits, and the socket into that.
pub(crate) fn prepare(document: &mut Document, folder: &Folder) -> Result<Option<Proxy>> {
    if std::env::var_os(VARIABLE).is_none_or(|socket| socket.is_empty()) {
        return Ok(None);
    }
    let path = path(folder);
    std::fs::create_dir(&path).context("make", || path.display().to_string())?;
    // Whatever the caller's umask: whoever the program becomes must be able to enter.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).context("open up", || path.display().to_string())?;
    document.mounts.push(Mount {
        destination: INSIDE.into(),
        kind: "bind".into(),
        source: path.to_string_lossy().into_owned(),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    });
    if let Some(process) = &mut document.process {
        process.env.push(format!("{VARIABLE}={INSIDE}/{NAME}"));
    }
    Proxy::of_environment(folder)
}

fn path(folder: &Folder) -> PathBuf {
    folder.path().join("notify")
}

/// The two sockets.
#[derive(Debug)]
pub(crate) struct Proxy {
    inside: UnixDatagram,
    outside: SocketAddr,
}

impl Proxy {
    /// Binds the container's socket, where its document has a place for it and somebody on the host waits.
    pub(crate) fn of_environment(folder: &Folder) -> Result<Option<Self>> {
        let Some(host) = std::env::var_os(VARIABLE).filter(|host| !host.is_empty() && path(folder).is_dir()) else { return Ok(None) };
        let bytes = host.as_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&host),
        };
        let outside = address.context("name", || host.to_string_lossy().into_owned())?;
        let socket = path(folder).join(NAME);
        let _ = std::fs::remove_file(&socket);
        let inside = UnixDatagram::bind(&socket).context("bind", || socket.display().to_string())?;
        // Whoever the program becomes must be able to write there.
        let open_to_all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&socket, open_to_all).context("open up", || socket.display().to_string())?;
        inside.set_nonblocking(true).context("prepare", || socket.display().to_string())?;
        Ok(Some(Self { inside, outside }))
    }

    /// Hands on that the container is ready; returns then, or when its first process has ended.
    pub(crate) fn until_ready(&self, first: First) -> Result<()> {
        let Ok(pidfd) = process::open(first.pid, first.start_ticks) else { return Ok(()) };
        loop {
            let mut waited = [PollFd::new(&self.inside, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
            match poll(&mut waited, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::new("wait for", VARIABLE, errno)),
            }
            let [told, ended] = [!waited[0].revents().is_empty(), !waited[1].revents().is_empty()];
            if told && self.hand_on(first.pid)? {
                return Ok(());
            }
            if ended && !told {
                return Ok(());
            }
        }
    }

    /// What becomes readable when the container says something.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }

    /// Reads one message of the container's. Whether it was the word that is waited for, which then was handed on.
    pub(crate) fn hand_on(&self, pid: i32) -> Result<bool> {
        let mut message = [0; MESSAGE_BYTES_MAX];
        let length = match rustix::io::readv(self.inside.as_fd(), &mut [IoSliceMut::new(&mut message)]) {
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(false),
            Err(errno) => return Err(Error::new("read", VARIABLE, errno)),
        };
        if !is_ready(&message[..length]) {
            return Ok(false);
        }
        let socket = UnixDatagram::unbound().context("make", || "socket".into())?;
        let told = socket.send_to_addr(format!("READY=1\nMAINPID={pid}\n").as_bytes(), &self.outside);
        told.context("tell", || VARIABLE.into())?;
        // Whoever started the service may wait until all that was sent before has been read.
        let (closed_when_read, given) = rustix::pipe::pipe().context("make", || "barrier".into())?;
        if send_barrier(&socket, &self.outside, given).is_ok() {
            let mut waited = [PollFd::new(&closed_when_read, PollFlags::HUP)];
            let _ = poll(&mut waited, Some(&rustix::event::Timespec { tv_sec: BARRIER_SECONDS_MAX, tv_nsec: 0 }));
        }
        Ok(true)
    }
}

/// How long the host's side may take to read what it was told, in seconds.
const BARRIER_SECONDS_MAX: i64 = 5;

/// `BARRIER=1` with a descriptor that its reader closes (`sd_notify_barrier(3)`).
fn send_barrier(socket: &UnixDatagram, to: &SocketAddr, given: std::os::fd::OwnedFd) -> std::io::Result<()> {
    socket.connect_addr(to)?;
    let sent = belljar_linux::fd::send(socket, b"BARRIER=1", &[given.as_fd()]);
    sent.map_err(|error| error.errno.into())
}

fn is_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_a_line_of_its_own() {
        assert!(is_ready(b"READY=1"));
        assert!(is_ready(b"STATUS=up\nREADY=1\n"));
        assert!(!is_ready(b"STATUS=READY=1"));
        assert!(!is_ready(b"READY=10"));
    }
}
