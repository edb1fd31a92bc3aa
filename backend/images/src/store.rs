//! The folder of images: what lies where, how it comes to be there, and how it goes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use belljar_model::image::{Contents, ImageKind, ImageLayer, LayerInfo};
use belljar_model::{Image, Reference};

use crate::brought::{self, BringError, Brought};
use crate::commit::{self, CommitError, NewImage};
use crate::config::Changes;
use crate::crash;
use crate::digest::Digest;
use crate::export::{self, ExportError, Exported, ToExport};
use crate::host::{self, HostImage};
use crate::import::place::Flavour;
use crate::import::{self, ImportError, ImportLimits, Imported, PlacedLayer, StagedLayer, Unpacked};
use crate::layer_archive::LayerArchive;
use crate::pack::{self, PackError};
use crate::pins::{Pin, Pins};
use crate::skeleton::LayerFacts;
use crate::tree;
use crate::verify::{self, Finding, ToVerify};

const LAYERS: &str = "layers";
const SKELETONS: &str = "skeletons";
const HOST: &str = "host";
const TMP: &str = "tmp";
const DAMAGED: &str = "damaged";

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
    pins: Pins,
}

/// Lets what is made in a folder lie far apart on an ext4, where everything else lies near its folder. Without a journal it looks at
/// each inode that was freed near there in the last minutes before it gives one out, and a layer of 9,000 files that came after such a
/// one was removed took 20 s instead of 4. Where there is no such mark, nothing is lost.
fn spread(folder: &Path) {
    let marked = File::open(folder).map_err(|_| rustix::io::Errno::NOENT).and_then(|file| {
        let flags = rustix::fs::ioctl_getflags(&file)?;
        rustix::fs::ioctl_setflags(&file, flags | rustix::fs::IFlags::TOPDIR)
    });
    let _without = marked;
}

