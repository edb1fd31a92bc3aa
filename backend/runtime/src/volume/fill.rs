//! An empty volume gets what the image has at its place: copied beside it, synced by whoever copies, then put in its place by one
//! rename. Whoever copies has a process of its own, since it needs the image's layers mounted.

use std::path::{Path, PathBuf};

use belljar_linux::error::Context;
use belljar_linux::{Result, removal};
use belljar_model::VolumeName;

use super::{FILLING, data_of, make_folder, sync};

/// Makes the folder that is filled, beside what is in the volume.
pub fn begin(volumes: &Path, name: &VolumeName) -> Result<PathBuf> {
    let filling = place(volumes, name);
    removal::remove(&filling)?;
    // What an image does not have keeps this mode, and containers see it.
    make_folder(&filling, 0o755)?;
    Ok(filling)
}

/// Puts what was filled in the volume's place. That replaces an empty folder and no other: one that somebody put something into
/// meanwhile stays (`ENOTEMPTY`).
pub fn finish(volumes: &Path, name: &VolumeName) -> Result<()> {
    let filling = place(volumes, name);
    std::fs::rename(&filling, data_of(volumes, name)).context("rename", || filling.display().to_string())?;
    sync(&volumes.join(name.as_str()))
}

/// Removes what was filled so far.
pub fn give_up(volumes: &Path, name: &VolumeName) -> Result<()> {
    removal::remove(&place(volumes, name))
}

fn place(volumes: &Path, name: &VolumeName) -> PathBuf {
    volumes.join(name.as_str()).join(FILLING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume;
    use rustix::io::Errno;

    #[test]
    fn a_volume_is_filled_whole_or_not_at_all_and_never_over_anything() {
        let folder = tempfile::tempdir().unwrap();
        let (volumes, name): (_, VolumeName) = (folder.path().join("volumes"), "pg".parse().unwrap());
        volume::open(&volumes).unwrap();
        volume::create(&volumes, &name).unwrap();
        let row = |text: &str| {
            let filling = begin(&volumes, &name).unwrap();
            std::fs::write(filling.join("row"), text).unwrap();
        };
        row("given up");
        give_up(&volumes, &name).unwrap();
        assert_eq!(volume::is_empty(&volumes, &name), Ok(true));
        row("of the image");
        finish(&volumes, &name).unwrap();
        row("of another");
        let refused = finish(&volumes, &name).map_err(|error| error.errno);
        assert!(matches!(refused, Err(Errno::NOTEMPTY | Errno::EXIST)), "{refused:?}");
        give_up(&volumes, &name).unwrap();
        assert_eq!(std::fs::read(data_of(&volumes, &name).join("row")).unwrap(), b"of the image");
        assert_eq!(std::fs::read_dir(volumes.join("pg")).unwrap().count(), 1);
    }
}
