//! One `belljar serve`, from start to the removal of everything it made.
//!
//! ```text
//! Server::start ── kill_hard ──┐             every folder lies in one temporary folder on the real disk
//!       ▲                      ▼
//!       └──────────────── start_again        drop: delete the containers, end the server, sweep what still stands
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, Response};
use crate::traces::{Traces, cgroup_processes, remove_cgroups};
use crate::wait::{try_wait, wait_until};
use crate::{process, traces};

/// Time that a server may take to end by itself when it is told to.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Distinguishes the servers of one test process.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running server with folders, an instance name and a port of its own.
pub struct Server {
    executable: PathBuf,
    folder: TempDir,
    instance: String,
    listen: String,
    child: Option<Child>,
    starts: u32,
}

impl Server {
    /// Starts `executable serve` and returns when it answers on its socket.
    pub fn start(executable: impl AsRef<Path>) -> Self {
        let executable = fs::canonicalize(executable.as_ref()).expect("the executable under test exists");
        let instance = format!("test-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::Builder::new().prefix("belljar-").tempdir_in(real_disk()).expect("a temporary folder can be made");
        let mut server = Self { executable, folder, instance, listen: "127.0.0.1:0".to_owned(), child: None, starts: 0 };
        server.start_again();
        server
    }

    /// Starts the server again, on the same folders, after it ended.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the server still runs");
        self.starts += 1;
        let output = File::create(self.output_path()).expect("the server's output can be written");
        let mut command = self.serve_command(&self.listen);
        command.stdout(output.try_clone().expect("a descriptor can be duplicated")).stderr(output);
        self.child = Some(command.spawn().expect("the server can be executed"));
        wait_until("the server answers on its socket", || {
            self.assert_runs();
            self.api().try_send("GET", "/api/v1/containers", Vec::new()).ok().filter(|response| response.status == 200)
        });
    }

