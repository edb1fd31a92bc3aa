//! The machine's disk and its initramfs: test executables without what only a debugger needs, this host's own programs with
//! the libraries that they name, and the few files without which neither works. No package is installed, no network asked.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::build::Built;
use super::kernel::Kernel;
use super::programs;
use super::report::Orders;
use super::{Error, PROGRAMS_FOLDER};
use crate::command::{command, find, output, run};
use crate::repository::{self, files};

/// Programs of this host that tests and containers execute; busybox is every other.
const PROGRAMS: [&str; 49] = [
    "runc",
    "crun",
    "sh",
    "bash",
    "perl",
    "python3",
    "curl",
    "sqlite3",
    "unshare",
    "setpriv",
    "mount",
    "umount",
    "cat",
    "chmod",
    "chown",
    "cp",
    "date",
    "dd",
    "df",
    "env",
    "false",
    "find",
    "grep",
    "head",
    "id",
    "ls",
    "ln",
    "mkdir",
    "mknod",
    "mv",
    "nice",
    "ps",
    "readlink",
    "rm",
    "sed",
    "seq",
    "sleep",
    "sort",
    "stat",
    "tail",
    "test",
    "touch",
    "tr",
    "true",
    "wc",
    "yes",
    "ip",
    "mkfs.ext4",
    "mkfs.xfs",
];

/// Beginnings of folders of this host that programs above need.
const FOLDERS: [&str; 3] = ["/usr/lib/python3", "/usr/lib/x86_64-linux-gnu/perl-base", "/usr/lib/locale/C.utf8"];

/// Links at the root of a file system whose programs all lie in `/usr`.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Folders that are mounted on, or written to.
const EMPTY: [&str; 11] = ["dev", "proc", "sys", "run", "tmp", "var/tmp", "var/lib", "etc", "root", "mnt", "vm"];

