//! Images on the wire: what is here, what each consists of, and what can be asked of them.

use belljar_model::image::{self, ImageConfig, ImageKind, Pruned};
use belljar_model::{Invalid, PullPolicy};
use serde::{Deserialize, Serialize};

use crate::time;

/// An image on this host, under one of its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Unique name; its digest where it has none.
    pub name: String,
    /// All its names.
    pub names: Vec<String>,
    /// `host`, `rootfs` or `oci`.
    pub kind: ImageKind,
    /// `sha256:` and 64 hexadecimal digits: what it is, whatever it is called.
    pub digest: String,
    /// What a registry calls it; `null` for what came from none.
    pub manifest_digest: Option<String>,
    /// What it was made for: `linux/amd64`.
    pub platform: Option<String>,
    /// Bytes of its files as unpacked, of all layers; 0 for `host`, which takes no space.
    pub size_bytes: u64,
    /// Bytes of the layers that no other image has: what deleting it gives back.
    pub own_bytes: u64,
    /// Bytes of the layers that other images have too.
    pub shared_bytes: u64,
    /// Entries of its archives.
    pub entries: u64,
    /// When it was brought in.
    #[serde(rename = "created_at", with = "time::millis")]
    pub created_at_ms: i64,
    /// When it was made, as it says itself.
    #[serde(rename = "made_at", with = "time::millis_option")]
    pub made_at_ms: Option<i64>,
    /// Names of the containers that are made of it.
    pub containers: Vec<String>,
}

impl From<image::Summary> for Image {
    fn from(summary: image::Summary) -> Self {
        let image::Summary { image, names, containers, own_bytes, shared_bytes } = summary;
        Self {
            name: image.name.into(),
            names: names.into_iter().map(String::from).collect(),
            kind: image.kind,
            digest: image.digest,
            manifest_digest: image.manifest_digest,
            platform: image.contents.platform.as_ref().map(ToString::to_string),
            size_bytes: image.size_bytes,
            own_bytes,
            shared_bytes,
            entries: image.entries,
            created_at_ms: image.created_at_ms,
            made_at_ms: image.contents.made_at_ms,
            containers,
        }
    }
}

/// An image with all that it says and consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDetails {
    /// What the list says of it.
    #[serde(flatten)]
    pub image: Image,
    /// Who made it, as it says itself.
    pub author: Option<String>,
    /// What its containers begin with.
    pub config: ImageConfig,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

impl From<image::Summary> for ImageDetails {
    fn from(summary: image::Summary) -> Self {
        let contents = summary.image.contents.clone();
        Self {
            image: summary.into(),
            author: contents.author.clone(),
            config: contents.config.clone(),
            layers: contents.layers.iter().map(Layer::from).collect(),
        }
    }
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of its archive without compression: its place on disk.
    pub diff_id: String,
    /// Digest of the blob that it came as; `null` for what came from no registry and no archive of an image.
    pub digest: Option<String>,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// Entries of its archive.
    pub entries: u64,
    /// The command that made it, as the history says.
    pub command: Option<String>,
}

impl From<&image::LayerInfo> for Layer {
    fn from(layer: &image::LayerInfo) -> Self {
        let image::LayerInfo { diff_id, digest, size_bytes, entries, command } = layer.clone();
        Self { diff_id, digest, size_bytes, entries, command }
    }
}

/// One line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStep {
    /// When.
    #[serde(rename = "made_at", with = "time::millis_option")]
    pub made_at_ms: Option<i64>,
    /// What was done.
    pub command: Option<String>,
    /// What somebody wrote about it.
    pub comment: Option<String>,
    /// Who did it.
    pub author: Option<String>,
    /// The layer that it made; `null` where it made none.
    pub layer: Option<Layer>,
}

impl From<image::Step> for HistoryStep {
    fn from(step: image::Step) -> Self {
        let image::HistoryEntry { made_at_ms, command, comment, author, .. } = step.entry;
        Self { made_at_ms, command, comment, author, layer: step.layer.as_ref().map(Layer::from) }
    }
}

