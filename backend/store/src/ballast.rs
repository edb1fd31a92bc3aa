//! Room kept for the moment when the disk is full: without it, nothing could be deleted any more, not even what filled it.

use std::path::PathBuf;

/// Size of the file, in bytes: room for some hundred commits.
const BALLAST_BYTES: usize = 1 << 20;

/// A file that is dropped when the database finds no room, and made again when there is some.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    is_held: bool,
}

impl Ballast {
    /// Beside the database; made where it is missing. A disk that is full already has none.
    pub(crate) fn take_up(database: &std::path::Path) -> Self {
        let mut ballast = Self { path: database.with_extension("ballast"), is_held: false };
        ballast.is_held = std::fs::metadata(&ballast.path).is_ok_and(|file| file.len() == BALLAST_BYTES as u64);
        ballast.take_up_again();
        ballast
    }

    /// Makes the file where it is missing. Written and not only sized: a sparse file keeps no room.
    pub(crate) fn take_up_again(&mut self) {
        if !self.is_held {
            self.is_held = std::fs::write(&self.path, vec![0; BALLAST_BYTES]).is_ok();
            if !self.is_held {
                // Half a ballast would only take what others need.
                let _ = std::fs::remove_file(&self.path);
            }
        }
    }

    /// Drops it; whether that made room.
    pub(crate) fn drop_for_room(&mut self) -> bool {
        std::mem::take(&mut self.is_held) && std::fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_dropped_once_and_taken_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::take_up(&folder.path().join("belljar.db"));
        let file = folder.path().join("belljar.ballast");
        assert_eq!(std::fs::metadata(&file).unwrap().len(), BALLAST_BYTES as u64);
        assert!(ballast.drop_for_room() && !file.exists());
        assert!(!ballast.drop_for_room(), "there is only one");
        ballast.take_up_again();
        assert!(file.exists());
    }
}
