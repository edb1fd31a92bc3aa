//! podman and Docker, each in a place of its own with the host's network, so that they reach the registry on loopback.

use std::error::Error;
use std::fs::File;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use belljar_testbed::place::{Network, Place, succeeded};
use belljar_testbed::wait::{DEADLINE, try_wait};

use crate::command::find;

/// Time that the daemon may take to end when it is told to.
const END_LIMIT: Duration = Duration::from_secs(10);

/// podman, which needs no daemon.
pub(super) struct Podman {
    place: Place,
    pulls: u32,
}

impl Podman {
    /// podman where it is installed; says so where not.
    pub(super) fn find() -> Option<Self> {
        if find("podman").is_none() {
            println!("not compared: podman is not installed");
            return None;
        }
        Some(Self { place: Place::make(Network::Hosts), pulls: 0 })
    }

    /// One pull into an empty storage, which stays.
    pub(super) fn pull(&mut self, image: &str) -> Result<Duration, Box<dyn Error>> {
        self.pulls += 1;
        let root = self.place.text(&format!("root-{}", self.pulls));
        let storage = format!("[storage]\ndriver = \"overlay\"\nrunroot = \"/run/podman\"\ngraphroot = \"{root}\"\n");
        self.place.file("storage.conf", &storage);
        let mut podman = self.place.command("podman");
        podman.env("CONTAINERS_STORAGE_CONF", self.place.path("storage.conf"));
        podman.args(["--cgroup-manager=cgroupfs", "--events-backend=file", "pull", "--quiet", "--tls-verify=false", image]);
        timed(&mut podman)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // A place waits only so long for its own end, and this may be gigabytes.
        for pull in 1..=self.pulls {
            let _swept_by_the_place = std::fs::remove_dir_all(self.place.path(&format!("root-{pull}")));
        }
    }
}

/// Docker's daemon, with nothing in it.
pub(super) struct Docker {
    place: Place,
    daemon: Option<Child>,
}

impl Docker {
    /// Whether it is installed; says so where not.
    pub(super) fn is_here() -> bool {
        let is_here = find("dockerd").is_some() && find("docker").is_some();
        if !is_here {
            println!("not compared: Docker is not installed");
        }
        is_here
    }

    /// Starts it.
    pub(super) fn start() -> Result<Self, Box<dyn Error>> {
        let place = Place::make(Network::Hosts);
        let log = File::create(place.path("log"))?;
        let mut daemon = place.command("dockerd");
        daemon.args(["--config-file", &place.file("daemon.json", "{}"), "--data-root", &place.text("root")]);
        daemon.args(["--exec-root", "/run/docker", "--pidfile", "/run/docker.pid", "--host", "unix:///run/docker.sock"]);
        daemon.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", place.name()]);
        // Nothing of the host's network is its own.
        daemon.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]);
        let daemon = daemon.stdout(log.try_clone()?).stderr(log).spawn()?;
        let docker = Self { place, daemon: Some(daemon) };
        let answers = || docker.command(&["version"]).output().ok()?.status.success().then_some(());
        if try_wait(DEADLINE, answers).is_none() {
            let log = std::fs::read_to_string(docker.place.path("log")).unwrap_or_default();
            return Err(format!("dockerd does not answer: {}", log.lines().last().unwrap_or_default()).into());
        }
        Ok(docker)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command("docker");
        command.args(["--host", "unix:///run/docker.sock"]).args(arguments);
        command
    }

    /// One pull.
    pub(super) fn pull(&mut self, image: &str) -> Result<Duration, Box<dyn Error>> {
        timed(&mut self.command(&["pull", "--quiet", image]))
    }

    /// Ends it; what it has stays until this is dropped.
    pub(super) fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let _ended = self.place.command("sh").args(["-c", "kill $(cat /run/docker.pid)"]).status();
        if try_wait(END_LIMIT, || daemon.try_wait().ok().flatten()).is_none() {
            let _swept_by_the_place = daemon.kill();
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn timed(command: &mut Command) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let output = command.output()?;
    let took = begun.elapsed();
    succeeded("pull", &output);
    Ok(took)
}
