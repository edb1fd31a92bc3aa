//! A place on this host where another engine may run: mount, process, IPC and UTS namespaces of its own, mostly a network, an
//! empty `/run`, and a name that is also its cgroup's. It must never know which engine is in it.
//!
//! The first process of the place lives as long as this process keeps its end of a pipe open, however this process
//! ends; then it thaws and kills everything in the place and removes its cgroups. Mounts, interfaces, sockets and state
//! folders go with the namespaces.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::process;
use crate::server::real_disk;
use crate::wait::{try_wait, wait_until};

/// What the first process does; its arguments are the name and the folder of the place, and whose network it has. The shell's `wait` also reaps
/// what engines leave to the first process.
const HOLDER: &str = r#"
name=$1 folder=$2
exec 3<&0
mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/lock
[ "$3" = own ] && ip link set lo up
echo ready
cat <&3 > /dev/null & wait $!
# Frozen processes of version 1 do not die before they are thawed.
for file in $(find /sys/fs/cgroup -path "*/$name*" -name freezer.state 2> /dev/null); do echo THAWED > "$file"; done
for file in $(find /sys/fs/cgroup -path "*/$name*" -name cgroup.freeze 2> /dev/null); do echo 0 > "$file"; done
kill -KILL -1 2> /dev/null
for turn in 1 2 3 4 5 6 7 8 9 10; do
    groups=$(find /sys/fs/cgroup -depth -type d -path "*/$name*" 2> /dev/null)
    [ -n "$groups" ] || break
    rmdir $groups 2> /dev/null || sleep 0.1
done
grep " $folder" /proc/mounts | cut -d ' ' -f 2 | tac | while read -r point; do umount --lazy "$point"; done
rm -rf --one-file-system "$folder"
"#;

/// Namespaces of every place.
const NAMESPACES: [&str; 4] = ["--mount", "--ipc", "--uts", "--pid"];

/// Distinguishes the places of one test process.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Whose network a place has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// One of its own, with nothing but loopback.
    Own,
    /// This process's: for an engine that asks a registry on loopback, and is told to change nothing.
    Hosts,
}

/// Namespaces, a folder on the real disk, and a name.
pub struct Place {
    network: Network,
    name: String,
    folder: TempDir,
    holder: Child,
    life: Option<ChildStdin>,
    first: i32,
}

impl Place {
    /// A new, empty place.
    pub fn make(network: Network) -> Self {
        let name = format!("belljar-engines-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(real_disk()).expect("a temporary folder can be made");
        let mut unshare = Command::new("unshare");
        unshare.args(NAMESPACES).args(["--fork", "--mount-proc", "--propagation", "private"]);
        let whose = match network {
            Network::Own => {
                unshare.arg("--net");
                "own"
            }
            Network::Hosts => "the host's",
        };
        unshare.args(["sh", "-c", HOLDER, "holder", &name]).arg(folder.path()).arg(whose);
        let mut holder = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare runs");
        let life = holder.stdin.take();
        let mut line = String::new();
        let output = holder.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut line).expect("its output can be read");
        assert_eq!(line, "ready\n", "a place cannot be made here");
        let unshare = i32::try_from(holder.id()).expect("a pid fits i32");
        let first = process::pids().into_iter().find(|pid| process::parent(*pid) == Some(unshare)).expect("it has a child");
        Self { network, name, folder, holder, life, first }
    }

    /// Its name, which is also that of its cgroup.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text, for command lines.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// A folder in its folder, which anybody may enter.
    pub fn folder(&self, name: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a folder can be made");
        for open in [self.folder.path(), &path] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755)).expect("a folder's mode can be changed");
        }
        path
    }

    /// A file in its folder.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("a file can be written");
        path.to_string_lossy().into_owned()
    }

    /// A command that runs in the place, with nothing of this process's environment but the search path.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string()]).args(NAMESPACES);
        if self.network == Network::Own {
            command.arg("--net");
        }
        // What a program drops where it stands (conmon does) falls into the folder of the place.
        command.arg(format!("--wd={}", self.folder.path().display())).arg("--");
        command.arg(program).env_clear().env("HOME", self.folder.path()).stdin(Stdio::null());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs a shell script in the place; panics with what it said unless it succeeds.
    #[track_caller]
    pub fn shell(&self, script: &str) -> String {
        succeeded(script, &self.command("sh").args(["-c", script]).output().expect("a shell runs"))
    }

    /// The lines of its table of mounts.
    pub fn mounts(&self) -> BTreeSet<String> {
        let table = fs::read_to_string(format!("/proc/{}/mounts", self.first)).expect("the table of mounts can be read");
        table.lines().map(str::to_owned).collect()
    }

    /// Folders of its cgroup in every hierarchy, whoever else's come and go meanwhile.
    pub fn cgroups(&self) -> BTreeSet<String> {
        let found = self.shell(&format!("find /sys/fs/cgroup -ignore_readdir_race -type d -path '*/{}/*'", self.name));
        found.lines().map(str::to_owned).collect()
    }

    /// Command lines of everything that runs in it beside its own first process.
    pub fn processes(&self) -> BTreeSet<String> {
        let namespace = process::namespace_inode(self.first, "pid");
        let lives_here = |pid: &i32| {
            use std::os::unix::fs::MetadataExt;
            fs::metadata(format!("/proc/{pid}/ns/pid")).is_ok_and(|found| found.ino() == namespace)
        };
        let others = process::pids().into_iter().filter(|pid| *pid != self.first && lives_here(pid));
        others.map(process::command_line).filter(|line| !line.is_empty() && line != "cat").collect()
    }

    /// The value of a cgroup file of a process of the place, told by its process id there.
    pub fn cgroup_file(&self, pid: &str, controller: &str, file: &str) -> String {
        let line = format!("sed -n 's/^[0-9]*:{controller}://p' /proc/{pid}/cgroup");
        self.shell(&format!("cat /sys/fs/cgroup/{controller}$({line})/{file}")).trim().to_owned()
    }

    /// Whether the host's hierarchies are those of version 1.
    pub fn has_version_1() -> bool {
        Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists()
    }

    /// Waits until `look` is the same as `before`; panics with the difference.
    #[track_caller]
    pub fn assert_same(what: &str, before: &BTreeSet<String>, mut look: impl FnMut() -> BTreeSet<String>) {
        let same = try_wait(std::time::Duration::from_secs(10), || (look() == *before).then_some(()));
        if same.is_none() {
            let after = look();
            let left: Vec<_> = after.difference(before).collect();
            let gone: Vec<_> = before.difference(&after).collect();
            panic!("{what} left behind: {left:#?}\nmissing: {gone:#?}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.life.take());
        let ended = wait_until("the place has ended", || self.holder.try_wait().ok().flatten());
        if !ended.success() && !std::thread::panicking() {
            eprintln!("the first process of {} ended with {ended}", self.name);
        }
    }
}

/// What a command wrote to its standard output, without the last end of line; panics with what it said unless it
/// succeeded.
#[track_caller]
pub fn succeeded(what: &str, output: &Output) -> String {
    let (written, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{written}{said}", output.status);
    written.trim_end().to_owned()
}