/// The body of `POST /images/{image}/tag`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagRequest {
    /// The further name.
    pub name: String,
}

/// The body of `POST /images/prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PruneRequest {
    /// Whether it is only told what would be taken.
    pub dry_run: bool,
    /// Whether images with a name are meant too.
    pub all: bool,
    /// Of these only, by digest: what a dry run told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
}

/// What a prune takes, or would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneAnswer {
    /// The images, each once.
    pub images: Vec<PrunedImage>,
    /// Their layers that no other image needs, by the digests of their archives.
    pub layers: Vec<String>,
    /// Bytes of these layers.
    pub freed_bytes: u64,
}

/// One image that a prune takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedImage {
    /// One of its names; its digest where it has none.
    pub name: String,
    /// What it is.
    pub digest: String,
    /// Bytes of its files, of all layers.
    pub size_bytes: u64,
}

impl From<Pruned> for PruneAnswer {
    fn from(pruned: Pruned) -> Self {
        let image = |image: image::Image| PrunedImage { name: image.name.into(), digest: image.digest, size_bytes: image.size_bytes };
        Self { images: pruned.images.into_iter().map(image).collect(), layers: pruned.layers, freed_bytes: pruned.freed_bytes }
    }
}

/// The body of `POST /images/pull`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// Which image, in any form of its name.
    pub image: String,
    /// For which platform, where not this host's: `linux/arm64/v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// The body of `POST /containers/{container}/commit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommitRequest {
    /// Name of the new image; it has none where missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What is written about it into its history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it says otherwise than the container, as lines of a Dockerfile: `CMD ["nginx"]`, `ENV A=b`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Whether a running container is left running meanwhile; its files may then not fit together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_pause: bool,
}

/// The body of `POST /images/verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyRequest {
    /// Which images; all where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Whether what is damaged is fetched anew, from the registry that it came from.
    pub repair: bool,
}

/// What an examination of images found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyAnswer {
    /// Images that were looked at.
    pub images: u64,
    /// Layers that were read, each once.
    pub layers: u64,
    /// What is not as it was; empty where all is well. With `repair`: as it was before.
    pub damages: Vec<Damage>,
    /// What was done about it, for each damaged image; empty without `repair`.
    pub mended: Vec<Mended>,
}

/// What became of an image that was damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mended {
    /// The image.
    pub image: String,
    /// Its layers that were damaged.
    pub layers: Vec<String>,
    /// Why it is as damaged as before; `null` where it is whole again.
    pub problem: Option<String>,
}

/// Something about an image that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Names of the images that it is in.
    pub images: Vec<String>,
    /// The layer, by the digest of its archive; `null` for an image's documents.
    pub layer: Option<String>,
    /// Where in the layer; empty for the layer as a whole.
    pub path: String,
    /// What is wrong, as a clause.
    pub problem: String,
}

/// The body of `PUT /registries/{host}`: a name and a password (or a token in its place), or a file that says both.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password, or an access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A file in the form of Docker's `config.json` on the server, absolute: it is read at each pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_config: Option<String>,
}

/// A registry at which somebody is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Its host, with its port where it has one.
    pub host: String,
    /// As whom; `null` where a file says it.
    pub username: Option<String>,
    /// The file that says it.
    pub docker_config: Option<String>,
    /// Since when.
    #[serde(rename = "saved_at", with = "time::millis")]
    pub saved_at_ms: i64,
}

/// Reads `pull` as on a command line.
pub fn pull_policy(text: &str) -> Result<PullPolicy, Invalid> {
    match text {
        "never" => Ok(PullPolicy::Never),
        "missing" => Ok(PullPolicy::Missing),
        "always" => Ok(PullPolicy::Always),
        _ => Err(Invalid::new("pull", "must be never, missing or always")),
    }
}
