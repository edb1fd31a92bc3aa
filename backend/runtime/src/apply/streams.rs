//! Where standard input, output and error of the program go: to its maker's, to pipes, or to a terminal of the container's own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use belljar_linux::error::Context;
use belljar_linux::fd::Standard;
use belljar_linux::{Error, Result, fd, terminal, tree as paths};
use rustix::fs::{FileType, Gid, OFlags, Uid};
use rustix::io::Errno;

use super::Streams;
use super::inside::Inside;
use crate::spec::TerminalSize;
use crate::step::process::Console;
use crate::step::{Step, TreeStep};

/// Device number of `/dev/null`.
const NULL: (u32, u32) = (1, 3);

impl Inside<'_> {
    /// What is connected to nothing gets the container's own `/dev/null`: the host's would be a file outside of it.
    pub(super) fn connect_outputs(&mut self) -> Result<()> {
        match self.streams.take() {
            Some(Streams::Pipes { stdout, stderr }) => {
                fd::replace_standard(self.nothing()?, Standard::Input)?;
                fd::replace_standard(&stdout, Standard::Output)?;
                fd::replace_standard(&stderr, Standard::Error)
            }
            Some(Streams::Inherited) | None => {
                let all = [(rustix::stdio::stdin(), Standard::Input), (rustix::stdio::stdout(), Standard::Output)];
                for (descriptor, number) in all.into_iter().chain([(rustix::stdio::stderr(), Standard::Error)]) {
                    if is_null(descriptor) {
                        fd::replace_standard(self.nothing()?, number)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// A container may have mounted over its `/dev`: then there is the end of a pipe that nobody has the other end of.
    fn nothing(&self) -> Result<OwnedFd> {
        match self.null() {
            Err(error) if error.errno == Errno::NOENT => fd::ended_pipe(),
            null => null,
        }
    }

    fn will_change_root(&self) -> bool {
        self.plan.steps.iter().any(|step| matches!(step, Step::Tree(TreeStep::Chroot)))
    }

    fn null(&self) -> Result<OwnedFd> {
        let path = "/dev/null";
        // A folder of the host's tree has no devices of ours: there the host's own is the one.
        let hosts = if self.will_change_root() { Some(paths::root(std::path::Path::new("/"))?) } else { None };
        let root = hosts.as_ref().map_or_else(|| self.tree.root(), Ok)?;
        // Looked at before it is opened: a pipe in its place would never answer.
        let looked = paths::open(root, path, OFlags::PATH | OFlags::NOFOLLOW)?;
        if !is_null(&looked) {
            return Err(Error::new("open", format!("{path}: not the device"), Errno::NODEV));
        }
        paths::open(root, path, OFlags::RDWR | OFlags::NOFOLLOW)
    }

    /// A terminal of the container's devpts, whose other end is handed outside with this step's report. It is bound by what it
    /// is, never by a name.
    pub(super) fn make_terminal(&mut self, size: Option<TerminalSize>, console: Console) -> Result<()> {
        let root = self.tree.root()?;
        let made = terminal::open(root)?;
        if let Some(size) = size {
            terminal::resize(&made.master, size.rows, size.columns)?;
        }
        if console == Console::Bound {
            self.tree.bind_console(made.peer.as_fd())?;
        }
        if !self.will_appear() {
            terminal::make_controlling(&made.peer)?;
        }
        for number in [Standard::Input, Standard::Output, Standard::Error] {
            fd::replace_standard(&made.peer, number)?;
        }
        self.streams = None;
        self.has_terminal = true;
        self.passing = Some(made.master);
        Ok(())
    }

    /// The program's user may reopen its outputs by name, so pipes, and a terminal that was made for it, are given to it. Anything
    /// else is somebody's by a name of its own, on the host: a file, a device, a terminal stays whose it is.
    pub(super) fn give_streams(&self, uid: u32) -> Result<()> {
        for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            if self.has_terminal || fd::is_pipe(stream) {
                give(stream, Some(Uid::from_raw(uid)), None)?;
            }
        }
        Ok(())
    }
}

/// Gives a stream to somebody, as far as this process may: what is refused stays whose it is.
pub(super) fn give(stream: BorrowedFd<'_>, owner: Option<Uid>, group: Option<Gid>) -> Result<()> {
    match rustix::fs::fchown(stream, owner, group) {
        Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => Ok(()),
        given => given.context("give away", || "standard input, output and error".into()),
    }
}

fn is_null(descriptor: impl AsFd) -> bool {
    rustix::fs::fstat(descriptor).is_ok_and(|stat| {
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && device == NULL
    })
}
