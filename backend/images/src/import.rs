//! Bringing in an archive, a layer or a whole root file system: one pass from the bytes that arrive to files on disk, and nothing
//! left after a failure.
//!
//! ```text
//! bytes -> [inflate, count, hash] -> entries -> unpack (below tmp/<random>) -> rename to layers/<digest>
//!                                       \------> skeleton (tmp/<random>) ----> rename to skeletons/<digest>
//! ```
//!
//! The digest is that of the uncompressed archive, so the same tree compressed twice differently is one layer. The
//! table of limits is [`limits`]. What an archive may not do, and what becomes of it if it tries, is the table in
//! `tests/hostile_archives.rs`. Start reading at [`stage`].

pub(crate) mod attributes;
mod pipe;
pub(crate) mod place;
mod unpack;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use belljar_archive::{ArchiveError as ImportError, ArchiveLimits as ImportLimits, limits};

use belljar_archive::{Archive, Stream};

use crate::crash;
use crate::digest::Digest;
use crate::pins::Pin;
use crate::skeleton::{self, LayerFacts};
use crate::store::Images;
use crate::tree::{self, Scratch, Tree};
use place::Flavour;
use unpack::Unpacker;

/// What was brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Of the archive after decompression.
    pub digest: Digest,
    /// Bytes of all regular files as the archive has them.
    pub size_bytes: u64,
    /// Entries of the archive, of every kind.
    pub entries: u64,
    /// Device nodes among them, which were not made: Belljar supplies `/dev`.
    pub devices_skipped: u64,
}

/// A rootfs archive that is unpacked, but not in its place. It is gone when dropped.
#[derive(Debug)]
pub struct Unpacked(StagedLayer);

impl Unpacked {
    pub(crate) fn new(staged: StagedLayer) -> Self {
        Self(staged)
    }

    /// Puts it in its digest's place, by one rename. Where the same lies there already, that one stays.
    pub fn put_in_place(self) -> Result<Imported, ImportError> {
        let devices_skipped = self.0.devices_skipped;
        let PlacedLayer { diff_id, facts, .. } = self.0.put_in_place()?;
        Ok(Imported { digest: diff_id, size_bytes: facts.size_bytes, entries: facts.entries, devices_skipped })
    }
}

/// A layer that is unpacked and hashed, but not in its place. It is gone when dropped. Whoever expects a certain layer compares
/// the digest before it is put in its place.
#[derive(Debug)]
pub struct StagedLayer {
    /// Of the archive after decompression.
    pub diff_id: Digest,
    /// What is known of it.
    pub facts: LayerFacts,
    /// Device nodes of the archive, which were not made: Belljar supplies `/dev`.
    pub devices_skipped: u64,
    tree: Scratch,
    skeleton: Scratch,
    pin: Pin,
    images: Images,
}

/// A layer in its place, held there.
#[derive(Debug)]
pub struct PlacedLayer {
    /// Its name.
    pub diff_id: Digest,
    /// What is known of it.
    pub facts: LayerFacts,
    /// Holds it.
    pub pin: Pin,
}

impl StagedLayer {
    /// Where its root is for now.
    pub(crate) fn tree_path(&self) -> &Path {
        self.tree.path()
    }

    /// Waits until it is on disk, and puts it in its place by one rename. Where the same lies there already, that one stays.
    pub fn put_in_place(self) -> Result<PlacedLayer, ImportError> {
        let place = self.images.layer_path(&self.diff_id);
        let placed = Self::put_all_in_place(vec![self])?.pop();
        placed.ok_or_else(|| stored("put in its place", &place)(std::io::ErrorKind::NotFound.into()))
    }

    /// The same for layers of one folder of images, with one wait for all of them.
    pub fn put_all_in_place(mut layers: Vec<Self>) -> Result<Vec<PlacedLayer>, ImportError> {
        if let Some(first) = layers.first() {
            first.sync()?;
        }
        // The skeletons first: a layer that is in its place has one.
        let mut skeletons = Folders::default();
        for layer in &mut layers {
            skeletons.put(&mut layer.skeleton, &layer.images.skeleton_path(&layer.diff_id), Scratch::rename_over)?;
        }
        skeletons.sync()?;
        crash::here("layer.skeleton_placed");
        let mut trees = Folders::default();
        for layer in &mut layers {
            trees.put(&mut layer.tree, &layer.images.layer_path(&layer.diff_id), Scratch::rename_to)?;
            crash::here("layer.placed");
        }
        trees.sync()?;
        Ok(layers.into_iter().map(|layer| PlacedLayer { diff_id: layer.diff_id, facts: layer.facts, pin: layer.pin }).collect())
    }

