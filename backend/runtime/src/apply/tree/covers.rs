//! What hides or protects paths of the finished tree: masks, and read-only copies.

use std::os::fd::OwnedFd;

use belljar_linux::device::Node;
use belljar_linux::mount::{self, Attributes, Change, Depth, Value};
use belljar_linux::{Result, tree};
use rustix::fs::{FileType, OFlags};

use super::Inside;

/// `/dev/null`.
const NULL: Node = Node::character(1, 3);

impl Inside {
    /// A file reads as `/dev/null`, a folder as an empty one. What this kernel does not have needs no mask.
    pub(super) fn mask(&mut self, path: &str) -> Result<()> {
        let Some((target, kind)) = self.at(path, OFlags::empty())? else { return Ok(()) };
        let cover = if kind == FileType::Directory { self.empty_folder()? } else { self.null_device()? };
        mount::attach(&cover, &target)
    }

    /// One empty folder serves all masks: each is a mount of the same tmpfs, which costs a tenth of a new one.
    fn empty_folder(&mut self) -> Result<OwnedFd> {
        if let Some(first) = &self.empty {
            return mount::clone_opened(first);
        }
        let attributes = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NOEXEC;
        let options = [("size", Value::Text("0")), ("nr_inodes", Value::Text("1")), ("mode", Value::Text("755"))];
        let made = mount::new_filesystem("tmpfs", &options, attributes | Attributes::MOUNT_ATTR_NODEV)?;
        self.empty = Some(made.try_clone().map_err(|error| belljar_linux::Error::from_io("keep", "empty folder", &error))?);
        Ok(made)
    }

    /// The host's, which is proven to be the device: one that the image holds could be a link to anything (CVE-2025-31133).
    fn null_device(&mut self) -> Result<OwnedFd> {
        if let Some(proven) = &self.null {
            return mount::clone_opened(proven);
        }
        let opened = mount::open_path(std::path::Path::new("/dev/null"))?;
        NULL.verify(&opened, "/dev/null")?;
        mount::clone_opened(self.null.insert(opened))
    }

    /// Nothing can be written below, whatever is mounted there.
    pub(super) fn make_read_only(&mut self, path: &str) -> Result<()> {
        let Some((target, _)) = self.at(path, OFlags::empty())? else { return Ok(()) };
        let cover = mount::clone_below(&target, Depth::All)?;
        mount::change(&cover, &Change::setting(Attributes::MOUNT_ATTR_RDONLY), Depth::All)?;
        mount::attach(&cover, &target)
    }

    fn at(&self, path: &str, flags: OFlags) -> Result<Option<(OwnedFd, FileType)>> {
        use rustix::io::Errno;
        match tree::open(self.root()?, path, OFlags::PATH | flags) {
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::ACCESS | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error),
            Ok(opened) => {
                let kind = tree::kind_of(&opened)?;
                Ok(Some((opened, kind)))
            }
        }
    }
}
