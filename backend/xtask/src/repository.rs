//! Where the repository is, and which files are its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that are made, not written.
const MADE: [&str; 3] = ["target", "node_modules", ".git"];

/// The root of the repository: the folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// A folder could not be listed, or a file not read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub(crate) struct ReadError {
    /// The folder or file.
    pub(crate) path: PathBuf,
    #[source]
    source: io::Error,
}

/// Every written file below `folder`, sorted.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |source| ReadError { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && !MADE.iter().any(|made| entry.file_name() == *made) {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String, ReadError> {
    fs::read_to_string(path).map_err(|source| ReadError { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_found_with_its_own_files_and_nothing_that_was_made() {
        let files = files(&root()).expect("the repository can be listed");
        assert!(files.contains(&root().join("backend/xtask/src/repository.rs")));
        assert!(!files.iter().any(|file| file.starts_with(root().join("target"))));
    }
}
