//! Volumes on the wire.

use std::collections::BTreeMap;

use belljar_model::overlay::FileKind;
use belljar_model::volume as model;
use serde::{Deserialize, Serialize};

use crate::time;

/// The body of `POST /volumes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    /// Its name, which must be free; made up where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Free words for people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A volume as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Unique name.
    pub name: String,
    /// Whether it was made for one container alone, and goes with it.
    pub anonymous: bool,
    /// Free words for people and tools.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    #[serde(rename = "created_at", with = "time::millis")]
    pub created_at_ms: i64,
    /// Its folder on the host.
    pub path: String,
    /// Bytes that its files take on the disk; `null` until somebody has looked.
    pub size_bytes: Option<u64>,
    /// Files, folders and all else in it; `null` until somebody has looked.
    pub entries: Option<u64>,
    /// Whether these two are all; `false` where there is more than was counted, `null` until somebody has looked.
    pub complete: Option<bool>,
    /// When somebody looked.
    #[serde(rename = "measured_at", with = "time::millis_option")]
    pub measured_at_ms: Option<i64>,
    /// The containers that have it, by name: while there is one, it is not deleted.
    pub used_by: Vec<VolumeUser>,
}

/// A container that has a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUser {
    /// Name of the container.
    pub container: String,
    /// Where it has it.
    pub target: String,
    /// Whether it may not write to it.
    pub readonly: bool,
}

impl From<model::Kept> for Volume {
    fn from(kept: model::Kept) -> Self {
        let model::Kept { volume, path, measure, users } = kept;
        let model::Volume { name, anonymous, labels, created_at_ms } = volume;
        let user = |user: model::User| VolumeUser { container: user.container, target: user.target, readonly: user.readonly };
        Self {
            name: name.into(),
            anonymous,
            labels,
            created_at_ms,
            path,
            size_bytes: measure.map(|measure| measure.size_bytes),
            entries: measure.map(|measure| measure.entries),
            complete: measure.map(|measure| measure.complete),
            measured_at_ms: measure.map(|measure| measure.at_ms),
            used_by: users.into_iter().map(user).collect(),
        }
    }
}

/// The body of `POST /volumes/prune`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneVolumes {
    /// Also those that somebody gave a name; otherwise only those that were made for a container alone.
    #[serde(default)]
    pub all: bool,
    /// Only say what would go.
    #[serde(default)]
    pub preview: bool,
}

/// What went, or would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedVolumes {
    /// The volumes that nobody has.
    pub volumes: Vec<Volume>,
    /// Bytes of all of them; `null` where one could not be measured.
    pub size_bytes: Option<u64>,
    /// Whether nothing was deleted.
    pub preview: bool,
}

impl PrunedVolumes {
    /// Of these volumes.
    pub fn of(kept: Vec<model::Kept>, request: PruneVolumes) -> Self {
        let size_bytes = kept.iter().map(|kept| kept.measure.map(|measure| measure.size_bytes)).sum();
        Self { volumes: kept.into_iter().map(Volume::from).collect(), size_bytes, preview: request.preview }
    }
}

/// Something in a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFile {
    /// Name in its folder.
    pub name: String,
    /// `file`, `directory`, `symlink`, `device`, `fifo` or `socket`.
    #[serde(rename = "type")]
    pub kind: FileKind,
    /// Its size; 0 for what is no file.
    pub size_bytes: u64,
    /// Permission bits, with set-uid, set-gid and sticky.
    pub mode: u32,
    /// Owner inside, which is the one on disk.
    pub uid: u32,
    /// Group inside, which is the one on disk.
    pub gid: u32,
    /// When it was last written to.
    #[serde(rename = "modified_at", with = "time::millis")]
    pub modified_at_ms: i64,
    /// Where a link leads, as it says.
    pub link_target: Option<String>,
}

impl From<model::VolumeFile> for VolumeFile {
    fn from(file: model::VolumeFile) -> Self {
        let model::VolumeFile { name, kind, size_bytes, mode, uid, gid, modified_at_ms, link_target } = file;
        Self { name, kind, size_bytes, mode, uid, gid, modified_at_ms, link_target }
    }
}
