//! The image `host`: the host's own programs under a fresh skeleton.
//!
//! A container sees the host's `/usr` (and `/bin`, `/lib`, … where the host has not merged them into it), read-only. All
//! else is made here: an `/etc` of a few files without a word about this host, and empty folders. What is taken from the
//! host's `/etc` stands in the tables of [`skeleton`], is readable by everybody on the host, and is there because
//! programs in `/usr` do not work without it: where libraries lie, which certificates to trust, which `awk` is meant.
//! Never taken: users and passwords, private keys, the machine's identity, network settings, `/root`, `/home`, `/var`.
//!
//! The skeleton is content addressed: the same host gives the same one, and a host that changed gives a new one beside
//! the old one, which running containers still stand on.

mod skeleton;

use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use std::sync::Arc;

use belljar_model::image::{ImageKind, ImageLayer};
use belljar_model::{Image, ImageName};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::store::Error;
use crate::tree::Scratch;
use skeleton::{Node, What};

/// The image `host` as it is now, and the folders that it consists of, top first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostImage {
    /// The image; its digest is the skeleton's.
    pub image: Image,
    /// The skeleton at the root, then what of the host is grafted into it.
    pub layers: Vec<ImageLayer>,
}

/// Makes the skeleton in `tmp` and moves it into `folder`, unless the same one is there already.
pub(crate) fn make(tmp: &Path, folder: &Path) -> Result<HostImage, Error> {
    make_from(Path::new("/"), tmp, folder)
}

/// The layers of the image whose skeleton is the folder `skeleton`.
pub(crate) fn layers(skeleton: &Path) -> Vec<ImageLayer> {
    layers_from(Path::new("/"), skeleton)
}

fn make_from(root: &Path, tmp: &Path, folder: &Path) -> Result<HostImage, Error> {
    let nodes = skeleton::nodes(root);
    let digest = digest(&nodes);
    let place = folder.join(digest.hex());
    if !place.is_dir() {
        let scratch = Scratch::make(tmp).map_err(Error::folder("make a folder in", tmp))?;
        write(scratch.path(), &nodes).map_err(Error::folder("write the skeleton in", scratch.path()))?;
        scratch.move_to(&place).map_err(Error::folder("put in its place", &place))?;
    }
    let metadata = std::fs::metadata(&place).map_err(Error::folder("read", &place))?;
    let name = || ImageName::HOST.parse().map_err(|source| Error::Digest { name: ImageName::HOST.to_owned(), source });
    let image = Image {
        name: name()?,
        kind: ImageKind::Host,
        digest: digest.to_string(),
        manifest_digest: None,
        size_bytes: 0,
        entries: nodes.len() as u64,
        created_at_ms: metadata.ctime() * 1000 + metadata.ctime_nsec() / 1_000_000,
        contents: Arc::default(),
    };
    Ok(HostImage { image, layers: layers_from(root, &place) })
}

fn layers_from(root: &Path, skeleton: &Path) -> Vec<ImageLayer> {
    let top = ImageLayer { path: skeleton.display().to_string(), at: String::new(), label: "fresh /etc and empty folders".to_owned() };
    let grafts = skeleton::grafts(root).into_iter().map(|name| ImageLayer {
        path: root.join(name).display().to_string(),
        at: name.to_owned(),
        label: format!("the host's /{name}"),
    });
    std::iter::once(top).chain(grafts).collect()
}

/// Of everything that makes two skeletons differ; lengths keep one field from running into the next.
fn digest(nodes: &[Node]) -> Digest {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for node in nodes {
        field(node.path.as_os_str().as_bytes());
        match &node.what {
            What::Folder { mode } => field(format!("folder {mode:o}").as_bytes()),
            What::File { content } => {
                field(b"file");
                field(content);
            }
            What::Symlink { target } => {
                field(b"symlink");
                field(target.as_os_str().as_bytes());
            }
        }
    }
    Digest::new(hasher.finalize().into())
}

