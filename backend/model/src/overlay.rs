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
    /// Digest of the archive that it was unpacked from, where it is of an image that has one.
    #[serde(default)]
    pub digest: Option<String>,
    /// Bytes of what it holds: for an image's as its archive says, for the container's own as measured; `None` where unknown.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// The command that made it, as its image tells.
    #[serde(default)]
    pub command: Option<String>,
}

/// What a container's own layer takes of its disk, as the quota of its project counts it, and what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerQuota {
    /// The number that its files carry on the disk.
    pub project: u32,
    /// Bytes: its own, and overlayfs's work folders.
    pub bytes: u64,
    /// Files, folders and all else.
    pub inodes: u64,
    /// What bytes may reach; `None` is no limit.
    pub bytes_max: Option<u64>,
    /// What inodes may reach; `None` is no limit.
    pub inodes_max: Option<u64>,
}

/// The stack, top first: the upper layer is number 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Layers from the top down.
    pub layers: Vec<Layer>,
    /// overlayfs's work folder.
    pub work: String,
    /// What the container's own layer takes and may take, where its file system counts that.
    #[serde(default)]
    pub quota: Option<LayerQuota>,
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
    /// Copied up, with other content.
    Modified,
    /// Copied up with the same content: only mode, owner, time or extended attributes differ.
    Metadata,
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
            Status::Metadata => "metadata",
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
    /// Numbers of the layers whose entry of this name it hides, top first. Folders that are merged hide nothing of each other.
    pub hides: Vec<usize>,
    /// Whether the upper layer has it over one of the same kind below, changed or not.
    pub copied_up: bool,
    /// Whether it is a folder that hides all that the layers below have in it.
    pub opaque: bool,
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
    /// Number of the layer below that had it before; `None` where none did.
    pub below: Option<usize>,
}

/// How a file that was copied up differs from what the layers below have, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The file.
    pub path: String,
    /// What the container did to it.
    pub status: Status,
    /// Number of the layer below that it is held against; `None` where none has it.
    pub below: Option<usize>,
    /// What is other than the content, or why there are no rows: sentences.
    pub notes: Vec<String>,
    /// The rows, in order; long runs without a change are left out.
    pub rows: Vec<Row>,
}

/// One row of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What became of the line.
    pub kind: RowKind,
    /// Number of the line in the layer below, from 1; `None` for a new line.
    pub before_line: Option<usize>,
    /// Number of the line in the upper layer, from 1; `None` for a line that is gone.
    pub after_line: Option<usize>,
    /// Its text, without the end of the line.
    pub text: String,
    /// Whether it is the last line and has no end.
    pub no_newline: bool,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowKind {
    /// It is in both.
    Same,
    /// It is gone.
    Removed,
    /// It is new.
    Added,
    /// Lines without a change are left out here.
    Gap,
}

impl RowKind {
    /// The word on the wire and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            RowKind::Same => "same",
            RowKind::Removed => "removed",
            RowKind::Added => "added",
            RowKind::Gap => "gap",
        }
    }
}
