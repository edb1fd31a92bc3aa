//! The kernel of the virtual machine: Debian's own package, downloaded once and unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use crate::command::{self, command, find, is_root, output, run, succeeds};
use crate::repository::files;

/// The package that depends on the newest kernel for clouds, which has what virtual machines need and little else.
pub(super) const PACKAGE: &str = "linux-image-cloud-amd64";

/// Modules that the machine needs before it has a disk, the file system of containers' roots, devices that tests bind and open, and file
/// systems in files with quotas; each after those that it depends on. What a kernel has built in is not among its files, and passed over.
const MODULES: [&str; 14] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "overlay",
    "tun",
    "fuse",
    "loop",
    "quota_tree",
    "quota_v2",
    "libcrc32c",
    "xfs",
];

/// A kernel to boot.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The compressed image.
    pub(super) image: PathBuf,
    /// Files of modules, in the order in which they are loaded.
    pub(super) modules: Vec<PathBuf>,
}

/// The kernel below `folder`, downloaded where it is not there yet; `None` where it cannot be had.
pub(super) fn prepare(folder: &Path) -> Result<Option<Kernel>, Error> {
    let unpacked = folder.join("kernel");
    if let Some(kernel) = look(&unpacked) {
        return Ok(Some(kernel));
    }
    if find("apt-get").is_none() || find("dpkg-deb").is_none() {
        return Ok(None);
    }
    let packages = folder.join("packages");
    fs::create_dir_all(&packages).map_err(Error::file("make", &packages))?;
    let Some(package) = download(&packages)? else { return Ok(None) };
    fs::create_dir_all(&unpacked).map_err(Error::file("make", &unpacked))?;
    run(command("dpkg-deb", &["--extract"]).arg(package).arg(&unpacked))?;
    Ok(look(&unpacked))
}

/// Downloads the package that the newest kernel is in. A list of packages that is too old is renewed once.
fn download(packages: &Path) -> Result<Option<PathBuf>, Error> {
    for renewed in [Ok(true), Err(())] {
        if renewed.is_err() && !(is_root() && succeeds(&mut command("apt-get", &["update", "--quiet=2"]))?) {
            return Ok(None);
        }
        let Some(name) = dependency()? else { continue };
        let mut fetch = command("apt-get", &["download", "--quiet=2", &name]);
        if succeeds(fetch.current_dir(packages))? {
            let is_package = |path: &PathBuf| path.to_string_lossy().contains(&name) && path.extension().is_some_and(|end| end == "deb");
            return Ok(files(packages).unwrap_or_default().into_iter().find(is_package));
        }
    }
    Ok(None)
}

fn dependency() -> Result<Option<String>, command::Error> {
    Ok(named(&output(&mut command("apt-cache", &["depends", PACKAGE])).unwrap_or_default()))
}

/// The kernel that a package without files depends on, from what `apt-cache depends` says.
fn named(depends: &str) -> Option<String> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.map(str::trim).find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

fn look(unpacked: &Path) -> Option<Kernel> {
    let boot = fs::read_dir(unpacked.join("boot")).ok()?.flatten().map(|entry| entry.path());
    let image = boot.into_iter().find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))?;
    let files = files(&unpacked.join("lib/modules")).ok()?;
    let of_name = |name: &&str| files.iter().find(|path| path.file_stem().is_some_and(|stem| stem == *name)).cloned();
    Some(Kernel { image, modules: MODULES.iter().filter_map(of_name).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_of_the_newest_kernel_is_the_one_that_is_depended_on() {
        let said = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n    linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(named(said).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(named(""), None);
    }

    #[test]
    fn a_kernel_is_found_with_its_modules_in_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(look(folder.path()).is_none());
        for file in
            ["boot/vmlinuz-6.1.0", "lib/modules/6.1.0/b/overlay.ko", "lib/modules/6.1.0/a/virtio_blk.ko", "lib/modules/6.1.0/a/nbd.ko"]
        {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        let kernel = look(folder.path()).expect("a kernel");
        let names: Vec<_> = kernel.modules.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["virtio_blk.ko", "overlay.ko"]);
        assert!(kernel.image.ends_with("boot/vmlinuz-6.1.0"));
    }
}
