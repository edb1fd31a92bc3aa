//! Volumes: folders that Belljar keeps for containers, and that outlive them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::VolumeName;
use crate::overlay::FileKind;

/// A volume that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Unique name.
    pub name: VolumeName,
    /// Whether it was made for one container alone, and goes with it.
    pub anonymous: bool,
    /// Free words for people and tools.
    pub labels: BTreeMap<String, String>,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
}

/// How much is in a volume, as far as was looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// Bytes that its files take on the disk.
    pub size_bytes: u64,
    /// Files, folders and all else.
    pub entries: u64,
    /// Whether that is all: what lies beyond the limit of such a look is not counted.
    pub complete: bool,
    /// When it was looked, in Unix milliseconds.
    pub at_ms: i64,
}

/// A container that has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Name of the container.
    pub container: String,
    /// Where it has it.
    pub target: String,
    /// Whether it may not write to it.
    pub readonly: bool,
}

/// A volume, and what is so about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The volume.
    pub volume: Volume,
    /// Its folder on the host.
    pub path: String,
    /// How much is in it; `None` until that is known.
    pub measure: Option<Measure>,
    /// Who has it, by name.
    pub users: Vec<User>,
}

/// Something in a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFile {
    /// Name in its folder; bytes that are not UTF-8 are shown as `\u{fffd}`.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its size; 0 for what is no file.
    pub size_bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as on disk.
    pub uid: u32,
    /// Group, as on disk.
    pub gid: u32,
    /// When it was last written to, in Unix milliseconds.
    pub modified_at_ms: i64,
    /// Where a link leads, as it says.
    pub link_target: Option<String>,
}
