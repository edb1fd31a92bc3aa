//! A new image of an old one and a layer on top: what `commit` makes.

use belljar_model::image::Contents;

use crate::config::{Changes, Configuration, DocumentError, changed, layer_info, manifest_of};
use crate::digest::Digest;
use crate::import::PlacedLayer;
use crate::store::Images;

/// An image that was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    /// Its manifest. Its layers are not compressed: it is the one that an export has.
    pub manifest: Vec<u8>,
    /// Digest of that.
    pub manifest_digest: Digest,
    /// Its configuration.
    pub config: Vec<u8>,
    /// Digest of that, which is the image's.
    pub digest: Digest,
    /// What it says and consists of.
    pub contents: Contents,
}

/// Why no image was made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The configuration below, or what it would become, is not taken.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A layer of the image below is gone.
    #[error("the layer {layer} is not on this disk")]
    Missing {
        /// Its digest.
        layer: Digest,
    },
}

/// Makes an image of one with this configuration, with `layer` on top. What blobs the layers below came as stays known.
pub(crate) fn make(
    images: &Images,
    (config, below): (&[u8], &Contents),
    layer: &PlacedLayer,
    changes: &Changes,
) -> Result<NewImage, CommitError> {
    let config = changed(config, &layer.diff_id, changes)?;
    let configuration = Configuration::parse(&config)?;
    let (mut layers, mut sizes) = (Vec::new(), Vec::new());
    for diff_id in &configuration.diff_ids {
        let facts = images.layer(diff_id).ok_or(CommitError::Missing { layer: *diff_id })?;
        let text = diff_id.to_string();
        let known = below.layers.iter().find(|layer| layer.diff_id == text);
        let blob = known.and_then(|layer| layer.digest.as_ref()?.parse().ok());
        layers.push(layer_info(diff_id, blob.as_ref(), (facts.size_bytes, facts.entries)));
        sizes.push((*diff_id, facts.archive_bytes));
    }
    let manifest = manifest_of(&config, &sizes);
    let (manifest_digest, digest) = (Digest::of(&manifest), Digest::of(&config));
    Ok(NewImage { manifest, manifest_digest, digest, contents: configuration.contents(layers), config })
}
