//! One process per container: makes it, is the parent of its first process, writes its log, notes its end.
//!
//! ```text
//! server ──executes──▶ spawner (`belljar monitor`, one thread, forked from nobody)
//!                         └──forks──▶ monitor of container A ──clones──▶ its first process
//!                         └──forks──▶ monitor of container B ──clones──▶ …
//! ```
//!
//! The server has threads, so it cannot fork; it executes the *spawner* once, before it does anything else, and asks it for
//! a monitor per start ([`spawner`]). A monitor is a copy of the spawner: it costs the pages that it writes to, and no
//! exec. Server and spawner may die at any time; monitors do not notice.
//!
//! A monitor tells by files, never by messages: `alive.json` while the container lives, `exit.json` when it has ended,
//! written whole and synced *before* anybody can see that it ended ([`record`]). Whoever wants to know looks. This crate
//! must never know the server, the database or tokio, and has one thread.

mod collect;
mod denied;
pub mod exec;
pub mod files;
pub mod log;
pub mod record;
mod run;
pub mod spawner;

pub use record::{Alive, Ended, Look, look};
pub use spawner::Spawner;
