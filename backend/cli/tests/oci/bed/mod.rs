//! The bed of a test: one bundle, one container of it, a state folder of its own, and the certainty that nothing stays
//! behind, even where a test fails half-way.
//!
//! It must never know what a sentence asserts. Start reading at [`Bed`]; [`runtime`] says what is called, [`bundle`]
//! what is in it, [`traces`] what is looked for afterwards.

pub(crate) mod agent;
pub(crate) mod bundle;
pub(crate) mod console;
pub(crate) mod probe;
pub(crate) mod runtime;
pub(crate) mod said;
pub(crate) mod traces;

use std::cell::RefCell;
use std::fs;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use belljar_testbed::{skip, wait_until};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::differences::Difference;
pub(crate) use runtime::{Kind, Runtime};
pub(crate) use said::Said;

/// Numbers the beds of one process.
static BEDS: AtomicU32 = AtomicU32::new(0);

/// One bundle and its container.
pub(crate) struct Bed<'a> {
    runtime: &'a Runtime,
    id: String,
    folder: TempDir,
    config: RefCell<Value>,
}

/// Runs `sentence` with the runtime of that kind, or says what is missing.
pub(crate) fn with(kind: Kind, sentence: impl FnOnce(&Runtime)) {
    if !bundle::is_possible() {
        return skip("busybox-static");
    }
    if let Some(runtime) = Runtime::find(kind) {
        sentence(&runtime);
    }
}

impl<'a> Bed<'a> {
    /// A bundle with the usual description, not yet read by anybody.
    pub(crate) fn new(runtime: &'a Runtime) -> Self {
        // What is detached from a runtime that ended becomes a child of this process, which then sees how it ends.
        nix::sys::prctl::set_child_subreaper(true).expect("a process may become a subreaper");
        let id = format!("belljar-suite-{}-{}", std::process::id(), BEDS.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::Builder::new().prefix(&format!("{id}-")).tempdir_in("/var/tmp").expect("a folder can be made");
        // Ids of a user namespace have to pass through on their way to the root.
        open_to_all(folder.path());
        bundle::make_root(&folder.path().join("bundle/rootfs"));
        let config = RefCell::new(bundle::config(&format!("/{id}")));
        let bed = Self { runtime, id, folder, config };
        bed.write_config();
        bed
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn kind(&self) -> Kind {
        self.runtime.kind()
    }

    /// Whether this runtime differs here from the others; then says so and why.
    pub(crate) fn differs(&self, difference: Difference) -> bool {
        difference.holds_for(self.kind())
    }

    /// A path in the bed's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in the root file system, seen from outside.
    pub(crate) fn root(&self, name: &str) -> PathBuf {
        self.path("bundle/rootfs").join(name)
    }

    /// The folder in which the runtime keeps its containers.
    pub(crate) fn states(&self) -> PathBuf {
        self.path("states")
    }

    /// Changes the description, and writes it to the bundle.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Value)) -> &Self {
        change(&mut self.config.borrow_mut());
        self.write_config();
        self
    }

    pub(crate) fn config(&self) -> Value {
        self.config.borrow().clone()
    }

    fn write_config(&self) {
        fs::write(self.path("bundle/config.json"), self.config.borrow().to_string()).expect("config.json can be written");
    }

    /// What the container's first process is.
    pub(crate) fn arguments(&self, arguments: &[&str]) -> &Self {
        self.configure(|config| config["process"]["args"] = json!(arguments))
    }

    /// A shell as the first process, which does `script`.
    pub(crate) fn script(&self, script: &str) -> &Self {
        self.arguments(&["sh", "-c", script])
    }

    /// One more mount, after all others.
    pub(crate) fn mount(&self, mount: Value) -> &Self {
        self.configure(|config| config["mounts"].as_array_mut().expect("mounts are a list").push(mount))
    }

    /// Takes the namespaces of a kind out of the description.
    pub(crate) fn without_namespace(&self, kind: &str) -> &Self {
        self.configure(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces are a list");
            namespaces.retain(|namespace| namespace["type"] != kind);
        })
    }

    /// Puts one namespace into the description instead of those of its kind.
    pub(crate) fn namespace(&self, namespace: Value) -> &Self {
        self.without_namespace(namespace["type"].as_str().expect("a namespace has a type"));
        self.configure(|config| config["linux"]["namespaces"].as_array_mut().expect("namespaces are a list").push(namespace))
    }

    /// A user namespace of its own, whose ids 0 to 65535 are 200000 and up outside; the root belongs to them.
    pub(crate) fn user_namespace(&self) -> &Self {
        let map = json!([{"containerID": 0, "hostID": crate::userns::FIRST, "size": crate::userns::COUNT}]);
        own_by(&self.root(""), crate::userns::FIRST);
        self.configure(|config| {
            config["linux"]["namespaces"].as_array_mut().expect("namespaces are a list").push(json!({"type": "user"}));
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        })
    }