impl Images {
    /// Opens the folder, and makes it (readable by root alone) where it is missing.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let images = Self { folder: folder.into(), pins: Pins::default() };
        for name in [LAYERS, SKELETONS, HOST, TMP, DAMAGED] {
            let path = images.folder.join(name);
            // Files of an image keep their set-uid bits; nobody but root may come near them on the host.
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(Error::folder("make", &path))?;
        }
        spread(&images.tmp());
        Ok(images)
    }

    /// The image `host`, as the host is now. Its skeleton is made where there is none yet that is the same.
    pub fn host(&self) -> Result<HostImage, Error> {
        host::make(&self.folder.join(TMP), &self.folder.join(HOST))
    }

    /// Unpacks a rootfs archive (tar, plain or compressed with gzip or zstd) in one pass, and puts it in its place. The same
    /// archive twice is one layer. After a failure nothing of it is left.
    pub fn import(&self, archive: impl Read + Send, limits: &ImportLimits) -> Result<Imported, ImportError> {
        self.unpack(archive, limits)?.put_in_place()
    }

    /// The first and longer half of [`Images::import`]: as slow as the archive arrives, and in nobody's way.
    pub fn unpack(&self, archive: impl Read + Send, limits: &ImportLimits) -> Result<Unpacked, ImportError> {
        import::stage(self, Flavour::Rootfs, archive, limits).map(Unpacked::new)
    }

    /// Unpacks one layer of an image (tar, plain or compressed with gzip or zstd) in one pass as its bytes arrive. Whiteouts become
    /// what overlayfs takes for them. Nothing of it is left unless it is then put in its place.
    pub fn stage_layer(&self, archive: impl Read + Send, limits: &ImportLimits) -> Result<StagedLayer, ImportError> {
        import::stage(self, Flavour::Layer, archive, limits)
    }

    /// What is known of a layer that is here, whole; none where it is not. To rely on it, pin it before.
    pub fn layer(&self, diff_id: &Digest) -> Option<LayerFacts> {
        let facts = File::open(self.skeleton_path(diff_id)).and_then(|file| LayerFacts::read(&file)).ok()?;
        self.layer_path(diff_id).is_dir().then_some(facts)
    }

    /// Whether a layer is here, whole. To rely on it, pin it before.
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        self.layer(diff_id).is_some()
    }

    /// The archive of a layer, without compression: byte for byte what it came as, unless a later entry of it took the place of a file
    /// that had content; then there is no such archive any more, which is an error (`Unsupported`).
    pub fn layer_archive(&self, diff_id: &Digest) -> io::Result<LayerArchive> {
        LayerArchive::open(&self.skeleton_path(diff_id), &self.layer_path(diff_id))
    }

    /// Brings in an archive of any kind: a root file system, an OCI layout or what `docker save` wrote, as a tar archive, plain or
    /// compressed with gzip or zstd. Of several images it takes the one that is `wanted`. After a failure nothing of it is left, but for
    /// whole layers, which a sweep removes.
    pub fn bring(&self, archive: impl Read + Send, limits: &ImportLimits, wanted: Option<&Reference>) -> Result<Brought, BringError> {
        brought::bring(self, archive, limits, wanted)
    }

    /// Writes an image as an archive that other tools read: an OCI layout that is also what `docker load` takes. The same image is the
    /// same bytes.
    pub fn export(&self, image: &ToExport<'_>, out: impl io::Write) -> Result<Exported, ExportError> {
        export::export(self, image, out)
    }

    /// Makes a layer of a folder in which overlayfs keeps what a container changed. The folder is not changed.
    pub fn pack_layer(&self, upper: &Path, limits: &ImportLimits) -> Result<StagedLayer, PackError> {
        pack::stage(self, upper, limits)
    }

    /// Makes an image of one with this configuration and contents, with a layer on top.
    pub fn make_image(&self, below: (&[u8], &Contents), layer: &PlacedLayer, changes: &Changes) -> Result<NewImage, CommitError> {
        commit::make(self, below, layer, changes)
    }

    /// Compares an image with what its digests and its layers' archives say: what is not as it was. Reads every byte of it.
    pub fn verify(&self, image: &ToVerify<'_>) -> Vec<Finding> {
        verify::verify(self, image)
    }

    /// Holds a layer in its place, whether it is there already or not: neither [`Images::remove_layer`] nor [`Images::sweep`] takes it
    /// before the pin is dropped.
    pub fn pin(&self, diff_id: &Digest) -> Pin {
        self.pins.pin(diff_id)
    }

    /// Where half-done work lies.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.folder.join(TMP)
    }

    /// Where damaged layers are set aside.
    pub(crate) fn damaged(&self) -> PathBuf {
        self.folder.join(DAMAGED)
    }

    /// Does something to a layer that nobody holds, while nobody can begin to; `None` where somebody does.
    pub(crate) fn unless_pinned<T>(&self, digest: &Digest, work: impl FnOnce() -> T) -> Option<T> {
        self.pins.unless_pinned(digest, work)
    }

    /// Where a layer's root lies.
    pub(crate) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.folder.join(LAYERS).join(diff_id.hex())
    }

    /// Where a layer's skeleton lies.
    pub(crate) fn skeleton_path(&self, diff_id: &Digest) -> PathBuf {
        self.folder.join(SKELETONS).join(diff_id.hex())
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

    /// Removes a layer, and then its skeleton; one that is already gone is fine. Nothing may be using it. One that is pinned stays:
    /// whoever pinned it has use for it, or a later sweep finds it.
    pub fn remove_layer(&self, digest: &Digest) -> Result<(), Error> {
        for path in [self.layer_path(digest), self.skeleton_path(digest)] {
            let aside = self.pins.unless_pinned(digest, || tree::move_aside(&path, &self.tmp()));
            let aside = aside.transpose().map_err(Error::folder("remove", &path))?.flatten();
            crash::here("layer.put_aside");
            aside.map_or(Ok(()), |aside| tree::remove(&aside)).map_err(Error::folder("remove", &path))?;
            crash::here("layer.tree_removed");
        }
        Ok(())
    }

    /// Removes half-done work, and every layer and skeleton whose digest is neither `in_use` nor pinned. For the start of Belljar,
    /// when nobody imports: whatever is being unpacked lies among what is half-done.
    pub fn sweep(&self, in_use: &[Digest]) -> Result<Swept, Error> {
        let keep: BTreeSet<String> = in_use.iter().map(Digest::hex).collect();
        let mut swept = Swept::default();
        self.settle_aside(&keep)?;
        for folder in [LAYERS, SKELETONS, HOST, TMP] {
            let path = self.folder.join(folder);
            for name in tree::names(&path).map_err(Error::folder("list", &path))? {
                let name_text = name.to_str().unwrap_or_default();
                if folder != TMP && keep.contains(name_text) {
                    continue;
                }
                let path = path.join(&name);
                let remove = || tree::remove(&path);
                let removed = match Digest::from_hex(name_text).filter(|_| folder != TMP) {
                    Some(digest) => self.pins.unless_pinned(&digest, remove),
                    None => Some(remove()),
                };
                let Some(removed) = removed else { continue };
                removed.map_err(Error::folder("remove", &path))?;
                swept.removed.push(format!("{folder}/{}", name.to_string_lossy()));
            }
        }
        Ok(swept)
    }
}
