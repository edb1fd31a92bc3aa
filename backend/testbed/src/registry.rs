//! A real registry on loopback: Debian's `docker-registry` with a folder, a log and a port of its own, ended by its pid.
//! It must never know who asks it: its log of requests says what they asked for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::server::real_disk;
use crate::wait::wait_until;
use crate::{process, skip};

/// The executable that the package installs.
const EXECUTABLE: &str = "/usr/bin/docker-registry";

/// Who may come in where a registry asks: a name, a password, and the line of a file of passwords (bcrypt) that says so.
pub const ACCOUNT: (&str, &str) = ("keeper", "glass bell");
const ACCOUNT_LINE: &str = "keeper:$2y$05$wZDnc12PmygpUoxt0W/z/.fXB7GHcrplK2rqwBhMA6OY2D.eTKqJK\n";

/// Whether everybody may read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody is asked.
    Open,
    /// Only [`ACCOUNT`], by basic authentication.
    Account,
}

/// A running registry.
pub struct Registry {
    folder: TempDir,
    child: Option<Child>,
    /// `127.0.0.1:<port>`; the port stays over a [`Registry::start_again`].
    address: String,
    access: Access,
}

impl Registry {
    /// Starts an empty one, or says that it is not installed.
    pub fn start(access: Access) -> Option<Self> {
        if !Path::new(EXECUTABLE).exists() {
            skip("docker-registry");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("belljar-registry-").tempdir_in(real_disk()).expect("a temporary folder can be made");
        let mut registry = Self { folder, child: None, address: "127.0.0.1:0".to_owned(), access };
        registry.start_again();
        Some(registry)
    }

    /// Starts one that holds what another registry's folder holds. Blobs are the same files; they are never written to.
    pub fn start_with(storage: &Path, access: Access) -> Option<Self> {
        let registry = Self::start(access)?;
        copy(storage, &registry.storage());
        Some(registry)
    }

    /// Starts it again, at the same port and with what it holds, after [`Registry::kill`].
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the registry still runs");
        let config = self.folder.path().join("config.yml");
        fs::write(&config, self.config()).expect("a file can be written");
        let begin = self.log().len();
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log can be written");
        let mut command = Command::new(EXECUTABLE);
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor can be duplicated"));
        let child = command.stderr(log).env_clear().spawn().expect("the registry can be executed");
        let child = self.child.insert(child);
        let log_path = self.folder.path().join("log");
        self.address = wait_until("the registry listens", || {
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                panic!("the registry ended with {status}:\n{log}");
            }
            let rest = log[begin..].split("listening on ").nth(1)?;
            Some(rest.split(['"', ' ', '\n']).next()?.to_owned()).filter(|address| rest.len() > address.len())
        });
    }

    fn config(&self) -> String {
        let folder = self.folder.path().display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {folder}/storage}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '{}'}}\n",
            self.address
        );
        if self.access == Access::Account {
            fs::write(self.folder.path().join("passwords"), ACCOUNT_LINE).expect("a file can be written");
            config += &format!("auth: {{htpasswd: {{realm: jars, path: {folder}/passwords}}}}\n");
        }
        config
    }

    /// Its address, such as `127.0.0.1:34567`: the beginning of the names of its images.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its folder of repositories and blobs.
    pub fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it printed, a line for each request.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The requests for `what` that it answered so far, such as `("GET", "/blobs/sha256:…")`, with their status.
    pub fn answers(&self, method: &str, what: &str) -> Vec<u16> {
        let begin = format!("\"{method} ");
        let status = |line: &str| {
            let (path, rest) = line.split_once(&begin)?.1.split_once(" HTTP/1.1\" ")?;
            path.contains(what).then(|| rest.split(' ').next()?.parse().ok())?
        };
        self.log().lines().filter_map(status).collect()
    }

    /// Ends it at once, with every connection.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the registry runs");
        process::kill_hard(i32::try_from(child.id()).expect("a pid fits i32"));
        child.wait().expect("a child can be waited for");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the last of what the registry printed ---\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// Copies a registry's folder. What it may write to again is copied; blobs, which it never does, get a second name.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a registry's folder can be listed").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else if entry.file_name() != "data" || fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target).expect("a registry's file can be copied");
        }
    }
}
