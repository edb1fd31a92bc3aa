//! Whether an image on this disk is still what it was: every digest, and every file of every layer.
//!
//! ```text
//! skeleton + tree -> archive again -> digest            the bytes, and which bytes go where
//!                                 \-> entries           each compared with what lies in the tree
//! tree            -> walk         -> names              nothing else lies there
//! ```
//!
//! Nothing is changed, whatever is found. Bounded: findings are counted beyond [`FINDINGS_MAX`], and of the names only a hash each is
//! kept. A layer whose archive cannot be put together again (see [`crate::LayerFacts`]) has no digest to be compared; of it, all but the
//! content of files is.

mod links;

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::Read;

use belljar_archive::{Archive, ArchiveLimits, Kind, Member, Stream, shown};
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use crate::config::{Configuration, DocumentError};
use crate::digest::Digest;
use crate::hashing::Hashing;
use crate::import::attributes::{FOLDER_MODE, OPAQUE_XATTR};
use crate::import::place::{self, Flavour, Place};
use crate::layer_archive::LayerArchive;
use crate::pack::{self, Xattrs};
use crate::skeleton::LayerFacts;
use crate::store::Images;
use crate::tree::{Tree, join, split};
use links::Links;

/// Findings that are kept of one layer; more are only counted.
pub(crate) const FINDINGS_MAX: usize = 1000;

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The layer; none for the image's documents.
    pub layer: Option<Digest>,
    /// Where in it; empty for the layer as a whole.
    pub path: String,
    /// What is wrong, as a clause.
    pub problem: String,
}

