//! The file system's half of the two loops: [`outside`] makes and takes, [`inside`] puts together.
//!
//! What is put together is the tree of somebody hostile. So a target is never a path to any call but the one that opens it
//! ([`place`]), and from then on a descriptor; and what is mounted there was made detached before, out of everybody's reach.

mod attributes;
mod cgroups;
mod copy_up;
mod covers;
mod devices;
mod init_layer;
pub(crate) mod inside;
pub(crate) mod outside;
pub(crate) mod overlay;
mod place;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use inside::Inside;
pub(crate) use outside::Outside;
