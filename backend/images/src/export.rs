//! An image as one archive that others read: an OCI layout which is also what `docker load` takes.
//!
//! ```text
//! oci-layout, blobs/sha256/<layer>…, blobs/sha256/<configuration>, blobs/sha256/<manifest>, index.json, manifest.json
//! ```
//!
//! Layers are put together from skeleton and tree as they are written, not compressed, so that each is its own digest: nothing is
//! kept in memory or on disk for it, and the same image is the same bytes. A layer of which a file's content is gone (a later entry took
//! its place) is made anew from its tree: the same tree, another archive, hence another digest, another configuration and another
//! image id, which is said.

use std::io::{self, Read, Write};

use belljar_archive::{Entry, Kind, Writer};
use belljar_model::Reference;
use serde_json::{Map, Value, json};

use crate::brought::blob_path;
use crate::config::{Configuration, DocumentError, INDEX_TYPE, MANIFEST_TYPE, host_platform, manifest_of};
use crate::digest::Digest;
use crate::hashing::Hashing;
use crate::pack::{self, PackError};
use crate::store::Images;

/// What is to be exported.
#[derive(Debug, Clone, Copy)]
pub struct ToExport<'a> {
    /// Its configuration.
    pub config: &'a [u8],
    /// What it shall be called; what has no tag says nothing to Docker.
    pub names: &'a [Reference],
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Digest of its manifest.
    pub manifest_digest: Digest,
    /// Digest of its configuration. Another than the image's own where a layer had to be made anew.
    pub digest: Digest,
    /// Layers that were made anew, by their digests before.
    pub remade: Vec<Digest>,
}

/// Why an image could not be exported. What was written until then is no archive.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Its configuration cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A layer could not be read.
    #[error("the layer {layer} could not be read")]
    Layer {
        /// Its digest.
        layer: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer is not on this disk.
    #[error("the layer {layer} is not on this disk")]
    Missing {
        /// Its digest.
        layer: Digest,
    },
    /// A layer is not what it was.
    #[error("the layer {layer} is damaged on this disk: its archive has the digest {found}")]
    Damaged {
        /// Its digest.
        layer: Digest,
        /// What its archive has.
        found: Digest,
    },
    /// A layer could not be made anew from its tree.
    #[error("the layer {layer} could not be made anew")]
    Remake {
        /// Its digest.
        layer: Digest,
        /// Why.
        #[source]
        source: PackError,
    },
    /// Whoever it is written to does not take it.
    #[error("could not write the archive")]
    Write(#[from] io::Error),
}

/// A layer as it will be written.
struct Part {
    diff_id: Digest,
    /// Digest and bytes of what is written.
    written: (Digest, u64),
}

impl Part {
    fn is_remade(&self) -> bool {
        self.written.0 != self.diff_id
    }
}

/// Writes an image to `out`.
pub(crate) fn export(images: &Images, image: &ToExport<'_>, out: impl Write) -> Result<Exported, ExportError> {
    let configuration = Configuration::parse(image.config)?;
    let parts: Vec<Part> = configuration.diff_ids.iter().map(|diff_id| part(images, diff_id)).collect::<Result<_, _>>()?;
    let remade: Vec<Digest> = parts.iter().filter(|part| part.is_remade()).map(|part| part.diff_id).collect();
    let layers: Vec<(Digest, u64)> = parts.iter().map(|part| part.written).collect();
    let config = if remade.is_empty() { image.config.to_vec() } else { with_layers(image.config, &layers)? };
    let manifest = manifest_of(&config, &layers);
    let (digest, manifest_digest) = (Digest::of(&config), Digest::of(&manifest));
    let mut archive = Writer::new(io::BufWriter::with_capacity(BUFFER_BYTES, out));
    file(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    folder(&mut archive, "blobs")?;
    folder(&mut archive, "blobs/sha256")?;
    let mut written = std::collections::BTreeSet::new();
    // Two layers that are the same are one blob.
    for part in parts.iter().filter(|part| written.insert(part.written.0)) {
        layer(images, part, &mut archive)?;
    }
    file(&mut archive, &blob_path(&digest), &config)?;
    file(&mut archive, &blob_path(&manifest_digest), &manifest)?;
    file(&mut archive, "index.json", index(image.names, &manifest_digest, manifest.len()).as_bytes())?;
    file(&mut archive, "manifest.json", docker_list(image.names, &digest, &layers).as_bytes())?;
    archive.finish()?.flush()?;
    Ok(Exported { manifest_digest, digest, remade })
}

/// Bytes that are handed on at once.
const BUFFER_BYTES: usize = 256 << 10;

fn part(images: &Images, diff_id: &Digest) -> Result<Part, ExportError> {
    let layer = *diff_id;
    let facts = images.layer(diff_id).ok_or(ExportError::Missing { layer })?;
    if facts.is_exact {
        return Ok(Part { diff_id: layer, written: (layer, facts.archive_bytes) });
    }
    // Once to know its digest and size, which stand before it in its archive.
    let mut counted = Hashing::new(io::sink());
    pack::write_tree(&images.layer_path(diff_id), &mut counted).map_err(|source| ExportError::Remake { layer, source })?;
    Ok(Part { diff_id: layer, written: counted.finish() })
}

fn layer<W: Write>(images: &Images, part: &Part, archive: &mut Writer<W>) -> Result<(), ExportError> {
    let layer = part.diff_id;
    let (digest, size) = part.written;
    archive.entry(&entry(&blob_path(&digest), Kind::File { size }))?;
    let mut body = Hashing::new(Body(archive));
    if part.is_remade() {
        pack::write_tree(&images.layer_path(&layer), &mut body).map_err(|source| ExportError::Remake { layer, source })?;
    } else {
        let failed = |source| ExportError::Layer { layer, source };
        let mut from = images.layer_archive(&layer).map_err(failed)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(failed)?,
            };
            if count == 0 {
                break;
            }
            body.write_all(&buffer[..count])?;
        }
    }
    let (found, length) = body.finish();
    if (found, length) == part.written { Ok(()) } else { Err(ExportError::Damaged { layer, found }) }
}

