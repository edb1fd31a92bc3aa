//! How much is in a volume: a walk with a limit, that follows nothing.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use belljar_linux::{Error, Result};
use belljar_model::volume::Measure;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Most entries that are walked for one figure.
pub const MEASURED_ENTRIES_MAX: u64 = 2_000_000;
/// Longest such walk.
const MEASURED_LIMIT: Duration = Duration::from_secs(60);
/// Deepest folder that is looked into; each level takes a descriptor.
const MEASURED_DEPTH_MAX: usize = 512;
/// Most files with several names that are told apart; further ones count once for each name.
const LINKED_FILES_MAX: usize = 200_000;

/// Bytes of a block of `stat(2)`, whatever the file system.
const BLOCK_BYTES: u64 = 512;

/// Measures what is in a folder, as bytes on the disk; `at_ms` is now. What goes meanwhile is not counted, and no error.
pub fn measure(folder: &Path, at_ms: i64) -> Result<Measure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = |errno| Error::new("measure", folder.display().to_string(), errno);
    let top = rustix::fs::open(folder, flags, Mode::empty()).map_err(failed)?;
    let device = rustix::fs::fstat(&top).map_err(failed)?.st_dev;
    let mut walk = Walk { device, linked: HashSet::new(), measure: Measure { size_bytes: 0, entries: 0, complete: true, at_ms } };
    let deadline = Instant::now() + MEASURED_LIMIT;
    let mut levels = vec![listing(&top).map(|listing| (top, listing)).map_err(failed)?];
    while let Some((folder, listing)) = levels.last_mut() {
        match listing.next() {
            None => drop(levels.pop()),
            Some(Err(errno)) => return Err(failed(errno)),
            Some(Ok(entry)) => {
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                if walk.measure.entries >= MEASURED_ENTRIES_MAX || Instant::now() > deadline {
                    walk.measure.complete = false;
                    break;
                }
                let below = walk.entry(folder, name).map_err(failed)?;
                match below {
                    Some(level) if levels.len() < MEASURED_DEPTH_MAX => levels.push(level),
                    Some(_) => walk.measure.complete = false,
                    None => {}
                }
            }
        }
    }
    Ok(walk.measure)
}

struct Walk {
    /// What is mounted below is not the volume's.
    device: u64,
    linked: HashSet<u64>,
    measure: Measure,
}

impl Walk {
    fn entry(&mut self, folder: &OwnedFd, name: &[u8]) -> rustix::io::Result<Option<(OwnedFd, Dir)>> {
        let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        self.measure.entries += 1;
        let is_counted = !is_folder && stat.st_nlink > 1 && !self.counts_first(stat.st_ino);
        if !is_counted {
            self.measure.size_bytes = self.measure.size_bytes.saturating_add(stat.st_blocks.cast_unsigned().saturating_mul(BLOCK_BYTES));
        }
        if !is_folder || stat.st_dev != self.device {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            // Gone, or something else by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            opened => {
                let opened = opened?;
                listing(&opened).map(|listing| Some((opened, listing)))
            }
        }
    }

    fn counts_first(&mut self, inode: u64) -> bool {
        self.linked.len() >= LINKED_FILES_MAX || self.linked.insert(inode)
    }
}

fn listing(folder: &OwnedFd) -> rustix::io::Result<Dir> {
    Dir::read_from(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    #[test]
    fn blocks_are_counted_once_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let empty = measure(folder.path(), 7).unwrap();
        assert_eq!(empty, Measure { size_bytes: 0, entries: 0, complete: true, at_ms: 7 });
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(folder.path().join("sub/file"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(folder.path().join("sub/file"), folder.path().join("again")).unwrap();
        symlink("/usr", folder.path().join("link")).unwrap();
        std::fs::File::create(folder.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
        let blocks = |path: &str| std::fs::symlink_metadata(folder.path().join(path)).unwrap().blocks() * BLOCK_BYTES;
        let expected: u64 = ["sub", "sub/file", "link", "sparse"].map(blocks).iter().sum();
        let found = measure(folder.path(), 7).unwrap();
        assert_eq!((found.entries, found.size_bytes, found.complete), (5, expected, true));
    }
}
