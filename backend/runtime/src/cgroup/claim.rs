//! A cgroup that is being made belongs to one maker: from the look whether it is free to the first process in it there is a
//! moment in which it is empty and somebody's.
//!
//! The claim is a lock of its folder (`flock(2)`), in one hierarchy, which stands for all. It ends with its maker at the latest.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use belljar_linux::error::Context;
use belljar_linux::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Part;

/// A folder that nobody else may make a container in for as long as this lives.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Claim {
    folder: File,
}

/// Whether a folder was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It was made now, and is taken away where the making fails.
    New,
    /// It is somebody's, or left over.
    There,
}

impl Claim {
    /// Makes the folder where it is missing, and claims it: in this order, since what does not exist cannot be locked.
    /// `EEXIST` where somebody else is making a container in it.
    pub(super) fn begin(part: &Part) -> Result<(Self, Found)> {
        loop {
            let found = make(&part.path)?;
            match Self::of(&part.path) {
                Ok(Some(claim)) => return Ok((claim, found)),
                // Removed by whoever had it, in between: what was opened is nobody's folder any more. Each turn is another's end.
                Ok(None) => continue,
                Err(error) => {
                    if found == Found::New && error.errno != Errno::EXIST {
                        let _ = rustix::fs::rmdir(&part.path);
                    }
                    return Err(error);
                }
            }
        }
    }

    fn of(path: &Path) -> Result<Option<Self>> {
        let subject = || path.display().to_string();
        let folder = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.context("open", subject)?,
        };
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let subject = format!("cgroup {}, in which another container is being made", path.display());
                return Err(Error::new("make", subject, Errno::EXIST));
            }
            locked => locked.context("lock", subject)?,
        }
        let ours = folder.metadata().context("look at", subject)?.ino();
        Ok(std::fs::metadata(path).is_ok_and(|there| there.ino() == ours).then_some(Self { folder }))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A first process that waits for its start has a copy of the descriptor, which closing ours would leave locked.
        let _ = flock(&self.folder, FlockOperation::Unlock);
    }
}

/// Makes a folder of a cgroup, and those above it.
pub(super) fn make(path: &Path) -> Result<Found> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(Found::There),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::fs::create_dir_all(path),
        made => made,
    }
    .context("make", || path.display().to_string())?;
    Ok(Found::New)
}

#[cfg(test)]
mod tests {
    use belljar_model::cgroup::Version;

    use super::*;

    #[test]
    fn a_folder_is_claimed_once_and_free_again_when_the_claim_ends() {
        let hierarchy = tempfile::tempdir().unwrap();
        let part =
            Part { version: Version::V2, controllers: Vec::new(), point: hierarchy.path().into(), path: hierarchy.path().join("a/b") };
        let (claim, found) = Claim::begin(&part).unwrap();
        assert_eq!(found, Found::New);
        let refused = Claim::begin(&part).unwrap_err();
        assert!(refused.errno == Errno::EXIST && refused.to_string().contains("is being made"), "{refused}");
        assert!(part.path.is_dir(), "who is refused takes nothing away");
        let copy = claim.folder.try_clone().unwrap();
        drop(claim);
        assert_eq!(Claim::begin(&part).map(|(_, found)| found), Ok(Found::There), "whoever has a copy of the descriptor");
        drop(copy);
    }
}
