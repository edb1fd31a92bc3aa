//! Files that are copied into a container and out of it.

use serde::{Deserialize, Serialize};

use crate::overlay::FileKind;

/// What stands at a path of a container. A link is told itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    /// Last part of the path; `.` for the root, and for a path that ends in `/.`.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Bytes of a regular file; 0 for others.
    pub size_bytes: u64,
    /// Permission bits, with set-uid, set-gid and sticky.
    pub mode: u32,
    /// Last change of its content, in Unix milliseconds.
    pub modified_at_ms: i64,
    /// Where a symbolic link points.
    pub link_target: Option<String>,
}

/// Whose the files are that are copied into a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owners {
    /// Its root's.
    #[default]
    Root,
    /// Of whom the archive says, by number.
    Archive,
}

/// What was copied, put back or removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Entries of every kind.
    pub entries: u64,
    /// Bytes of regular files.
    pub size_bytes: u64,
    /// Devices and sockets, which are passed over.
    pub passed_over: u64,
}
