//! Where a container's things are on the host: one folder that stays, one that a reboot empties.
//!
//! ```text
//! <data-dir>/containers/<id>/   spec.json   what the monitor is to make
//!                               upper/      the container's own layer (what it changed)
//!                               work/       overlayfs's own
//!                               project/    carries the project of the two while a reset makes them anew
//!                               init/       a layer below it: mount points, /etc/hosts, …
//!                               log/        container.log, container.log.1
//!                               exit.json   how it ended, written before anybody is told
//!                               plan.json   the steps that made it, with times
//! <run-dir>/containers/<id>/    alive.json  who watches over it, and its first process
//!                               exit.json   how it ended, only where the disk was full
//! ```

use std::path::{Path, PathBuf};

use belljar_linux::error::Context;
use belljar_linux::{Error, Result};
use belljar_model::ContainerId;

/// The folders of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    data: PathBuf,
    run: PathBuf,
}

impl Bundle {
    /// The folders of container `id`; nothing is made yet.
    pub fn new(data_dir: &Path, run_dir: &Path, id: &ContainerId) -> Self {
        Self { data: data_dir.join("containers").join(id.as_str()), run: run_dir.join("containers").join(id.as_str()) }
    }

    /// The folder that stays.
    pub fn dir(&self) -> &Path {
        &self.data
    }

    /// The folder that a reboot empties.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The container's own layer.
    pub fn upper(&self) -> PathBuf {
        self.data.join("upper")
    }

    /// overlayfs's work folder of the root.
    pub fn work(&self) -> PathBuf {
        self.data.join("work")
    }

    /// The layer of what Belljar itself puts into the tree.
    pub fn init_layer(&self) -> PathBuf {
        self.data.join("init")
    }

    /// Folder of the log files.
    pub fn log(&self) -> PathBuf {
        self.data.join("log")
    }

    /// How it ended.
    pub fn exit(&self) -> PathBuf {
        self.data.join("exit.json")
    }

    /// How it ended, where the disk could not take it: gone with a reboot, as everything that ran then.
    pub fn exit_of_this_boot(&self) -> PathBuf {
        self.run.join("exit.json")
    }

    /// What its filter refused, where that is counted.
    pub fn denied(&self) -> PathBuf {
        self.data.join("denied.json")
    }

    /// The steps that made it.
    pub fn plan(&self) -> PathBuf {
        self.data.join("plan.json")
    }

    /// What the monitor is to make.
    pub fn spec(&self) -> PathBuf {
        self.data.join("spec.json")
    }

    /// Who watches over it.
    pub fn alive(&self) -> PathBuf {
        self.run.join("alive.json")
    }

    /// There while it is frozen for the sake of its files, and not because somebody wants it to rest.
    pub fn held(&self) -> PathBuf {
        self.run.join("held")
    }

    /// Makes the folders where they are missing; 0700, so that a set-uid program of an image is out of reach of the
    /// host's users (CVE-2021-41091).
    pub fn create(&self) -> Result<()> {
        for folder in [self.data.clone(), self.log(), self.work(), self.run.clone()] {
            make_folder(&folder, 0o700)?;
        }
        // The upper and init folders become the root of the container as they are, so others may read them *inside*.
        for folder in [self.upper(), self.init_layer()] {
            make_folder(&folder, 0o755)?;
        }
        Ok(())
    }

    /// Removes everything, however deep the container dug; what is missing already is no error.
    pub fn remove(&self) -> Result<()> {
        // Before the folders that say which project it is.
        crate::quota::release(self);
        for folder in [&self.data, &self.run] {
            belljar_linux::removal::remove(folder)?;
        }
        Ok(())
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    match std::fs::DirBuilder::new().mode(mode).recursive(true).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::from_io("make folder", path.display().to_string(), &error));
        }
        _ => {}
    }
    // The umask of whoever started us must not decide.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).context("set mode of", || path.display().to_string())
}

/// Writes a file so that it is there whole or not at all: temporary name, rename. With [`Durable::Yes`] also after a power
/// cut: the file is synced before the rename, and its folder after it.
pub fn write_whole(path: &Path, content: &[u8], durable: Durable) -> Result<()> {
    use std::io::Write;
    let subject = || path.display().to_string();
    let temporary = path.with_extension("tmp");
    let mut file = std::fs::File::create(&temporary).context("make", subject)?;
    file.write_all(content).context("write", subject)?;
    if durable == Durable::Yes {
        file.sync_all().context("sync", subject)?;
    }
    std::fs::rename(&temporary, path).context("rename", subject)?;
    match (durable, path.parent()) {
        (Durable::Yes, Some(parent)) => std::fs::File::open(parent).and_then(|folder| folder.sync_all()).context("sync", subject),
        _ => Ok(()),
    }
}

/// Whether a file must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// It must.
    Yes,
    /// It is of use only while this boot lasts.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_a_container_left_is_removed_whole_and_twice() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = Bundle::new(&folder.path().join("data"), &folder.path().join("run"), &ContainerId::from_bytes([1; 32]));
        bundle.create().unwrap();
        bundle.create().unwrap();
        let mode = std::fs::metadata(bundle.dir()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        write_whole(&bundle.exit(), b"{}", Durable::Yes).unwrap();
        bundle.remove().unwrap();
        bundle.remove().unwrap();
        assert!(!bundle.dir().exists() && !bundle.run().exists());
    }

    #[test]
    fn a_container_that_dug_deeper_than_any_path_is_removed_whole() {
        use rustix::fs::{Mode, OFlags};
        let folder = tempfile::tempdir().unwrap();
        let bundle = Bundle::new(&folder.path().join("data"), &folder.path().join("run"), &ContainerId::from_bytes([2; 32]));
        bundle.create().unwrap();
        let mut dug = rustix::fs::open(bundle.upper(), OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..30_000 {
            rustix::fs::mkdirat(&dug, "d", Mode::RWXU).unwrap();
            dug = rustix::fs::openat(&dug, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        bundle.remove().unwrap();
        assert!(!bundle.dir().exists());
    }
}