    /// The command line of this server, to be started by the caller: for tests of a start that fails.
    pub fn serve_command(&self, listen: &str) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(["serve", "--instance", &self.instance, "--listen", listen]);
        command.arg("--data-dir").arg(self.data_dir()).arg("--run-dir").arg(self.run_dir()).stdin(Stdio::null());
        command
    }

    fn assert_runs(&mut self) {
        let output = self.output();
        let child = self.child.as_mut().expect("the server was started");
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            panic!("the server ended with {status}:\n{output}");
        }
    }

    fn output_path(&self) -> PathBuf {
        self.folder.path().join(format!("output.{}", self.starts))
    }

    /// What the server printed since its last start.
    pub fn output(&self) -> String {
        fs::read_to_string(self.output_path()).unwrap_or_default()
    }

    /// Process id of the server.
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().expect("the server runs");
        i32::try_from(child.id()).expect("a pid fits i32")
    }

    /// The executable under test.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// Its instance name, which is also the name of its cgroup.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Folder of its data.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Folder of its socket.
    pub fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir().join("belljar.sock")
    }

    /// A folder beside the server's own, made where missing, which anybody may enter: for bind mounts and layers.
    pub fn scratch(&self, name: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join("scratch").join(name);
        fs::create_dir_all(&path).expect("a folder can be made");
        for open in [self.folder.path(), path.parent().expect("it has a parent"), &path] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755)).expect("a folder's mode can be changed");
        }
        path
    }

    /// A client of the socket, where root needs no login.
    pub fn api(&self) -> Client {
        Client::on_socket(&self.socket())
    }

    /// A client of the TCP port, without a login.
    pub fn tcp(&self) -> Client {
        Client::on_tcp(&self.address())
    }

    /// The address that the server printed, such as `127.0.0.1:34567`.
    pub fn address(&self) -> String {
        wait_until("the server prints its address", || {
            let output = self.output();
            let rest = output.split("http://").nth(1)?;
            let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || ".:[]-".contains(letter)))?;
            Some(rest[..end].to_owned())
        })
    }

    /// Path and query of the one-time link that sets the first password, where one was printed.
    pub fn setup_path(&self) -> Option<String> {
        let output = self.output();
        let start = output.find("/setup?")?;
        Some(output[start..].split_whitespace().next()?.trim_end_matches(['.', ',']).to_owned())
    }

    /// Creates a container by the API; panics unless it was created.
    pub fn create(&self, body: &Value) -> Value {
        self.api().post_json("/api/v1/containers", body).expect(201).json()
    }

    /// Creates and starts a container from the image `host` with this name and shell script.
    pub fn run_script(&self, name: &str, script: &str) -> Value {
        self.create(&json!({"image": "host", "name": name, "command": ["sh", "-c", script]}))
    }

    /// The container as the API tells it now.
    pub fn container(&self, key: &str) -> Value {
        self.api().get(&format!("/api/v1/containers/{key}")).expect(200).json()
    }

    /// An action (`stop`, `start?…`) on a container; panics unless it was done.
    pub fn act(&self, key: &str, action: &str) -> Response {
        self.api().post(&format!("/api/v1/containers/{key}/{action}"), Vec::new()).expect(204)
    }

    /// Waits until the container is in `state`, and returns it.
    pub fn wait_for_state(&self, key: &str, state: &str) -> Value {
        wait_until(&format!("{key} is {state}"), || Some(self.container(key)).filter(|container| container["state"] == state))
    }

    /// Everything the container wrote so far, stdout and stderr in order, a line each.
    pub fn logs(&self, key: &str) -> String {
        let lines = rows(&self.api().get(&format!("/api/v1/containers/{key}/logs")).expect(200).json());
        let text = |line: &Value| {
            let end = if line["partial"] == true { "" } else { "\n" };
            line["text"].as_str().unwrap_or_default().to_owned() + end
        };
        lines.iter().map(text).collect()
    }

    /// Waits until the container's log contains `text`, and returns the log.
    pub fn wait_for_log(&self, key: &str, text: &str) -> String {
        wait_until(&format!("{key} writes {text:?}"), || Some(self.logs(key)).filter(|log| log.contains(text)))
    }

    /// The kinds of a container's events, oldest first.
    pub fn event_kinds(&self, key: &str) -> Vec<String> {
        let answer = self.api().get(&format!("/api/v1/containers/{key}/events")).expect(200).json();
        let mut events: Vec<Value> = rows(&answer);
        events.sort_by_key(|event| event["id"].as_i64());
        events.iter().filter_map(|event| Some(event["kind"].as_str()?.to_owned())).collect()
    }

    /// SIGKILL to the server, as a crash would; containers and their monitors are not touched.
    pub fn kill_hard(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    /// SIGTERM to the server; returns its exit status when it has ended.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        process::terminate(self.pid());
        let mut child = self.child.take().expect("the server runs");
        let ended = try_wait(END_LIMIT, || child.try_wait().expect("a child can be waited for"));
        ended.unwrap_or_else(|| {
            let _already_gone = child.kill();
            panic!("the server did not end within {} s of SIGTERM", END_LIMIT.as_secs())
        })
    }

    /// What stands on the host because of this server.
    pub fn traces(&self) -> Traces {
        traces::look(self)
    }

    /// Waits until what stands is again exactly `before`; panics with the difference.
    #[track_caller]
    pub fn assert_nothing_left(&self, before: &Traces) {
        let same = try_wait(END_LIMIT, || (self.traces() == *before).then_some(()));
        if same.is_none() {
            panic!("left behind or missing:\n{}", self.traces().difference(before));
        }
    }

    fn delete_containers(&self) {
        let Ok(answer) = self.api().try_send("GET", "/api/v1/containers", Vec::new()) else { return };
        let containers = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        for container in rows(&containers) {
            let id = container["id"].as_str().unwrap_or_default();
            let _swept_below = self.api().try_send("DELETE", &format!("/api/v1/containers/{id}?force=true"), Vec::new());
        }
    }

    /// Ends what a failed test left: processes in this instance's cgroups, monitors of its folders, and the cgroups.
    fn sweep(&self) {
        let ours = || cgroup_processes(&self.instance).into_iter().chain(traces::monitors(&self.folder.path().to_string_lossy()));
        let gone = try_wait(END_LIMIT, || {
            ours().for_each(process::kill_hard);
            ours().next().is_none().then_some(())
        });
        if gone.is_none() {
            eprintln!("processes of instance {} could not be ended: {:?}", self.instance, ours().collect::<Vec<_>>());
        }
        remove_cgroups(&self.instance);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the server printed ---\n{}", self.output());
        }
        if let Some(mut child) = self.child.take() {
            self.delete_containers();
            process::terminate(i32::try_from(child.id()).unwrap_or(i32::MAX));
            if try_wait(END_LIMIT, || child.try_wait().ok().flatten()).is_none() {
                let _already_gone = child.kill();
                let _reaped = child.wait();
            }
        }
        self.sweep();
    }
}

/// The rows of a list answer, whether it is a bare array or an object with one array.
pub fn rows(answer: &Value) -> Vec<Value> {
    let array = answer.as_array().or_else(|| answer.as_object()?.values().find_map(Value::as_array));
    array.cloned().unwrap_or_default()
}

/// A folder on a disk that can carry an overlay's upper layer and its power-cut promises: `/var/tmp`, which is never a
/// tmpfs by the file system hierarchy's rule, unless `BELLJAR_TEST_DIR` says otherwise.
pub(crate) fn real_disk() -> PathBuf {
    std::env::var_os("BELLJAR_TEST_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}
