//! Which container of this host has which user ids: 4096 ranges of 65,536, kept so that no two containers ever share one,
//! whichever server they belong to.
//!
//! ```text
//! /run/belljar-ids/lock        flock(2): one change at a time
//! /run/belljar-ids/1879048192  the range that begins there is somebody's: {instance, data_dir, container, mounts}
//! ```
//! The folder is the same for every server of the host, and a file of it outlives whoever made it, as containers do. A boot
//! empties it; then each server keeps what its rows say, and a container at rest whose range is another one's by now gets a new
//! one: nothing on disk carries a host id, because owners on disk are those of the inside.
//!
//! A range is somebody else's for the taking only where its container is surely gone: its server's data folder is there, or
//! would be seen from here if it were, and has no such container.

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use belljar_model::ContainerId;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Where the ranges of a host are kept.
pub(crate) const FOLDER: &str = "/run/belljar-ids";
/// Most containers with ids of their own, of all servers of a host.
pub(crate) const RANGES_MAX: u32 = 4096;
/// First host id of the first range. 0x70000000 to 0x7fffffff is what systemd's list of ids calls unused
/// (<https://systemd.io/UIDS-GIDS/>): below it are people, services, their subordinate ids and systemd's own containers.
const FIRST: u32 = 0x7000_0000;
/// Ids of one range.
const SIZE: u32 = 0x1_0000;
/// A range younger than this may belong to a container whose folder is about to be made.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// Who has a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    instance: String,
    data_dir: PathBuf,
    container: String,
    /// Inode of the mount namespace in which the data folder has that path.
    mounts: u64,
}

/// The ranges, as one server sees them.
#[derive(Debug, Clone)]
pub(crate) struct Ranges {
    folder: PathBuf,
    instance: String,
    data_dir: PathBuf,
    mounts: u64,
}

impl Ranges {
    /// Those in `folder`, for an instance.
    pub(crate) fn open(folder: &Path, instance: &str, data_dir: &Path) -> Result<Self, Error> {
        let failed = |operation| move |source| Error::File { operation, path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("make"))?;
        let mounts = std::fs::metadata("/proc/self/ns/mnt").map_err(failed("look at"))?.ino();
        Ok(Self { folder: folder.to_owned(), instance: instance.to_owned(), data_dir: data_dir.to_owned(), mounts })
    }

    /// Takes a range that nobody has. The search begins at a place given by the (random) id.
    pub(crate) fn reserve(&self, id: &ContainerId) -> Result<u32, Error> {
        let _locked = self.lock()?;
        let first = u32::from_str_radix(&id.as_str()[..8], 16).unwrap_or_default();
        let bases = || (0..RANGES_MAX).map(move |step| FIRST + first.wrapping_add(step) % RANGES_MAX * SIZE);
        for base in bases() {
            if !self.file(base).exists() {
                return self.write(base, id).map(|()| base);
            }
        }
        let stale = bases().find(|base| self.is_stale(*base)).ok_or_else(|| Error::Unavailable {
            because: format!(
                "{RANGES_MAX} containers of this host have user ids of their own, which is the most (see {})",
                self.folder.display()
            ),
        })?;
        self.write(stale, id).map(|()| stale)
    }

    /// Makes sure that the container still has `base`. `false` where it has become another one's.
    pub(crate) fn keep(&self, base: u32, id: &ContainerId) -> Result<bool, Error> {
        let _locked = self.lock()?;
        match self.owner(base) {
            Some(owner) if !self.is_ours(&owner, id) && !self.is_stale(base) => Ok(false),
            Some(owner) if self.is_ours(&owner, id) => Ok(true),
            _ => self.write(base, id).map(|()| true),
        }
    }

    /// Gives a range back. One that is not this container's stays.
    pub(crate) fn release(&self, base: u32, id: &ContainerId) -> Result<(), Error> {
        let _locked = self.lock()?;
        if self.owner(base).is_some_and(|owner| self.is_ours(&owner, id)) {
            let path = self.file(base);
            std::fs::remove_file(&path).map_err(|source| Error::File { operation: "remove", path, source })?;
        }
        Ok(())
    }

    fn file(&self, base: u32) -> PathBuf {
        self.folder.join(base.to_string())
    }

    fn lock(&self) -> Result<File, Error> {
        let path = self.folder.join("lock");
        let opened = File::options().create(true).truncate(false).write(true).open(&path).and_then(|file| file.lock().map(|()| file));
        opened.map_err(|source| Error::File { operation: "lock", path, source })
    }

