//! The documents of an image: index, manifest and configuration, from JSON that is hostile until it is a type of ours.
//!
//! ```text
//! index ──(platform)──▶ manifest ──▶ configuration   what the image says; the digests of its layers, uncompressed
//!                          └───────▶ layers          blobs, lowest first
//! ```
//!
//! The [OCI image specification] and Docker's second schema are one shape with two sets of media types; both are read. Fields that
//! are not known are passed over, as the specification asks. What would be an image to one reader and a list of images to another
//! is refused (CVE-2021-41190). Nothing that an image says becomes a setting of Belljar's own: labels are words. This module must
//! never know where documents come from, nor whether their digest was right: whoever has the bytes checks that first.
//!
//! Start reading at [`Document::parse`], then [`Configuration::parse`].
//!
//! [OCI image specification]: https://github.com/opencontainers/image-spec

mod document;
mod image;
mod write;

pub use document::{Descriptor, Document, Index, Manifest, host_platform, is_index};
pub use image::{Configuration, layer_info};
pub(crate) use write::changed;
pub use write::{Changes, configuration_of, manifest_of};

/// Most bytes of an index, a manifest or a configuration: 4 MiB, which registries allow at most.
pub const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// Most layers of an image: what overlayfs stacks.
pub const LAYERS_MAX: usize = 500;
/// Most manifests of an index. Real ones have some ten.
pub const MANIFESTS_MAX: usize = 1000;
/// Most indexes that are followed, one in the other: one that names itself is not followed for ever.
pub const INDEX_DEPTH_MAX: usize = 4;
/// Most lines of a history.
pub const HISTORY_MAX: usize = 10_000;
/// Most volumes, exposed ports and labels of an image, each.
pub const SETTINGS_MAX: usize = 4096;

/// Most bytes of what an error quotes of a document, or says of it.
const PROBLEM_BYTES_MAX: usize = 500;

/// Media type of an image's index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image's manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image's configuration.
pub const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer.
pub const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
/// Docker's name of an index.
pub const DOCKER_INDEX_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's name of a manifest.
pub const DOCKER_MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's name of a configuration.
pub const DOCKER_CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";

/// Why a document is not taken.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is larger, or has more of something, than a limit allows.
    #[error("the image's {document} has more than {max} {what}, which is the limit")]
    OverLimit {
        /// Which document.
        document: &'static str,
        /// What is limited.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// It is not JSON of the right shape.
    #[error("the image's {document} cannot be read")]
    Malformed {
        /// Which document.
        document: &'static str,
        /// Where, and what was expected.
        #[source]
        source: serde_json::Error,
    },
    /// It says something that is refused.
    #[error("the image's {document} is refused: {problem}")]
    Refused {
        /// Which document.
        document: &'static str,
        /// Why, as a clause.
        problem: String,
    },
}

impl DocumentError {
    fn refused(document: &'static str, problem: impl Into<String>) -> Self {
        Self::Refused { document, problem: brief(&problem.into()) }
    }
}

/// Words that may quote a document, fit for an error: not long, and without what a terminal would obey.
pub(crate) fn brief(text: &str) -> String {
    let mut brief = String::with_capacity(text.len().min(PROBLEM_BYTES_MAX));
    for character in text.chars() {
        if brief.len() >= PROBLEM_BYTES_MAX {
            brief.push('…');
            break;
        }
        if character.is_control() { brief.extend(character.escape_default()) } else { brief.push(character) }
    }
    brief
}

/// Reads a document of at most [`DOCUMENT_BYTES_MAX`]. serde_json itself bounds how deep it goes, at 128.
fn read<'a, T: serde::Deserialize<'a>>(document: &'static str, bytes: &'a [u8]) -> Result<T, DocumentError> {
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::OverLimit { document, what: "bytes", max: DOCUMENT_BYTES_MAX });
    }
    serde_json::from_slice(bytes).map_err(|source| {
        // It quotes what it did not expect, whole.
        let (said, told) = (source.to_string(), brief(&source.to_string()));
        let source = if said == told { source } else { serde::de::Error::custom(told) };
        DocumentError::Malformed { document, source }
    })
}

fn bounded<T>(document: &'static str, what: &'static str, list: &[T], max: usize) -> Result<(), DocumentError> {
    if list.len() > max { Err(DocumentError::OverLimit { document, what, max: max as u64 }) } else { Ok(()) }
}
