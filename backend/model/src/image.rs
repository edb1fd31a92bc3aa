//! Images: what a container's root begins as.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::health::HealthCheck;
use crate::{ImageName, Invalid};

/// Most characters of one word of a platform.
const PLATFORM_CHARS_MAX: usize = 64;

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

/// One line of an image's history, with the layer that it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was done; only its command, where the image says nothing of it.
    pub entry: HistoryEntry,
    /// What came of it.
    pub layer: Option<LayerInfo>,
}

impl Contents {
    /// The history with its layers, the first step first. Layers of which it says nothing come last.
    pub fn steps(&self) -> Vec<Step> {
        let mut layers = self.layers.iter().cloned();
        let step = |entry: &HistoryEntry| {
            let layer = if entry.empty_layer { None } else { layers.next() };
            Step { entry: entry.clone(), layer }
        };
        let mut steps: Vec<Step> = self.history.iter().map(step).collect();
        let untold = |layer: LayerInfo| {
            let entry = HistoryEntry { command: layer.command.clone(), ..HistoryEntry::default() };
            Step { entry, layer: Some(layer) }
        };
        steps.extend(layers.map(untold));
        steps
    }
}

/// What an image was made for, in OCI's words (`linux`, `amd64`, `arm64` with variant `v8`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Processor.
    pub architecture: String,
    /// Which kind of that.
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    /// `linux/arm64/v8`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(formatter, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            (1..=PLATFORM_CHARS_MAX).contains(&part.len()) && part.bytes().all(allowed)
        };
        match &parts[..] {
            [os, architecture, rest @ ..] if rest.len() <= 1 && parts.iter().all(word) => Ok(Self {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: rest.first().map(|variant| (*variant).to_owned()),
            }),
            _ => Err(Invalid::new("platform", "must be system/processor or system/processor/variant, such as linux/arm64/v8")),
        }
    }
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

impl ImageLayer {
    /// The place of a layer that lies over the whole tree, over what the image grafts into it as well: another image's.
    pub const EVERYWHERE: &'static str = "/";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_survives_being_written_and_read() {
        for text in ["linux/amd64", "linux/arm64/v8"] {
            assert_eq!(text.parse::<Platform>().map(|platform| platform.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "linux", "linux/", "linux/arm/v7/x", "linux/a b", "/amd64"] {
            assert_eq!(text.parse::<Platform>().map_err(|invalid| invalid.field), Err("platform".to_owned()), "{text}");
        }
    }

    #[test]
    fn a_step_has_the_layer_that_it_made_and_no_layer_is_left_out() {
        let layer =
            |name: &str| LayerInfo { diff_id: name.into(), digest: None, size_bytes: 0, entries: 0, command: Some(format!("made {name}")) };
        let entry = |command: &str, empty_layer| HistoryEntry { command: Some(command.into()), empty_layer, ..HistoryEntry::default() };
        let history = vec![entry("COPY", false), entry("ENV", true), entry("RUN", false)];
        let shown = |contents: &Contents| -> Vec<(String, Option<String>)> {
            let step = |step: Step| (step.entry.command.unwrap_or_default(), step.layer.map(|layer| layer.diff_id));
            contents.steps().into_iter().map(step).collect()
        };
        let with = |text: &str, layer: &str| (text.to_owned(), Some(layer.to_owned()));
        let contents = Contents { layers: vec![layer("a"), layer("b"), layer("c")], history, ..Contents::default() };
        assert_eq!(shown(&contents), [with("COPY", "a"), ("ENV".into(), None), with("RUN", "b"), with("made c", "c")]);
        let fewer = Contents { layers: vec![layer("a")], ..contents };
        assert_eq!(shown(&fewer).last(), Some(&("RUN".to_owned(), None)));
    }
}
