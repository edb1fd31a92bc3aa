//! Bringing in what somebody has as a file: a root file system, an OCI layout or what `docker save` wrote, told apart by what is in
//! it.
//!
//! ```text
//! archive -> unpacked in tmp/ -> oci-layout, index.json   an OCI layout: index -> manifest -> configuration, layers
//!                             -> manifest.json            Docker's: configuration, layers, by the names that it gives
//!                             -> anything else            a root file system, which is put in its place
//! ```
//!
//! The outer archive is unpacked as any root file system is, and then read below its folder by descriptor: a link in it (Docker's old
//! form has some) leads nowhere else. Every digest and every size that is said is compared with what is there, before anything is put
//! in its place. Of several images in one archive the one that is asked for by name is taken; where none is asked for, it is refused.
//!
//! Start reading at [`bring`].

mod docker;
mod layout;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use belljar_archive::shown;
use belljar_model::Reference;
use belljar_model::image::{Contents, LayerInfo};
use rustix::fs::OFlags;

use crate::config::{Configuration, DOCUMENT_BYTES_MAX, DocumentError, layer_info, manifest_of};
use crate::digest::Digest;
use crate::hashing::Hashing;
use crate::import::place::Flavour;
use crate::import::{self, ImportError, ImportLimits, Imported, StagedLayer};
use crate::pins::Pin;
use crate::store::Images;
use crate::tree::Tree;

/// What an archive turned out to be. It is in its place, and held there.
#[derive(Debug)]
pub enum Brought {
    /// A root file system.
    Rootfs(Imported, Pin),
    /// An image.
    Oci(Box<BroughtImage>),
}

/// An image whose layers are in their places.
#[derive(Debug)]
pub struct BroughtImage {
    /// Its manifest, as it came; made here for what has none.
    pub manifest: Vec<u8>,
    /// Its configuration, as it came.
    pub config: Vec<u8>,
    /// Digest of the configuration, which is the image's.
    pub digest: Digest,
    /// What the image says and consists of.
    pub contents: Contents,
    /// What the archive calls it.
    pub names: Vec<Reference>,
    /// They hold its layers.
    pub pins: Vec<Pin>,
}