    fn write(&self, base: u32, id: &ContainerId) -> Result<(), Error> {
        let path = self.file(base);
        let owner = Owner {
            instance: self.instance.clone(),
            data_dir: self.data_dir.clone(),
            container: id.as_str().to_owned(),
            mounts: self.mounts,
        };
        let json = serde_json::to_vec(&owner).map_err(|error| Error::failed("write", path.display().to_string(), error))?;
        let written = File::create(&path).and_then(|mut file| file.write_all(&json));
        written.map_err(|source| Error::File { operation: "write", path, source })
    }

    fn owner(&self, base: u32) -> Option<Owner> {
        serde_json::from_slice(&std::fs::read(self.file(base)).ok()?).ok()
    }

    fn is_ours(&self, owner: &Owner, id: &ContainerId) -> bool {
        owner.container == id.as_str() && owner.instance == self.instance && owner.data_dir == self.data_dir
    }

    /// Whether nobody can have it any more. What cannot be told is not stale.
    fn is_stale(&self, base: u32) -> bool {
        let age = std::fs::metadata(self.file(base)).and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_none_or(|age| age < SETTLED_AFTER) {
            return false;
        }
        let Some(owner) = self.owner(base) else { return true };
        let seen_from_here = owner.mounts == self.mounts || owner.data_dir.join("containers").is_dir();
        let gone = |path: &Path| matches!(path.try_exists(), Ok(false));
        seen_from_here && gone(&owner.data_dir.join("containers").join(&owner.container))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ContainerId {
        ContainerId::from_bytes([number; 32])
    }

    /// Two servers of one host.
    fn two(folder: &Path) -> (Ranges, Ranges) {
        let open = |name: &str| {
            let data_dir = folder.join(name);
            std::fs::create_dir_all(data_dir.join("containers")).expect("a folder");
            Ranges::open(&folder.join("ids"), name, &data_dir).expect("ranges")
        };
        (open("one"), open("two"))
    }

    fn age(ranges: &Ranges, base: u32) {
        let file = File::options().write(true).open(ranges.file(base)).expect("it is kept");
        file.set_modified(std::time::SystemTime::now() - SETTLED_AFTER * 2).expect("it is older");
    }

    #[test]
    fn two_servers_never_have_the_same_range() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = two(folder.path());
        // The same id, so the search begins at the same place.
        let (first, second) = (one.reserve(&id(7)).expect("free"), two.reserve(&id(7)).expect("free"));
        assert_ne!(first, second);
        assert_eq!((first % SIZE, second.abs_diff(first)), (0, SIZE));
        assert_eq!(two.keep(first, &id(7)).ok(), Some(false), "it is the other one's");
        two.release(first, &id(7)).expect("nothing happens");
        assert_eq!(one.keep(first, &id(7)).ok(), Some(true));
        one.release(first, &id(7)).expect("given back");
        assert_eq!(two.keep(first, &id(7)).ok(), Some(true), "it was free");
    }

    #[test]
    fn a_boot_forgets_and_rows_remember() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, _) = two(folder.path());
        let base = one.reserve(&id(1)).expect("free");
        std::fs::remove_dir_all(folder.path().join("ids")).expect("as a boot does");
        let (one, two) = two(folder.path());
        assert_eq!(one.keep(base, &id(1)).ok(), Some(true));
        assert_eq!(two.keep(base, &id(2)).ok(), Some(false));
    }

    #[test]
    fn what_a_server_left_behind_is_taken_only_where_its_container_is_surely_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = two(folder.path());
        let base = one.reserve(&id(1)).expect("free");
        assert_eq!(two.keep(base, &id(2)).ok(), Some(false), "it may be about to make its folder");
        age(&one, base);
        let container = folder.path().join("one/containers").join(id(1).as_str());
        std::fs::create_dir(&container).expect("made");
        assert_eq!(two.keep(base, &id(2)).ok(), Some(false), "its container is there");
        std::fs::remove_dir(&container).expect("removed");
        assert_eq!(two.keep(base, &id(2)).ok(), Some(true));
        age(&two, base);
        let elsewhere = Ranges { mounts: two.mounts + 1, ..one };
        std::fs::remove_dir_all(folder.path().join("two")).expect("removed");
        assert_eq!(elsewhere.keep(base, &id(3)).ok(), Some(false), "its folder may just not be seen from here");
    }
}
