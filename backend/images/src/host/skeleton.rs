//! What the skeleton consists of: tables, and the few questions about the host that they leave open.
//!
//! Nothing is written here. Everything taken from the host is optional: a host without it gives a skeleton without it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// One thing of the skeleton.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Relative to the root.
    pub(super) path: PathBuf,
    pub(super) what: What,
}

/// What it is. Everything belongs to root; files may be read by all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Folder { mode: u32 },
    File { content: Vec<u8> },
    Symlink { target: PathBuf },
}

/// Largest file that is taken from the host, in bytes: 16 MiB. A cache of libraries has 30 kB, all certificates 250 kB.
const COPIED_BYTES_MAX: u64 = 16 << 20;

/// Folders that a program expects, with their modes. The runtime mounts onto some of them.
const FOLDERS: [(&str, u32); 26] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/alternatives", 0o755),
    ("etc/ld.so.conf.d", 0o755),
    ("etc/profile.d", 0o755),
    ("etc/ssl", 0o755),
    ("etc/ssl/certs", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/local", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// Links that every Linux system has.
const LINKS: [(&str, &str); 3] = [("etc/mtab", "/proc/self/mounts"), ("var/lock", "/run/lock"), ("var/run", "/run")];

/// Folders below the root that hold programs and libraries. Each is a link into `/usr` (merged), or a folder of its own.
const PROGRAM_FOLDERS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Files of the host's `/etc` that programs in `/usr` do not work without, or that name numbers the world agrees on.
const COPIED: [&str; 17] = [
    "etc/debian_version",
    "etc/ethertypes",
    "etc/gai.conf",
    "etc/host.conf",
    "etc/inputrc",
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/locale.alias",
    "etc/localtime",
    "etc/lsb-release",
    "etc/mime.types",
    "etc/os-release",
    "etc/protocols",
    "etc/rpc",
    "etc/services",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/timezone",
];

/// Shells that are listed in `/etc/shells` where the host has them.
const SHELLS: [&str; 8] =
    ["/bin/sh", "/usr/bin/sh", "/bin/bash", "/usr/bin/bash", "/bin/dash", "/usr/bin/dash", "/usr/bin/zsh", "/usr/bin/fish"];

/// Users beside root that a Linux system has since before it was one; none of them can log in.
const USERS: [(&str, u32, &str); 5] = [
    ("daemon", 1, "/usr/sbin"),
    ("bin", 2, "/bin"),
    ("mail", 8, "/var/mail"),
    ("www-data", 33, "/var/www"),
    ("nobody", 65_534, "/nonexistent"),
];

/// Groups, with the numbers that Debian gives them.
const GROUPS: [(&str, u32); 17] = [
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("lp", 7),
    ("mail", 8),
    ("dialout", 20),
    ("cdrom", 24),
    ("www-data", 33),
    ("utmp", 43),
    ("video", 44),
    ("staff", 50),
    ("users", 100),
    ("nogroup", 65_534),
];

/// Names are looked up in files, hosts also by DNS; nothing asks a service of the host.
const NSSWITCH: &str = "\
passwd:    files
group:     files
shadow:    files
hosts:     files dns
networks:  files
protocols: files
services:  files
rpc:       files
";

const PROFILE: &str = "\
# The shell's start-up file of a Belljar container on the host's own userland.
if [ -z \"$PATH\" ]; then
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
fi
for part in /etc/profile.d/*.sh; do
    if [ -r \"$part\" ]; then . \"$part\"; fi
done
unset part
";

/// What of the host is grafted into the tree: `/usr`, and each folder of programs that is not a link.
pub(super) fn grafts(root: &Path) -> Vec<&'static str> {
    let own = PROGRAM_FOLDERS.into_iter().filter(|name| root.join(name).symlink_metadata().is_ok_and(|metadata| metadata.is_dir()));
    std::iter::once("usr").chain(own).collect()
}

/// Everything, folders before what is in them; the same host gives the same list.
pub(super) fn nodes(root: &Path) -> Vec<Node> {
    let mut nodes = BTreeMap::new();
    for (path, mode) in FOLDERS {
        nodes.insert(PathBuf::from(path), What::Folder { mode });
    }
    for (path, target) in LINKS {
        nodes.insert(PathBuf::from(path), What::Symlink { target: target.into() });
    }
    for name in grafts(root) {
        nodes.insert(PathBuf::from(name), What::Folder { mode: 0o755 });
    }
    let links = PROGRAM_FOLDERS.into_iter().filter_map(|name| Some((name, std::fs::read_link(root.join(name)).ok()?)));
    nodes.extend(links.map(|(name, target)| (PathBuf::from(name), What::Symlink { target })));
    for (path, text) in fresh_files(root) {
        nodes.insert(PathBuf::from(path), What::File { content: text.into_bytes() });
    }
    nodes.extend(COPIED.into_iter().filter_map(|path| Some((PathBuf::from(path), taken(root, path)?))));
    nodes.extend(library_folders(root));
    nodes.extend(links_into_usr(root, "etc/alternatives"));
    nodes.extend(certificates(root));
    // A path sorts after its folder's.
    nodes.into_iter().map(|(path, what)| Node { path, what }).collect()
}

fn fresh_files(root: &Path) -> [(&'static str, String); 5] {
    let exists = |path: &str| root.join(path.trim_start_matches('/')).exists();
    let shells: Vec<&str> = SHELLS.into_iter().filter(|shell| exists(shell)).collect();
    let root_shell = if exists("/usr/bin/bash") || exists("/bin/bash") { "/bin/bash" } else { "/bin/sh" };
    let users = USERS.iter().map(|(name, id, home)| format!("{name}:x:{id}:{id}:{name}:{home}:/usr/sbin/nologin\n"));
    let passwd = std::iter::once(format!("root:x:0:0:root:/root:{root_shell}\n")).chain(users).collect();
    let group = GROUPS.iter().map(|(name, id)| format!("{name}:x:{id}:\n")).collect();
    let shells = shells.iter().map(|shell| format!("{shell}\n")).collect();
    [
        ("etc/passwd", passwd),
        ("etc/group", group),
        ("etc/nsswitch.conf", NSSWITCH.to_owned()),
        ("etc/profile", PROFILE.to_owned()),
        ("etc/shells", shells),
    ]
}

/// A file of the host: a link where it leads into `/usr`, else its content, if everybody on the host may read it.
fn taken(root: &Path, path: &str) -> Option<What> {
    let path = root.join(path);
    if let Some(target) = std::fs::read_link(&path).ok().filter(|target| leads_into_usr(target)) {
        return Some(What::Symlink { target });
    }
    let metadata = std::fs::metadata(&path).ok()?;
    let for_all = metadata.permissions().mode() & 0o004 != 0;
    if !metadata.is_file() || !for_all || metadata.len() > COPIED_BYTES_MAX {
        return None;
    }
    // One that vanishes between the question and the reading is one that is not there.
    std::fs::read(&path).ok().map(|content| What::File { content })
}

/// Whether a link's target is below `/usr`, by its text alone: `/usr/…` or `../usr/…`, and no way up after that.
fn leads_into_usr(target: &Path) -> bool {
    let mut parts = target.components().skip_while(|part| matches!(part, Component::RootDir | Component::ParentDir));
    parts.next() == Some(Component::Normal("usr".as_ref())) && parts.all(|part| matches!(part, Component::Normal(_)))
}

fn names(root: &Path, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Where the dynamic linker looks: for programs that rebuild its cache.
fn library_folders(root: &Path) -> Vec<(PathBuf, What)> {
    let files = names(root, "etc/ld.so.conf.d").into_iter().filter(|name| name.ends_with(".conf"));
    let paths = files.map(|name| format!("etc/ld.so.conf.d/{name}"));
    paths.filter_map(|path| Some((PathBuf::from(&path), taken(root, &path)?))).collect()
}

/// The links in a folder that lead into `/usr`: which of several programs is meant by a name.
fn links_into_usr(root: &Path, folder: &str) -> Vec<(PathBuf, What)> {
    let paths = names(root, folder).into_iter().map(|name| Path::new(folder).join(name));
    let links = paths.filter_map(|path| Some((std::fs::read_link(root.join(&path)).ok()?, path)));
    links.filter(|(target, _)| leads_into_usr(target)).map(|(target, path)| (path, What::Symlink { target })).collect()
}

/// Single certificates: links to the files in `/usr`, and the links by hash that lead to those links. A certificate that
/// lies in `/etc` itself is the host's own, and stays there.
fn certificates(root: &Path) -> Vec<(PathBuf, What)> {
    const FOLDER: &str = "etc/ssl/certs";
    let mut kept = links_into_usr(root, FOLDER);
    let known: Vec<PathBuf> = kept.iter().filter_map(|(path, _)| path.file_name().map(PathBuf::from)).collect();
    let paths = names(root, FOLDER).into_iter().map(|name| Path::new(FOLDER).join(name));
    let links = paths.filter_map(|path| Some((std::fs::read_link(root.join(&path)).ok()?, path)));
    kept.extend(links.filter(|(target, _)| known.contains(target)).map(|(target, path)| (path, What::Symlink { target })));
    kept
}