/// Files of the machine's own.
const FILES: [(&str, &str); 6] = [
    ("etc/hostname", "machine\n"),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/sh\n"),
    ("etc/group", "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("etc/inittab", "::sysinit:/etc/rc\n"),
];

/// Brings the machine up as systemd does a host, as far as containers can tell: shared mounts, the version 2 of cgroups
/// alone, and limits of a service.
const RC: &str = "#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount --make-rshared /
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
mount -t devtmpfs -o nosuid devtmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o nosuid,nodev,mode=755 run /run
ip link set lo up
hostname machine
ulimit -l unlimited
ulimit -Hn 524288
ulimit -Sn 1024
stty -F /dev/ttyS1 raw -echo
/vm/xtask inside /vm/orders.json >/dev/ttyS1 </dev/null
sync
reboot -f
";

/// Loads modules, and goes on from the disk.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules); do /bin/busybox insmod /$module; done
/bin/busybox mount -t ext4 -o noatime /dev/vda /root
[ \"$(/bin/busybox stat -c %u /root/vm/orders.json)\" = 0 ] || /bin/busybox chown -Rh 0:0 /root
/bin/busybox umount /dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /bin/busybox init
";

/// The most that the disk can hold; it takes only what is written.
const DISK_SIZE: &str = "4G";

/// Makes the disk in `folder`.
pub(super) fn make(folder: &Path, built: &Built, orders: &Orders) -> Result<PathBuf, Error> {
    let root = Root { path: folder.join("root") };
    if root.path.exists() {
        fs::remove_dir_all(&root.path).map_err(Error::file("remove", &root.path))?;
    }
    root.skeleton()?;
    root.take_programs()?;
    root.take_own_files()?;
    let own = std::env::current_exe().map_err(Error::file("find", Path::new("/proc/self/exe")))?;
    root.strip(&own, Path::new("/vm/xtask"))?;
    root.strip(&built.product, &built.product)?;
    orders.suites.iter().try_for_each(|suite| root.strip(&suite.executable, &suite.executable))?;
    root.folder(PROGRAMS_FOLDER.trim_start_matches('/'))?;
    programs::compile(&root.at(Path::new(PROGRAMS_FOLDER)))?;
    root.write("vm/orders.json", &serde_json::to_vec(orders)?)?;
    let disk = folder.join("disk.ext4");
    if disk.exists() {
        fs::remove_file(&disk).map_err(Error::file("remove", &disk))?;
    }
    // Without a journal: no power is cut here.
    run(command("mkfs.ext4", &["-q", "-F", "-O", "^has_journal", "-E", "root_owner=0:0", "-d"]).arg(&root.path).arg(&disk).arg(DISK_SIZE))?;
    Ok(disk)
}

/// Makes the initramfs in `folder`.
pub(super) fn initramfs(folder: &Path, kernel: &Kernel) -> Result<PathBuf, Error> {
    let root = Root { path: folder.join("initramfs") };
    for name in ["bin", "dev", "proc", "root"] {
        root.folder(name)?;
    }
    let mut names = String::new();
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy().into_owned();
        root.copy(module, Path::new(&name))?;
        names = names + &name + "\n";
    }
    root.write("modules", names.as_bytes())?;
    root.write_program("init", INIT)?;
    root.copy(&find("busybox").unwrap_or_default(), Path::new("bin/busybox"))?;
    let archive = folder.join("initramfs.cpio");
    let pack = "find . | busybox cpio --quiet -o -H newc > ../initramfs.cpio";
    run(command("busybox", &["sh", "-c", pack]).current_dir(&root.path))?;
    Ok(archive)
}

/// A file system in the making.
struct Root {
    path: PathBuf,
}

impl Root {
    /// Where a path of the machine lies here.
    fn at(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn folder(&self, name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(Error::file("make", &path))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        fs::write(&path, content).map_err(Error::file("write", &path))
    }

    fn write_program(&self, name: &str, script: &str) -> Result<(), Error> {
        self.write(name, script.as_bytes())?;
        let path = self.path.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(Error::file("change the mode of", &path))
    }

    fn link(&self, target: &Path, path: &Path) -> Result<(), Error> {
        let link = self.at(path);
        self.parent(&link)?;
        match symlink(target, &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::file("link", &link)(error)),
            _ => Ok(()),
        }
    }

    fn parent(&self, path: &Path) -> Result<(), Error> {
        let parent = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(parent).map_err(Error::file("make", parent))
    }

    fn copy(&self, source: &Path, path: &Path) -> Result<(), Error> {
        let copy = self.at(path);
        self.parent(&copy)?;
        fs::copy(source, &copy).map(drop).map_err(Error::file("copy", source))
    }

    fn skeleton(&self) -> Result<(), Error> {
        EMPTY.iter().try_for_each(|name| self.folder(name))?;
        for name in MERGED {
            self.folder(&format!("usr/{name}"))?;
            self.link(&Path::new("usr").join(name), Path::new(name))?;
        }
        for name in ["tmp", "var/tmp"] {
            let path = self.path.join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).map_err(Error::file("change the mode of", &path))?;
        }
        for (name, content) in FILES {
            self.write(name, content.as_bytes())?;
        }
        self.write_program("etc/rc", RC)
    }

    /// This host's programs and folders, with the libraries that they name, at the places where they are here.
    fn take_programs(&self) -> Result<(), Error> {
        let mut taken: Vec<PathBuf> = PROGRAMS.iter().filter_map(|name| installed(name)).collect();
        for folder in FOLDERS {
            taken.extend(beginning_with(folder).iter().flat_map(|folder| files(folder).unwrap_or_default()));
        }
        taken.retain(|path| !is_left_out(path));
        for path in taken.iter().chain(&libraries(&taken)?) {
            self.take(path)?;
        }
        self.copy(&find("busybox").unwrap_or_default(), Path::new("/usr/bin/busybox"))?;
        for applet in output(&mut command("busybox", &["--list"]))?.lines() {
            self.link(Path::new("busybox"), &Path::new("/usr/bin").join(applet))?;
        }
        // What tests ask for where Debian has it.
        self.link(Path::new("/usr/bin/busybox"), Path::new("/usr/sbin/init"))?;
        self.copy(Path::new("/etc/os-release"), Path::new("/usr/lib/os-release"))
    }

    /// A file as it is here, under its name and, where that is a link, under the one that it leads to.
    fn take(&self, path: &Path) -> Result<(), Error> {
        let real = fs::canonicalize(path).map_err(Error::file("find", path))?;
        if !self.at(&real).exists() {
            self.copy(&real, &real)?;
        }
        let parent = path.parent().unwrap_or(path);
        let parent = fs::canonicalize(parent).map_err(Error::file("find", parent))?;
        let name = parent.join(path.file_name().unwrap_or_default());
        if name == real { Ok(()) } else { self.link(&real, &name) }
    }

    /// The repository's own files, at the same place: tests read some of them.
    fn take_own_files(&self) -> Result<(), Error> {
        let root = repository::root();
        let own = files(&root).map_err(|error| Error::file("list", &root)(std::io::Error::other(error)))?;
        own.iter().try_for_each(|file| self.copy(file, file))
    }

    /// An executable without what only a debugger needs, which is most of it.
    fn strip(&self, source: &Path, path: &Path) -> Result<(), Error> {
        let copy = self.at(path);
        self.parent(&copy)?;
        run(command("strip", &["-o"]).arg(&copy).arg(source))?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&copy, mode).map_err(Error::file("change the mode of", &copy))?;
        libraries(&[source.to_owned()])?.iter().try_for_each(|library| self.take(library))
    }
}