/// Writes the nodes below a folder of ours that is empty; folders come before what is in them.
fn write(folder: &Path, nodes: &[Node]) -> io::Result<()> {
    const FILE_MODE: u32 = 0o644;
    const ROOT_MODE: u32 = 0o755;
    for node in nodes {
        let path = folder.join(&node.path);
        match &node.what {
            What::Folder { mode } => {
                std::fs::create_dir(&path)?;
                // Set apart from making it: the mode of making is cut by our umask.
                std::fs::set_permissions(&path, Permissions::from_mode(*mode))?;
            }
            What::File { content } => {
                std::fs::write(&path, content)?;
                std::fs::set_permissions(&path, Permissions::from_mode(FILE_MODE))?;
            }
            What::Symlink { target } => symlink(target, &path)?,
        }
    }
    std::fs::set_permissions(folder, Permissions::from_mode(ROOT_MODE))?;
    rustix::fs::syncfs(std::fs::File::open(folder)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn write_file(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A folder that looks like a Debian with merged `/usr`, and some secrets.
    fn debian() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in ["bin", "sbin", "lib", "lib64"] {
            std::fs::create_dir_all(root.path().join("usr").join(name)).unwrap();
            symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
        }
        write_file(root.path(), "usr/bin/bash", "");
        write_file(root.path(), "usr/lib/os-release", "ID=debian\n");
        for secret in [
            "etc/shadow",
            "etc/machine-id",
            "etc/hostname",
            "etc/ssl/private/key.pem",
            "etc/ssh/ssh_host_key",
            "root/.bashrc",
            "home/me/x",
            "var/lib/x",
        ] {
            write_file(root.path(), secret, "SECRET");
        }
        write_file(root.path(), "etc/passwd", "SECRET:x:1000:1000::/home/SECRET:/bin/sh\n");
        write_file(root.path(), "etc/ld.so.cache", "cache");
        write_file(root.path(), "etc/ld.so.conf.d/libc.conf", "/usr/local/lib\n");
        write_file(root.path(), "etc/ld.so.conf.d/notes.txt", "SECRET");
        write_file(root.path(), "etc/services", "http 80/tcp\n");
        std::fs::set_permissions(root.path().join("etc/services"), Permissions::from_mode(0o644)).unwrap();
        std::fs::create_dir_all(root.path().join("etc/alternatives")).unwrap();
        symlink("/usr/bin/mawk", root.path().join("etc/alternatives/awk")).unwrap();
        symlink("/etc/mysql/my.cnf", root.path().join("etc/alternatives/my.cnf")).unwrap();
        symlink("/usr/../etc/shadow", root.path().join("etc/alternatives/sly")).unwrap();
        symlink("/usr/share/zoneinfo/Europe/Paris", root.path().join("etc/localtime")).unwrap();
        symlink("../usr/lib/os-release", root.path().join("etc/os-release")).unwrap();
        write_file(root.path(), "etc/ssl/certs/ca-certificates.crt", "certificates");
        write_file(root.path(), "etc/ssl/certs/snakeoil.pem", "SECRET");
        symlink("/usr/share/ca-certificates/mozilla/A.crt", root.path().join("etc/ssl/certs/A.pem")).unwrap();
        symlink("A.pem", root.path().join("etc/ssl/certs/0a0a.0")).unwrap();
        symlink("snakeoil.pem", root.path().join("etc/ssl/certs/0b0b.0")).unwrap();
        root
    }

    struct Made {
        _folder: tempfile::TempDir,
        host: HostImage,
        path: PathBuf,
    }

    fn made(root: &Path) -> Made {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tmp", "host"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let host = make_from(root, &folder.path().join("tmp"), &folder.path().join("host")).unwrap();
        let path = PathBuf::from(&host.layers[0].path);
        assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0, "nothing is left in tmp");
        Made { _folder: folder, host, path }
    }

    fn walk(folder: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            found.insert(entry.path());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            }
        }
    }

    #[test]
    fn nothing_secret_and_nobody_of_the_host_is_in_the_skeleton() {
        let root = debian();
        let made = made(root.path());
        let mut found = BTreeSet::new();
        walk(&made.path, &mut found);
        for path in &found {
            let relative = path.strip_prefix(&made.path).unwrap().display().to_string();
            for forbidden in ["shadow", "private", "machine-id", "hostname", "ssh", "notes", "snakeoil", "my.cnf", "sly", "0b0b"] {
                assert!(!relative.contains(forbidden), "{relative}");
            }
            if path.symlink_metadata().unwrap().is_file() {
                assert!(!std::fs::read_to_string(path).unwrap().contains("SECRET"), "{relative}");
            }
        }
        for empty in ["root", "home", "srv", "opt", "mnt", "media", "proc", "sys", "dev", "usr", "tmp", "var/lib", "var/log", "var/cache"] {
            assert_eq!(std::fs::read_dir(made.path.join(empty)).unwrap().count(), 0, "/{empty} is empty");
        }
    }

    #[test]
    fn what_programs_need_is_there() {
        let root = debian();
        let made = made(root.path());
        let read = |path: &str| std::fs::read_to_string(made.path.join(path)).unwrap();
        let link = |path: &str| std::fs::read_link(made.path.join(path)).unwrap().display().to_string();
        assert!(
            read("etc/passwd").starts_with("root:x:0:0:root:/root:/bin/bash\n") && read("etc/passwd").contains("nobody:x:65534:65534:")
        );
        assert!(read("etc/group").contains("nogroup:x:65534:\n"));
        assert_eq!((read("etc/ld.so.cache"), read("etc/services")), ("cache".into(), "http 80/tcp\n".into()));
        assert_eq!(read("etc/ssl/certs/ca-certificates.crt"), "certificates");
        assert_eq!((link("etc/alternatives/awk"), link("bin")), ("/usr/bin/mawk".into(), "usr/bin".into()));
        assert_eq!(
            (link("etc/ssl/certs/A.pem"), link("etc/ssl/certs/0a0a.0")),
            ("/usr/share/ca-certificates/mozilla/A.crt".into(), "A.pem".into())
        );
        assert_eq!(
            (link("etc/localtime"), link("etc/os-release")),
            ("/usr/share/zoneinfo/Europe/Paris".into(), "../usr/lib/os-release".into())
        );
        assert_eq!((link("var/run"), link("etc/mtab")), ("/run".into(), "/proc/self/mounts".into()));
        let mode = |path: &str| made.path.join(path).metadata().unwrap().mode() & 0o7777;
        assert_eq!((mode("tmp"), mode("var/tmp"), mode("root"), mode("etc"), mode("")), (0o1777, 0o1777, 0o700, 0o755, 0o755));
    }

    #[test]
    fn the_same_host_gives_the_same_skeleton_and_a_changed_host_another() {
        let root = debian();
        let first = made(root.path());
        assert_eq!(made(root.path()).host.image.digest, first.host.image.digest);
        write_file(root.path(), "etc/ld.so.cache", "another cache");
        assert_ne!(made(root.path()).host.image.digest, first.host.image.digest);
    }

    #[test]
    fn a_merged_host_grafts_usr_alone_and_an_unmerged_one_each_folder() {
        let root = debian();
        let at = |made: &Made| made.host.layers.iter().map(|layer| layer.at.clone()).collect::<Vec<_>>();
        assert_eq!(at(&made(root.path())), ["", "usr"]);
        for name in ["bin", "lib"] {
            std::fs::remove_file(root.path().join(name)).unwrap();
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        let unmerged = made(root.path());
        assert_eq!(at(&unmerged), ["", "usr", "bin", "lib"]);
        assert!(unmerged.path.join("bin").symlink_metadata().unwrap().is_dir(), "a place to graft onto");
        assert!(unmerged.path.join("sbin").symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn a_listed_file_that_not_everybody_may_read_is_left_out() {
        let root = debian();
        std::fs::set_permissions(root.path().join("etc/services"), Permissions::from_mode(0o600)).unwrap();
        assert!(!made(root.path()).path.join("etc/services").exists());
    }

    #[test]
    fn this_host_itself_becomes_an_image() {
        let made = made(Path::new("/"));
        assert_eq!(made.host.image.name.as_str(), ImageName::HOST);
        assert!(made.host.layers.iter().any(|layer| layer.at == "usr" && layer.path == "/usr"));
    }
}
