//! The nouns of Belljar: what a container, an image, a limit, an event *is*, and which request is allowed in which state.
//!
//! This crate must never know how any of it happens: no I/O, no clock, no randomness, no HTTP, no SQL. Every type that
//! can be wrong is parsed here once ([`ContainerName`], [`Limits`], …) and is right from then on. Start reading at
//! [`container`], then [`machine`], which is the table of every state against every request.

mod by_text;
pub mod cgroup;
pub mod change;
pub mod container;
pub mod denied;
pub mod diagnosis;
pub mod draft;
pub mod event;
pub mod exec;
pub mod exit;
pub mod files;
pub mod health;
pub mod history;
pub mod host;
pub mod id;
pub mod idmap;
pub mod image;
pub mod instruction;
pub mod isolation;
pub mod limits;
pub mod log;
pub mod machine;
pub mod mount;
pub mod mounted;
pub mod namespace;
pub mod objects;
pub mod overlay;
pub mod plan;
pub mod process;
pub mod pull;
pub mod recorded;
pub mod reference;
pub mod security;
pub mod setting;
pub mod signal;
pub mod size;
pub mod token;
pub mod usage;
pub mod user;
pub mod volume;
pub mod warning;

pub use change::{Change, LimitsPatch};
pub use container::{Config, Container, State, Wanted};
pub use draft::{Draft, PullPolicy};
pub use event::{Event, EventKind, NewEvent};
pub use exit::{Exit, Failure, OutOfMemory};
pub use host::Host;
pub use id::{ContainerId, ContainerName, Hostname, ImageName, VolumeName};
pub use idmap::IdMapping;
pub use image::Image;
pub use isolation::{Namespaces, Whose};
pub use limits::Limits;
pub use mount::Mount;
pub use process::Process;
pub use pull::Pull;
pub use reference::Reference;
pub use security::Security;
pub use signal::Signal;
pub use token::Token;
pub use user::UserSpec;
pub use volume::Volume;

/// What is wrong with a value that came from outside: the field by its path in the request (`limits.cpus`), and one
/// sentence that says what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// Path of the field, dots between names, `[2]` for the third element.
    pub field: String,
    /// What is wrong, as a clause that follows the field's name.
    pub problem: String,
}

impl Invalid {
    /// An invalid `field`, and why.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}
