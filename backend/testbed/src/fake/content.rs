//! Images that a fake registry has: documents and blobs by path, answered as a registry should.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Reply, Request};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// `sha256:` and the hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// A document as bytes.
pub fn document(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value is a document")
}

/// One layer as it lies in a registry.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its bytes, compressed or not.
    pub blob: Vec<u8>,
    /// Digest of what they become without compression.
    pub diff_id: String,
    /// What it is called.
    pub media_type: String,
}

impl Layer {
    /// A layer whose archive is `tar`, sent as `blob`.
    pub fn new(tar: &[u8], blob: impl Into<Vec<u8>>, media_type: &str) -> Self {
        Self { blob: blob.into(), diff_id: digest(tar), media_type: media_type.to_owned() }
    }

    /// What a manifest says of it.
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": digest(&self.blob), "size": self.blob.len()})
    }
}

/// Everything that there is, by the end of its path: `manifests/latest`, `blobs/sha256:…`.
#[derive(Debug, Clone, Default)]
pub struct Content {
    things: BTreeMap<String, (String, Arc<Vec<u8>>)>,
}

impl Content {
    /// One image under a tag, for this machine.
    pub fn of(tag: &str, layers: &[Layer]) -> Self {
        let mut content = Self::default();
        content.image(tag, layers);
        content
    }

    /// Adds an image for linux and this machine's processor under a tag. Returns its manifest.
    pub fn image(&mut self, tag: &str, layers: &[Layer]) -> Value {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let history: Vec<Value> = (0..layers.len()).map(|index| json!({"created_by": format!("step {index}")})).collect();
        let config = json!({
            "os": "linux", "architecture": architecture, "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
        });
        for layer in layers {
            self.blob(&layer.blob);
        }
        let config = self.config(&config);
        let layers: Vec<Value> = layers.iter().map(Layer::descriptor).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.manifest(tag, &manifest);
        manifest
    }

    /// Adds a configuration; returns what a manifest says of it.
    pub fn config(&mut self, config: &Value) -> Value {
        let bytes = document(config);
        self.blob(&bytes);
        json!({"mediaType": CONFIG, "digest": digest(&bytes), "size": bytes.len()})
    }

    /// Adds a blob under its digest.
    pub fn blob(&mut self, bytes: &[u8]) {
        self.put(&format!("blobs/{}", digest(bytes)), "application/octet-stream", bytes);
    }

    /// Adds a document under a tag and its digest, as what its `mediaType` says. Returns what an index says of it.
    pub fn manifest(&mut self, tag: &str, manifest: &Value) -> Value {
        let bytes = document(manifest);
        let default = if manifest.get("manifests").is_some() { INDEX } else { MANIFEST };
        let kind = manifest.get("mediaType").and_then(Value::as_str).unwrap_or(default);
        self.put(&format!("manifests/{tag}"), kind, &bytes);
        self.put(&format!("manifests/{}", digest(&bytes)), kind, &bytes);
        json!({"mediaType": kind, "digest": digest(&bytes), "size": bytes.len()})
    }

    /// Puts any bytes anywhere.
    pub fn put(&mut self, end: &str, kind: &str, bytes: &[u8]) {
        self.things.insert(end.to_owned(), (kind.to_owned(), Arc::new(bytes.to_vec())));
    }

    /// The answer of a registry that does everything right.
    pub fn reply(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let end: Vec<&str> = path.rsplitn(3, '/').take(2).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        let end = end.join("/");
        let Some((kind, bytes)) = self.things.get(&end) else {
            return Reply::error(404, if end.starts_with("manifests") { "MANIFEST_UNKNOWN" } else { "BLOB_UNKNOWN" });
        };
        let whole =
            Reply { body: bytes.clone(), ..Reply::ok("") }.header("content-type", kind).header("docker-content-digest", &digest(bytes));
        let whole = whole.header("etag", &format!("\"{}\"", digest(bytes)));
        let from = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match from {
            None => whole,
            Some(from) if from >= bytes.len() => Reply::status(416).header("content-range", &format!("bytes */{}", bytes.len())),
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                whole.with_status(206).with_body(&bytes[from..]).header("content-range", &range)
            }
        }
    }
}
