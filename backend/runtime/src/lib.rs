//! The isolation core: from a [`Spec`] to a running process, in steps that can be read, printed, timed and undone.
//!
//! A pure function turns spec and host facts into a [`plan::Plan`]; a dumb loop ([`apply`]) carries it out. The order of
//! things, which is the security of a runtime, is [`plan::make`]; reading it is the place to start. Then [`cgroup`] for
//! limits and figures, [`overlay`] for what a container's layers hold.
//!
//! This crate must never know what an image or a database is, who asked, or what time it is for anybody: it receives
//! folders. It is synchronous, and what calls [`apply`] must have one thread only.

pub mod apply;
pub mod bundle;
pub mod carrier;
pub mod cgroup;
pub mod copy;
pub mod idmap;
pub mod merged;
pub mod mounts;
pub mod namespaces;
pub mod overlay;
pub mod plan;
pub mod quota;
pub mod seccomp;
pub mod spec;
pub mod stack;
pub mod step;
pub mod user;
pub mod volume;

pub use bundle::Bundle;
pub use spec::{Instance, Spec};
