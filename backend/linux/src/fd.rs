//! File descriptors: handing them to another process, and keeping them from one.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType,
};

use crate::error::{Context, Error, Result};

/// Most descriptors in one message; the kernel's own limit is 253 (`SCM_MAX_FD`).
pub const PASSED_MAX: usize = 64;

/// A connected pair of sockets that keep message boundaries (`SOCK_SEQPACKET`), closed on exec.
pub fn message_pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).context("make", || "socket pair".into())
}

/// Sends one message with descriptors (at most [`PASSED_MAX`]). `SIGPIPE` is never raised.
pub fn send(socket: impl AsFd, message: &[u8], passed: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !passed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(passed)) {
        return Err(Error::new("send", format!("{} descriptors", passed.len()), rustix::io::Errno::TOOBIG));
    }
    let sent = || rustix::net::sendmsg(&socket, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL);
    rustix::io::retry_on_intr(sent).context("send", || "message".into()).map(drop)
}

/// Receives one message into `buffer` and returns its length and its descriptors; length 0 without descriptors is the
/// end: the other side is closed. A message that does not fit is an error (`EMSGSIZE`), never cut.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.context("receive", || "message".into())?,
        }
    };
    let mut passed = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            passed.extend(descriptors);
        }
    }
    if received.flags.contains(rustix::net::ReturnFlags::TRUNC) {
        return Err(Error::new("receive", "message", rustix::io::Errno::MSGSIZE));
    }
    // Descriptors were lost on the way: this process may not open any more.
    if received.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
        return Err(Error::new("receive", "descriptors", rustix::io::Errno::MFILE));
    }
    Ok((received.bytes, passed))
}

/// Marks every descriptor from `first` on to be closed on exec (Linux 5.11; older: one by one).
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: close_range(2) with CLOSE_RANGE_CLOEXEC only sets a flag on descriptors of this process; it takes no
    // pointers and closes nothing, so no owned descriptor is invalidated.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(Error::last("close on exec", format!("descriptors from {first}"))) }
}

/// Closes every descriptor above the standard ones that this process was started with. For the very beginning of a program,
/// when it owns none of them yet.
pub fn close_inherited() -> Result<()> {
    // SAFETY: close_range(2) takes no pointers. The caller's obligation, stated above, is that no descriptor is owned yet.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    if done == 0 { Ok(()) } else { Err(Error::last("close", "inherited descriptors")) }
}

/// Connects the three standard descriptors to nothing: whoever reads what they were connected to sees the end.
pub fn let_go_of_standard() -> Result<()> {
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty());
    let null = null.context("open", || "/dev/null".into())?;
    [Standard::Input, Standard::Output, Standard::Error].into_iter().try_for_each(|number| replace_standard(&null, number))
}

/// Closes every descriptor of this process, standard ones included. What still owns one must not be dropped afterwards:
/// callers run a loop that only an exit ends.
pub fn close_all() -> Result<()> {
    // SAFETY: close_range(2) takes no pointers. It does invalidate descriptors that are owned elsewhere; the caller's
    // obligation, stated above, is that none of the owners is used or dropped again.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    if done == 0 { Ok(()) } else { Err(Error::last("close", "all descriptors")) }
}

/// The reading end of a pipe that has no other end any more: there is nothing to read, and it cannot be written to.
pub fn ended_pipe() -> Result<OwnedFd> {
    let made = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("make", || "pipe".into())?;
    Ok(made.0)
}

/// Whether this is the end of a pipe without a name (`PIPEFS_MAGIC`), not a FIFO of some folder.
pub fn is_pipe(opened: impl AsFd) -> bool {
    const PIPEFS_MAGIC: u64 = 0x5049_5045;
    rustix::fs::fstatfs(opened).is_ok_and(|stat| stat.f_type as u64 == PIPEFS_MAGIC)
}

