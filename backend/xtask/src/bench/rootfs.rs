//! A small root file system, made of the host's own shell and `sleep` with the libraries they load: the same for every
//! runtime that is measured.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{command, find, output};

/// What runs in a measured container: it says that it runs, by one line into a pipe that the host reads, and stays.
pub(crate) const COMMAND: [&str; 3] = ["/bin/sh", "-c", "echo > /ready/pipe; exec sleep 1d"];

/// Makes `folder/rootfs`.
pub(crate) fn make(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let root = folder.join("rootfs");
    for place in ["bin", "ready", "proc", "sys", "dev", "tmp", "etc"] {
        fs::create_dir_all(root.join(place))?;
    }
    for program in ["sh", "sleep"] {
        let path = find(program).ok_or_else(|| format!("{program} is not installed"))?;
        fs::copy(&path, root.join("bin").join(program))?;
        for library in libraries(&path)? {
            let target = root.join(library.strip_prefix("/")?);
            fs::create_dir_all(target.parent().unwrap_or(&root))?;
            fs::copy(&library, target)?;
        }
    }
    Ok(root)
}

/// The libraries that a program loads, as `ldd` lists them.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>, Box<dyn Error>> {
    let listed = output(&mut command("ldd", &[&program.to_string_lossy()]))?;
    Ok(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// Packs a root file system as an archive in `folder`.
pub(crate) fn pack(root: &Path, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let archive = folder.join("rootfs.tar");
    let arguments = ["--create", "--numeric-owner", "--file", &archive.to_string_lossy(), "--directory", &root.to_string_lossy(), "."];
    output(&mut command("tar", &arguments))?;
    Ok(archive)
}
