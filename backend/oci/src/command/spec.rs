//! `spec`: a document to begin with.

use std::path::{Path, PathBuf};

use belljar_runtime::spec::{DEFAULT_CAPABILITIES, DEFAULT_MASKED_PATHS, DEFAULT_PATH, DEFAULT_READONLY_PATHS};
use serde_json::{Value, json};

use super::{Call, Command, DONE, Error};
use crate::document::{CONFIG, SPEC_VERSION};
use crate::flags::{Flag, Line, Order, switch, valued};

const FLAGS: &[Flag] = &[
    valued("bundle", "b", "DIR", "the bundle (default: the current directory)"),
    switch("rootless", "", "with a user namespace in which the caller is root"),
];

pub(super) const COMMAND: Command =
    Command { name: "spec", words: "", about: "write a config.json to begin with", flags: FLAGS, order: Order::Anywhere, run };

/// Who is meant to run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Root,
    Rootless,
}

fn run(_: &Call, line: &Line) -> Result<u8, Error> {
    let bundle = line.value("bundle").filter(|bundle| !bundle.is_empty()).unwrap_or(".");
    let wanted = if line.has("rootless") { For::Rootless } else { For::Root };
    write(Path::new(bundle), &document(wanted))?;
    Ok(DONE)
}

fn write(bundle: &Path, document: &Value) -> Result<(), Error> {
    let path: PathBuf = bundle.join(CONFIG);
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    let opened = std::fs::File::options().write(true).create_new(true).open(&path);
    match opened.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::Refused(format!("File {} exists. Remove it first", path.display())))
        }
        Err(source) => Err(Error::File { operation: "write", path, source }),
    }
}

/// As strict as a container of Belljar's own.
fn document(wanted: For) -> Value {
    let capabilities: Vec<String> = DEFAULT_CAPABILITIES.iter().map(|name| format!("CAP_{name}")).collect();
    let mut kinds = vec!["pid", "network", "ipc", "uts", "mount", "cgroup"];
    if wanted == For::Rootless {
        kinds.retain(|kind| *kind != "network");
        kinds.push("user");
    }
    let namespaces: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
    let mut linux = json!({
        "namespaces": namespaces,
        "maskedPaths": DEFAULT_MASKED_PATHS,
        "readonlyPaths": DEFAULT_READONLY_PATHS,
    });
    match wanted {
        For::Root => linux["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]}),
        For::Rootless => {
            let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
            linux["uidMappings"] = map(rustix::process::getuid().as_raw());
            linux["gidMappings"] = map(rustix::process::getgid().as_raw());
        }
    }
    json!({
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [format!("PATH={DEFAULT_PATH}"), "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "belljar",
        "mounts": mounts(wanted),
        "linux": linux,
    })
}

fn mounts(wanted: For) -> Vec<Value> {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    let quiet = ["nosuid", "noexec", "nodev"];
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    // The group of terminals is not among one mapped id.
    if wanted == For::Root {
        pts.push("gid=5");
    }
    let sys = match wanted {
        For::Root => mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        // A network namespace that is the host's keeps a new sysfs from being mounted.
        For::Rootless => mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]),
    };
    let mut list = vec![
        mount("/proc", "proc", "proc", &quiet),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &quiet),
        sys,
    ];
    if wanted == For::Root {
        list.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, parse};

    #[test]
    fn what_is_written_can_be_read() {
        for wanted in [For::Root, For::Rootless] {
            let text = document(wanted).to_string();
            let document: Document = parse(text.as_bytes()).expect("it is a document");
            assert_eq!(document.linux().namespaces.len(), 6);
        }
    }

    #[test]
    fn a_document_that_is_there_is_never_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &json!({})).expect("there is none yet");
        let refused = write(folder.path(), &json!({})).unwrap_err().to_string();
        assert!(refused.ends_with("exists. Remove it first"), "{refused}");
    }
}
