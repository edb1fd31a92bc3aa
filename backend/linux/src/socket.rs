//! Names of sockets in the file system. It must never know what is said at one.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::{Context, Result};

/// Longest path that fits the address of a socket, with its end (`unix(7)`).
const ADDRESS_BYTES: usize = 107;

/// A path to connect to, as short as an address demands.
#[derive(Debug)]
pub struct Found {
    path: PathBuf,
    _held: Option<OwnedFd>,
}

impl Found {
    /// The socket at `path`, however long that is: one that does not fit is opened, and named by the descriptor.
    pub fn at(path: &Path) -> Result<Self> {
        if path.as_os_str().len() <= ADDRESS_BYTES {
            return Ok(Self { path: path.to_owned(), _held: None });
        }
        let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let held = opened.context("open", || path.display().to_string())?;
        Ok(Self { path: format!("/proc/self/fd/{}", held.as_raw_fd()).into(), _held: Some(held) })
    }

    /// What to connect to, while this is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_socket_is_reached_by_a_path_of_any_length() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(200)).join("y".repeat(200));
        std::fs::create_dir_all(&deep).unwrap();
        let opened = rustix::fs::open(&deep, OFlags::PATH, Mode::empty()).unwrap();
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/socket", opened.as_raw_fd())).unwrap();
        assert!(UnixStream::connect(deep.join("socket")).is_err(), "as it is, it does not fit");
        let found = Found::at(&deep.join("socket")).unwrap();
        UnixStream::connect(found.path()).unwrap();
        listener.accept().unwrap();
        assert_eq!(Found::at(&deep.join("nothing")).map(drop).unwrap_err().errno, rustix::io::Errno::NOENT);
        assert_eq!(Found::at(Path::new("/short")).unwrap().path(), Path::new("/short"));
    }
}
