//! The programs of other houses that tests drive, as Debian packages.

use super::counts::Counts;
use crate::command::{self, command, find, is_root, succeeds};

/// A program (or a whole path), the Debian package that brings it, and what needs it.
const NEEDED: [(&str, &str, &str); 31] = [
    ("chromium", "chromium", "the browser tests"),
    ("node", "nodejs", "the browser tests"),
    ("npm", "npm", "the browser tests"),
    ("curl", "curl", "the tour of the README"),
    ("sqlite3", "sqlite3", "the tour of the README"),
    ("unshare", "util-linux", "the tour of the README and the engines"),
    ("ip", "iproute2", "the engines"),
    ("/usr/share/doc/busybox-static/copyright", "busybox-static", "the engines, the runtimes and the bench"),
    ("podman", "podman", "the engines"),
    ("conmon", "conmon", "the engines"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins", "the engines"),
    ("catatonit", "catatonit", "the engines"),
    ("containerd", "containerd", "the engines"),
    ("dockerd", "docker.io", "the engines"),
    ("runc", "runc", "the runtimes and the bench"),
    ("crun", "crun", "the runtimes and the bench"),
    ("/lib/systemd/systemd", "systemd", "the runtimes"),
    ("strace", "strace", "the runtimes"),
    ("umoci", "umoci", "the runtimes and real images"),
    ("debootstrap", "debootstrap", "real images"),
    ("zstd", "zstd", "real images"),
    ("docker-registry", "docker-registry", "real images and the bench of pulls"),
    ("skopeo", "skopeo", "real images and the bench of pulls"),
    ("buildah", "buildah", "real images"),
    ("bwrap", "bubblewrap", "the bench"),
    ("qemu-system-x86_64", "qemu-system-x86", "the tests on cgroup v2 alone"),
    ("mkfs.ext4", "e2fsprogs", "the tests on cgroup v2 alone"),
    ("apparmor_parser", "apparmor", "the tests of AppArmor on cgroup v2 alone"),
    ("mkfs.xfs", "xfsprogs", "the tests of quotas on cgroup v2 alone"),
    ("mkfs.vfat", "dosfstools", "a data folder on FAT"),
    ("/usr/include/seccomp.h", "libseccomp-dev", "the tests of filters"),
];

/// Installs what is missing when this is root on a system with `apt-get`, and otherwise names it; what depends on it
/// then says so and is counted as skipped.
pub(crate) fn install() -> Result<Counts, command::Error> {
    let missing: Vec<_> = NEEDED.into_iter().filter(|(program, ..)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(Counts::PASSED);
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
    packages.dedup();
    for (program, package, needed_by) in &missing {
        println!("missing: {program} (Debian package {package}), for {needed_by}");
    }
    if !is_root() || find("apt-get").is_none() {
        println!("install with: apt-get install --no-install-recommends {}", packages.join(" "));
        return Ok(Counts::SKIPPED);
    }
    let installed = apt_get(&["update", "--quiet=2"])? && {
        let arguments = ["install", "--yes", "--quiet=2", "--no-install-recommends"];
        apt_get(&[&arguments[..], &packages[..]].concat())?
    };
    Ok(if installed { Counts::PASSED } else { Counts::FAILED })
}

fn apt_get(arguments: &[&str]) -> Result<bool, command::Error> {
    // In run level 1 no package starts its service: the engines under test are started by their tests.
    succeeds(command("apt-get", arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"))
}
