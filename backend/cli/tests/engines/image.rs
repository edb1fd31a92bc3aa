//! The one image of these tests, made here and now: a static busybox under all its names, in the archive that `docker
//! save` writes, which every engine loads. No registry is asked.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use belljar_testbed::place::succeeded;

/// Its name in every engine.
pub(crate) const NAME: &str = "belljar.test/box:1";

/// Files of the image beside its programs.
const FILES: [(&str, &str); 3] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home:/bin/sh\n"),
    ("etc/group", "root:x:0:\nguest:x:1000:\naudio:x:29:guest\n"),
    ("etc/words", "from the image\n"),
];

/// Where the static busybox is: one that asks for no libraries.
pub(crate) fn busybox() -> Option<&'static Path> {
    let path = Path::new("/bin/busybox");
    let is_static = || Command::new("ldd").arg(path).output().is_ok_and(|output| !output.status.success());
    (path.exists() && is_static()).then_some(path)
}

/// Makes the image's files in `root`.
pub(crate) fn fill(root: &Path) {
    for folder in ["bin", "etc", "root", "home", "tmp"] {
        fs::create_dir_all(root.join(folder)).expect("a folder can be made");
    }
    let busybox = busybox().expect("busybox is installed");
    fs::copy(busybox, root.join("bin/busybox")).expect("busybox can be copied");
    let names = succeeded("busybox --list", &Command::new(busybox).arg("--list").output().expect("busybox runs"));
    for name in names.lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name)).expect("a link can be made");
    }
    for (path, content) in FILES {
        fs::write(root.join(path), content).expect("a file can be written");
    }
}

/// Writes the archive into `folder`, and returns its path.
pub(crate) fn archive(folder: &Path) -> String {
    let (root, parts) = (folder.join("box"), folder.join("parts"));
    fs::create_dir_all(&parts).expect("a folder can be made");
    fill(&root);
    pack(&root, &parts.join("layer.tar"));
    let digest = succeeded("sha256sum", &Command::new("sha256sum").arg(parts.join("layer.tar")).output().expect("sha256sum runs"));
    let digest = digest.split(' ').next().unwrap_or_default();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        "history": [{"created_by": "a test"}],
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]);
    fs::write(parts.join("config.json"), config.to_string()).expect("a file can be written");
    fs::write(parts.join("manifest.json"), manifest.to_string()).expect("a file can be written");
    let archive = folder.join("box.tar");
    pack(&parts, &archive);
    archive.to_string_lossy().into_owned()
}

fn pack(folder: &Path, archive: &Path) {
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--numeric-owner").arg("--file").arg(archive).arg("--directory").arg(folder);
    let names = fs::read_dir(folder).expect("a folder can be listed").flatten().map(|entry| entry.file_name());
    succeeded("tar", &tar.args(names).output().expect("tar runs"));
}