/// Why an archive was not brought in. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// The archive itself is not taken, or could not be unpacked.
    #[error(transparent)]
    Archive(#[from] ImportError),
    /// One of its documents is not taken.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// One of its layers is not taken, or could not be unpacked.
    #[error("the image's layer {layer} could not be unpacked")]
    Layer {
        /// Its digest without compression, as the configuration has it.
        layer: String,
        /// Why.
        #[source]
        source: ImportError,
    },
    /// Something that it speaks of is not in it.
    #[error("the archive has no {what}")]
    Missing {
        /// Its path in the archive.
        what: String,
    },
    /// Something in it is not what is said of it.
    #[error("{what} has the {property} {found}, and not {said} as is said of it")]
    Mismatch {
        /// Its path in the archive, or which layer it is.
        what: String,
        /// `digest`, `size in bytes`.
        property: &'static str,
        /// What it has.
        found: String,
        /// What is said.
        said: String,
    },
    /// It is not clear which of its images is meant.
    #[error("the archive holds {}: {problem}", names(.there))]
    Which {
        /// The names in it.
        there: Vec<String>,
        /// What would help, as a clause.
        problem: &'static str,
    },
    /// A file that was unpacked could not be read.
    #[error("could not read {what} of the archive")]
    Read {
        /// Its path in the archive.
        what: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

impl BringError {
    /// Whether the archive is at fault: another try with the same bytes would end the same.
    pub fn is_invalid(&self) -> bool {
        match self {
            Self::Archive(error) | Self::Layer { source: error, .. } => error.is_invalid(),
            Self::Document(_) | Self::Missing { .. } | Self::Mismatch { .. } | Self::Which { .. } => true,
            Self::Read { .. } => false,
        }
    }
}

/// Names that an error shows.
const NAMES_SHOWN: usize = 16;

fn names(there: &[String]) -> String {
    let shown: Vec<&str> = there.iter().take(NAMES_SHOWN).map(String::as_str).collect();
    if there.is_empty() { "no image with a name".to_owned() } else { format!("the images {}", shown.join(", ")) }
}

/// Brings an archive in; of several images the one that is `wanted`.
pub(crate) fn bring(
    images: &Images,
    archive: impl Read + Send,
    limits: &ImportLimits,
    wanted: Option<&Reference>,
) -> Result<Brought, BringError> {
    let staged = import::stage(images, Flavour::Rootfs, archive, limits)?;
    let source = Source::open(staged.tree_path()).map_err(|source| BringError::Read { what: "the root".to_owned(), source })?;
    let found = if source.is_file("oci-layout") && source.is_file("index.json") {
        layout::find(&source, wanted)?
    } else if source.is_file("manifest.json") && !source.is_rootfs() {
        docker::find(&source, wanted)?
    } else {
        return place_rootfs(staged).map_err(BringError::from);
    };
    take(images, &source, found, limits).map(|image| Brought::Oci(Box::new(image)))
}

fn place_rootfs(staged: StagedLayer) -> Result<Brought, ImportError> {
    let devices_skipped = staged.devices_skipped;
    let placed = staged.put_in_place()?;
    let (size_bytes, entries) = (placed.facts.size_bytes, placed.facts.entries);
    Ok(Brought::Rootfs(Imported { digest: placed.diff_id, size_bytes, entries, devices_skipped }, placed.pin))
}

/// An image as it lies in an unpacked archive.
struct Found {
    /// Nothing in Docker's own form.
    manifest: Option<Vec<u8>>,
    config: Vec<u8>,
    layers: Vec<FoundLayer>,
    names: Vec<Reference>,
}

/// A layer as it lies in an unpacked archive.
struct FoundLayer {
    /// Where.
    path: String,
    /// What is said of it, if anything.
    said: Option<(Digest, u64)>,
}

/// Unpacks the layers of an image that was found, and puts them in their places.
fn take(images: &Images, source: &Source, found: Found, limits: &ImportLimits) -> Result<BroughtImage, BringError> {
    let configuration = Configuration::parse(&found.config)?;
    configuration.check_layers(found.layers.len())?;
    if let Some(platform) = configuration.platform().filter(|platform| platform.os != "linux") {
        let problem = format!("it is made for {}, and not for Linux", shown(platform.os.as_bytes()));
        return Err(DocumentError::Refused { document: "configuration", problem }.into());
    }
    let (mut layers, mut pins, mut sizes): (Vec<LayerInfo>, _, _) = (Vec::new(), Vec::new(), Vec::new());
    for (diff_id, layer) in configuration.diff_ids.iter().zip(&found.layers) {
        let pin = images.pin(diff_id);
        let facts = match images.layer(diff_id) {
            Some(facts) => facts,
            None => take_layer(images, source, (diff_id, layer), limits)?,
        };
        let blob = layer.said.as_ref().map(|(digest, _)| digest);
        layers.push(layer_info(diff_id, blob, (facts.size_bytes, facts.entries)));
        sizes.push((*diff_id, facts.archive_bytes));
        pins.push(pin);
    }
    let manifest = found.manifest.unwrap_or_else(|| manifest_of(&found.config, &sizes));
    let digest = Digest::of(&found.config);
    let contents = configuration.contents(layers);
    Ok(BroughtImage { manifest, config: found.config, digest, contents, names: found.names, pins })
}

fn take_layer(
    images: &Images,
    source: &Source,
    (diff_id, layer): (&Digest, &FoundLayer),
    limits: &ImportLimits,
) -> Result<crate::LayerFacts, BringError> {
    let (file, size) = source.file(&layer.path)?;
    if let Some((_, said)) = layer.said.filter(|(_, said)| *said != size) {
        return Err(mismatch(&layer.path, "size in bytes", (size, said)));
    }
    let failed = |source| BringError::Layer { layer: diff_id.to_string(), source };
    let mut blob = Hashing::new(file);
    let staged = images.stage_layer(&mut blob, limits).map_err(failed)?;
    let (digest, _) = blob.finish();
    if let Some((said, _)) = layer.said.filter(|(said, _)| *said != digest) {
        return Err(mismatch(&layer.path, "digest", (digest, said)));
    }
    if staged.diff_id != *diff_id {
        return Err(mismatch(&layer.path, "digest without compression", (staged.diff_id, *diff_id)));
    }
    Ok(staged.put_in_place().map_err(failed)?.facts)
}

fn mismatch<T: ToString>(what: &str, property: &'static str, (found, said): (T, T)) -> BringError {
    BringError::Mismatch { what: shown(what.as_bytes()), property, found: found.to_string(), said: said.to_string() }
}

/// An unpacked archive, as a place to read files from.
struct Source(Tree);

impl Source {
    fn open(path: &Path) -> io::Result<Self> {
        Tree::open(path).map(Self)
    }

    /// Whether the archive has a file of this name at its root.
    fn is_file(&self, name: &str) -> bool {
        self.0.file(name.as_bytes()).is_ok()
    }

    /// Whether it looks like a root file system, whatever else lies at its root.
    fn is_rootfs(&self) -> bool {
        ["usr", "etc", "bin", "lib"].iter().any(|name| self.0.folder(name.as_bytes()).is_ok())
    }

    /// A file, and its size. Links lead to where they would for somebody whose root this is.
    fn file(&self, path: &str) -> Result<(File, u64), BringError> {
        let what = || shown(path.as_bytes());
        let failed = |source| BringError::Read { what: what(), source };
        if path.is_empty() || path.contains('\0') {
            return Err(BringError::Missing { what: what() });
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = match belljar_linux::tree::open(&self.0, path, flags) {
            Ok(opened) => File::from(opened),
            Err(error) => match error.errno {
                rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP => {
                    return Err(BringError::Missing { what: what() });
                }
                errno => return Err(failed(errno.into())),
            },
        };
        let metadata = opened.metadata().map_err(failed)?;
        if metadata.is_file() { Ok((opened, metadata.len())) } else { Err(BringError::Missing { what: what() }) }
    }

    /// A document, whole.
    fn document(&self, path: &str) -> Result<Vec<u8>, BringError> {
        let (file, size) = self.file(path)?;
        if size > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::OverLimit { document: "document", what: "bytes", max: DOCUMENT_BYTES_MAX }.into());
        }
        let mut bytes = Vec::new();
        let read = file.take(DOCUMENT_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(|source| BringError::Read { what: shown(path.as_bytes()), source })?;
        Ok(bytes)
    }

    /// A document that something is said of.
    fn blob(&self, digest: &Digest, said: Option<u64>) -> Result<Vec<u8>, BringError> {
        let path = blob_path(digest);
        let bytes = self.document(&path)?;
        let size = bytes.len() as u64;
        if let Some(said) = said.filter(|said| *said != size) {
            return Err(mismatch(&path, "size in bytes", (size, said)));
        }
        let found = Digest::of(&bytes);
        if found == *digest { Ok(bytes) } else { Err(mismatch(&path, "digest", (found, *digest))) }
    }
}

/// Where a layout keeps a blob.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
