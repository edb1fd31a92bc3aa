//! The trees that an operation works on, and whom it works as.
//!
//! A process of ours opens a running container's root from its mount namespace, and comes back: the tree is a descriptor to it,
//! never its own root, so nothing of the container is executed, loaded or looked up by a name of the host's. Then it joins the
//! container's *user* namespace for good. From there on it is the container's root user outside of the container: what it makes
//! belongs to the container's ids, and there is nothing that it could do which the container's own root could not. That is the
//! wall behind the first one, which is how paths are resolved.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use belljar_linux::namespace::{self, CLONE_NEWUSER};
use belljar_linux::{Error, Result, process, tree};
use belljar_model::container::ProcessRef;
use belljar_runtime::merged::{self, Owners, Share};
use belljar_runtime::spec::OverlayTree;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A tree of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// That of a running container, as its processes see it, with all that is mounted there. Its first process.
    Running(ProcessRef),
    /// The layers of a container that rests. Nobody else may mount them meanwhile, and their folders must be there.
    Layers(OverlayTree),
    /// A folder of the host, whose owners are as on disk.
    Folder(PathBuf),
}

/// What was opened.
#[derive(Debug)]
pub(super) struct Opened {
    /// The tree.
    pub(super) root: OwnedFd,
    /// What lies below the container's own layer, where that was asked for.
    pub(super) below: Option<OwnedFd>,
}

/// Opens a tree, and becomes whom it belongs to. This process has one thread, and ends soon.
pub(super) fn open(root: &Root, below: Option<&OverlayTree>) -> Result<Opened> {
    match root {
        Root::Running(first) => running(*first, below),
        Root::Layers(layers) => {
            let root = merged::open(layers, Share::Whole, None)?;
            let below = below.map(|layers| merged::open(layers, Share::Below, None)).transpose()?;
            Ok(Opened { root, below })
        }
        Root::Folder(path) => Ok(Opened { root: tree::root(path)?, below: None }),
    }
}

fn running(first: ProcessRef, below: Option<&OverlayTree>) -> Result<Opened> {
    let (mounts, users) = (namespace::open(first.pid, "mnt")?, namespace::open(first.pid, "user")?);
    let is_ours = namespace::inode(first.pid, "user")? == namespace::inode(own_pid(), "user")?;
    let base = if is_ours { None } else { Some(base_of(first.pid)?) };
    // Looked at after its namespaces were opened: they are this process's, or it is gone.
    drop(process::open(first.pid, first.start_ticks)?);
    let home = namespace::open(own_pid(), "mnt")?;
    namespace::enter_mounts(&mounts)?;
    let root = tree::root(Path::new("/"));
    namespace::enter_mounts(&home)?;
    let root = root?;
    let owners = base.map(|base| Owners { user_namespace: &users, base });
    let below = below.map(|layers| merged::open(layers, Share::Below, owners.as_ref())).transpose()?;
    if !is_ours {
        namespace::enter(&users, CLONE_NEWUSER)?;
        match process::become_user(0, 0, &[]) {
            // Where groups were mapped by who may not do so at will, nobody inside may change them.
            Err(error) if error.errno == Errno::PERM => {}
            became => became?,
        }
    }
    Ok(Opened { root, below })
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

/// The id outside that a process's root has.
fn base_of(pid: i32) -> Result<u32> {
    let path = format!("/proc/{pid}/uid_map");
    let unread = || Error::new("read", path.clone(), Errno::INVAL);
    let text = belljar_linux::file::read(&path).map_err(|error| Error::from_io("read", path.clone(), &error))?;
    let mut lines = text.lines().map(|line| line.split_ascii_whitespace().map(str::parse::<u32>).collect::<Vec<_>>());
    let root = lines.find(|fields| matches!(fields.as_slice(), [Ok(0), Ok(_), Ok(_)]));
    root.and_then(|fields| fields[1].clone().ok()).ok_or_else(unread)
}
