//! The face of an OCI runtime: bundles in, containers out, with runc's commands, messages and exit statuses.
//!
//! A bundle's `config.json` ([`document`]) becomes the core's own [`belljar_runtime::Spec`] ([`translate`]), which knows one
//! language only; what a container is between two commands stands in a folder of its own ([`state`]). There is no server and
//! no monitor here: each command is a process that looks at the folder and the kernel, acts, and ends.
//!
//! This crate must never know the server, the database or Belljar's own containers, and has one thread. Start reading at
//! [`command`].

pub mod command;
mod console;
pub mod document;
mod flags;
mod journal;
mod make;
mod notify;
mod relay;
pub mod state;
pub mod translate;
