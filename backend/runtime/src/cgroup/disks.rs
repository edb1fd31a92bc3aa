//! Block devices by what a person calls them: a device, or anything whose file system lies on one.
//!
//! The kernel limits whole disks, not their partitions (`blkcg_conf_open_bdev` takes the disk's own number only), so a partition
//! means the disk that it is a part of. Numbers are asked from the kernel each time: they may differ after a boot.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use belljar_linux::mountinfo;
use serde::{Deserialize, Serialize};

/// A whole disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Disk {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl Disk {
    fn of_number(number: u64) -> Self {
        Self { major: rustix::fs::major(number), minor: rustix::fs::minor(number) }
    }

    fn folder(self, sys: &Path) -> PathBuf {
        sys.join(format!("dev/block/{}:{}", self.major, self.minor))
    }

    /// Its name below `/dev`; `None` where the host has it no more.
    pub fn name(self) -> Option<String> {
        let folder = std::fs::canonicalize(self.folder(Path::new("/sys"))).ok()?;
        folder.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// What is written to the kernel: `8:0`.
    pub fn number(self) -> String {
        format!("{}:{}", self.major, self.minor)
    }

    /// The disk that it is a part of; itself where it is no part.
    fn whole(self, sys: &Path) -> Result<Self, String> {
        let folder = self.folder(sys);
        if !folder.join("partition").exists() {
            return Ok(self);
        }
        let whole = std::fs::canonicalize(&folder).ok().and_then(|folder| std::fs::read_to_string(folder.parent()?.join("dev")).ok());
        let disk = whole.as_deref().and_then(|text| {
            let (major, minor) = text.trim().split_once(':')?;
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        });
        disk.ok_or_else(|| "is a part of a disk that the kernel does not name".to_owned())
    }
}

/// The disk that a path names, or that its file system lies on. The error is a clause that follows the field's name.
pub fn find(path: &str) -> Result<Disk, String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("cannot be looked at: {path}: {error}"))?;
    if metadata.file_type().is_block_device() {
        return Disk::of_number(metadata.rdev()).whole(Path::new("/sys"));
    }
    if metadata.file_type().is_char_device() {
        return Err(format!("must be a block device, or lie on one: {path} is a character device"));
    }
    let disk = Disk::of_number(metadata.dev());
    // A number that no driver has is the file system's own: btrfs lies on a device all the same, others on none.
    if disk.major != 0 { disk.whole(Path::new("/sys")) } else { below_mount(path) }
}

fn below_mount(path: &str) -> Result<Disk, String> {
    let whole = std::fs::canonicalize(path).map_err(|error| format!("cannot be looked at: {path}: {error}"))?;
    let mounts = mountinfo::read().map_err(|error| error.to_string())?;
    // The last that was mounted lies on top.
    let mount = mounts.iter().rev().filter(|mount| whole.starts_with(&mount.point)).max_by_key(|mount| mount.point.components().count());
    let Some(mount) = mount else { return Err(format!("lies on no file system that is known: {path}")) };
    match std::fs::metadata(&mount.source) {
        Ok(source) if source.file_type().is_block_device() => Disk::of_number(source.rdev()).whole(Path::new("/sys")),
        _ => Err(format!("must lie on a block device: {path} lies on {}, which has none", mount.filesystem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_its_disk() {
        let sys = tempfile::tempdir().unwrap();
        let at = |path: &str| sys.path().join(path);
        std::fs::create_dir_all(at("devices/sda/sda2")).unwrap();
        std::fs::create_dir_all(at("dev/block")).unwrap();
        std::fs::write(at("devices/sda/dev"), "8:0\n").unwrap();
        std::fs::write(at("devices/sda/sda2/partition"), "2\n").unwrap();
        std::os::unix::fs::symlink("../../devices/sda/sda2", at("dev/block/8:2")).unwrap();
        std::os::unix::fs::symlink("../../devices/sda", at("dev/block/8:0")).unwrap();
        let disk = |minor| Disk { major: 8, minor };
        assert_eq!(disk(2).whole(sys.path()), Ok(disk(0)));
        assert_eq!(disk(0).whole(sys.path()), Ok(disk(0)));
    }

    #[test]
    fn what_lies_on_no_disk_is_refused_in_words() {
        for (path, problem) in [
            ("/there/is/no/such", "cannot be looked at"),
            ("/dev/null", "must be a block device"),
            ("/proc/version", "must lie on a block device: /proc/version lies on proc"),
        ] {
            let refused = find(path).unwrap_err();
            assert!(refused.starts_with(problem), "{refused}");
        }
    }
}