/// What an image is checked against.
#[derive(Debug, Clone, Copy)]
pub struct ToVerify<'a> {
    /// Its manifest, and the digest under which it is known.
    pub manifest: Option<(&'a [u8], Digest)>,
    /// Its configuration, and the digest under which it is known; none for a root file system.
    pub config: Option<(&'a [u8], Digest)>,
    /// Its layers, the lowest first.
    pub layers: &'a [Digest],
}

/// Checks an image.
pub(crate) fn verify(images: &Images, image: &ToVerify<'_>) -> Vec<Finding> {
    let mut findings = documents(image);
    for layer in image.layers {
        findings.extend(verify_layer(images, layer));
    }
    findings
}

fn documents(image: &ToVerify<'_>) -> Vec<Finding> {
    let whole = |problem: String| Finding { layer: None, path: String::new(), problem };
    let mut findings = Vec::new();
    for (what, document) in [("manifest", image.manifest), ("configuration", image.config)] {
        if let Some((bytes, said)) = document.filter(|(bytes, said)| Digest::of(bytes) != *said) {
            findings.push(whole(format!("the {what} has the digest {}, and not {said}", Digest::of(bytes))));
        }
    }
    match image.config.map(|(bytes, _)| Configuration::parse(bytes)) {
        Some(Ok(configuration)) if configuration.diff_ids != image.layers => {
            findings.push(whole("the configuration speaks of other layers".to_owned()));
        }
        Some(Err(error)) => findings.push(whole(told(&error))),
        _ => {}
    }
    findings
}

fn told(error: &DocumentError) -> String {
    std::error::Error::source(error).map_or(error.to_string(), |source| format!("{error}: {source}"))
}

/// Checks one layer.
pub(crate) fn verify_layer(images: &Images, layer: &Digest) -> Vec<Finding> {
    // It must not go while it is looked at.
    let _pin = images.pin(layer);
    let whole = |problem: String| vec![Finding { layer: Some(*layer), path: String::new(), problem }];
    let path = images.layer_path(layer);
    let tree = match Tree::open(&path) {
        Err(error) => return whole(format!("its folder is missing or cannot be opened: {error}")),
        Ok(tree) => tree,
    };
    let archive = match LayerArchive::open_for_check(&images.skeleton_path(layer), &path) {
        Err(error) => return whole(format!("its skeleton is missing or damaged: {error}")),
        Ok(archive) => archive,
    };
    let facts = *archive.facts();
    let mut check = Check::new(tree, &facts);
    let mut hashed = Hashing::new(archive);
    let read = check.entries(&mut hashed);
    // What comes after the last entry is part of the digest, too.
    let read = read.and_then(|()| std::io::copy(&mut hashed, &mut std::io::sink()).map(drop).map_err(|error| error.to_string()));
    let damaged = hashed.inner().damaged();
    let (found, _) = hashed.finish();
    check.contents(damaged);
    match read {
        Err(problem) => check.find(b"", format!("its archive cannot be put together again: {problem}")),
        Ok(()) => {
            check.check_parted();
            check.strangers();
            if facts.is_exact && found != *layer {
                check.find(b"", format!("its archive has the digest {found}"));
            }
        }
    }
    check.told(layer)
}

/// A layer that is being checked.
struct Check {
    tree: Tree,
    findings: BTreeMap<Vec<u8>, Vec<String>>,
    /// Symbolic links of the entries so far: what is behind one was unpacked where it led then.
    links: Links,
    /// Beyond those that are kept.
    more: u64,
    /// Hashes of the paths that the archive has or implies; two paths that have the same are beyond what anybody could aim at.
    known: HashSet<u64>,
    hasher: RandomState,
    /// Paths that are folders because something lies below them.
    above: HashSet<u64>,
    /// Folders that hide what is below them, by a whiteout beside them or in them.
    opaque: HashSet<u64>,
    /// What whiteouts stand for.
    hidden: HashSet<u64>,
    /// Folders that have an entry of their own.
    entered: HashSet<u64>,
    /// And those that have several.
    twice: HashSet<u64>,
    /// Second names that are not of their first names' files.
    parted: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether every file's content is that of its archive.
    is_exact: bool,
}

impl Check {
    fn new(tree: Tree, facts: &LayerFacts) -> Self {
        let sets = || (HashSet::new(), HashSet::new(), HashSet::new());
        let ((known, above, opaque), (hidden, entered, twice)) = (sets(), sets());
        let (findings, hasher) = (BTreeMap::new(), RandomState::new());
        let links = Links::default();
        let mut check = Self {
            tree,
            findings,
            links,
            more: 0,
            known,
            hasher,
            above,
            opaque,
            hidden,
            entered,
            twice,
            parted: Vec::new(),
            is_exact: facts.is_exact,
        };
        check.know(b"");
        check
    }

    fn find(&mut self, path: &[u8], problem: String) {
        if self.findings.len() < FINDINGS_MAX || self.findings.contains_key(path) {
            self.findings.entry(path.to_vec()).or_default().push(problem);
        } else {
            self.more += 1;
        }
    }

    fn hash(&self, path: &[u8]) -> u64 {
        self.hasher.hash_one(path)
    }

    /// Notes that a path and the folders above it belong to the layer.
    fn know(&mut self, path: &[u8]) {
        self.known.insert(self.hash(path));
        let mut path = path;
        while !path.is_empty() {
            path = split(path).0;
            let hash = self.hash(path);
            self.known.insert(hash);
            if !self.above.insert(hash) {
                break;
            }
        }
    }

    /// Reads the archive's entries, and compares each with the tree. What a later entry changes is compared again.
    fn entries(&mut self, archive: &mut impl Read) -> Result<(), String> {
        // It was taken within limits once, and may have been within others.
        let limits = ArchiveLimits { archive_bytes_max: u64::MAX, entries_max: u64::MAX, ..ArchiveLimits::default() };
        let mut archive = Archive::new(Stream::inflated(archive, &limits)).may_be_empty();
        let mut failed = None;
        while failed.is_none() {
            match archive.next_member() {
                Ok(None) => break,
                Ok(Some(member)) => failed = self.entry(&member).err(),
                Err(error) => failed = Some(std::error::Error::source(&error).map_or(error.to_string(), |source| source.to_string())),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn entry(&mut self, member: &Member) -> Result<(), String> {
        match place::read(&member.name, Flavour::Layer)? {
            Place::Nowhere => {}
            Place::HidesAllIn(path) => {
                let path = self.links.real(&path)?;
                self.know(&path);
                self.opaque.insert(self.hash(&path));
            }
            Place::Hides(path) => {
                let path = self.links.placed(&path)?;
                self.know(&path);
                self.hidden.insert(self.hash(&path));
                self.check_hidden(&path);
            }
            Place::At(path) => {
                let path = self.links.placed(&path)?;
                self.links.enter(&path, &member.kind)?;
                if member.kind == Kind::Device {
                    // It was never made, unlike its folder; what an earlier entry had there is gone with it.
                    self.know(split(&path).0);
                    self.above.insert(self.hash(split(&path).0));
                    self.twice.insert(self.hash(&path));
                    self.forget(&path);
                    return Ok(());
                }
                self.know(&path);
                if member.kind != Kind::Folder {
                    self.forget(&path);
                }
                self.findings.remove(&path);
                if !self.entered.insert(self.hash(&path)) {
                    self.twice.insert(self.hash(&path));
                }
                self.check(&path, member);
            }
        }
        Ok(())
    }

    /// Forgets what was found at and below a path that a later entry took the place of.
    fn forget(&mut self, path: &[u8]) {
        self.findings.remove(path);
        let below = join(path, b"");
        if !path.is_empty() {
            self.findings.retain(|found, _| !found.starts_with(&below));
        }
    }

    /// A whiteout, or what the layer itself has in its place; which of the two it must be is known once all entries are.
    fn check_hidden(&mut self, path: &[u8]) {
        match self.stat(path) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0 => {}
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                self.opaque.insert(self.hash(path));
            }
            Ok(_) => {}
            Err(errno) => self.find(path, format!("the whiteout is missing ({errno})")),
        }
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, Errno> {
        let (parent, name) = split(path);
        let folder = self.tree.folder(parent)?;
        if name.is_empty() { rustix::fs::fstat(folder) } else { rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) }
    }

    fn check(&mut self, path: &[u8], member: &Member) {
        let stat = match self.stat(path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return self.find(path, "it is missing".to_owned()),
            Err(errno) => return self.find(path, format!("it cannot be looked at ({errno})")),
            Ok(stat) => stat,
        };
        if let Kind::Hardlink { target } = &member.kind {
            return self.check_link(path, &stat, target);
        }
        for problem in self.problems(path, member, &stat) {
            self.find(path, problem);
        }
    }

    /// Whether a second name is still the first one's file. Which of the two a later entry took is known once all entries are.
    fn check_link(&mut self, path: &[u8], stat: &Stat, target: &[u8]) {
        let Ok(Place::At(target)) = place::read(target, Flavour::Layer) else { return };
        let Ok(target) = self.links.placed(&target) else { return };
        let is_same = |other: Stat| (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino);
        if !self.stat(&target).is_ok_and(is_same) && self.parted.len() < FINDINGS_MAX {
            self.parted.push((path.to_vec(), target));
        }
    }

    /// Names that are no longer of one file, although no later entry took one of them or a folder above it.
    fn check_parted(&mut self) {
        for (path, target) in std::mem::take(&mut self.parted) {
            let is_taken = |path: &[u8]| self.twice.contains(&self.hash(path)) || self.tree.folder(split(path).0).is_err();
            if !is_taken(&path) && !is_taken(&target) {
                self.find(&path, format!("it is no longer the same file as {}", shown(&target)));
            }
        }
    }

    fn problems(&self, path: &[u8], member: &Member, stat: &Stat) -> Vec<String> {
        let mut problems = Vec::new();
        let (kind, expected) = (FileType::from_raw_mode(stat.st_mode), file_type(&member.kind));
        if kind != expected {
            return vec![format!("it is {}, and not {}", named(kind), named(expected))];
        }
        let mode = stat.st_mode & 0o7777;
        if mode != member.mode && expected != FileType::Symlink {
            problems.push(format!("its mode is {mode:o}, and not {:o}", member.mode));
        }
        let owner = (i128::from(stat.st_uid), i128::from(stat.st_gid));
        if owner != (member.uid, member.gid) {
            problems.push(format!("its owner is {}:{}, and not {}:{}", owner.0, owner.1, member.uid, member.gid));
        }
        if !same_time(stat, member.mtime) {
            problems.push("its time has changed".to_owned());
        }
        match &member.kind {
            Kind::File { size } if u64::try_from(stat.st_size) != Ok(*size) => {
                problems.push(format!("it has {} bytes, and not {size}", stat.st_size));
            }
            Kind::Symlink { target } if self.target(path).as_deref() != Some(target) => {
                problems.push(format!("it leads elsewhere, and not to {}", shown(target)));
            }
            _ => {}
        }
        if matches!(expected, FileType::RegularFile | FileType::Directory) && self.xattrs(path, expected) != Some(sorted(&member.xattrs)) {
            problems.push("its extended attributes have changed".to_owned());
        }
        problems
    }

    fn target(&self, path: &[u8]) -> Option<Vec<u8>> {
        let (parent, name) = split(path);
        let folder = self.tree.folder(parent).ok()?;
        rustix::fs::readlinkat(folder, name, Vec::new()).ok().map(|target| target.into_bytes())
    }

    fn xattrs(&self, path: &[u8], kind: FileType) -> Option<Xattrs> {
        match kind {
            FileType::Directory => pack::xattrs(path, self.tree.folder(path).ok()?).ok(),
            _ => pack::xattrs(path, self.tree.file(path).ok()?).ok(),
        }
    }

    /// Walks the tree for what belongs to no entry, for folders that hide what they should not, and for those that are only implied.
    fn strangers(&mut self) {
        let mut ahead = vec![Vec::new()];
        while let Some(path) = ahead.pop() {
            let listed = self.tree.folder(&path).and_then(|folder| pack::listed(&folder).map(|names| (names, folder)));
            let (names, folder) = match listed {
                Ok(listed) => listed,
                Err(errno) => {
                    self.find(&path, format!("it cannot be listed ({errno})"));
                    continue;
                }
            };
            self.check_folder(&path, &folder);
            for (name, kind) in names {
                let path = join(&path, &name);
                let hash = self.hash(&path);
                let is_implied = kind == FileType::Directory && self.above.contains(&hash);
                if !self.known.contains(&hash) {
                    self.find(&path, "it is no part of the layer".to_owned());
                    continue;
                }
                let is_own = self.entered.contains(&hash) || is_implied;
                if self.hidden.contains(&hash) && !is_own && kind != FileType::CharacterDevice {
                    self.find(&path, format!("it is {}, and not a whiteout", named(kind)));
                }
                if kind == FileType::Directory {
                    ahead.push(path);
                }
            }
        }
    }

    fn check_folder(&mut self, path: &[u8], folder: &rustix::fd::OwnedFd) {
        let hash = self.hash(path);
        let is_marked = matches!(pack::mark(path, folder, OPAQUE_XATTR), Ok(Some(_)));
        match (is_marked, self.opaque.contains(&hash)) {
            (true, false) => self.find(path, "it hides what the layers below have in it".to_owned()),
            (false, true) => self.find(path, "it no longer hides what the layers below have in it".to_owned()),
            _ => {}
        }
        if !self.entered.contains(&hash)
            && let Ok(stat) = rustix::fs::fstat(folder)
            && (stat.st_mode & 0o7777) != FOLDER_MODE
        {
            self.find(path, format!("its mode is {:o}, and not {FOLDER_MODE:o}", stat.st_mode & 0o7777));
        }
    }

    /// Files whose content is not what the skeleton says of it. Where a later entry took the place of one, it speaks of both.
    fn contents(&mut self, damaged: Vec<Vec<u8>>) {
        for path in damaged {
            let is_file = |stat: Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size > 0;
            let is_said_once = self.is_exact || !self.twice.contains(&self.hash(&path));
            if is_said_once && self.stat(&path).is_ok_and(is_file) {
                self.find(&path, "its content has changed".to_owned());
            }
        }
    }

    fn told(self, layer: &Digest) -> Vec<Finding> {
        let finding = |path: &[u8], problem| Finding { layer: Some(*layer), path: shown(path), problem };
        let mut findings: Vec<Finding> = Vec::new();
        for (path, problems) in self.findings {
            findings.extend(problems.into_iter().map(|problem| finding(&path, problem)));
        }
        if self.more > 0 {
            findings.push(finding(b"", format!("there are {} findings more", self.more)));
        }
        findings
    }
}

fn sorted(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Xattrs {
    let mut xattrs = xattrs.to_vec();
    xattrs.sort();
    xattrs
}

/// Whether a file has a time, as far as its file system could keep it: seconds are cut where they are out of its range.
fn same_time(stat: &Stat, (seconds, nanoseconds): (i64, u32)) -> bool {
    /// What ext4 keeps with 256-byte inodes ends in the year 2446, and what it keeps begins in 1901.
    const KEPT: std::ops::RangeInclusive<i64> = -(1 << 31)..=(3 << 32) + (1 << 31) - 1;
    let found = (stat.st_mtime, stat.st_mtime_nsec as u32);
    found == (seconds, nanoseconds) || !KEPT.contains(&seconds)
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::File { .. } | Kind::Hardlink { .. } => FileType::RegularFile,
        Kind::Folder => FileType::Directory,
        Kind::Symlink { .. } => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
        Kind::Device => FileType::CharacterDevice,
    }
}

fn named(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::CharacterDevice => "a whiteout or a device",
        _ => "something else",
    }
}
