//! Index and manifest: what there is of an image, by digest and size.

use std::collections::BTreeMap;

use belljar_model::image::Platform;
use serde::Deserialize;

use super::{
    CONFIG_TYPE, DOCKER_CONFIG_TYPE, DOCKER_INDEX_TYPE, DOCKER_MANIFEST_TYPE, DOCUMENT_BYTES_MAX, DocumentError, INDEX_TYPE, LAYERS_MAX,
    MANIFEST_TYPE, MANIFESTS_MAX, bounded, read,
};
use crate::digest::Digest;

/// What is said of a blob: which one, how long, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// What it is. Empty where nothing is said.
    pub media_type: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub size_bytes: u64,
    /// For what it was made; of manifests in an index.
    pub platform: Option<Platform>,
    /// Its name in a layout, where it has one (`org.opencontainers.image.ref.name`, or containerd's whole name).
    pub name: Option<String>,
    /// Whether it only says something about another manifest of the same index (what BuildKit adds for provenance).
    pub is_attestation: bool,
}

/// What an image consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What the image says, and the digests of its layers without compression.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// A list of images, one for each platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Their manifests, or further indexes.
    pub manifests: Vec<Descriptor>,
}

/// What a registry or a layout has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// A list of them.
    Index(Index),
}

#[derive(Deserialize)]
struct WirePlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    media_type: Option<String>,
    digest: String,
    size: i64,
    platform: Option<WirePlatform>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: Option<i64>,
    media_type: Option<String>,
    config: Option<WireDescriptor>,
    layers: Option<Vec<WireDescriptor>>,
    manifests: Option<Vec<WireDescriptor>>,
    // The first schema's; whoever has both is two things.
    fs_layers: Option<serde::de::IgnoredAny>,
}

const MANIFEST: &str = "manifest";
const INDEX: &str = "index";

/// Whether a media type is an index's.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, INDEX_TYPE | DOCKER_INDEX_TYPE)
}

fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, MANIFEST_TYPE | DOCKER_MANIFEST_TYPE)
}

/// A media type without its parameters.
fn bare(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

impl Document {
    /// Reads what came as `media_type` (a registry's `Content-Type`, a descriptor's word), where anything was said. What it is must
    /// be the same by that, by its own word and by its fields.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, DocumentError> {
        let wire: Wire = read(MANIFEST, bytes)?;
        let refused = |problem: &str| Err(DocumentError::refused(MANIFEST, problem));
        if wire.fs_layers.is_some() || wire.schema_version == Some(1) {
            return refused("it is of Docker's first schema, which no registry should serve any more");
        }
        if wire.schema_version.is_some_and(|version| version != 2) {
            return refused("its schemaVersion is not 2");
        }
        // A Content-Type that only says "JSON" says nothing.
        let said: Vec<&str> = [media_type, wire.media_type.as_deref()].into_iter().flatten().map(bare).collect();
        let (says_index, says_manifest) = (said.iter().any(|kind| is_index(kind)), said.iter().any(|kind| is_manifest(kind)));
        match (wire.config, wire.layers, wire.manifests) {
            (None, None, Some(manifests)) if !says_manifest => Index::of(manifests).map(Document::Index),
            (Some(config), layers, None) if !says_index => Manifest::of(config, layers.unwrap_or_default()).map(Document::Manifest),
            (None, None, None) => refused("it is neither a manifest nor an index"),
            (None, Some(_), None) => refused("it has layers and no configuration"),
            (_, _, Some(_)) | (Some(_), _, _) => refused("it is a manifest to one reader and an index to another"),
        }
    }
}

impl Manifest {
    fn of(config: WireDescriptor, layers: Vec<WireDescriptor>) -> Result<Self, DocumentError> {
        bounded(MANIFEST, "layers", &layers, LAYERS_MAX)?;
        let config = Descriptor::of(MANIFEST, config)?;
        if !matches!(config.media_type.as_str(), CONFIG_TYPE | DOCKER_CONFIG_TYPE | "") {
            let problem = format!("what it describes is no image of a container, but {:?}", config.media_type);
            return Err(DocumentError::refused(MANIFEST, problem));
        }
        if config.size_bytes > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::OverLimit { document: "configuration", what: "bytes", max: DOCUMENT_BYTES_MAX });
        }
        let layers: Vec<Descriptor> = layers.into_iter().map(|layer| Descriptor::of(MANIFEST, layer)).collect::<Result<_, _>>()?;
        if let Some(layer) = layers.iter().find(|layer| !is_layer(&layer.media_type)) {
            return Err(DocumentError::refused(MANIFEST, format!("it has a layer of a kind that is not known: {:?}", layer.media_type)));
        }
        Ok(Self { config, layers })
    }
}

