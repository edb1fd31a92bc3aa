//! Other runtimes, started by their own command line from the same root file system.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use belljar_testbed::DEADLINE;
use serde_json::{Value, json};

use super::rootfs;
use crate::command::{find, output, run};

/// An installed runtime, and a bundle for it.
pub(crate) struct Peer {
    name: &'static str,
    bundle: PathBuf,
}

impl Peer {
    /// The runtime where it is installed and can describe a container, with a bundle in `folder`; says so where not.
    pub(crate) fn find(name: &'static str, folder: &Path, ready: &Path) -> Option<Self> {
        if find(name).is_none() {
            println!("not compared: {name} is not installed");
            return None;
        }
        match bundle(name, folder, ready) {
            Ok(bundle) => Some(Self { name, bundle }),
            Err(error) => {
                println!("not compared: {name}: {error}");
                None
            }
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    fn id(number: u32) -> String {
        format!("belljar-bench-{}-{number}", std::process::id())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.name);
        command.args(arguments).current_dir(&self.bundle).stdin(Stdio::null());
        command
    }

    /// From the call of `run` until the program says that it runs; then the container is removed.
    pub(crate) fn start(&self, number: u32, begun: &Receiver<Instant>) -> Result<Duration, Box<dyn Error>> {
        let id = Self::id(number);
        let log = File::create(self.bundle.join("output"))?;
        let asked = Instant::now();
        let mut child = self.command(&["run", &id]).stdout(log.try_clone()?).stderr(log).spawn()?;
        let ran = begun.recv_timeout(DEADLINE);
        run(&mut self.command(&["delete", "--force", &id]))?;
        child.wait()?;
        let said = || fs::read_to_string(self.bundle.join("output")).unwrap_or_default();
        Ok(ran.map_err(|_| format!("{} run did not start the program: {}", self.name, said()))? - asked)
    }
}

/// The runtime's own default description of a container, with our program, root file system and pipe.
fn bundle(name: &str, folder: &Path, ready: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let bundle = folder.join(name);
    fs::create_dir_all(&bundle)?;
    output(Command::new(name).arg("spec").current_dir(&bundle))?;
    let path = bundle.join("config.json");
    let mut spec: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    spec["process"]["args"] = json!(rootfs::COMMAND);
    spec["process"]["terminal"] = json!(false);
    spec["root"] = json!({"path": folder.join("rootfs"), "readonly": false});
    let mount = json!({"destination": "/ready", "type": "bind", "source": ready, "options": ["bind"]});
    spec["mounts"].as_array_mut().ok_or("its description has no mounts")?.push(mount);
    fs::write(&path, spec.to_string())?;
    Ok(bundle)
}
