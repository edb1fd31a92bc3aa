//! Volumes on disk: folders that containers share, and that outlive them.
//!
//! ```text
//! volumes/<name>/data      what containers see, with the owners of the inside
//! volumes/<name>/filling   a copy of what an image has, on its way; becomes `data` by one rename
//! volumes/.new-<name>      a volume on its way; becomes `<name>` by one rename
//! volumes/.gone-<name>     a volume on its way out: it became that by one rename
//! ```
//! So a volume is there whole or not at all, whenever the machine stops. What is synced when: a new volume's folders before it is
//! called made, a copy's files before it becomes `data`, and each rename before anything that builds on it. No name of a volume
//! begins with a dot.
//!
//! What is in a volume was written by containers: it is looked at by descriptors that lead nowhere but inside ([`browse`],
//! [`mod@measure`]). This module must never know what an image or a row is. Start reading at [`create`], then [`fill`].

pub mod browse;
pub mod fill;
mod measure;

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use belljar_linux::error::Context;
use belljar_linux::{Error, Result, removal};
use belljar_model::VolumeName;

pub use measure::{MEASURED_ENTRIES_MAX, measure};

/// The folder of volumes in Belljar's data folder.
pub const FOLDER: &str = "volumes";

const DATA: &str = "data";
const FILLING: &str = "filling";
const NEW: &str = ".new-";
const GONE: &str = ".gone-";

/// What is in the volume `name` of the folder of volumes.
pub fn data_of(volumes: &Path, name: &VolumeName) -> PathBuf {
    volumes.join(name.as_str()).join(DATA)
}

/// Makes the folder of volumes where it is missing, removes what was under way when the machine or the server stopped, and says
/// which volumes are there.
pub fn open(volumes: &Path) -> Result<Vec<VolumeName>> {
    let subject = || volumes.display().to_string();
    DirBuilder::new().recursive(true).mode(0o700).create(volumes).context("make folder", subject)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(volumes).context("list", subject)? {
        let name = entry.context("list", subject)?.file_name();
        let Some(text) = name.to_str() else { continue };
        if text.starts_with(NEW) || text.starts_with(GONE) {
            removal::remove(&volumes.join(text))?;
        } else if let Ok(name) = text.parse::<VolumeName>()
            && data_of(volumes, &name).is_dir()
        {
            removal::remove(&volumes.join(text).join(FILLING))?;
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// Makes a volume: empty, root's. One that is there stays as it is.
pub fn create(volumes: &Path, name: &VolumeName) -> Result<()> {
    let (place, new) = (volumes.join(name.as_str()), volumes.join(format!("{NEW}{name}")));
    if place.join(DATA).is_dir() {
        return Ok(());
    }
    removal::remove(&new)?;
    // Only root comes near it on the host: what containers write keeps its set-uid bits.
    make_folder(&new, 0o700)?;
    // Its own mode is what containers see.
    make_folder(&new.join(DATA), 0o755)?;
    sync(&new)?;
    std::fs::rename(&new, &place).context("rename", || new.display().to_string())?;
    sync(volumes)
}

/// Removes a volume with everything in it; one that is gone already is fine.
pub fn remove(volumes: &Path, name: &VolumeName) -> Result<()> {
    let (place, gone) = (volumes.join(name.as_str()), volumes.join(format!("{GONE}{name}")));
    removal::remove(&gone)?;
    match std::fs::rename(&place, &gone) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed.context("rename", || place.display().to_string())?,
    }
    // Before anything in it goes: after a power cut half of it must not stand in its place.
    sync(volumes)?;
    removal::remove(&gone)
}

/// Removes what is left of volumes whose removal broke, and of those that were made for a container alone and are not `known`. Nobody may
/// make or remove one meanwhile.
pub fn clear(volumes: &Path, known: &BTreeSet<VolumeName>) -> Result<()> {
    let subject = || volumes.display().to_string();
    for entry in std::fs::read_dir(volumes).context("list", subject)? {
        let name = entry.context("list", subject)?.file_name();
        let Some(text) = name.to_str() else { continue };
        if text.starts_with(GONE) {
            removal::remove(&volumes.join(text))?;
        } else if let Ok(name) = text.parse::<VolumeName>()
            && name.looks_made()
            && !known.contains(&name)
        {
            remove(volumes, &name)?;
        }
    }
    Ok(())
}

/// Whether nothing is in a volume. `lost+found` is the file system's own, where a volume has one of its own.
pub fn is_empty(volumes: &Path, name: &VolumeName) -> Result<bool> {
    let folder = data_of(volumes, name);
    let subject = || folder.display().to_string();
    for entry in std::fs::read_dir(&folder).context("list", subject)? {
        if entry.context("list", subject)?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let subject = || path.display().to_string();
    DirBuilder::new().mode(mode).create(path).context("make folder", subject)?;
    // The umask of whoever started us must not decide.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).context("set mode of", subject)
}

/// What was made, renamed or removed in a folder is so after a power cut, too.
fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Error::from_io("sync", folder.display().to_string(), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> VolumeName {
        text.parse().unwrap()
    }

    #[test]
    fn a_volume_is_made_once_and_goes_whole() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = folder.path().join(FOLDER);
        assert_eq!(open(&volumes), Ok(vec![]));
        for _ in 0..2 {
            create(&volumes, &name("pg")).unwrap();
        }
        assert_eq!(is_empty(&volumes, &name("pg")), Ok(true));
        std::fs::write(data_of(&volumes, &name("pg")).join("row"), "1").unwrap();
        create(&volumes, &name("pg")).unwrap();
        assert_eq!((is_empty(&volumes, &name("pg")), open(&volumes)), (Ok(false), Ok(vec![name("pg")])));
        for _ in 0..2 {
            remove(&volumes, &name("pg")).unwrap();
        }
        assert_eq!(std::fs::read_dir(&volumes).unwrap().count(), 0);
    }

    #[test]
    fn what_was_under_way_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = folder.path().join(FOLDER);
        open(&volumes).unwrap();
        create(&volumes, &name("kept")).unwrap();
        std::fs::write(data_of(&volumes, &name("kept")).join("row"), "1").unwrap();
        for half in [".new-a/data", ".gone-b/data", "kept/filling/deep", "no-volume"] {
            std::fs::create_dir_all(volumes.join(half)).unwrap();
        }
        assert_eq!(open(&volumes), Ok(vec![name("kept")]));
        assert_eq!(std::fs::read(data_of(&volumes, &name("kept")).join("row")).unwrap(), b"1");
        let mut left: Vec<_> = std::fs::read_dir(&volumes).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["kept", "no-volume"], "what is no volume is somebody's, and stays");
        assert!(!volumes.join("kept/filling").exists());
    }

    #[test]
    fn what_a_broken_removal_left_is_cleared_and_no_volume_of_anybodys() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = folder.path().join(FOLDER);
        open(&volumes).unwrap();
        let (known, left) = (name(&"a".repeat(64)), name(&"b".repeat(64)));
        for volume in [&known, &left, &name("named")] {
            create(&volumes, volume).unwrap();
        }
        std::fs::create_dir_all(volumes.join(".gone-x/data")).unwrap();
        clear(&volumes, &BTreeSet::from([known.clone()])).unwrap();
        assert_eq!(open(&volumes), Ok(vec![known, name("named")]));
        assert_eq!(std::fs::read_dir(&volumes).unwrap().count(), 2);
    }
}