    /// The runtime with its global options.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.runtime.command();
        command.arg("--root").arg(self.states()).args(arguments).current_dir(self.path("bundle"));
        command
    }

    /// One command of the runtime, until it ends.
    pub(crate) fn call(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments))
    }

    /// The container from start to end in the foreground, with a shell that does `script`.
    pub(crate) fn run(&self, script: &str) -> Said {
        self.script(script);
        self.run_as_is()
    }

    /// The container from start to end in the foreground.
    pub(crate) fn run_as_is(&self) -> Said {
        self.call(&["run", &self.id])
    }

    /// Makes the container. What it and the runtime print goes to files of the bed.
    pub(crate) fn create(&self) -> &Self {
        self.try_create(&[]).ok();
        self
    }

    /// Makes the container with more options, and says how that ended.
    pub(crate) fn try_create(&self, options: &[&str]) -> Said {
        let arguments = [&["create"], options, &[self.id.as_str()]].concat();
        Said::in_files(self.command(&arguments), &self.path("output"), &self.path("errors"))
    }

    pub(crate) fn start(&self) -> &Self {
        self.call(&["start", &self.id]).ok();
        self
    }

    /// A container that runs `sleep`, and whose end is its own.
    pub(crate) fn sleeping(&self) -> &Self {
        self.arguments(&["sleep", "1000"]).create().start()
    }

    pub(crate) fn kill(&self, signal: &str) -> Said {
        self.call(&["kill", &self.id, signal])
    }

    pub(crate) fn delete(&self) -> Said {
        self.call(&["delete", &self.id])
    }

    /// A program in the running container, until it ends.
    pub(crate) fn exec(&self, script: &str) -> Said {
        self.exec_with(&[], script)
    }

    pub(crate) fn exec_with(&self, options: &[&str], script: &str) -> Said {
        self.call(&[&["exec"], options, &[self.id.as_str(), "sh", "-c", script]].concat())
    }

    /// The state document.
    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.call(&["state", &self.id]).ok()).expect("the state is JSON")
    }

    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().expect("the state has a status").to_owned()
    }

    /// The container's first process, as its state names it.
    pub(crate) fn pid(&self) -> i32 {
        let pid = self.state()["pid"].as_i64().expect("the state has a pid");
        i32::try_from(pid).expect("a pid fits i32")
    }

    /// Waits until the detached container's first process ends, and returns how.
    pub(crate) fn wait_end(&self, pid: i32) -> WaitStatus {
        wait_until("the container's first process ends", || {
            match waitpid(Pid::from_raw(pid), Some(nix::sys::wait::WaitPidFlag::WNOHANG)).expect("it is a child of this process") {
                WaitStatus::StillAlive => None,
                ended => Some(ended),
            }
        })
    }

    /// Kills the container for good and waits until its first process is gone.
    pub(crate) fn end(&self) {
        let pid = self.pid();
        self.kill("KILL").ok();
        self.wait_end(pid);
        wait_until("the container is stopped", || (self.status() == "stopped").then_some(()));
    }

    /// What a detached container has printed so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.path("output")).unwrap_or_default()
    }

    /// Waits until a detached container has printed `text`.
    pub(crate) fn wait_output(&self, text: &str) -> String {
        wait_until(&format!("the container prints {text:?}"), || Some(self.output()).filter(|output| output.contains(text)))
    }

    /// A file of the container's cgroup: version 1's controller and name, or version 2's name.
    pub(crate) fn limit(&self, version1: (&str, &str), version2: &str) -> String {
        let (controller, name) = version1;
        let hierarchies = Path::new("/sys/fs/cgroup");
        let path = match is_version_2() {
            true => hierarchies.join(&self.id).join(version2),
            false => hierarchies.join(controller).join(&self.id).join(name),
        };
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
    }

    /// Panics with whatever the container left: state, cgroups, processes, mounts.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let left = traces::of(self);
        assert!(left.is_empty(), "left behind by {:?}:\n{}", self.kind(), left.join("\n"));
    }
}

impl Drop for Bed<'_> {
    fn drop(&mut self) {
        for state in fs::read_dir(self.states()).into_iter().flatten().flatten() {
            let name = state.file_name().to_string_lossy().into_owned();
            let mut command = self.command(&["delete", "--force", &name]);
            let log = |name: &str| File::create(self.path(name)).map_or_else(|_| std::process::Stdio::null(), Into::into);
            let ended = command.stdin(std::process::Stdio::null()).stdout(log("deleted")).stderr(log("deleted")).spawn();
            let _reported_by_the_traces = ended.map(|child| said::wait_or_kill(child, said::LIMIT));
        }
        traces::remove(self);
    }
}

/// Whether this host has the version 2 of cgroups alone.
pub(crate) fn is_version_2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Lets everybody pass through a folder.
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
}

/// Gives a tree to the user and group `id`.
pub(crate) fn own_by(path: &Path, id: u32) {
    std::os::unix::fs::lchown(path, Some(id), Some(id)).expect("an owner can be set");
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("a folder can be listed").flatten() {
            own_by(&entry.path(), id);
        }
    }
}
