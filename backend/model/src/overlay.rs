//! A container's root as a stack of layers: which layer each entry comes from, and what the container changed.

use serde::{Deserialize, Serialize};

/// What a layer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The container's own, where its changes go.
    Upper,
    /// Folders and files that Belljar itself puts there: `/proc`, `/etc/hosts`, ….
    Init,
    /// A further read-only layer that was asked for.
    Extra,
    /// Of the image.
    Image,
}

impl Role {
    /// The word on the wire and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Upper => "upper",
            Role::Init => "init",
            Role::Extra => "extra",
            Role::Image => "image",
        }
    }
}

/// One layer of the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What it is for.
    pub role: Role,
    /// Folder on the host.
    pub path: String,
    /// Where its root lies in the container's tree; `""` is the root (see [`crate::image::ImageLayer::at`]).
    pub at: String,
    /// What it is, in a few words.
    pub label: String,
}

/// The stack, top first: the upper layer is number 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Layers from the top down.
    pub layers: Vec<Layer>,
    /// overlayfs's work folder.
    pub work: String,
    /// Where the merged tree can be seen while the container is alive: `/proc/<pid>/root`.
    pub merged: Option<String>,
}

/// What kind of file an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Regular file.
    File,
    /// Folder.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character or block device.
    Device,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
}

impl FileKind {
    /// The word on the wire and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            FileKind::File => "file",
            FileKind::Directory => "directory",
            FileKind::Symlink => "symlink",
            FileKind::Device => "device",
            FileKind::Fifo => "fifo",
            FileKind::Socket => "socket",
        }
    }
}

/// What the container did to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As in the layers below.
    Unchanged,
    /// New: no layer below has it.
    Added,
    /// Copied up and changed; for a folder, something about the folder itself.
    Modified,
    /// Gone: a whiteout lies in the upper layer.
    Deleted,
    /// Something new stands where something else was: an opaque folder, or a file of another kind.
    Replaced,
}

impl Status {
    /// The word on the wire and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Unchanged => "unchanged",
            Status::Added => "added",
            Status::Modified => "modified",
            Status::Deleted => "deleted",
            Status::Replaced => "replaced",
        }
    }
}

/// One entry of a folder of the merged tree. A deleted one is listed too, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Its path from the container's root, with a leading slash.
    pub path: String,
    /// What it is (what it was, where deleted).
    pub kind: FileKind,
    /// Bytes of a regular file; 0 for others.
    pub size_bytes: u64,
    /// Permission bits, with set-uid, set-gid and sticky.
    pub mode: u32,
    /// Owner on disk, which is the owner inside.
    pub uid: u32,
    /// Group on disk, which is the group inside.
    pub gid: u32,
    /// Last change of its content, in Unix milliseconds.
    pub modified_at_ms: i64,
    /// Where a symbolic link points.
    pub link_target: Option<String>,
    /// Number of the layer in the [`Stack`] that it comes from; for a deleted one, the layer that it is hidden in.
    pub layer: usize,
    /// What the container did to it.
    pub status: Status,
}

/// One thing that the container changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Path from the container's root, with a leading slash.
    pub path: String,
    /// What was done; never `unchanged`.
    pub status: Status,
    /// What it is now (what it was, where deleted).
    pub kind: FileKind,
    /// Bytes that it takes in the upper layer; 0 where deleted.
    pub size_bytes: u64,
}
