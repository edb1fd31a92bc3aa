//! Other runtimes, started by their own command line from the same root file system.
//!
//! Each is started by a shell that waits for the next line ([`super::shell`]), so that the measured time is that of the
//! runtime.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use belljar_testbed::DEADLINE;
use serde_json::{Value, json};

use super::rootfs;
use super::shell::{Shell, UNIFIED};
use crate::command::{find, output};

/// How long a first start may take before another way is tried.
const TRIAL_LIMIT: Duration = Duration::from_secs(3);

/// An installed runtime, a bundle for it, and the shell that starts it.
pub(crate) struct Peer {
    name: &'static str,
    bundle: PathBuf,
    shell: Shell,
}

impl Peer {
    /// The runtime where it is installed and starts our program, with a bundle in `folder`; says so where not.
    pub(crate) fn find(name: &'static str, folder: &Path, ready: &Path, begun: &Receiver<Instant>) -> Option<Self> {
        if find(name).is_none() {
            println!("not compared: {name} is not installed");
            return None;
        }
        for preparation in [":", &format!("umount {UNIFIED}")] {
            let prepared = Self::prepare(name, folder, ready, preparation);
            match prepared.and_then(|mut peer| peer.run("trial", begun, TRIAL_LIMIT).map(|_| peer)) {
                Ok(peer) => return Some(peer),
                Err(error) => println!("{name} (after {preparation:?}): {error}"),
            }
        }
        None
    }

    fn prepare(name: &'static str, folder: &Path, ready: &Path, preparation: &str) -> Result<Self, Box<dyn Error>> {
        let bundle = bundle(name, folder, ready)?;
        let shell = Shell::start(&bundle, preparation)?;
        Ok(Self { name, bundle, shell })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// From the call of `run` until the program says that it runs; then the container is removed.
    pub(crate) fn start(&mut self, number: u32, begun: &Receiver<Instant>) -> Result<Duration, Box<dyn Error>> {
        self.run(&number.to_string(), begun, DEADLINE)
    }

    fn run(&mut self, number: &str, begun: &Receiver<Instant>, limit: Duration) -> Result<Duration, Box<dyn Error>> {
        let (name, id) = (self.name, format!("belljar-bench-{}-{number}", std::process::id()));
        let asked = Instant::now();
        self.shell.say(&format!("{name} run {id} < /dev/null > output 2>&1 &"))?;
        let ran = begun.recv_timeout(limit);
        self.shell.say(&format!("{name} delete --force {id} > /dev/null 2>&1; wait; echo removed"))?;
        self.shell.hear("removed")?;
        let said = || fs::read_to_string(self.bundle.join("output")).unwrap_or_default();
        Ok(ran.map_err(|_| format!("it did not start the program: {}", said().trim()))? - asked)
    }
}

/// The runtime's own default description of a container, with our program, root file system and pipe.
fn bundle(name: &str, folder: &Path, ready: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let bundle = folder.join(name);
    let path = bundle.join("config.json");
    fs::create_dir_all(&bundle)?;
    if !path.exists() {
        output(Command::new(name).arg("spec").current_dir(&bundle))?;
    }
    let mut spec: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    spec["process"]["args"] = json!(rootfs::COMMAND);
    spec["process"]["terminal"] = json!(false);
    spec["root"] = json!({"path": folder.join("rootfs"), "readonly": false});
    let mounts = spec["mounts"].as_array_mut().ok_or("its description has no mounts")?;
    mounts.retain(|mount| mount["destination"] != "/ready");
    mounts.push(json!({"destination": "/ready", "type": "bind", "source": ready, "options": ["bind"]}));
    fs::write(&path, spec.to_string())?;
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use super::super::starts::listen;
    use super::*;
    use crate::command::is_root;

    #[test]
    fn a_runtime_that_is_installed_starts_our_program() {
        if !is_root() || find("crun").is_none() {
            return belljar_testbed::skip("root and crun");
        }
        let folder = tempfile::tempdir_in("/var/tmp").expect("a folder can be made");
        rootfs::make(folder.path()).expect("a root file system can be made");
        let ready = folder.path().join("ready");
        fs::create_dir(&ready).expect("a folder can be made");
        let begun = listen(&ready.join("pipe")).expect("a pipe can be made");
        let mut peer = Peer::find("crun", folder.path(), &ready, &begun).expect("it starts our program");
        assert!(peer.start(1, &begun).expect("it starts again") < DEADLINE);
    }
}