/// Whether a media type is that of a layer: an archive, whatever its compression, which is found out by looking at it. What "may not
/// be distributed" (old Windows layers) is fetched as any other; the addresses that it brings along are never asked (CVE-2020-15157).
fn is_layer(media_type: &str) -> bool {
    let kind = media_type.strip_suffix("+gzip").or_else(|| media_type.strip_suffix("+zstd")).unwrap_or(media_type);
    matches!(
        kind,
        super::LAYER_TYPE
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar"
            | ""
    )
}

impl Index {
    fn of(manifests: Vec<WireDescriptor>) -> Result<Self, DocumentError> {
        bounded(INDEX, "manifests", &manifests, MANIFESTS_MAX)?;
        let manifests = manifests.into_iter().map(|manifest| Descriptor::of(INDEX, manifest)).collect::<Result<_, _>>()?;
        Ok(Self { manifests })
    }

    /// The manifest that is for `wanted`, or the index in which it may be. What says no platform is taken where nothing else is there.
    pub fn choose(&self, wanted: &Platform) -> Result<&Descriptor, DocumentError> {
        let images = || self.manifests.iter().filter(|manifest| !manifest.is_attestation);
        let ranked = images().filter_map(|manifest| Some((rank(manifest.platform.as_ref()?, wanted)?, manifest)));
        if let Some((_, best)) = ranked.min_by_key(|(rank, _)| *rank) {
            return Ok(best);
        }
        if let Some(unsaid) = images().find(|manifest| manifest.platform.is_none()) {
            return Ok(unsaid);
        }
        let there: Vec<String> = images().filter_map(|manifest| manifest.platform.as_ref()).take(16).map(platform_text).collect();
        let problem = format!("it has no image for {}, only for {}", platform_text(wanted), there.join(", "));
        Err(DocumentError::refused(INDEX, if there.is_empty() { "it has no image at all".to_owned() } else { problem }))
    }
}

/// How well something made for `platform` runs on `wanted`, the least the best; none where it does not.
fn rank(platform: &Platform, wanted: &Platform) -> Option<u8> {
    if (&platform.os, &platform.architecture) != (&wanted.os, &wanted.architecture) {
        return None;
    }
    let variant = platform.variant.as_deref().filter(|variant| !variant.is_empty());
    match (wanted.architecture.as_str(), variant) {
        (_, variant) if variant == wanted.variant.as_deref() => Some(0),
        (_, None) | ("amd64", Some("v1")) | ("arm64", Some("v8")) => Some(1),
        // An older processor's program runs on a newer one.
        ("arm", Some(variant)) => {
            let version = |text: &str| text.strip_prefix('v')?.parse::<u8>().ok();
            let (has, wants) = (version(variant)?, version(wanted.variant.as_deref().unwrap_or("v7"))?);
            (has <= wants).then(|| 2 + (wants - has))
        }
        _ => None,
    }
}

fn platform_text(platform: &Platform) -> String {
    let variant = platform.variant.iter().flat_map(|variant| ["/", variant]);
    [platform.os.as_str(), "/", &platform.architecture].into_iter().chain(variant).collect()
}

/// The platform of this host, in OCI's words.
pub fn host_platform() -> Platform {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", None),
        "x86" => ("386", None),
        "aarch64" => ("arm64", Some("v8")),
        "arm" => ("arm", Some("v7")),
        "powerpc64" => ("ppc64le", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    };
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
}

impl Descriptor {
    fn of(document: &'static str, wire: WireDescriptor) -> Result<Self, DocumentError> {
        let shown = || belljar_archive::shown(wire.digest.as_bytes());
        let digest = wire.digest.parse().map_err(|_| {
            DocumentError::refused(document, format!("the digest {:?} is not sha256: and 64 lower-case hexadecimal digits", shown()))
        })?;
        let size = u64::try_from(wire.size);
        let size_bytes = size.map_err(|_| DocumentError::refused(document, format!("the size of {} is negative", shown())))?;
        let annotations = wire.annotations.unwrap_or_default();
        let name = ["io.containerd.image.name", "org.opencontainers.image.ref.name"].iter().find_map(|key| annotations.get(*key));
        let platform = wire.platform.map(|wire| Platform { os: wire.os, architecture: wire.architecture, variant: wire.variant });
        let unknown = platform.as_ref().is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown");
        Ok(Self {
            media_type: wire.media_type.unwrap_or_default(),
            digest,
            size_bytes,
            // Old indexes say an empty platform where they mean none.
            platform: platform.filter(|platform| !platform.architecture.is_empty() || !platform.os.is_empty()),
            name: name.cloned(),
            is_attestation: unknown || annotations.contains_key("vnd.docker.reference.type"),
        })
    }
}
