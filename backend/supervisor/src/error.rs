//! What can go wrong when something is asked of the supervisor, by kind, so that an edge can map it in one `match`.

use std::io;
use std::path::PathBuf;

use belljar_model::{ContainerId, ContainerName, Failure, ImageName, Invalid, VolumeName};

/// A request that could not be carried out, or could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing of that name.
    #[error("there is no {what} {key}")]
    NotFound {
        /// `container` or `image`.
        what: &'static str,
        /// What was asked for.
        key: String,
    },
    /// The beginning of an id fits several.
    #[error("{key} is the beginning of several {what} ids: write more of it")]
    Ambiguous {
        /// What was asked for.
        key: String,
        /// `container` or `image`.
        what: &'static str,
    },
    /// The name belongs to another container.
    #[error("the name {name} is taken by container {}", id.short())]
    NameTaken {
        /// The name.
        name: ContainerName,
        /// Who has it.
        id: ContainerId,
    },
    /// Not in this state: the verdict of [`belljar_model::machine::admit`].
    #[error("{name} {because}")]
    Refused {
        /// The container.
        name: ContainerName,
        /// A clause that follows the name.
        because: &'static str,
    },
    /// Another process serves this instance.
    #[error("another Belljar serves instance {instance}; give this one --instance NAME")]
    InstanceTaken {
        /// Its name.
        instance: String,
    },
    /// An image of that name is there already.
    #[error("there is already an image {image}: delete it first, or choose another name")]
    ImageExists {
        /// The image.
        image: ImageName,
    },
    /// Containers are made of it.
    #[error("the image {image} is used by {}", containers.join(", "))]
    ImageInUse {
        /// The image.
        image: ImageName,
        /// By name.
        containers: Vec<String>,
    },
    /// It was called by its id, and has names that would all be lost.
    #[error("the image {image} has several names: delete it by {}", names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    ImageHasNames {
        /// The first digits of its id.
        image: String,
        /// All of them.
        names: Vec<ImageName>,
    },
    /// What is at a path of the container does not let it.
    #[error("not done in {name}: {because}")]
    FilesRefused {
        /// The container.
        name: ContainerName,
        /// Why, as a sentence without a full stop.
        because: String,
    },
    /// There is a volume of that name.
    #[error("there is already a volume {volume}")]
    VolumeExists {
        /// The volume.
        volume: VolumeName,
    },
    /// Containers have it.
    #[error("the volume {volume} is used by {}", containers.join(", "))]
    VolumeInUse {
        /// The volume.
        volume: VolumeName,
        /// By name.
        containers: Vec<String>,
    },
    /// What the image has could not be copied into an empty volume, which is as empty as before.
    #[error("could not fill the volume {volume} from image {image}: {because}")]
    FillFailed {
        /// The volume.
        volume: VolumeName,
        /// The image, by name.
        image: String,
        /// A sentence without a full stop.
        because: String,
    },
    /// An image could not be pulled.
    #[error("{problem}")]
    PullFailed {
        /// Whose fault that is.
        kind: ErrorKind,
        /// Why: a sentence with its causes.
        problem: String,
    },
    /// The kernel did not take a change; everything is as before.
    #[error("the kernel refused {} of {name}", field.as_deref().unwrap_or("a change"))]
    LimitRefused {
        /// The container.
        name: ContainerName,
        /// What was to be changed, where that is known: `limits.memory_bytes`.
        field: Option<String>,
        /// Its answer.
        #[source]
        source: belljar_linux::Error,
    },
    /// Its own layer takes more already than it would be allowed.
    #[error("{field} of {name} cannot be less than what its own layer takes now, {takes}: remove something from it, or reset it")]
    LayerTooFull {
        /// The container.
        name: ContainerName,
        /// Which limit: `limits.disk_bytes`.
        field: &'static str,
        /// What it takes, with its unit.
        takes: String,
    },
    /// A field of the request is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The program could not begin. The container is `stopped`, and its exit says the same.
    #[error("could not start {name}: {failure}")]
    StartFailed {
        /// The container.
        name: ContainerName,
        /// Step, object, cause.
        failure: Failure,
    },
    /// A further program could not begin in the container, which goes on.
    #[error("could not run it in {name}: {failure}")]
    ExecFailed {
        /// The container.
        name: ContainerName,
        /// Step, object, cause.
        failure: Failure,
    },
    /// It cannot be done just now.
    #[error("{because}")]
    Unavailable {
        /// Why, as a sentence without a full stop.
        because: String,
    },
    /// The database did not do its part.
    #[error("the database failed")]
    Store(#[from] belljar_store::Error),
    /// A file or folder of Belljar could not be read or written.
    #[error("could not {operation} {}", path.display())]
    File {
        /// What was tried, as a verb: `read`, `make`, `remove`.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel, a bundle or an image did not do its part.
    #[error("could not {operation} {object}")]
    Failed {
        /// What was tried, as a verb: `freeze`, `read the cgroup of`.
        operation: &'static str,
        /// With what.
        object: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What kind of error it is: what the edge turns into a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// There is no such thing.
    NotFound,
    /// It contradicts what is.
    Conflict,
    /// A field is wrong.
    Invalid,
    /// The program could not begin.
    StartFailed,
    /// Not now.
    Unavailable,
    /// Our own fault, or the machine's.
    Internal,
}

impl Error {
    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::Ambiguous { .. }
            | Error::NameTaken { .. }
            | Error::Refused { .. }
            | Error::FilesRefused { .. }
            | Error::LimitRefused { .. }
            | Error::LayerTooFull { .. }
            | Error::InstanceTaken { .. }
            | Error::ImageExists { .. }
            | Error::ImageHasNames { .. }
            | Error::ImageInUse { .. }
            | Error::VolumeExists { .. }
            | Error::VolumeInUse { .. } => ErrorKind::Conflict,
            Error::Invalid(_) => ErrorKind::Invalid,
            Error::PullFailed { kind, .. } => *kind,
            Error::StartFailed { .. } | Error::ExecFailed { .. } => ErrorKind::StartFailed,
            Error::Unavailable { .. } => ErrorKind::Unavailable,
            Error::FillFailed { .. } | Error::Store(_) | Error::File { .. } | Error::Failed { .. } => ErrorKind::Internal,
        }
    }

    /// A failure of ours whose cause is `source`.
    pub(crate) fn failed(
        operation: &'static str,
        object: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error::Failed { operation, object: object.into(), source: source.into() }
    }
}

/// An error and what is under it, in one line for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