/// A program where packages put it; what a person has earlier on `PATH` is not the system's.
fn installed(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// Folders whose path begins so: the name of Python's has its version.
fn beginning_with(path: &str) -> Vec<PathBuf> {
    let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
    let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|entry| entry.is_dir() && entry.to_string_lossy().starts_with(path)).collect()
}

/// Packages of Python's that no test imports, and which are most of it.
fn is_left_out(path: &Path) -> bool {
    let left_out = ["dist-packages", "test", "idlelib", "lib2to3", "ensurepip", "pydoc_data", "tkinter", "distutils"];
    path.components().any(|part| left_out.iter().any(|name| part.as_os_str() == *name)) || path.to_string_lossy().contains("/config-3")
}

/// The shared libraries that these files name, and the program that loads them. Scripts name none.
fn libraries(files: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut ask = command("busybox", &["sh", "-c", "ldd \"$@\" 2>/dev/null; true", "ldd"]);
    Ok(paths(&output(ask.args(files.iter().filter(|file| may_name_libraries(file))))?))
}

fn may_name_libraries(file: &Path) -> bool {
    let is_module = |end: &std::ffi::OsStr| end == "so";
    file.extension().is_none_or(is_module) || file.parent().is_some_and(|parent| parent.ends_with("bin") || parent.ends_with("sbin"))
}

/// The paths in what `ldd` prints: `name => path (address)`, or `path (address)`.
fn paths(printed: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let path = line.rsplit("=> ").next()?.split(" (").next()?.trim();
        (line.starts_with('\t') && path.starts_with('/')).then(|| PathBuf::from(path))
    };
    let mut paths: Vec<PathBuf> = printed.lines().filter_map(path).collect();
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_libraries_are_read_from_what_ldd_prints() {
        let printed = "/usr/bin/cat:\n\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f1)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x7f2)\n/usr/bin/script:\n\tnot a dynamic executable\n\tlibgone.so => not found\n";
        assert_eq!(paths(printed), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
    }

    #[test]
    fn a_file_is_taken_with_the_link_that_leads_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = fs::canonicalize(folder.path()).expect("a path").join("source");
        fs::create_dir(&source).expect("a folder");
        fs::write(source.join("program-3"), "it").expect("a file");
        symlink("program-3", source.join("program")).expect("a link");
        let root = Root { path: folder.path().join("root") };
        root.take(&source.join("program")).expect("it can be taken");
        assert_eq!(fs::read_to_string(root.at(&source.join("program-3"))).expect("the file"), "it");
        assert_eq!(fs::read_link(root.at(&source.join("program"))).expect("the link"), source.join("program-3"));
    }

    #[test]
    fn the_test_suite_of_python_stays_at_home() {
        assert!(is_left_out(Path::new("/usr/lib/python3.11/test/support.py")));
        assert!(!is_left_out(Path::new("/usr/lib/python3.11/socket.py")));
    }
}
