//! Damaged images, fetched anew: from the registry that they came from, by the digest that they had there.
//!
//! Only what is damaged is fetched, and a damaged layer goes only when there is a whole one. A layer that a running container stands on
//! is left alone, since its files would change under the container; so is what came from no registry. Who says what is damaged is
//! [`super::out`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use belljar_images::registry::{Pulled, Snapshot, Wanted};
use belljar_images::{Digest, config::host_platform};
use belljar_model::{EventKind, Image, Reference};
use belljar_store::{Documents, ImageChange};
use tokio::sync::watch;

use super::change::{apply, event};
use super::login;
use super::out::Damage;
use crate::Error;
use crate::shared::Shared;

/// What became of an image that was damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The image.
    pub image: String,
    /// Its layers that were fetched anew.
    pub layers: Vec<String>,
    /// Why it was not mended; `None` where it was.
    pub problem: Option<String>,
}

/// Mends what was found damaged, image by image.
pub(super) async fn mend(shared: &Arc<Shared>, images: &BTreeMap<String, Image>, damages: &[Damage]) -> Vec<Mended> {
    let mut wrong: BTreeSet<&str> = damages.iter().filter_map(|damage| damage.layer.as_deref()).collect();
    let mut mended = Vec::new();
    for image in images.values() {
        let name = image.name.to_string();
        let has_documents = damages.iter().any(|damage| damage.layer.is_none() && damage.images.contains(&name));
        let layers: Vec<&str> = super::rows::layers(image).into_iter().filter(|layer| wrong.contains(layer)).collect();
        if layers.is_empty() && !has_documents {
            continue;
        }
        let problem = one(shared, image, &layers).await.err();
        if problem.is_none() {
            wrong.retain(|layer| !layers.contains(layer));
        }
        mended.push(Mended { image: name, layers: layers.into_iter().map(str::to_owned).collect(), problem });
    }
    mended
}

async fn one(shared: &Arc<Shared>, image: &Image, layers: &[&str]) -> Result<(), String> {
    let names = shared.images.rows().names_of(&image.digest);
    let source = names.iter().filter_map(|name| name.reference()).find_map(|reference| source(image, &reference));
    let source = source.ok_or("it came from no registry: delete it, and bring it in again")?;
    let digests: Vec<Digest> = layers.iter().filter_map(|layer| layer.parse().ok()).collect();
    set_aside(shared, &digests).await?;
    let fetched = fetch(shared, image, source).await;
    // What came is in its place; what did not is put back, damaged as it is.
    for digest in digests {
        let folder = shared.images.folder.clone();
        crate::blocking(move || folder.put_back(&digest)).await.map_err(|error| crate::error::chain(&error))?;
    }
    fetched
}

/// Where the very same image is to be had. A layer that was made here was never in a registry.
fn source(image: &Image, reference: &Reference) -> Option<Reference> {
    if image.contents.layers.iter().any(|layer| layer.digest.is_none()) {
        return None;
    }
    Some(reference.with_digest(image.manifest_digest.as_deref()?))
}

/// Sets layers aside while no container is started, unless one runs on them.
async fn set_aside(shared: &Shared, layers: &[Digest]) -> Result<(), String> {
    let _nobody_starts = shared.images.mending.write().await;
    let wanted: BTreeSet<String> = layers.iter().map(Digest::to_string).collect();
    let has_it = |digest: &str| {
        shared.images.rows().with(digest).is_some_and(|image| super::rows::layers(&image).iter().any(|layer| wanted.contains(*layer)))
    };
    let running = shared.registry.collect(|container| {
        let of_mounts = container.config.mounts.iter().filter_map(|mount| mount.image_digest());
        let stands_on_it = container.image_digest.as_deref().into_iter().chain(of_mounts).any(has_it);
        (container.state.is_alive() && stands_on_it).then(|| container.config.name.to_string())
    });
    if !running.is_empty() {
        return Err(format!("{} runs on it: stop it first", running.join(", ")));
    }
    for (index, layer) in layers.iter().enumerate() {
        let problem = match shared.images.folder.set_aside(layer) {
            Ok(true) => continue,
            Ok(false) => "it is being read: try again later".to_owned(),
            Err(error) => crate::error::chain(&error),
        };
        for layer in &layers[..index] {
            shared.images.folder.put_back(layer).map_err(|error| crate::error::chain(&error))?;
        }
        return Err(problem);
    }
    Ok(())
}

async fn fetch(shared: &Arc<Shared>, image: &Image, reference: Reference) -> Result<(), String> {
    let credentials = login::of(shared, reference.registry()).await.map_err(|error| crate::error::chain(&error))?;
    let platform = image.contents.platform.clone().unwrap_or_else(host_platform);
    let (progress, _unseen) = watch::channel(Snapshot::default());
    let wanted = Wanted { reference, platform, credentials };
    let pulled = shared.images.pulls.client.pull(&wanted, &progress).await.map_err(|error| crate::error::chain(&error))?;
    record(shared, image, pulled).await.map_err(|error| crate::error::chain(&error))
}

/// The documents as they came, in the place of those that may be damaged.
async fn record(shared: &Arc<Shared>, image: &Image, pulled: Pulled) -> Result<(), Error> {
    let Pulled { manifest, config, pins, .. } = pulled;
    let _changing = shared.images.changing.lock().await;
    let recorded = apply(shared, |rows| {
        let known = rows.with(&image.digest).filter(|_| Digest::of(&config).to_string() == image.digest);
        let image = known.ok_or_else(|| super::rows::not_found(&image.digest))?;
        let told = event(EventKind::ImagePulled, &image.name, "mended: what was damaged was pulled again");
        Ok((ImageChange { put: Some((image, Some(Documents { manifest, config }))), ..ImageChange::default() }, vec![told]))
    })
    .await;
    drop(pins);
    recorded
}
