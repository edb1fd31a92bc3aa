//! Images: what a container's root begins as, and the folder that keeps them.
//!
//! Two kinds today. The image `host` is the host's own `/usr` under a skeleton that is made here ([`host`]): it works at
//! once and takes no space. A *rootfs* is an archive that somebody brought ([`import`]): hostile until it has been
//! unpacked, entry by entry, below a folder that nothing can climb out of ([`tree`]).
//!
//! This crate must never know what a container is, nor the database: it is asked for folders, and told which digests are
//! in use. Everything in its folder is content addressed, and appears there by one rename, whole or not at all:
//!
//! ```text
//! images/layers/<sha256>/   one unpacked archive
//! images/host/<sha256>/     one skeleton
//! images/tmp/<random>/      half-done work; whatever lies here when Belljar starts belongs to nothing
//! ```
//!
//! Start reading at [`Images`], then [`import`].

mod digest;
pub mod host;
pub mod import;
mod store;
mod tree;

pub use digest::Digest;
pub use host::HostImage;
pub use import::{ImportError, ImportLimits, Imported, Unpacked};
pub use store::{Error, Images, Swept};
