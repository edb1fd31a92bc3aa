//! The server's two folders: made, closed to others, proven writable, and locked, so that no two servers share them.
//!
//! The lock is `flock(2)` on a file that stays: the kernel drops it with the process, however that ends, so a crash leaves
//! no stale lock. The file's content is the holder's pid, for the sentence that the second one says.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::refusal::Refusal;

/// Name of the file that is locked, in each folder.
const LOCK_NAME: &str = "belljar.lock";
/// Longest pid that is read back: ten digits and a line end.
const PID_BYTES_MAX: u64 = 11;
/// File systems without the extended attributes or file kinds that overlayfs needs of an upper layer (kernel,
/// `Documentation/filesystems/overlayfs.rst`): another overlay, and what comes over a network or from another system.
const NO_UPPER_LAYERS: [&str; 5] = ["overlay", "nfs", "9p", "vfat", "squashfs"];

/// Who may look into a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Root only: databases, layers, logs.
    Private,
    /// All, because the socket's own mode says who may use it.
    Public,
}

/// One folder of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Folder<'a> {
    /// Where.
    pub(crate) path: &'a Path,
    /// The flag that names it.
    pub(crate) flag: &'static str,
    /// Who may look into it.
    pub(crate) access: Access,
}

/// Holds a folder for as long as it lives.
#[derive(Debug)]
pub(crate) struct Hold {
    _file: File,
}

impl Folder<'_> {
    /// Makes the folder where missing, and takes it for this process.
    pub(crate) fn take(&self) -> Result<Hold, Refusal> {
        self.make().and_then(|()| self.open_lock()).map_err(|source| self.not_writable(source)).and_then(|file| self.lock(file))
    }

    fn make(&self) -> std::io::Result<()> {
        let mode = match self.access {
            Access::Private => 0o700,
            Access::Public => 0o755,
        };
        DirBuilder::new().recursive(true).mode(mode).create(self.path)?;
        // It may have been there before, made by a package or a person.
        std::fs::set_permissions(self.path, std::fs::Permissions::from_mode(mode))
    }

    fn open_lock(&self) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(self.path.join(LOCK_NAME))
    }

    fn lock(&self, mut file: File) -> Result<Hold, Refusal> {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only for the sentence; without it the sentence is still right.
                let _ = (&file).take(PID_BYTES_MAX).read_to_string(&mut text);
                return Err(Refusal::AlreadyRunning { folder: self.path.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(self.not_writable(source)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|source| self.not_writable(source))?;
        Ok(Hold { _file: file })
    }

    fn not_writable(&self, source: std::io::Error) -> Refusal {
        Refusal::NotWritable { folder: self.path.to_owned(), flag: self.flag, source }
    }
}

/// Whether overlayfs can keep upper layers in this folder, by the file system that it lies on, or will lie on once it is made. Asked before
/// anything is made or changed there: a FAT refuses modes, which would be told instead.
pub(crate) fn check_upper_layers(folder: &Path) -> Result<(), Refusal> {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let filesystem = belljar_linux::mount::filesystem_of(existing).map_err(|source| Refusal::Unknown { source })?;
    if NO_UPPER_LAYERS.contains(&filesystem.as_str()) {
        return Err(Refusal::NoUpperLayers { folder: folder.to_owned(), filesystem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_by_one_server_at_a_time() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let path = parent.path().join("run/deep");
        let folder = Folder { path: &path, flag: "--run-dir", access: Access::Public };
        let hold = folder.take().expect("nobody has it");
        let refusal = folder.take().expect_err("it is taken").to_string();
        assert!(refusal.contains(&format!("(pid {})", std::process::id())) && refusal.contains("--instance"), "{refusal}");
        drop(hold);
        folder.take().expect("it is free again");
    }

    #[test]
    fn a_private_folder_is_closed_to_others_even_when_it_was_open() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let path = parent.path().join("data");
        std::fs::create_dir(&path).expect("a folder");
        Folder { path: &path, flag: "--data-dir", access: Access::Private }.take().expect("nobody has it");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_is_told_with_its_flag() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let path = file.path().join("below");
        let refusal = Folder { path: &path, flag: "--data-dir", access: Access::Private }.take().expect_err("a file is in the way");
        assert!(refusal.to_string().ends_with("choose another folder with --data-dir"), "{refusal}");
    }
}