/// Closes every descriptor from `first` on but those of `kept`. What else still owns one must not be used or dropped
/// afterwards: callers are copies of a process that never return.
pub fn close_all_but(first: u32, kept: &[BorrowedFd<'_>]) -> Result<()> {
    let mut numbers: Vec<u32> = kept.iter().map(|kept| kept.as_raw_fd() as u32).filter(|number| *number >= first).collect();
    numbers.sort_unstable();
    let mut from = first;
    for number in numbers.into_iter().chain([u32::MAX]) {
        if number > from {
            // The last one is no descriptor: the range then ends with the largest number there is.
            // SAFETY: close_range(2) takes no pointers. It does invalidate descriptors that are owned elsewhere; the caller's
            // obligation, stated above, is that none of the owners is used or dropped again. What is kept is left out.
            let done = unsafe { libc::syscall(libc::SYS_close_range, from, number - 1, 0) };
            if done != 0 {
                return Err(Error::last("close", format!("descriptors from {from}")));
            }
        }
        from = number.saturating_add(1);
    }
    Ok(())
}

/// Puts `source` in the place of standard input (0), output (1) or error (2).
pub fn replace_standard(source: impl AsFd, number: Standard) -> Result<()> {
    let source = source.as_fd();
    match number {
        Standard::Input => rustix::stdio::dup2_stdin(source),
        Standard::Output => rustix::stdio::dup2_stdout(source),
        Standard::Error => rustix::stdio::dup2_stderr(source),
    }
    .context("replace", || format!("descriptor {}", number as i32))
}

/// One of the three descriptors that every program expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// Descriptor 0.
    Input = 0,
    /// Descriptor 1.
    Output = 1,
    /// Descriptor 2.
    Error = 2,
}

/// Takes a descriptor that this process was started with, by its number, out of the number's hands: from now on it is
/// owned, and closed on exec.
pub fn adopt(number: i32) -> Result<OwnedFd> {
    // SAFETY: the borrow lasts for this one call, which duplicates the descriptor and fails with EBADF where the number
    // is not open; nobody else closes it meanwhile because callers adopt before any thread exists.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_dupfd_cloexec(inherited, 3).context("adopt", || format!("descriptor {number}"))
}

/// Whether this process was started with a descriptor of that number: it is open, and an exec leaves it open, as it leaves none
/// that was opened here.
pub fn is_inherited(number: i32) -> bool {
    // SAFETY: fcntl(2) with F_GETFD takes no pointers and changes nothing; a number that is not open is an error.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_one_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let named = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
        assert!(is_pipe(ended_pipe().unwrap()));
        for other in [named, std::fs::File::open("/dev/null").unwrap(), tempfile::tempfile().unwrap()] {
            assert!(!is_pipe(&other), "{other:?}");
        }
        assert!(!is_pipe(message_pair().unwrap().0));
    }
    use std::io::{Read, Seek, Write};

    #[test]
    fn a_descriptor_arrives_with_its_message() {
        let (left, right) = message_pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello").unwrap();
        send(&left, b"here", &[file.as_fd()]).unwrap();
        let mut buffer = [0; 16];
        let (length, mut passed) = receive(&right, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"here");
        let mut copy = std::fs::File::from(passed.pop().unwrap());
        copy.rewind().unwrap();
        let mut text = String::new();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        drop(left);
        assert_eq!(receive(&right, &mut buffer).unwrap().0, 0, "a closed peer reads as the end");
    }

    #[test]
    fn only_what_an_exec_leaves_open_is_inherited() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_inherited(file.as_raw_fd()) && !is_inherited(i32::MAX) && !is_inherited(-1));
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        assert!(is_inherited(file.as_raw_fd()));
    }

    #[test]
    fn a_message_that_does_not_fit_is_refused_and_not_cut() {
        let (left, right) = message_pair().unwrap();
        send(&left, b"too long", &[]).unwrap();
        assert_eq!(receive(&right, &mut [0; 4]).map(drop).map_err(|error| error.errno), Err(rustix::io::Errno::MSGSIZE));
    }
}
