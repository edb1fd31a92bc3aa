//! An OCI layout: which of its images is meant, and where its parts lie.

use belljar_model::Reference;

use super::{BringError, Found, FoundLayer, Source, blob_path};
use crate::config::{Descriptor, Document, DocumentError, INDEX_DEPTH_MAX, Index, Manifest, host_platform};
use crate::digest::Digest;

/// Finds the image in a layout.
pub(super) fn find(source: &Source, wanted: Option<&Reference>) -> Result<Found, BringError> {
    let bytes = source.document("index.json")?;
    let Document::Index(index) = Document::parse(&bytes, None)? else {
        return Err(DocumentError::Refused { document: "index", problem: "it is a manifest".to_owned() }.into());
    };
    let index = one_of(index, wanted)?;
    let names = index.manifests.iter().filter_map(|manifest| reference(manifest.name.as_deref()?)).collect();
    let (manifest, bytes) = manifest(source, index)?;
    let config = source.blob(&manifest.config.digest, Some(manifest.config.size_bytes))?;
    let layer = |layer: &Descriptor| FoundLayer { path: blob_path(&layer.digest), said: Some((layer.digest, layer.size_bytes)) };
    Ok(Found { manifest: Some(bytes), config, layers: manifest.layers.iter().map(layer).collect(), names })
}

/// What of an index is the one image that is meant: all of one name, which may be for several platforms, or all names of one image.
fn one_of(index: Index, wanted: Option<&Reference>) -> Result<Index, BringError> {
    let images: Vec<Descriptor> = index.manifests.into_iter().filter(|manifest| !manifest.is_attestation).collect();
    let mut names: Vec<String> = images.iter().filter_map(|image| image.name.clone()).collect();
    names.sort();
    names.dedup();
    if let Some(wanted) = wanted {
        let is_wanted = |image: &Descriptor| image.name.as_deref().is_some_and(|name| is_name_of(name, wanted));
        if let Some(named) = images.iter().find(|image| is_wanted(image)).map(|image| image.name.clone()) {
            let digests: Vec<Digest> = images.iter().filter(|image| image.name == named).map(|image| image.digest).collect();
            return Ok(Index { manifests: images.into_iter().filter(|image| digests.contains(&image.digest)).collect() });
        }
    }
    let of_one_name = names.len() <= 1;
    let one_image = images.windows(2).all(|pair| pair[0].digest == pair[1].digest);
    if of_one_name || one_image {
        return Ok(Index { manifests: images });
    }
    let problem = if wanted.is_some() { "none of them is the one that was asked for" } else { "say which one by its name" };
    Err(BringError::Which { there: names, problem })
}

/// Whether a layout's word for an image is this reference: whole, familiar, or only its tag.
fn is_name_of(name: &str, wanted: &Reference) -> bool {
    name == wanted.familiar() || name == wanted.to_string() || Some(name) == wanted.tag()
}

/// A layout's word as a reference; a bare tag is none.
fn reference(name: &str) -> Option<Reference> {
    name.contains([':', '/']).then(|| name.parse().ok()).flatten()
}

/// Follows indexes to the manifest that is for this host.
fn manifest(source: &Source, mut index: Index) -> Result<(Manifest, Vec<u8>), BringError> {
    for _ in 0..INDEX_DEPTH_MAX {
        let chosen = index.choose(&host_platform())?.clone();
        let bytes = source.blob(&chosen.digest, Some(chosen.size_bytes))?;
        match Document::parse(&bytes, Some(&chosen.media_type))? {
            Document::Manifest(manifest) => return Ok((manifest, bytes)),
            Document::Index(nested) => index = nested,
        }
    }
    let max = INDEX_DEPTH_MAX as u64;
    Err(DocumentError::OverLimit { document: "index", what: "indexes in one another", max }.into())
}
