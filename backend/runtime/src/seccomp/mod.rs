//! Filters of system calls: from a profile, or none, to the program that a container's first process loads.
//!
//! ```text
//! Choice ─▶ Profile ─(capabilities, architecture, kernel)─▶ Rules ─▶ program ─▶ kernel
//!           profile  default                                rules    compile    linux::seccomp
//!                                                             arch   cache
//! ```
//!
//! Made by Rust alone; a test holds it against libseccomp, decision by decision. Start reading at [`rules`], the shape in the
//! middle, then [`default`], which is the table of what a container may ask. Nothing here touches a process except where its
//! name says load; all of it is compiled *before* anything is forked.

pub mod agent;
pub mod arch;
pub mod cache;
pub mod compile;
pub mod default;
pub mod machine;
pub mod profile;
pub mod record;
pub mod rules;
pub mod words;

use std::path::Path;
use std::sync::Arc;

use belljar_linux::seccomp::Flags;
use belljar_model::Invalid;
use libc::sock_filter;
use serde::{Deserialize, Serialize};

use crate::spec::{DEFAULT_CAPABILITIES, Process};

pub use cache::cached;
pub use compile::{INSTRUCTIONS_MAX, TooLong, compile};
pub use default::{default_filter, default_program};
pub use profile::{Context, Profile};
pub use record::Recorded;

/// Which filter a process gets; without one of these it gets none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Choice {
    /// Whose rules.
    #[serde(default)]
    pub source: Source,
    /// Whether refused calls are counted.
    #[serde(default)]
    pub record: Record,
}

/// Whose rules a filter has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum Source {
    /// Ours.
    #[default]
    Default,
    /// Somebody's profile.
    Profile(Arc<Profile>),
}

/// Whether calls that the rules refuse with an errno are counted, and what they get then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum Record {
    /// Not counted.
    #[default]
    No,
    /// Counted, and refused as ever: looking weakens nothing.
    Refuse,
    /// Counted and let through: to learn what a program needs, in a container that is trusted with it.
    LetThrough,
}

/// A filter, ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What is loaded.
    pub program: Vec<sock_filter>,
    /// With which flags.
    pub flags: Flags,
    /// Who answers what the program does not answer itself.
    pub listener: Listener,
    /// How many calls of the native architecture can be made.
    pub allowed: usize,
    /// What of the profile was passed over.
    pub warnings: Vec<String>,
}

/// Who answers the calls that a program hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listener {
    /// It hands none out: [`belljar_linux::seccomp::load`].
    None,
    /// The monitor, see [`record::Recorder`]: [`belljar_linux::seccomp::load_with_listener`]. Where that is refused with `EBUSY`
    /// (somebody outside listens to this whole process tree already), `strict` is to be loaded without one: the container
    /// runs as ever, and nothing is recorded.
    Recorder {
        /// The program without any asking, by which the recorder answers too.
        strict: Vec<sock_filter>,
        /// What the calls get.
        record: Record,
    },
    /// Whoever listens at the profile's socket, see [`agent::hand_over`].
    Agent {
        /// The socket.
        path: String,
        /// What that one is told beside.
        metadata: Option<String>,
    },
}

impl Choice {
    /// Somebody's profile.
    pub fn of(profile: Arc<Profile>) -> Self {
        Self { source: Source::Profile(profile), record: Record::No }
    }
}

impl std::fmt::Display for Prepared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} system calls allowed", self.allowed)?;
        match &self.listener {
            Listener::None => Ok(()),
            Listener::Recorder { record: Record::LetThrough, .. } => formatter.write_str(", others let through and counted"),
            Listener::Recorder { .. } => formatter.write_str(", others counted"),
            Listener::Agent { path, .. } => write!(formatter, ", some asked at {path}"),
        }
    }
}

/// The filter of a process, on this machine, if it is to have one. Nearly always it is the default one, which was compiled
/// before; another is kept in the folder `kept`, where there is one, for the next who asks.
pub fn of_process(process: &Process, kept: Option<&Path>) -> Result<Option<Arc<Prepared>>, Invalid> {
    let Some(choice) = &process.seccomp else { return Ok(None) };
    let context = Context::here(process.capabilities.bounding.iter().map(String::as_str));
    if *choice == Choice::default() && context == Context::here(DEFAULT_CAPABILITIES) {
        return Ok(Some(default_filter().clone()));
    }
    let prepared = match kept {
        Some(folder) => cached(folder, choice, &context),
        None => prepare(choice, &context),
    };
    prepared.map(Arc::new).map(Some)
}

/// Makes the filter of a choice. Errors name the field of the profile.
pub fn prepare(choice: &Choice, context: &Context) -> Result<Prepared, Invalid> {
    let (read, flags, agent) = match &choice.source {
        Source::Default => (profile::Read { rules: default::rules(context), warnings: Vec::new() }, Flags::SPEC_ALLOW, None),
        Source::Profile(profile) => {
            let agent = profile.uses_notify().then(|| (profile.listener_path.clone(), profile.listener_metadata.clone()));
            (profile.rules(context)?, profile.load_flags()?, agent)
        }
    };
    let strict = program(&read.rules)?;
    let allowed = read.rules.allowed();
    let prepared = |program, flags, listener| Prepared { program, flags, listener, allowed, warnings: read.warnings.clone() };
    if let Some((path, metadata)) = agent {
        return Ok(prepared(strict, flags, Listener::Agent { path: path.unwrap_or_default(), metadata }));
    }
    if choice.record == Record::No {
        return Ok(prepared(strict, flags, Listener::None));
    }
    let asking = program(&record::asking(&read.rules))?;
    // A caller that is interrupted by a signal before its answer would be counted twice.
    let flags = flags.with(Flags::WAIT_KILLABLE_RECV);
    Ok(prepared(asking, flags, Listener::Recorder { strict, record: choice.record }))
}

fn program(rules: &rules::Rules) -> Result<Vec<sock_filter>, Invalid> {
    compile(rules).map_err(|error| Invalid { field: format!("{}.syscalls", profile::FIELD), problem: error.to_string() })
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
