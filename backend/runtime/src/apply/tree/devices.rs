//! Devices, and the links in `/dev`. Everything is made in folders that were opened without following a link, and is what
//! the kernel says of it and not what its name says (CVE-2026-41579).

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use belljar_linux::device::{self, Node, Ownership};
use belljar_linux::mount::{self, magic};
use belljar_linux::{Error, Result, tree};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::Inside;
use super::place::{self, Wanted};
use crate::spec::{Device, DeviceKind};
use crate::step::tree::Way;

/// Links that programs expect. `ptmx` is the container's own, of its own devpts.
const LINKS: [(&str, &str); 4] =
    [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")];

/// Major numbers of pseudo terminals (`Documentation/admin-guide/devices.txt`: 136 to 143).
const PTY_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

impl Inside {
    pub(super) fn place_device(&mut self, wanted: &Device, way: Way) -> Result<()> {
        let node = Node { kind: kind_of(wanted.kind), major: wanted.major, minor: wanted.minor };
        if way == Way::Bound {
            return self.bind_device(wanted, &node);
        }
        let (parent, name) = wanted.path.rsplit_once('/').unwrap_or(("", &wanted.path));
        let folder = strict_folder(self.root()?, parent)?;
        let ownership = Ownership { mode: wanted.mode, uid: wanted.uid, gid: wanted.gid };
        match device::make(&folder, name, &node, &ownership) {
            // Whoever makes containers within one may use devices, and not make any.
            Err(error) if error.errno == Errno::PERM && node.kind != FileType::Fifo => {
                self.note = Some(": bound, as no node may be made here".to_owned());
                self.bind_device(wanted, &node)
            }
            made => made,
        }
    }

    fn bind_device(&self, wanted: &Device, node: &Node) -> Result<()> {
        let host = host_device(wanted)?;
        node.verify(&host, &wanted.path)?;
        let taken = mount::clone_opened(&host)?;
        let (parent, name) = wanted.path.rsplit_once('/').unwrap_or(("", &wanted.path));
        let folder = strict_folder(self.root()?, parent)?;
        let target = match tree::open_without_links(&folder, name, OFlags::PATH) {
            Err(error) if error.errno == Errno::NOENT => tree::make_file(&folder, name)?,
            found => found?,
        };
        mount::attach(&taken, &target)
    }

    pub(super) fn link_devices(&self) -> Result<()> {
        let dev = strict_folder(self.root()?, "/dev")?;
        for (name, to) in LINKS {
            device::link(&dev, name, to)?;
        }
        if Path::new("/proc/kcore").exists() {
            device::link(&dev, "core", "/proc/kcore")?;
        }
        device::link_over(&dev, "ptmx", "pts/ptmx")
    }

    /// The terminal as `/dev/console`: what is open is bound, and no name of it is looked up again (CVE-2025-52565).
    pub(crate) fn bind_console(&self, terminal: BorrowedFd<'_>) -> Result<()> {
        let stat = tree::stat(terminal)?;
        let is_terminal = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && PTY_MAJORS.contains(&rustix::fs::major(stat.st_rdev))
            && mount::magic_of(terminal)? == magic::DEVPTS;
        if !is_terminal {
            return Err(Error::new("bind", "/dev/console: what is to be bound is no terminal", Errno::NODEV));
        }
        let taken = mount::clone_opened(terminal)?;
        mount::attach(&taken, place::opened(self.root()?, "/dev/console", Wanted::File)?)
    }
}

/// A folder of the tree, made where it is missing, on the way to which there is no link.
fn strict_folder(root: &OwnedFd, path: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match tree::open_without_links(root, path, flags) {
        Err(error) if error.errno == Errno::NOENT => {
            tree::make_folder(root, path, 0o755)?;
            tree::open_without_links(root, path, flags)
        }
        found => found,
    }
}

fn kind_of(kind: DeviceKind) -> FileType {
    match kind {
        DeviceKind::Character => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    }
}

/// The host's node of a device: at the same path, or where the kernel says that it is.
fn host_device(wanted: &Device) -> Result<OwnedFd> {
    match mount::open_path(Path::new(&wanted.path)) {
        Ok(opened) if tree::stat(&opened).is_ok_and(|stat| stat.st_rdev == rustix::fs::makedev(wanted.major, wanted.minor)) => Ok(opened),
        _ => mount::open_path(&kernels_name(wanted)),
    }
}

fn kernels_name(wanted: &Device) -> PathBuf {
    let class = if wanted.kind == DeviceKind::Block { "block" } else { "char" };
    let told = std::fs::read_to_string(format!("/sys/dev/{class}/{}:{}/uevent", wanted.major, wanted.minor)).unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map_or_else(|| PathBuf::from(&wanted.path), |name| Path::new("/dev").join(name))
}
