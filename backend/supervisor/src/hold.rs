//! That no two servers serve one instance: an opening kills what is in its cgroup and belongs to no row, so a second server
//! with other folders would take the first one's containers for strays.
//!
//! What is held is the instance's own cgroup folder, in every hierarchy, by `flock(2)`. Unlike a file it is the same one in
//! every mount namespace, so a server inside a container is told apart from one outside. The kernel drops the lock with the
//! process, however that ends.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use belljar_runtime::cgroup::Hierarchies;

use crate::Error;

/// Holds an instance for as long as it lives.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    _folders: Vec<File>,
}

/// What became of one try.
enum Tried {
    Held(File),
    /// Whoever held it has removed the folder meanwhile.
    Gone,
}

/// Makes the instance's cgroup in every hierarchy, and takes it for this process.
pub(crate) fn take(hierarchies: &Hierarchies, instance: &str) -> Result<Hold, Error> {
    // Each further turn needs another server that ended just then.
    loop {
        hierarchies.prepare(instance).map_err(|error| Error::failed("prepare the cgroup", instance, error))?;
        if let Some(hold) = try_all(hierarchies, instance)? {
            return Ok(hold);
        }
    }
}

fn try_all(hierarchies: &Hierarchies, instance: &str) -> Result<Option<Hold>, Error> {
    let mut folders = Vec::new();
    for hierarchy in hierarchies.all() {
        match try_one(&hierarchy.point.join(instance), instance)? {
            Tried::Held(folder) => folders.push(folder),
            Tried::Gone => return Ok(None),
        }
    }
    Ok(Some(Hold { _folders: folders }))
}

fn try_one(path: &Path, instance: &str) -> Result<Tried, Error> {
    let failed = |operation| move |source| Error::File { operation, path: path.to_owned(), source };
    let folder = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Tried::Gone),
        opened => opened.map_err(failed("open"))?,
    };
    match folder.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::InstanceTaken { instance: instance.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
    }
    // A server that ends removes its folder before it lets go: what was locked may be nobody's by now.
    let held = folder.metadata().map_err(failed("look at"))?;
    match std::fs::metadata(path) {
        Ok(there) if (there.dev(), there.ino()) == (held.dev(), held.ino()) => Ok(Tried::Held(folder)),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("look at")(error)),
        _ => Ok(Tried::Gone),
    }
}

#[cfg(test)]
mod tests {
    use belljar_model::cgroup::Version;
    use belljar_runtime::cgroup::Hierarchy;

    use super::*;

    fn hierarchies(point: &Path) -> Hierarchies {
        Hierarchies::of_list(vec![Hierarchy { version: Version::V1, point: point.to_owned(), controllers: vec!["memory".to_owned()] }])
    }

    #[test]
    fn an_instance_is_served_once_and_another_beside_it() {
        let root = tempfile::tempdir().expect("a folder");
        let hierarchies = hierarchies(root.path());
        let held = take(&hierarchies, "one").expect("free");
        let refused = take(&hierarchies, "one").expect_err("it is held");
        assert_eq!(refused.to_string(), "another Belljar serves instance one; give this one --instance NAME");
        take(&hierarchies, "two").expect("another name");
        drop(held);
        take(&hierarchies, "one").expect("free again");
    }

    #[test]
    fn a_folder_that_was_removed_by_its_last_server_is_made_anew() {
        let root = tempfile::tempdir().expect("a folder");
        let hierarchies = hierarchies(root.path());
        let closing = take(&hierarchies, "one").expect("free");
        hierarchies.abandon("one");
        let next = take(&hierarchies, "one").expect("a new folder");
        drop(closing);
        assert!(matches!(take(&hierarchies, "one"), Err(Error::InstanceTaken { .. })), "the lock of the new folder counts");
        drop(next);
    }
}
