//! Tar archives byte by byte, a place to import them, and a canary outside of it that must not notice.
#![allow(dead_code, reason = "each test executable uses a part of it")]

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use belljar_images::{Digest, Images, ImportError, ImportLimits, Imported, PlacedLayer, StagedLayer};

const BLOCK: usize = 512;

/// One header with its body, as bytes.
#[derive(Clone)]
pub(crate) struct Entry {
    header: [u8; BLOCK],
    body: Vec<u8>,
    /// Extension headers that go before it.
    before: Vec<u8>,
}

fn octal(field: &mut [u8], number: u64) {
    let text = format!("{number:0width$o}\0", width = field.len() - 1);
    field.copy_from_slice(text.as_bytes());
}

impl Entry {
    /// An entry of any kind; its owner is whoever runs the test, so that nobody needs to be root.
    pub(crate) fn new(flag: u8, name: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        let (name, body) = (name.as_ref(), body.as_ref().to_vec());
        let mut header = [0; BLOCK];
        header[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        octal(&mut header[100..108], 0o644);
        octal(&mut header[108..116], rustix::process::geteuid().as_raw().into());
        octal(&mut header[116..124], rustix::process::getegid().as_raw().into());
        octal(&mut header[124..136], body.len() as u64);
        octal(&mut header[136..148], 1_000_000_000);
        header[156] = flag;
        header[257..265].copy_from_slice(b"ustar\x0000");
        Self { header, body, before: Vec::new() }
    }

    /// Overwrites bytes of the header; the checksum is made right afterwards.
    pub(crate) fn raw(mut self, start: usize, bytes: &[u8]) -> Self {
        self.header[start..start + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        octal(&mut self.header[100..108], mode.into());
        self
    }

    pub(crate) fn owner(mut self, uid: u64, gid: u64) -> Self {
        octal(&mut self.header[108..116], uid);
        octal(&mut self.header[116..124], gid);
        self
    }

    /// The size that the header claims, whatever the body has.
    pub(crate) fn claims(mut self, size: u64) -> Self {
        octal(&mut self.header[124..136], size);
        self
    }

    /// With PAX records before it.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.after(Entry::new(b'x', "PaxHeaders/x", body))
    }

    /// With another entry's bytes directly before it.
    pub(crate) fn after(mut self, other: Entry) -> Self {
        self.before.extend(other.bytes());
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut header = self.header;
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = [&self.before, &header[..], &self.body].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }
}

/// `length key=value\n`, with the length right.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

pub(crate) fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    Entry::new(b'0', name, content)
}

pub(crate) fn folder(name: impl AsRef<[u8]>) -> Entry {
    Entry::new(b'5', name, "").mode(0o755)
}

fn link(flag: u8, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    let target = target.as_ref();
    assert!(target.len() <= 100, "a longer target needs an extension header");
    Entry::new(flag, name, "").raw(157, target)
}

pub(crate) fn soft_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    link(b'2', name, target)
}

pub(crate) fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    link(b'1', name, target)
}

/// A whole archive: entries and the two zero blocks.
pub(crate) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(Entry::bytes).collect();
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