/// The body of the archive's current entry, to be written to.
struct Body<'a, W: Write>(&'a mut Writer<W>);

impl<W: Write> Write for Body<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.body(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An entry that is the same whoever writes it, whenever.
fn entry(name: &str, kind: Kind) -> Entry<'_> {
    const FOLDER_MODE: u32 = 0o755;
    const FILE_MODE: u32 = 0o644;
    let mode = if kind == Kind::Folder { FOLDER_MODE } else { FILE_MODE };
    Entry { name: name.as_bytes(), kind, device: None, mode, uid: 0, gid: 0, mtime: (0, 0), xattrs: &[] }
}

fn folder<W: Write>(archive: &mut Writer<W>, name: &str) -> io::Result<()> {
    archive.entry(&entry(name, Kind::Folder))
}

fn file<W: Write>(archive: &mut Writer<W>, name: &str, content: &[u8]) -> io::Result<()> {
    archive.entry(&entry(name, Kind::File { size: content.len() as u64 }))?;
    archive.body(content)
}

/// A configuration that speaks of other layers than before.
fn with_layers(config: &[u8], layers: &[(Digest, u64)]) -> Result<Vec<u8>, DocumentError> {
    let mut document: Map<String, Value> =
        serde_json::from_slice(config).map_err(|source| DocumentError::Malformed { document: "configuration", source })?;
    let ids: Vec<String> = layers.iter().map(|(digest, _)| digest.to_string()).collect();
    document.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": ids}));
    Ok(Value::Object(document).to_string().into_bytes())
}

/// One line for each name, all of the one manifest; one without a name where there is none.
fn index(names: &[Reference], manifest: &Digest, size: usize) -> String {
    let platform = host_platform();
    let line = |name: Option<&Reference>| {
        let mut line = json!({"mediaType": MANIFEST_TYPE, "digest": manifest.to_string(), "size": size,
            "platform": {"architecture": platform.architecture, "os": platform.os}});
        if let Some(name) = name {
            let name = name.to_string();
            line["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
        }
        line
    };
    let named: Vec<Value> = names.iter().map(|name| line(Some(name))).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": if named.is_empty() { vec![line(None)] } else { named }}).to_string()
}

fn docker_list(names: &[Reference], config: &Digest, layers: &[(Digest, u64)]) -> String {
    let tags: Vec<String> = names.iter().filter(|name| name.tag().is_some() && name.digest().is_none()).map(Reference::familiar).collect();
    let layers: Vec<String> = layers.iter().map(|(digest, _)| blob_path(digest)).collect();
    json!([{"Config": blob_path(config), "RepoTags": tags, "Layers": layers}]).to_string()
}
