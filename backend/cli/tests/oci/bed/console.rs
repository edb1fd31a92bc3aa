//! The other end of a console socket: what an engine does to receive a container's terminal, and a person at it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use belljar_testbed::wait_until;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use super::Bed;

/// A socket to which a runtime sends the master of a terminal.
pub(crate) struct Console {
    path: PathBuf,
    listener: UnixListener,
}

impl Console {
    pub(crate) fn listen(bed: &Bed) -> Self {
        let path = bed.path("console.sock");
        let _none_yet = std::fs::remove_file(&path);
        Self::bound(path.clone(), &path)
    }

    /// At a path that is longer than the address of a socket.
    pub(crate) fn listen_deep(bed: &Bed) -> Self {
        let folder = bed.path(&"deep/".repeat(30));
        std::fs::create_dir_all(&folder).expect("folders can be made");
        let opened = File::open(&folder).expect("a folder can be opened");
        Self::bound(folder.join("console.sock"), Path::new(&format!("/proc/self/fd/{}/console.sock", opened.as_raw_fd())))
    }

    fn bound(path: PathBuf, address: &Path) -> Self {
        let listener = UnixListener::bind(address).expect("a socket can be bound");
        listener.set_nonblocking(true).expect("a socket can be made not to block");
        Self { path, listener }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().expect("the bed's folder is text")
    }

    /// Waits for a runtime, and takes the one descriptor that it sends.
    pub(crate) fn accept(&self) -> Terminal {
        let (stream, _) = wait_until("the runtime connects to the console socket", || self.listener.accept().ok());
        stream.set_nonblocking(false).expect("a socket can be made to block");
        let (_, mut sent) = belljar_linux::fd::receive(&stream, &mut [0; 4096]).expect("a message comes");
        assert_eq!(sent.len(), 1, "one descriptor comes with the message");
        let master = File::from(sent.remove(0));
        let flags = OFlag::from_bits_retain(fcntl(&master, FcntlArg::F_GETFL).expect("flags can be read"));
        fcntl(&master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).expect("a terminal can be made not to block");
        Terminal { master, read: Vec::new() }
    }
}

/// The master of a terminal, and what was read from it so far.
pub(crate) struct Terminal {
    master: File,
    read: Vec<u8>,
}

impl Terminal {
    /// Types `text`.
    pub(crate) fn say(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("a terminal takes what is typed");
    }

    /// Waits until `text` is on the screen, and returns everything that was.
    pub(crate) fn hear(&mut self, text: &str) -> String {
        wait_until(&format!("{text:?} is on the screen"), || {
            let mut buffer = [0; 4096];
            // An error is the other end's being closed, or nothing to read yet.
            while let Ok(count @ 1..) = self.master.read(&mut buffer) {
                self.read.extend_from_slice(&buffer[..count]);
            }
            Some(String::from_utf8_lossy(&self.read).into_owned()).filter(|screen| screen.contains(text))
        })
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("a terminal has a size");
    }

    /// Rows and columns.
    pub(crate) fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(&self.master).expect("a terminal has a size");
        (size.ws_row, size.ws_col)
    }
}
