//! Images on their way out, and under examination: export and verify. Both read every byte of their layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use belljar_images::config::{configuration_of, host_platform};
use belljar_images::{Digest, Finding, Pin, ToExport, ToVerify};
use belljar_model::{Image, Invalid, Reference};
use belljar_store::Documents;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio_util::io::SyncIoBridge;

use super::mend::{self, Mended};
use crate::Error;
use crate::shared::Shared;

/// Bytes of an archive that may be on their way to whoever reads it.
const PIPE_BYTES: usize = 256 << 10;

/// Something about an image that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Names of the images that it is in.
    pub images: Vec<String>,
    /// The layer, by the digest of its archive; `None` for an image's documents.
    pub layer: Option<String>,
    /// Where in the layer; empty for the layer as a whole.
    pub path: String,
    /// What is wrong, as a clause.
    pub problem: String,
}

/// What an examination found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Images that were looked at.
    pub images: u64,
    /// Layers that were read, each once.
    pub layers: u64,
    /// What is not as it was.
    pub damages: Vec<Damage>,
    /// What was done about it, where that was asked for.
    pub mended: Vec<Mended>,
}

/// What is done about damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// It is told.
    No,
    /// It is fetched anew where it came from.
    Yes,
}

/// An archive as it is written. It ends early, with an error, where the image turns out to be damaged.
pub struct Export {
    /// What to call the file.
    pub image: Image,
    /// The archive, as it comes.
    pub archive: DuplexStream,
    /// Why it ended early, once it has ended.
    pub outcome: tokio::task::JoinHandle<Result<(), Error>>,
}

pub(super) async fn export(shared: &Arc<Shared>, key: &str) -> Result<Export, Error> {
    let image = shared.images.find(key)?;
    if image.name.is_host() {
        return Err(Invalid::new("image", "is the host's own userland, which is no archive").into());
    }
    let (layers, pins) = layers(shared, &image)?;
    let documents = documents(shared, &image, &layers).await?;
    let references: Vec<Reference> = image.name.reference().into_iter().collect();
    let (ours, archive) = tokio::io::duplex(PIPE_BYTES);
    let (folder, name) = (shared.images.folder.clone(), image.name.clone());
    let outcome = tokio::spawn(async move {
        let mut out = SyncIoBridge::new(ours);
        let (mut ours, written) = crate::blocking(move || {
            let written = folder.export(&ToExport { config: &documents.config, names: &references }, &mut out);
            drop(pins);
            (out.into_inner(), written)
        })
        .await;
        let ended = written.map(drop).map_err(|error| Error::failed("export", format!("image {name}"), error));
        // Whoever reads no longer wants the end either.
        drop(ours.shutdown().await);
        ended
    });
    Ok(Export { image, archive, outcome })
}

/// The layers of an image, which stay while they are held.
fn layers(shared: &Shared, image: &Image) -> Result<(Vec<Digest>, Vec<Pin>), Error> {
    let digests = image.contents.layers.iter().map(|layer| layer.diff_id.parse::<Digest>());
    let digests: Vec<Digest> =
        digests.collect::<Result<_, _>>().map_err(|invalid| Error::failed("read", image.name.to_string(), invalid))?;
    let pins = digests.iter().map(|digest| shared.images.folder.pin(digest)).collect();
    // What was deleted before it was held may be gone.
    shared.images.find(&image.digest)?;
    Ok((digests, pins))
}

/// An image's documents; made for what has none.
async fn documents(shared: &Shared, image: &Image, layers: &[Digest]) -> Result<Documents, Error> {
    if let Some(documents) = shared.store.image_documents(&image.digest).await? {
        return Ok(documents);
    }
    let layer = layers.first().ok_or_else(|| Error::NotFound { what: "layer of image", key: image.name.to_string() })?;
    Ok(Documents { manifest: Vec::new(), config: configuration_of(&host_platform(), layer, image.created_at_ms) })
}

/// Compares images with their digests: these, or all of them.
pub(super) async fn verify(shared: &Arc<Shared>, keys: &[String], repair: Repair) -> Result<Verified, Error> {
    let images = wanted(shared, keys)?;
    let mut verified = examine(shared, &images).await?;
    if repair == Repair::Yes {
        verified.mended = mend::mend(shared, &images, &verified.damages).await;
    }
    Ok(verified)
}

/// The images that are meant, by digest.
fn wanted(shared: &Shared, keys: &[String]) -> Result<BTreeMap<String, Image>, Error> {
    let mut images = BTreeMap::new();
    if keys.is_empty() {
        images.extend(shared.images.all().into_iter().map(|image| (image.digest.clone(), image)));
    }
    for key in keys {
        let image = shared.images.find(key)?;
        images.insert(image.digest.clone(), image);
    }
    images.retain(|_, image| !image.name.is_host());
    Ok(images)
}

async fn examine(shared: &Arc<Shared>, images: &BTreeMap<String, Image>) -> Result<Verified, Error> {
    let mut verified = Verified { images: images.len() as u64, ..Verified::default() };
    let mut of_layer: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for image in images.values() {
        // One that was deleted meanwhile is not damaged.
        let Ok((digests, _pins)) = layers(shared, image) else { continue };
        for digest in &digests {
            of_layer.entry(*digest).or_default().push(image.name.to_string());
        }
        let documents = shared.store.image_documents(&image.digest).await?;
        let found = documents.map(|documents| check_documents(shared, image, &documents, &digests)).transpose()?;
        verified.damages.extend(found.unwrap_or_default().into_iter().map(|finding| damage(finding, vec![image.name.to_string()])));
    }
    verified.layers = of_layer.len() as u64;
    for (layer, images) in of_layer {
        let folder = shared.images.folder.clone();
        let found = crate::blocking(move || folder.verify(&ToVerify { manifest: None, config: None, layers: &[layer] })).await;
        // One that went meanwhile, with its last image, is not damaged.
        if shared.images.rows().uses(&layer.to_string()) {
            verified.damages.extend(found.into_iter().map(|finding| damage(finding, images.clone())));
        }
    }
    Ok(verified)
}

/// What the documents say of themselves; the layers are read for all images together.
fn check_documents(shared: &Shared, image: &Image, documents: &Documents, digests: &[Digest]) -> Result<Vec<Finding>, Error> {
    let parse = |text: &str| text.parse::<Digest>().map_err(|invalid| Error::failed("read", image.name.to_string(), invalid));
    let known = image.manifest_digest.as_deref().map(parse).transpose()?;
    let config = parse(&image.digest)?;
    // A registry may have called it by the digest of an index, which is not kept: then the manifest is the one that leads to the
    // configuration.
    let leads_to_config = String::from_utf8_lossy(&documents.manifest).contains(&image.digest);
    let manifest = known.filter(|known| Digest::of(&documents.manifest) == *known || !leads_to_config);
    let manifest = manifest.map(|known| (&documents.manifest[..], known));
    let found = shared.images.folder.verify(&ToVerify { manifest, config: Some((&documents.config, config)), layers: &[] });
    let speaks_of_others = |finding: &Finding| finding.problem == "the configuration speaks of other layers";
    let said = belljar_images::config::Configuration::parse(&documents.config).is_ok_and(|said| said.diff_ids == digests);
    Ok(found.into_iter().filter(|finding| !(said && speaks_of_others(finding))).collect())
}

fn damage(finding: Finding, images: Vec<String>) -> Damage {
    let Finding { layer, path, problem } = finding;
    Damage { images, layer: layer.map(|layer| layer.to_string()), path, problem }
}
