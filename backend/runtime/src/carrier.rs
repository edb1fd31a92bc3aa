//! Whether a folder can carry containers' own layers: tried, since no file tells which of the kernel's file systems can.
//!
//! An upper layer needs attributes that only root sees, devices 0:0 as whiteouts, and a file system that overlayfs takes at all: an
//! overlay, NFS, FAT and others are none. This module must never know whose folder it is.

use std::os::fd::OwnedFd;
use std::path::Path;

use belljar_linux::error::Context;
use belljar_linux::{Result, mount, removal};
use rustix::fs::{AtFlags, FileType, Mode, XattrFlags};

use crate::apply::overlay::{self, Upper};
use crate::stack::{Lower, OverlayMount, Presence};

/// Where it is tried; removed again, and by the next try where that was cut off.
const PLACE: &str = ".carries";

/// Why `folder` cannot carry the upper layer of an overlay, as one sentence with what to do; `None` where it can.
pub fn why_not(folder: &Path) -> Option<String> {
    let place = folder.join(PLACE);
    let tried = removal::remove(&place).and_then(|()| attempt(&place));
    // What is left is tried to be removed by the next one, too.
    let _ = removal::remove(&place);
    let error = tried.err()?;
    let filesystem = mount::filesystem_of(folder).unwrap_or_else(|_| "unknown".to_owned());
    let folder = folder.display();
    Some(format!(
        "{folder} lies on a file system ({filesystem}) that cannot carry a container's own layer (could not {} {}: {}): put the data \
         folder on ext4, xfs or btrfs, with --data-dir",
        error.operation,
        error.subject,
        error.cause()
    ))
}

fn attempt(place: &Path) -> Result<()> {
    let made = |name: &str| {
        let path = place.join(name);
        std::fs::create_dir(&path).context("make folder", || path.display().to_string()).map(|()| path)
    };
    made("")?;
    let (lower, upper, work) = (made("lower")?, made("upper")?, made("work")?);
    std::fs::write(lower.join("file"), "below").context("write", || "a file of a layer".into())?;
    rustix::fs::setxattr(&upper, "trusted.belljar", b"y", XattrFlags::empty()).context("set attributes of", || "a folder".into())?;
    let whiteout = rustix::fs::mknodat(rustix::fs::CWD, upper.join("gone"), FileType::CharacterDevice, Mode::empty(), 0);
    whiteout.context("make", || "a whiteout".into())?;
    let lower = vec![Lower { path: lower, presence: Presence::Required }];
    let wanted = OverlayMount { at: String::new(), lower, upper, work };
    overlay::prepare(&wanted)?;
    let merged: OwnedFd = overlay::make(&wanted, None, Upper::Containers)?;
    // A file that is copied up, and one that is hidden.
    rustix::fs::chmodat(&merged, "file", Mode::RUSR, AtFlags::empty()).context("copy up", || "a file".into())?;
    rustix::fs::unlinkat(&merged, "file", AtFlags::empty()).context("hide", || "a file".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_on_a_disk_carries_a_layer_and_one_on_an_overlay_does_not() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        if mount::filesystem_of(folder.path()).unwrap() == "overlay" {
            println!("skipped: needs a disk at /var/tmp");
            return;
        }
        assert_eq!(why_not(folder.path()), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of the try");
        let proc = why_not(Path::new("/proc")).unwrap();
        assert!(proc.contains("/proc lies on a file system (proc) that cannot carry") && proc.contains("--data-dir"), "{proc}");
    }
}
