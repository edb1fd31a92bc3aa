//! The folder of images: what lies where, how it comes to be there, and how it goes.

use std::collections::BTreeSet;
use std::io;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use belljar_model::Image;
use belljar_model::image::{ImageKind, ImageLayer, LayerInfo};

use crate::digest::Digest;
use crate::host::{self, HostImage};
use crate::import::{self, ImportError, ImportLimits, Imported, Unpacked};
use crate::tree;

const LAYERS: &str = "layers";
const HOST: &str = "host";
const TMP: &str = "tmp";

/// Why something about the folder of images failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder could not be read, made or removed.
    #[error("could not {operation} {path}")]
    Folder {
        /// What was tried.
        operation: &'static str,
        /// The folder.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// An image's digest is not one.
    #[error("the image {name} has no valid digest")]
    Digest {
        /// The image.
        name: String,
        /// What is wrong with it.
        #[source]
        source: belljar_model::Invalid,
    },
    /// An image's folder is gone.
    #[error("the image {name} is not on this disk: {path} is missing")]
    Missing {
        /// The image.
        name: String,
        /// Where it should be.
        path: String,
    },
}

impl Error {
    pub(crate) fn folder(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Folder { operation, path, source }
    }
}

/// What a sweep removed, by folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Folders that are gone now, below the folder of images: `tmp/4f1c…`, `layers/09ab…`.
    pub removed: Vec<String>,
}

/// The folder of images.
#[derive(Debug, Clone)]
pub struct Images {
    folder: PathBuf,
}

impl Images {
    /// Opens the folder, and makes it (readable by root alone) where it is missing.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let images = Self { folder: folder.into() };
        for name in [LAYERS, HOST, TMP] {
            let path = images.folder.join(name);
            // Files of an image keep their set-uid bits; nobody but root may come near them on the host.
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(Error::folder("make", &path))?;
        }
        Ok(images)
    }

    /// The image `host`, as the host is now. Its skeleton is made where there is none yet that is the same.
    pub fn host(&self) -> Result<HostImage, Error> {
        host::make(&self.folder.join(TMP), &self.folder.join(HOST))
    }

    /// Unpacks a rootfs archive (tar, plain or compressed with gzip or zstd) in one pass, and puts it in its place. The same
    /// archive twice is one layer. After a failure nothing of it is left.
    pub fn import(&self, archive: impl Read, limits: &ImportLimits) -> Result<Imported, ImportError> {
        self.unpack(archive, limits)?.put_in_place()
    }

    /// The first and longer half of [`Images::import`]: as slow as the archive arrives, and in nobody's way.
    pub fn unpack(&self, archive: impl Read, limits: &ImportLimits) -> Result<Unpacked, ImportError> {
        import::run(archive, limits, &self.folder.join(TMP), &self.folder.join(LAYERS))
    }

    /// The folders that an image consists of, top first.
    pub fn layers(&self, image: &Image) -> Result<Vec<ImageLayer>, Error> {
        let name = || image.name.to_string();
        let digest: Digest = image.digest.parse().map_err(|source| Error::Digest { name: name(), source })?;
        let folder = match image.kind {
            ImageKind::Host => self.folder.join(HOST),
            ImageKind::Rootfs => self.folder.join(LAYERS),
            ImageKind::Oci => return self.layers_of(image),
        };
        let path = folder.join(digest.hex());
        if !path.is_dir() {
            return Err(Error::Missing { name: name(), path: path.display().to_string() });
        }
        Ok(match image.kind {
            ImageKind::Host => host::layers(&path),
            ImageKind::Rootfs | ImageKind::Oci => {
                vec![ImageLayer { path: path.display().to_string(), at: String::new(), label: format!("image {}", image.name) }]
            }
        })
    }

    /// The layers of an OCI image, top first.
    fn layers_of(&self, image: &Image) -> Result<Vec<ImageLayer>, Error> {
        let layer = |layer: &LayerInfo| {
            let digest: Digest = layer.diff_id.parse().map_err(|source| Error::Digest { name: image.name.to_string(), source })?;
            let path = self.folder.join(LAYERS).join(digest.hex()).display().to_string();
            if !Path::new(&path).is_dir() {
                return Err(Error::Missing { name: image.name.to_string(), path });
            }
            let label = layer.command.clone().unwrap_or_else(|| format!("image {}", image.name));
            Ok(ImageLayer { path, at: String::new(), label })
        };
        image.contents.layers.iter().rev().map(layer).collect()
    }

    /// Removes the folder of an imported layer; one that is already gone is fine. Nothing may be using it.
    pub fn remove_layer(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.folder.join(LAYERS).join(digest.hex());
        tree::discard(&path, &self.folder.join(TMP)).map_err(Error::folder("remove", &path))
    }

    /// Removes half-done work, and every layer and skeleton whose digest is not `in_use`. For the start of Belljar, when
    /// nobody imports.
    pub fn sweep(&self, in_use: &[Digest]) -> Result<Swept, Error> {
        let keep: BTreeSet<String> = in_use.iter().map(Digest::hex).collect();
        let mut swept = Swept::default();
        for folder in [LAYERS, HOST, TMP] {
            let path = self.folder.join(folder);
            for name in tree::names(&path).map_err(Error::folder("list", &path))? {
                if folder != TMP && name.to_str().is_some_and(|name| keep.contains(name)) {
                    continue;
                }
                let path = path.join(&name);
                tree::remove(&path).map_err(Error::folder("remove", &path))?;
                swept.removed.push(format!("{folder}/{}", name.to_string_lossy()));
            }
        }
        Ok(swept)
    }
}
