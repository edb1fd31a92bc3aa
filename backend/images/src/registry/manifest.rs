//! From a name to an image: the manifest for one platform, through as many lists as there are, and what the image says.
//!
//! A tag's digest is whatever its bytes hash to. From there on every document is asked for by digest, and its bytes must have
//! it, so nothing a server does leads from one image to another: an index that names itself cannot be made, only pretended.

use belljar_model::Reference;
use belljar_model::image::Platform;
use hyper::http::{HeaderMap, header};

use super::error::Cause;
use super::session::{Ask, Session};
use crate::config::{Configuration, DOCUMENT_BYTES_MAX, Descriptor, Document, INDEX_DEPTH_MAX, Manifest, brief};
use crate::digest::Digest;

/// Everything that is understood, what is preferred first. The first schema is not: what has nothing else is told so by name.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
/// What registries call a document, in the head of their answers.
const DIGEST_HEADER: header::HeaderName = header::HeaderName::from_static("docker-content-digest");

/// An image's documents.
pub(super) struct Found {
    /// Of what the name leads to: an index where there is one.
    pub(super) digest: Digest,
    /// Of the manifest for the platform.
    pub(super) manifest_bytes: Vec<u8>,
    pub(super) manifest: Manifest,
    pub(super) config_bytes: Vec<u8>,
    pub(super) config: Configuration,
}

/// Finds the image that `reference` names for `platform`.
pub(super) async fn find(session: &Session, reference: &Reference, platform: &Platform) -> Result<Found, Cause> {
    let (digest, mut bytes, media_type) = named(session, reference).await?;
    let mut document = parse(&bytes, media_type.as_deref())?;
    let mut depth = 0;
    let manifest = loop {
        let index = match document {
            Document::Manifest(manifest) => break manifest,
            Document::Index(index) => index,
        };
        depth += 1;
        if depth > INDEX_DEPTH_MAX {
            return Err(Cause::Depth { max: INDEX_DEPTH_MAX });
        }
        let next = index.choose(platform).map_err(|source| Cause::NoPlatform { source })?;
        bytes = described(session, next, "manifests").await?;
        document = parse(&bytes, Some(&next.media_type).filter(|said| !said.is_empty()).map(String::as_str))?;
    };
    check_layers(&manifest)?;
    let config_bytes = described(session, &manifest.config, "blobs").await?;
    let config = Configuration::parse(&config_bytes).map_err(|source| Cause::Document { source })?;
    config.check(&manifest).map_err(|source| Cause::Document { source })?;
    check_platform(config.platform(), platform)?;
    Ok(Found { digest, manifest_bytes: bytes, manifest, config_bytes, config })
}

/// The digest of what `reference` names, by as little as a registry can be asked.
pub(super) async fn resolve(session: &Session, reference: &Reference) -> Result<Digest, Cause> {
    let wanted = reference.wanted();
    let ask = Ask::head(wanted).accepting(ACCEPTED);
    let (headers, _nothing) = session.document(&ask, &format!("manifests/{wanted}"), DOCUMENT_BYTES_MAX).await?;
    match told(&headers) {
        Some(Ok(digest)) => Ok(digest),
        // Few registries do not say; then it is found out.
        Some(Err(_)) | None => named(session, reference).await.map(|(digest, _, _)| digest),
    }
}

/// The document that a tag or a digest leads to.
async fn named(session: &Session, reference: &Reference) -> Result<(Digest, Vec<u8>, Option<String>), Cause> {
    let wanted = reference.wanted();
    let ask = Ask::get(wanted).accepting(ACCEPTED);
    let (headers, bytes) = session.document(&ask, &format!("manifests/{wanted}"), DOCUMENT_BYTES_MAX).await.map_err(as_document)?;
    let digest = Digest::of(&bytes);
    let differs = |said: String| Cause::Digest { what: "the manifest".to_owned(), said, is: digest.to_string() };
    if let Some(said) = reference.digest().filter(|said| *said != digest.to_string()) {
        return Err(differs(said.to_owned()));
    }
    match told(&headers) {
        Some(Ok(said)) if said != digest => return Err(differs(said.to_string())),
        // Of an algorithm that is not read here.
        Some(_) | None => {}
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok((digest, bytes, media_type))
}

/// What the registry says a document's digest is.
fn told(headers: &HeaderMap) -> Option<Result<Digest, belljar_model::Invalid>> {
    headers.get(DIGEST_HEADER)?.to_str().ok().map(str::parse)
}

/// A document, as another one describes it.
async fn described(session: &Session, descriptor: &Descriptor, kind: &str) -> Result<Vec<u8>, Cause> {
    let digest = descriptor.digest;
    let what = if kind == "blobs" { format!("the configuration {digest}") } else { format!("the manifest {digest}") };
    if descriptor.size_bytes > DOCUMENT_BYTES_MAX {
        return Err(Cause::TooLarge { what, max_bytes: DOCUMENT_BYTES_MAX });
    }
    let ask = Ask::get(&what).accepting(if kind == "blobs" { "*/*" } else { ACCEPTED });
    let fetched = session.document(&ask, &format!("{kind}/{digest}"), DOCUMENT_BYTES_MAX).await;
    let (_, bytes) = fetched.map_err(|cause| match cause {
        Cause::NotThere { .. } => Cause::NoBlob { what: what.clone() },
        other => other,
    })?;
    if bytes.len() as u64 != descriptor.size_bytes {
        return Err(Cause::Size { what, said: descriptor.size_bytes, has: bytes.len().to_string() });
    }
    let is = Digest::of(&bytes);
    if is == digest { Ok(bytes) } else { Err(Cause::Digest { what, said: digest.to_string(), is: is.to_string() }) }
}

/// A tag is no name for a document that is too large.
fn as_document(cause: Cause) -> Cause {
    match cause {
        Cause::TooLarge { max_bytes, .. } => Cause::TooLarge { what: "the manifest".to_owned(), max_bytes },
        other => other,
    }
}

fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Document, Cause> {
    Document::parse(bytes, media_type).map_err(|source| Cause::Document { source })
}

/// Refuses layers that are not the registry's to give: what lies elsewhere, and may be fetched from addresses in the manifest alone
/// (CVE-2020-15157). Nobody makes them any more.
fn check_layers(manifest: &Manifest) -> Result<(), Cause> {
    let elsewhere = |kind: &str| kind.contains(".foreign.") || kind.contains(".nondistributable.");
    match manifest.layers.iter().find(|layer| elsewhere(&layer.media_type)) {
        None => Ok(()),
        Some(layer) => {
            let kind = format!("{}, which registries do not hand out", brief(&layer.media_type));
            Err(Cause::Media { what: format!("the layer {}", layer.digest), kind })
        }
    }
}

/// Refuses an image that says it is for other machines: what stands alone under its name was not chosen by platform.
fn check_platform(is: Option<&Platform>, wanted: &Platform) -> Result<(), Cause> {
    let text = |platform: &Platform| brief(&format!("{}/{}", platform.os, platform.architecture));
    match is {
        Some(is) if (&is.os, &is.architecture) != (&wanted.os, &wanted.architecture) => {
            Err(Cause::OtherPlatform { wanted: text(wanted), is: text(is) })
        }
        _ => Ok(()),
    }
}
