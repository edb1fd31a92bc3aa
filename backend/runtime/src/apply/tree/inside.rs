//! The inner half of the file system's steps: the new root and everything in it, put together from detached mounts.

use std::os::fd::{AsFd, OwnedFd};

use belljar_linux::error::Context;
use belljar_linux::mount::{self, Attributes, Depth, Value};
use belljar_linux::{Error, Result, tree};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::step::TreeStep;
use crate::step::tree::Missing;

/// What the steps of the file system share inside.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// What was handed over, by number; each is taken once.
    pub(crate) mounts: Vec<Option<OwnedFd>>,
    /// The new root, before and after it becomes the only one.
    pub(crate) root: Option<OwnedFd>,
}

impl Inside {
    /// Takes one step.
    pub(crate) fn take(&mut self, step: &TreeStep) -> Result<()> {
        match step {
            TreeStep::MakeMountsPrivate => mount::make_all_private(),
            TreeStep::AttachRoot { staging } => self.attach_root(staging),
            TreeStep::Attach { target, mount, missing } => self.attach(target, *mount, *missing),
            TreeStep::Mount { kind, target, options, attributes } => self.mount(kind, target, options, *attributes),
            TreeStep::BindDevice { name, device } => self.bind_device(name, *device),
            TreeStep::LinkDevices => self.link_devices(),
            TreeStep::Mask(path) => self.mask(path),
            TreeStep::MakeReadOnly(path) => self.make_read_only(path),
            TreeStep::Pivot => mount::pivot(self.root()?),
            _ => Err(crate::apply::misplaced(step.verb(), &step.object())),
        }
    }

    /// The container's root.
    pub(crate) fn root(&self) -> Result<&OwnedFd> {
        self.root.as_ref().ok_or_else(|| Error::new("find", "new root", Errno::NOENT))
    }

    /// The staging folder is opened here and not by the monitor: a descriptor of its would lie in another mount namespace.
    fn attach_root(&mut self, staging: &std::path::Path) -> Result<()> {
        let overlay = self.handed_over(0)?;
        mount::attach(&overlay, tree::root(staging)?)?;
        self.root = Some(tree::root(staging)?);
        Ok(())
    }

    fn handed_over(&mut self, index: usize) -> Result<OwnedFd> {
        let missing = || Error::new("find", format!("mount {index}"), Errno::NOENT);
        self.mounts.get_mut(index).and_then(Option::take).ok_or_else(missing)
    }

    fn attach(&mut self, target: &str, index: usize, missing: Missing) -> Result<()> {
        let taken = self.handed_over(index)?;
        let is_folder = || rustix::fs::fstat(&taken).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        let target = match missing {
            Missing::Alike if !is_folder() => tree::make_file(self.root()?, target)?,
            Missing::Folder | Missing::Alike => tree::make_folder(self.root()?, target, 0o755)?,
        };
        mount::attach(&taken, &target)
    }

    fn mount(&self, kind: &str, target: &str, options: &[(String, String)], attributes: Attributes) -> Result<()> {
        let folder = tree::make_folder(self.root()?, target, 0o755)?;
        refuse_link(self.root()?, target)?;
        let value = |(key, text)| (key, Value::of(text));
        let options: Vec<(&str, Value<'_>)> = options.iter().map(|(key, text)| (key.as_str(), text.as_str())).map(value).collect();
        let made = mount::new_filesystem(kind, &options, attributes)?;
        mount::attach(&made, &folder)
    }

    fn bind_device(&self, name: &str, (major, minor): (u32, u32)) -> Result<()> {
        let host = mount::open_path(std::path::Path::new("/dev").join(name).as_path())?;
        let stat = rustix::fs::fstat(&host).context("stat", || name.to_owned())?;
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || device != (major, minor) {
            return Err(Error::new("check", format!("/dev/{name}: not device {major}:{minor}"), Errno::NODEV));
        }
        let taken = mount::clone_opened(&host)?;
        mount::attach(&taken, tree::make_file(self.root()?, &format!("/dev/{name}"))?)
    }

    fn link_devices(&self) -> Result<()> {
        let dev = tree::open(self.root()?, "/dev", OFlags::PATH | OFlags::DIRECTORY)?;
        let links = [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ];
        for (name, to) in links {
            rustix::fs::symlinkat(to, &dev, name).context("link", || format!("/dev/{name}"))?;
        }
        Ok(())
    }

    /// A file reads as `/dev/null`, a folder as an empty one. What this kernel does not have needs no mask.
    fn mask(&self, path: &str) -> Result<()> {
        let Some((target, kind)) = self.existing(path)? else { return Ok(()) };
        let cover = if kind == FileType::Directory {
            let attributes = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NOEXEC;
            mount::new_filesystem("tmpfs", &[("size", Value::Text("0")), ("nr_inodes", Value::Text("1"))], attributes)?
        } else {
            // Ours, checked when it was bound: one that the image holds could be a link to anything (CVE-2025-31133).
            mount::clone_opened(tree::open(self.root()?, "/dev/null", OFlags::PATH | OFlags::NOFOLLOW)?)?
        };
        mount::attach(&cover, &target)
    }

    fn make_read_only(&self, path: &str) -> Result<()> {
        let Some((target, _)) = self.existing(path)? else { return Ok(()) };
        let cover = mount::clone_opened(&target)?;
        let attributes = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV;
        mount::set_attributes(&cover, attributes | Attributes::MOUNT_ATTR_NOEXEC, Depth::One)?;
        mount::attach(&cover, &target)
    }

    /// What is at a path of the tree, if anything is.
    pub(crate) fn existing(&self, path: &str) -> Result<Option<(OwnedFd, FileType)>> {
        match tree::open(self.root()?, path, OFlags::PATH | OFlags::NOFOLLOW) {
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error),
            Ok(opened) => {
                let stat = rustix::fs::fstat(&opened).context("stat", || path.to_owned())?;
                Ok(Some((opened, FileType::from_raw_mode(stat.st_mode))))
            }
        }
    }
}

/// `/proc` or `/sys` as a symbolic link of the image would send our mount, and every write to it, somewhere else
/// (CVE-2019-19921, CVE-2023-27561).
fn refuse_link(root: impl AsFd, target: &str) -> Result<()> {
    let opened = tree::open(root, target, OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = rustix::fs::fstat(&opened).context("stat", || target.to_owned())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => Err(Error::new("mount at", format!("{target}: it is a symbolic link"), Errno::LOOP)),
        _ => Ok(()),
    }
}