/// A folder of images, and beside it what must not change.
pub(crate) struct Bed {
    folder: tempfile::TempDir,
    pub(crate) images: Images,
    before: BTreeMap<PathBuf, String>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::of(tempfile::tempdir().unwrap())
    }

    /// Where nothing waits for a disk, as far as this host has such a place.
    pub(crate) fn in_memory() -> Self {
        Self::of(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn of(folder: tempfile::TempDir) -> Self {
        let outside = folder.path().join("outside");
        std::fs::create_dir_all(outside.join("folder")).unwrap();
        for name in ["canary", "folder/canary"] {
            std::fs::write(outside.join(name), "alive").unwrap();
            std::fs::set_permissions(outside.join(name), std::fs::Permissions::from_mode(0o640)).unwrap();
        }
        symlink("canary", outside.join("link")).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for name in ["canary", "folder/canary", "folder", "."] {
            std::fs::File::open(outside.join(name)).unwrap().set_modified(old).unwrap();
        }
        let images = Images::open(folder.path().join("images")).unwrap();
        let before = snapshot(&outside);
        Self { folder, images, before }
    }

    /// The folder that must not change.
    pub(crate) fn outside(&self) -> String {
        self.folder.path().join("outside").display().to_string()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Imports, and checks what must hold whatever came of it: nothing outside changed, nothing is half-done, and after
    /// a failure nothing is there at all.
    pub(crate) fn import_with(&self, archive: impl Read + Send, limits: &ImportLimits) -> Result<Imported, ImportError> {
        let layers_before = self.left();
        let imported = self.images.import(archive, limits);
        self.check_outside();
        match &imported {
            Ok(imported) => self.check_whole(&imported.digest),
            Err(_) => assert_eq!(self.left(), layers_before, "a failed import left something"),
        }
        imported
    }

    pub(crate) fn import(&self, archive: &[u8]) -> Result<Imported, ImportError> {
        self.import_with(archive, &ImportLimits::default())
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(path)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Imports what must be taken, and returns the layer's folder.
    pub(crate) fn layer(&self, archive: &[u8]) -> PathBuf {
        let imported = self.import(archive).unwrap_or_else(|error| panic!("it was refused: {error}: {error:?}"));
        self.path("images/layers").join(imported.digest.hex())
    }

    /// Imports entries that must be taken, and lists what became of them: `path: kind mode content-or-target`.
    pub(crate) fn lands(&self, entries: &[Entry]) -> Vec<String> {
        listed(&self.layer(&tar(entries)))
    }

    /// As [`Bed::import_with`], for a layer.
    pub(crate) fn stage_with(&self, archive: impl Read + Send, limits: &ImportLimits) -> Result<PlacedLayer, ImportError> {
        let before = self.left();
        let placed = self.images.stage_layer(archive, limits).and_then(StagedLayer::put_in_place);
        self.check_outside();
        match &placed {
            Ok(placed) => self.check_whole(&placed.diff_id),
            Err(_) => assert_eq!(self.left(), before, "a failed layer left something"),
        }
        placed
    }

    /// As [`Bed::lands`], for a layer.
    pub(crate) fn layer_lands(&self, entries: &[Entry]) -> Vec<String> {
        let placed = self.stage_with(tar(entries).as_slice(), &ImportLimits::default());
        let placed = placed.unwrap_or_else(|error| panic!("it was refused: {error}: {error:?}"));
        listed(&self.path("images/layers").join(placed.diff_id.hex()))
    }

    /// As [`Bed::refuses`], for a layer.
    #[track_caller]
    pub(crate) fn refuses_layer(&self, entries: &[Entry], words: &str) {
        match self.stage_with(tar(entries).as_slice(), &ImportLimits::default()) {
            Ok(placed) => panic!("it was taken: {placed:?}"),
            Err(error) => {
                assert!(error.to_string().contains(words), "{error} ({error:?}) does not say {words:?}");
                assert!(error.is_invalid(), "{error} blames somebody else");
            }
        }
    }

    /// What lies in the folder of images, but for the host's.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["layers", "skeletons", "tmp"] {
            left.extend(self.names(&format!("images/{folder}")).into_iter().map(|name| format!("{folder}/{name}")));
        }
        left
    }

    /// What was taken is here, and its archive comes out again byte for byte, unless it had a file twice.
    fn check_whole(&self, diff_id: &Digest) {
        let facts = self.images.layer(diff_id).expect("it is in its place, with a skeleton");
        match self.images.layer_archive(diff_id) {
            Ok(mut archive) => {
                let mut bytes = Vec::new();
                archive.read_to_end(&mut bytes).unwrap();
                assert_eq!((Digest::of(&bytes), bytes.len() as u64, facts.is_exact), (*diff_id, facts.archive_bytes, true));
            }
            Err(error) => assert_eq!((error.kind(), facts.is_exact), (std::io::ErrorKind::Unsupported, false)),
        }
    }

    pub(crate) fn check_outside(&self) {
        assert_eq!(snapshot(&self.path("outside")), self.before, "what lies outside has changed");
        assert_eq!(self.names("images/tmp"), Vec::<String>::new(), "something half-done is left");
        assert_eq!(self.names("."), ["images", "outside"], "something was written beside");
    }

    /// Imports entries that must fail, and checks that the error holds `words` and blames the archive.
    #[track_caller]
    pub(crate) fn refuses(&self, entries: &[Entry], words: &str) {
        self.refuses_bytes(&tar(entries), words);
    }

    #[track_caller]
    pub(crate) fn refuses_bytes(&self, archive: &[u8], words: &str) {
        match self.import(archive) {
            Ok(imported) => panic!("it was taken: {imported:?}"),
            Err(error) => {
                assert!(error.to_string().contains(words), "{error} ({error:?}) does not say {words:?}");
                assert!(error.is_invalid(), "{error} blames somebody else");
            }
        }
    }
}

/// What lies in a layer's folder, a line for each.
pub(crate) fn listed(layer: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (path, _) in snapshot(layer) {
        let metadata = path.symlink_metadata().unwrap();
        let mode = metadata.mode() & 0o7777;
        let name = path.strip_prefix(layer).unwrap().display().to_string();
        let opaque = rustix::fs::lgetxattr(&path, "trusted.overlay.opaque", &mut [0; 1][..]) == Ok(1);
        found.push(match metadata.file_type() {
            kind if kind.is_symlink() => format!("{name} -> {}", std::fs::read_link(&path).unwrap().display()),
            kind if kind.is_dir() => format!("{name}/ {mode:o}{}", if opaque { " opaque" } else { "" }),
            kind if kind.is_file() => format!("{name} {mode:o} {}", String::from_utf8_lossy(&std::fs::read(&path).unwrap())),
            kind if kind.is_char_device() && metadata.rdev() == 0 => format!("{name} whiteout"),
            _ => format!("{name}| {mode:o}"),
        });
    }
    found
}

/// Everything about a folder and what is in it that a write could change.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![folder.to_owned()];
    while let Some(path) = ahead.pop() {
        for entry in std::fs::read_dir(&path).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                ahead.push(entry.path());
            }
            found.insert(entry.path(), String::new());
        }
    }
    for (path, state) in &mut found {
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
        *state = format!(
            "{} {:o} {}:{} {}.{} {} {:?} {:?}",
            metadata.ino(),
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.nlink(),
            std::fs::read_link(path).ok().map(|target| target.as_os_str().as_bytes().to_vec()),
            content
        );
    }
    found
}

/// Whether the test runs as root; where not, says that it is skipped.
pub(crate) fn root_or_skip() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: needs root");
    }
    is_root
}
