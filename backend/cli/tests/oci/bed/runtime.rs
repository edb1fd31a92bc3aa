//! The runtimes under test: a path and what has to stand before it on the command line. It must never know what a
//! sentence asserts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use belljar_testbed::skip;
use tempfile::TempDir;

/// Where hybrid hosts mount version 2 of cgroups (systemd's layout).
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// Whose runtime it is. Sentences may ask only to name a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Runc,
    Crun,
}

/// A runtime that can be called.
pub(crate) struct Runtime {
    kind: Kind,
    /// What stands before its arguments: the program, or a shell that prepares the mount namespace for it.
    words: Vec<OsString>,
    /// Holds the link by which our executable is called, or what a peer has instead of the host's own.
    _folder: Option<TempDir>,
}

impl Runtime {
    /// The runtime of that kind, or `None` after saying what is missing.
    pub(crate) fn find(kind: Kind) -> Option<Self> {
        if !crate::is_root() {
            return None;
        }
        match kind {
            Kind::Ours => Some(Self::ours(Path::new(crate::EXECUTABLE))).filter(Self::is_there),
            Kind::Runc => Self::peer(kind, "runc"),
            Kind::Crun => Self::peer(kind, "crun"),
        }
    }

    /// Our runtime, from the executable at `path`, called by the name by which it knows that it is meant as one.
    pub(crate) fn ours(path: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let link = folder.path().join("belljar-runtime");
        std::os::unix::fs::symlink(path, &link).expect("a link can be made");
        Self { kind: Kind::Ours, words: vec![link.into()], _folder: Some(folder) }
    }

    /// Whether the executable is a runtime as well.
    fn is_there(&self) -> bool {
        let there = self
            .command()
            .arg("--version")
            .output()
            .is_ok_and(|said| said.status.success() && said.stdout.windows(5).any(|word| word == b"spec:"));
        if !there {
            skip("a runtime in the executable");
        }
        there
    }

    fn peer(kind: Kind, name: &'static str) -> Option<Self> {
        let Some(path) = find_program(name) else {
            skip(name);
            return None;
        };
        if kind != Kind::Crun {
            return Some(Self { kind, words: vec![path.into()], _folder: None });
        }
        let folder = tempfile::tempdir().expect("a folder can be made");
        let words = with_precautions(&path, &folder.path().join("null"));
        Some(Self { kind, words, _folder: Some(folder) })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The program with nothing but what has to stand first.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }
}

/// crun refuses a host with controllers on both versions of cgroups, so it is called where the second is out of sight.
/// The namespace is a slave: what the host mounts is seen, and what is taken away stays there.
///
/// It also gives its standard input, output and error to the container's user where they are no terminals, the host's `/dev/null`
/// among them: it gets a node of its own instead.
fn with_precautions(program: &Path, null: &Path) -> Vec<OsString> {
    let _where_none_can_be_made_it_gets_the_hosts = Command::new("mknod").arg(null).args(["-m", "666", "c", "1", "3"]).output();
    let own = format!("null={}; [ -c $null ] && [ /proc/self/fd/0 -ef /dev/null ] && exec < $null", null.display());
    let hide = if Path::new(UNIFIED).exists() { format!("umount {UNIFIED}; ") } else { String::new() };
    let script = format!("{hide}{own}; exec {} \"$@\"", program.display());
    ["unshare", "--mount", "--propagation", "slave", "sh", "-c", &script, "crun"].map(OsString::from).to_vec()
}

/// Where an installed program stands, in the folders of root's PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}
