//! Device nodes and links, made in open folders.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::tree;

/// What a device node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Character device, block device, or pipe (which has no number).
    pub kind: FileType,
    /// Its number.
    pub major: u32,
    /// The same.
    pub minor: u32,
}

/// Who may do what with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The twelve bits of its mode.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Node {
    /// A character device.
    pub const fn character(major: u32, minor: u32) -> Self {
        Self { kind: FileType::CharacterDevice, major, minor }
    }

    /// Refuses (`ENODEV`) what is not just this device, by what the kernel says of the open file and not by its name.
    pub fn verify(&self, opened: impl AsFd, name: &str) -> Result<()> {
        let stat = tree::stat(opened)?;
        let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let is_pipe = self.kind == FileType::Fifo;
        if FileType::from_raw_mode(stat.st_mode) == self.kind && (is_pipe || number == (self.major, self.minor)) {
            Ok(())
        } else {
            Err(Error::new("check", format!("{name}: not device {}:{}", self.major, self.minor), Errno::NODEV))
        }
    }
}

/// Makes a node in an open folder, with just this mode whatever the umask. One that is there already stays, if it is the same
/// device; anything else there is an error (`ENODEV`). `EPERM` where this process may make none.
pub fn make(folder: impl AsFd, name: &str, node: &Node, ownership: &Ownership) -> Result<()> {
    let umask = rustix::process::umask(Mode::empty());
    let number = rustix::fs::makedev(node.major, node.minor);
    let made = rustix::fs::mknodat(&folder, name, node.kind, Mode::from_raw_mode(ownership.mode), number);
    rustix::process::umask(umask);
    match made {
        Err(Errno::EXIST) => return node.verify(open(&folder, name)?, name),
        made => made.context("make", || name.to_owned())?,
    }
    let opened = open(&folder, name)?;
    // Between the two somebody could have put another file in its place.
    node.verify(&opened, name)?;
    if (ownership.uid, ownership.gid) == (0, 0) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(ownership.uid), Gid::from_raw(ownership.gid));
    rustix::fs::chownat(&opened, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).context("give", || name.to_owned())
}

fn open(folder: impl AsFd, name: &str) -> Result<OwnedFd> {
    rustix::fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).context("open", || name.to_owned())
}

/// Makes a symbolic link in an open folder. What is there already stays.
pub fn link(folder: impl AsFd, name: &str, to: &str) -> Result<()> {
    match rustix::fs::symlinkat(to, &folder, name) {
        Err(Errno::EXIST) => Ok(()),
        made => made.context("link", || name.to_owned()),
    }
}

/// Makes a symbolic link in an open folder, in the place of whatever file has its name.
pub fn link_over(folder: impl AsFd, name: &str, to: &str) -> Result<()> {
    match rustix::fs::symlinkat(to, &folder, name) {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(&folder, name, AtFlags::empty()).context("replace", || name.to_owned())?;
            rustix::fs::symlinkat(to, &folder, name).context("link", || name.to_owned())
        }
        made => made.context("link", || name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: Node = Node::character(1, 3);

    #[test]
    fn a_node_comes_out_as_asked_and_only_the_same_may_stand_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let root = tree::root(folder.path()).unwrap();
        let ownership = Ownership { mode: 0o666, uid: 7, gid: 8 };
        match make(&root, "null", &NULL, &ownership) {
            Err(error) if error.errno == Errno::PERM => return println!("skipped: needs the right to make devices"),
            made => made.unwrap(),
        }
        let stat = tree::stat(open(&root, "null").unwrap()).unwrap();
        assert_eq!((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid), (0o666, 7, 8));
        make(&root, "null", &NULL, &ownership).unwrap();
        assert_eq!(make(&root, "null", &Node::character(1, 5), &ownership).map_err(|error| error.errno), Err(Errno::NODEV));
        std::os::unix::fs::symlink("/dev/null", folder.path().join("link")).unwrap();
        assert_eq!(make(&root, "link", &NULL, &ownership).map_err(|error| error.errno), Err(Errno::NODEV), "a link is no device");
    }

    #[test]
    fn links_replace_what_is_there_only_where_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let root = tree::root(folder.path()).unwrap();
        std::fs::write(folder.path().join("ptmx"), "planted").unwrap();
        link(&root, "ptmx", "pts/ptmx").unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("ptmx")).unwrap(), "planted");
        link_over(&root, "ptmx", "pts/ptmx").unwrap();
        assert_eq!(std::fs::read_link(folder.path().join("ptmx")).unwrap(), std::path::Path::new("pts/ptmx"));
    }
}
