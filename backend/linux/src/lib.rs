//! The kernel, made safe: what `nix` and `rustix` lack, and small readers of the kernel's own files.
//!
//! This crate must never know what a container is: it speaks of processes, mounts, namespaces, file descriptors. It is
//! the only crate of the workspace with `unsafe`, and every block of it says what the callee demands and how each demand
//! is met. Start reading at [`error`], the one way in which a system call fails here; then [`process`] (how processes are
//! made, named and found again) and [`mount`] (detached mounts, which is how a container's tree is built without the
//! host ever seeing it).

#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

pub mod allocation;
pub mod attributes;
pub mod board;
pub mod bpf;
pub mod capability;
pub mod crash;
pub mod device;
pub mod ending;
pub mod environment;
pub mod error;
pub mod executable;
pub mod fd;
pub mod file;
pub mod idmap;
pub mod kmsg;
pub mod label;
pub mod landlock;
pub mod mount;
pub mod mountinfo;
pub mod namespace;
pub mod net;
pub mod owner;
pub mod process;
pub mod procfs;
pub mod quota;
pub mod removal;
pub mod reread;
pub mod seccomp;
pub mod socket;
pub mod terminal;
pub mod tree;

pub use error::{Error, Result};
