//! Images: what a container's root begins as, and the folder that keeps them.
//!
//! Three kinds. The image `host` is the host's own `/usr` under a skeleton that is made here ([`host`]): it works at
//! once and takes no space. A *rootfs* is an archive that somebody brought ([`import`]): hostile until it has been
//! unpacked, entry by entry, below a folder that nothing can climb out of ([`tree`]). An *OCI image* is a configuration
//! ([`config`]) and layers, each of which is such an archive.
//!
//! This crate must never know what a container is, nor the database: it is asked for folders, and told which digests are
//! in use. Everything in its folder is content addressed, and appears there by one rename, whole or not at all:
//!
//! ```text
//! images/layers/<sha256>/     one unpacked archive: the root of a layer
//! images/skeletons/<sha256>   what its archive was beside the files' content: in place before the layer is
//! images/host/<sha256>/       one skeleton of the host's image
//! images/damaged/             layers that are being fetched anew
//! images/tmp/<random>         half-done work; whatever lies here when Belljar starts belongs to nothing
//! ```
//!
//! Start reading at [`Images`], then [`import`].

mod aside;
mod brought;
mod commit;
pub mod config;
pub mod crash;
mod digest;
mod export;
mod hashing;
pub mod host;
pub mod import;
mod layer_archive;
mod pack;
mod pins;
pub mod registry;
mod skeleton;
mod store;
mod tree;
mod verify;

pub use brought::{BringError, Brought, BroughtImage};
pub use commit::{CommitError, NewImage};
pub use digest::Digest;
pub use export::{ExportError, Exported, ToExport};
pub use host::HostImage;
pub use import::{ImportError, ImportLimits, Imported, PlacedLayer, StagedLayer, Unpacked};
pub use layer_archive::LayerArchive;
pub use pack::PackError;
pub use pins::Pin;
pub use skeleton::LayerFacts;
pub use store::{Error, Images, Swept};
pub use verify::{Finding, ToVerify};