    /// Waits until everything that was written to its file system is on disk: tree and skeleton lie on one, and so do those of all
    /// other layers of its folder.
    fn sync(&self) -> Result<(), ImportError> {
        let file = File::open(self.skeleton.path()).map_err(stored("open", self.skeleton.path()))?;
        rustix::fs::syncfs(&file).map_err(|errno| stored("write to disk", self.skeleton.path())(errno.into()))
    }
}

/// The last place into which something was put, whose folder has all of them.
#[derive(Default)]
struct Folders(Option<PathBuf>);

impl Folders {
    fn put(&mut self, scratch: &mut Scratch, place: &Path, by: fn(&mut Scratch, &Path) -> std::io::Result<()>) -> Result<(), ImportError> {
        by(scratch, place).map_err(stored("put in its place", place))?;
        self.0 = Some(place.to_owned());
        Ok(())
    }

    /// Waits until all lie there also after a power cut.
    fn sync(&self) -> Result<(), ImportError> {
        self.0.as_ref().map_or(Ok(()), |place| tree::sync_folder_of(place).map_err(stored("put in its place", place)))
    }
}

/// Unpacks `archive`.
pub(crate) fn stage(
    images: &Images,
    flavour: Flavour,
    archive: impl Read + Send,
    limits: &ImportLimits,
) -> Result<StagedLayer, ImportError> {
    let (unpacked, whole) = pipe::inflated(archive, limits, |inflated| unpack(&images.tmp(), flavour, inflated, limits))?;
    let Unstaged { tree, skeleton, writer, size_bytes, entries, devices_skipped, is_exact } = unpacked;
    let facts = LayerFacts { size_bytes, entries, archive_bytes: whole.bytes, is_exact };
    writer.finish(&facts).map_err(stored("write", skeleton.path()))?;
    crash::here("layer.staged");
    let (pin, images) = (images.pin(&whole.digest), images.clone());
    Ok(StagedLayer { diff_id: whole.digest, facts, devices_skipped, tree, skeleton, pin, images })
}

/// What there is of a layer before the digest of its archive is known.
struct Unstaged {
    tree: Scratch,
    skeleton: Scratch,
    writer: skeleton::Writer,
    size_bytes: u64,
    entries: u64,
    devices_skipped: u64,
    is_exact: bool,
}

fn unpack(tmp: &Path, flavour: Flavour, inflated: impl Read, limits: &ImportLimits) -> Result<Unstaged, ImportError> {
    let (skeleton, file) = Scratch::make_file(tmp).map_err(stored("make a file in", tmp))?;
    let writer = skeleton::Writer::new(file).map_err(stored("write", skeleton.path()))?;
    let archive = Archive::heard_by(Stream::inflated(inflated, limits), writer);
    let mut archive = if flavour == Flavour::Layer { archive.may_be_empty() } else { archive };
    // The first entry is read before a tree is made: most mistakes are a file of the wrong kind.
    let mut next = archive.next_member()?;
    let tree = Scratch::make(tmp).map_err(stored("make a folder in", tmp))?;
    let mut unpacker = Unpacker::new(Tree::open(tree.path()).map_err(stored("open", tree.path()))?, flavour);
    let mut entries = 0;
    while let Some(member) = next {
        entries += 1;
        if entries > limits.entries_max {
            return Err(ImportError::OverLimit { what: "entries", max: limits.entries_max });
        }
        unpacker.unpack(&member, &mut archive)?;
        crash::here("layer.half");
        next = archive.next_member()?;
    }
    let Unpacker { size_bytes, devices_skipped, is_exact, .. } = unpacker;
    unpacker.finish()?;
    Ok(Unstaged { tree, skeleton, writer: archive.into_sink(), size_bytes, entries, devices_skipped, is_exact })
}

pub(crate) fn stored(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ImportError {
    let path = path.display().to_string();
    move |source| ImportError::Store { operation, path, source }
}
