//! Images: what a container's root begins as.

use serde::{Deserialize, Serialize};

use crate::ImageName;

/// An image on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Unique name.
    pub name: ImageName,
    /// Where it came from.
    pub kind: ImageKind,
    /// `sha256:` and 64 hexadecimal digits: of the uncompressed archive for a rootfs, of the made `/etc` for `host`.
    pub digest: String,
    /// Bytes of its regular files as unpacked; 0 for `host`, which takes no space.
    pub size_bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// When it was brought in, in Unix milliseconds.
    pub created_at_ms: i64,
}

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// The host's own userland.
    Host,
    /// A root file system archive that was imported.
    Rootfs,
}

impl ImageKind {
    /// The word on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            ImageKind::Host => "host",
            ImageKind::Rootfs => "rootfs",
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
