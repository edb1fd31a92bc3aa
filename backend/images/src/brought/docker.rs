//! What `docker save` wrote, in its old form (a folder for each layer, with links between them) and its new one (blobs): both have the
//! list `manifest.json`, whose paths are names of the archive and nothing more.

use belljar_model::Reference;
use serde::Deserialize;

use super::{BringError, Found, FoundLayer, Source, mismatch};
use crate::config::{DocumentError, LAYERS_MAX, MANIFESTS_MAX};
use crate::digest::Digest;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

const LIST: &str = "manifest.json";

/// Finds the image in such an archive.
pub(super) fn find(source: &Source, wanted: Option<&Reference>) -> Result<Found, BringError> {
    let bytes = source.document(LIST)?;
    let images: Vec<WireImage> = serde_json::from_slice(&bytes).map_err(|source| DocumentError::Malformed { document: LIST, source })?;
    let over = |what, max: usize| DocumentError::OverLimit { document: LIST, what, max: max as u64 };
    if images.len() > MANIFESTS_MAX {
        return Err(over("images", MANIFESTS_MAX).into());
    }
    let image = one_of(images, wanted)?;
    let layers = image.layers.unwrap_or_default();
    if layers.len() > LAYERS_MAX {
        return Err(over("layers", LAYERS_MAX).into());
    }
    let config = source.document(&image.config)?;
    let found = Digest::of(&config);
    if let Some(said) = said(&image.config).filter(|said| *said != found) {
        return Err(mismatch(&image.config, "digest", (found, said)));
    }
    let names = image.repo_tags.iter().flatten().filter_map(|tag| tag.parse().ok()).collect();
    let layers = layers.into_iter().map(|path| FoundLayer { path, said: None }).collect();
    Ok(Found { manifest: None, config, layers, names })
}

fn one_of(images: Vec<WireImage>, wanted: Option<&Reference>) -> Result<WireImage, BringError> {
    let tags = |image: &WireImage| image.repo_tags.clone().unwrap_or_default();
    let is_wanted = |image: &WireImage| tags(image).iter().any(|tag| tag.parse::<Reference>().is_ok_and(|tag| Some(&tag) == wanted));
    let there = images.iter().flat_map(tags).collect();
    let is_single = images.len() == 1;
    let named = images.iter().position(is_wanted);
    match images.into_iter().nth(named.unwrap_or(0)) {
        Some(image) if named.is_some() || is_single => Ok(image),
        _ if wanted.is_some() => Err(BringError::Which { there, problem: "none of them is the one that was asked for" }),
        _ => Err(BringError::Which { there, problem: "say which one by its name" }),
    }
}

/// The digest that the name of a configuration says, if it says one: `<hex>.json`, `blobs/sha256/<hex>`.
fn said(path: &str) -> Option<Digest> {
    Digest::from_hex(path.strip_suffix(".json").or_else(|| path.strip_prefix("blobs/sha256/"))?)
}
