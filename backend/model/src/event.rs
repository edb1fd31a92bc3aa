//! What happened, and when: the diary of every container.

use serde::{Deserialize, Serialize};

use crate::ContainerId;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A container was created.
    Created,
    /// Its program began.
    Started,
    /// Its program could not begin.
    StartFailed,
    /// Its program ended by itself, or by a signal.
    Exited,
    /// The kernel killed it, or a process of it, for memory.
    OutOfMemory,
    /// It came up against a limit: told at most once a minute and limit.
    LimitHit,
    /// It waited for a processor, memory or disks for too much of a minute.
    Pressure,
    /// Its check succeeded, for the first time or again.
    Healthy,
    /// Its check failed so often in a row that it counts.
    Unhealthy,
    /// A person changed its limits.
    LimitsChanged,
    /// A person stopped it.
    Stopped,
    /// A person sent it a signal.
    Killed,
    /// Its processes were frozen.
    Paused,
    /// Its processes were thawed.
    Resumed,
    /// A person, or its restart policy, started it again.
    Restarted,
    /// A person ran a further program in it.
    Exec,
    /// A person changed files of it from outside: copied some in, put a path back, reset it.
    FilesChanged,
    /// It was started without a protection that this host could not give.
    Loosened,
    /// It was found dead, and nobody saw how it ended.
    Lost,
    /// The server found it running after having been away.
    Found,
    /// It was deleted, with everything of it.
    Deleted,
    /// An image was brought in.
    ImageImported,
    /// An image was deleted.
    ImageDeleted,
    /// An image came from a registry.
    ImagePulled,
    /// An image did not come from a registry, although it was asked for.
    ImagePullFailed,
    /// An image got a further name, or a name went to another image.
    ImageTagged,
    /// An image lost a name, and has others or is still needed.
    ImageUntagged,
    /// An image was made of a container.
    ImageCommitted,
    /// Credentials of a registry were kept.
    RegistryLogin,
    /// Credentials of a registry were forgotten.
    RegistryLogout,
    /// A volume was made.
    VolumeCreated,
    /// A volume was filled with what an image has.
    VolumeFilled,
    /// A volume was deleted, with everything in it.
    VolumeDeleted,
    /// The folder of a volume was found, or was found to be missing.
    VolumeFound,
    /// The disk of the data folder is almost full.
    SpaceLow,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 35] = [
        EventKind::Created,
        EventKind::Started,
        EventKind::StartFailed,
        EventKind::Exited,
        EventKind::OutOfMemory,
        EventKind::LimitHit,
        EventKind::Pressure,
        EventKind::Healthy,
        EventKind::Unhealthy,
        EventKind::LimitsChanged,
        EventKind::Stopped,
        EventKind::Killed,
        EventKind::Paused,
        EventKind::Resumed,
        EventKind::Restarted,
        EventKind::Exec,
        EventKind::FilesChanged,
        EventKind::Loosened,
        EventKind::Lost,
        EventKind::Found,
        EventKind::Deleted,
        EventKind::ImageImported,
        EventKind::ImageDeleted,
        EventKind::ImagePulled,
        EventKind::ImagePullFailed,
        EventKind::ImageTagged,
        EventKind::ImageUntagged,
        EventKind::ImageCommitted,
        EventKind::RegistryLogin,
        EventKind::RegistryLogout,
        EventKind::VolumeCreated,
        EventKind::VolumeFilled,
        EventKind::VolumeDeleted,
        EventKind::VolumeFound,
        EventKind::SpaceLow,
    ];

    /// The word on the wire, in the database and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Created => "created",
            EventKind::Started => "started",
            EventKind::StartFailed => "start_failed",
            EventKind::Exited => "exited",
            EventKind::OutOfMemory => "out_of_memory",
            EventKind::LimitHit => "limit_hit",
            EventKind::Pressure => "pressure",
            EventKind::Healthy => "healthy",
            EventKind::Unhealthy => "unhealthy",
            EventKind::LimitsChanged => "limits_changed",
            EventKind::Stopped => "stopped",
            EventKind::Killed => "killed",
            EventKind::Paused => "paused",
            EventKind::Resumed => "resumed",
            EventKind::Restarted => "restarted",
            EventKind::Exec => "exec",
            EventKind::FilesChanged => "files_changed",
            EventKind::Loosened => "loosened",
            EventKind::Lost => "lost",
            EventKind::Found => "found",
            EventKind::Deleted => "deleted",
            EventKind::ImageImported => "image_imported",
            EventKind::ImageDeleted => "image_deleted",
            EventKind::ImagePulled => "image_pulled",
            EventKind::ImagePullFailed => "image_pull_failed",
            EventKind::ImageTagged => "image_tagged",
            EventKind::ImageUntagged => "image_untagged",
            EventKind::ImageCommitted => "image_committed",
            EventKind::RegistryLogin => "registry_login",
            EventKind::RegistryLogout => "registry_logout",
            EventKind::VolumeCreated => "volume_created",
            EventKind::VolumeFilled => "volume_filled",
            EventKind::VolumeDeleted => "volume_deleted",
            EventKind::VolumeFound => "volume_found",
            EventKind::SpaceLow => "space_low",
        }
    }

    /// Whether it is told of a container, and not of an image or a registry.
    pub fn is_of_container(self) -> bool {
        !self.as_str().starts_with("image_") && !self.as_str().starts_with("registry_")
    }

    /// The kind with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// An event that is about to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// What kind.
    pub kind: EventKind,
    /// The container it is about.
    pub container: Option<ContainerId>,
    /// Name of the container or image at that time: it stays readable when that is gone.
    pub subject: String,
    /// One sentence for a person.
    pub message: String,
}

/// An event as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Number in order of recording.
    pub id: i64,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// What kind.
    pub kind: EventKind,
    /// The container it is about.
    pub container: Option<ContainerId>,
    /// Name of the container or image at that time.
    pub subject: String,
    /// One sentence for a person.
    pub message: String,
}
