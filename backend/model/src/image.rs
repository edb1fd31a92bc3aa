//! Images: what a container's root begins as.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ImageName;
use crate::health::HealthCheck;

/// An image on this host, under one of its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Unique name; its digest where it has lost its last one to another image and containers still need it.
    pub name: ImageName,
    /// Where it came from.
    pub kind: ImageKind,
    /// What it *is*, `sha256:` and 64 hexadecimal digits: the digest of its configuration for an OCI image (Docker's image id), of the
    /// uncompressed archive for a rootfs, of the made `/etc` for `host`.
    pub digest: String,
    /// Digest of the manifest under which it came: what a registry calls it. `None` for what came from none.
    pub manifest_digest: Option<String>,
    /// Bytes of its regular files as unpacked, of all layers; 0 for `host`, which takes no space.
    pub size_bytes: u64,
    /// Entries of its archives.
    pub entries: u64,
    /// When it was brought in, in Unix milliseconds.
    pub created_at_ms: i64,
    /// What it says and consists of. Shared by all names of one digest.
    pub contents: Arc<Contents>,
}

impl Image {
    /// The first twelve digits of its digest, as people read them.
    pub fn short_digest(&self) -> &str {
        let digits = self.digest.strip_prefix("sha256:").unwrap_or(&self.digest);
        digits.get(..12).unwrap_or(digits)
    }
}

/// An image with what can be said of it only beside all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The image, under one of its names.
    pub image: Image,
    /// All its names.
    pub names: Vec<ImageName>,
    /// Names of the containers that are made of it.
    pub containers: Vec<String>,
    /// Bytes of its layers that no other image has: what its end would give back.
    pub own_bytes: u64,
    /// Bytes of its layers that other images have too.
    pub shared_bytes: u64,
}

/// What a prune takes, or would take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The images, each once, under one of its names.
    pub images: Vec<Image>,
    /// The layers, by the digests of their archives.
    pub layers: Vec<String>,
    /// Bytes of these layers.
    pub freed_bytes: u64,
}

/// What an image says and consists of: everything about it that no name and no moment changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contents {
    /// What it was made for; `None` where nothing says so.
    pub platform: Option<Platform>,
    /// When it was made, as it says itself, in Unix milliseconds.
    pub made_at_ms: Option<i64>,
    /// Who made it, as it says itself.
    pub author: Option<String>,
    /// What its containers begin with.
    pub config: ImageConfig,
    /// Its layers, the lowest first. One for a rootfs, none for `host`.
    pub layers: Vec<LayerInfo>,
    /// What was done to make it, the first first; those with `empty_layer` made no layer.
    pub history: Vec<HistoryEntry>,
}

/// What an image was made for, in OCI's words (`linux`, `amd64`, `arm64` with variant `v8`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Processor.
    pub architecture: String,
    /// Which kind of that.
    pub variant: Option<String>,
}

/// What an image asks for: the part `config` of an OCI image configuration, parsed and bounded. Strings are free of NUL bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// Before every command.
    pub entrypoint: Vec<String>,
    /// The command where none is given.
    pub command: Vec<String>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Who runs it, as written; looked up in the image's own `/etc/passwd`.
    pub user: Option<String>,
    /// Working folder, absolute.
    pub workdir: Option<String>,
    /// Folders whose content shall outlive changes of the image.
    pub volumes: BTreeSet<String>,
    /// Ports on which it listens: `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// Signal of a stop, as written.
    pub stop_signal: Option<String>,
    /// Free words.
    pub labels: BTreeMap<String, String>,
    /// How its health is checked.
    pub health: Option<HealthCheck>,
}

/// One layer of an image as it lies on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// Digest of the uncompressed archive, and its place on disk (OCI's `diff_id`).
    pub diff_id: String,
    /// Digest of the blob that it came as; `None` for what came from no registry and no layout.
    pub digest: Option<String>,
    /// Bytes of its regular files.
    pub size_bytes: u64,
    /// Entries of its archive.
    pub entries: u64,
    /// The command that made it, as the history says.
    pub command: Option<String>,
}

/// One line of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// When, in Unix milliseconds.
    pub made_at_ms: Option<i64>,
    /// What was done.
    pub command: Option<String>,
    /// What somebody wrote about it.
    pub comment: Option<String>,
    /// Who did it.
    pub author: Option<String>,
    /// Whether it made no layer.
    pub empty_layer: bool,
}

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// The host's own userland.
    Host,
    /// A root file system archive that was imported.
    Rootfs,
    /// An image with a manifest: pulled, or brought in as an archive, or made of a container.
    Oci,
}

impl ImageKind {
    /// Every kind.
    pub const ALL: [ImageKind; 3] = [ImageKind::Host, ImageKind::Rootfs, ImageKind::Oci];

    /// The word on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            ImageKind::Host => "host",
            ImageKind::Rootfs => "rootfs",
            ImageKind::Oci => "oci",
        }
    }
}

/// One read-only folder of an image, and where in the container's tree its root lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// Folder on the host.
    pub path: String,
    /// Where its root appears in the container: `""` for the whole tree, `usr` for a folder that is grafted at `/usr`
    /// (the host's own `/usr` in the image `host`). Relative, without a leading or trailing slash.
    pub at: String,
    /// What it is, in a few words for the overlay page.
    pub label: String,
}
