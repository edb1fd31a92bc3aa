//! Pseudoterminals, made from a devpts that is open, and never by a path: a name in `/dev/pts` can be made to mean something
//! else between the making and the opening (CVE-2025-52565).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::{mount, tree};

/// The two ends of a terminal.
#[derive(Debug)]
pub struct Terminal {
    /// What whoever watches over the program holds.
    pub master: OwnedFd,
    /// What the program has.
    pub peer: OwnedFd,
}

/// Makes a terminal of the devpts at `/dev/pts` of a tree.
pub fn open(root: impl AsFd) -> Result<Terminal> {
    let path = "/dev/pts/ptmx";
    let opened = tree::open(&root, path, OFlags::PATH | OFlags::NOFOLLOW)?;
    if mount::magic_of(&opened)? != mount::magic::DEVPTS {
        return Err(Error::new("open", format!("{path}: it does not lie on a devpts"), Errno::XDEV));
    }
    let master = tree::open(&root, path, OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW)?;
    unlock(&master)?;
    let peer = peer_of(&master)?;
    Ok(Terminal { master, peer })
}

fn unlock(master: &OwnedFd) -> Result<()> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK demands a pointer to an int, which it reads.
    let done = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) };
    if done == 0 { Ok(()) } else { Err(Error::last("unlock", "terminal")) }
}

fn peer_of(master: &OwnedFd) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes flags of open(2) by value, and returns a new descriptor.
    let peer = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    if peer < 0 {
        return Err(Error::last("open", "terminal's other end"));
    }
    // SAFETY: the call succeeded, so the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(peer) })
}

/// Sets the size of a terminal, in characters.
pub fn resize(terminal: impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).context("resize", || "terminal".into())
}

/// Makes a terminal the one that this process's session has; it must lead its session and have none.
pub fn make_controlling(terminal: impl AsFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal).context("make controlling", || "terminal".into())
}
