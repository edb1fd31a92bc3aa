//! podman and Docker, which share a command line, each with folders and a socket of its own in a [`Place`]. What they
//! start containers with is the runtime under test.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use belljar_testbed::wait_until;
use serde_json::Value;

use crate::{image, needs, runtime};
use belljar_testbed::place::{Network, Place, succeeded};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// podman, without a daemon: each command starts what it needs.
    Podman,
    /// Docker: a daemon, a containerd of its own, and a client.
    Docker,
}

/// An engine with the image loaded.
pub(crate) struct Engine {
    /// Which.
    pub(crate) kind: Kind,
    /// Where.
    pub(crate) place: Place,
    settings: Vec<String>,
    daemon: Option<Child>,
}

impl Engine {
    /// Starts it, or says what is missing.
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        Self::prepare(kind, &[], |_| ())
    }

    /// Starts it with more settings of the daemon (podman has none), in a place that was prepared.
    pub(crate) fn prepare(kind: Kind, settings: &[&str], prepare: impl FnOnce(&Place)) -> Option<Self> {
        let programs: &[&str] = match kind {
            Kind::Podman => &["podman", "conmon"],
            Kind::Docker => &["dockerd", "docker", "containerd"],
        };
        needs(programs)?;
        let place = Place::make(Network::Own);
        prepare(&place);
        let settings = settings.iter().map(ToString::to_string).collect();
        let mut engine = Self { kind, place, settings, daemon: None };
        let archive = image::archive(&engine.place.folder("image"));
        match kind {
            Kind::Podman => {
                let settings = "[containers]\ndefault_ulimits = []\n[engine]\nno_pivot_root = false\n";
                engine.place.file("containers.conf", settings);
                let folders =
                    format!("[storage]\ndriver = \"overlay\"\nrunroot = \"/run/podman\"\ngraphroot = \"{}\"\n", engine.place.text("root"));
                engine.place.file("storage.conf", &folders);
            }
            Kind::Docker => engine.start_daemon(),
        }
        engine.call(&["load", "--input", &archive]);
        Some(engine)
    }

    /// Starts Docker's daemon, again where it ran before, and waits until it answers.
    pub(crate) fn start_daemon(&mut self) {
        let log = File::options().create(true).append(true).open(self.place.path("log")).expect("a log can be written");
        let mut daemon = self.place.command("dockerd");
        daemon.args(["--config-file", &self.place.file("daemon.json", "{}"), "--data-root", &self.place.text("root")]);
        daemon.args(["--exec-root", "/run/docker", "--pidfile", "/run/docker.pid", "--host", "unix:///run/docker.sock"]);
        daemon.args(["--add-runtime", &format!("tested={}", runtime(&self.place)), "--default-runtime", "tested"]);
        daemon.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", self.place.name()]);
        daemon.args(["--default-ulimit", "nofile=20000:20000", "--live-restore", "--userland-proxy=false"]);
        daemon.args(&self.settings).stdout(log.try_clone().expect("a descriptor can be duplicated")).stderr(log);
        self.daemon = Some(daemon.spawn().expect("dockerd runs"));
        wait_until("dockerd answers", || {
            let daemon = self.daemon.as_mut()?;
            if let Some(status) = daemon.try_wait().expect("a child can be waited for") {
                panic!("dockerd ended with {status}:\n{}", self.log());
            }
            self.command(&["version"]).output().ok()?.status.success().then_some(())
        });
    }

    /// SIGTERM to Docker's daemon, and waits until it has ended; containers stay.
    pub(crate) fn end_daemon(&mut self) {
        self.place.shell("kill $(cat /run/docker.pid)");
        let mut daemon = self.daemon.take().expect("the daemon runs");
        wait_until("dockerd has ended", || daemon.try_wait().expect("a child can be waited for"));
    }

    /// What the daemon complained of.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.place.path("log")).unwrap_or_default();
        log.lines().filter(|line| !line.contains("level=info")).collect::<Vec<_>>().join("\n")
    }

    /// A command of the engine's client.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.client();
        words.extend(arguments.iter().map(ToString::to_string));
        let mut command = self.place.command(&words[0]);
        command.args(&words[1..]);
        if self.kind == Kind::Podman {
            command.env("CONTAINERS_CONF", self.place.path("containers.conf"));
            command.env("CONTAINERS_STORAGE_CONF", self.place.path("storage.conf"));
            // Without systemd's timers a health check runs when it is told to.
            command.env("DISABLE_HC_SYSTEMD", "true");
        }
        command
    }

    /// The client's words before those of a command.
    fn client(&self) -> Vec<String> {
        let place = &self.place;
        match self.kind {
            Kind::Podman => [
                "podman",
                "--root",
                &place.text("root"),
                "--runroot",
                "/run/podman",
                "--tmpdir",
                "/run/podman-tmp",
                "--cgroup-manager=cgroupfs",
                "--events-backend=file",
                "--runtime",
                &runtime(place),
                "--network-config-dir",
                &place.text("networks"),
            ]
            .map(str::to_owned)
            .to_vec(),
            Kind::Docker => ["docker", "--host", "unix:///run/docker.sock"].map(str::to_owned).to_vec(),
        }
    }

    /// A command line for a shell in the place.
    pub(crate) fn line(&self, arguments: &[&str]) -> String {
        let words = self.client().into_iter().chain(arguments.iter().map(ToString::to_string));
        words.map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ")
    }

    /// Runs a client command, whatever comes of it.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the client runs")
    }

    /// Runs a client command; panics with what it said, and with the daemon's log, unless it succeeds.
    #[track_caller]
    pub(crate) fn call(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        if !output.status.success() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
        succeeded(&arguments.join(" "), &output)
    }

    /// A client command in a terminal of `rows` by `columns`, with `input` typed into it; what the terminal showed.
    #[track_caller]
    pub(crate) fn in_terminal(&self, (rows, columns): (u16, u16), arguments: &[&str]) -> String {
        let script = format!("stty rows {rows} cols {columns}; exec {}", self.line(arguments));
        let mut command = self.place.command("script");
        command.args(["--quiet", "--return", "--command", &script, "/dev/null"]).stdin(Stdio::null());
        for (name, value) in self.command(&[]).get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        succeeded(&script, &command.output().expect("script runs")).replace('\r', "")
    }

    /// Words of `run` with this engine's own ones: a cgroup of the place, and no network unless one is named.
    pub(crate) fn words<'a>(&'a self, verb: &'a str, flags: &[&'a str], program: &[&'a str]) -> Vec<String> {
        let mut words: Vec<String> = vec![verb.to_owned(), "--pull=never".to_owned()];
        if self.kind == Kind::Podman {
            words.push(format!("--cgroup-parent=/{}", self.place.name()));
        }
        if !flags.iter().any(|flag| flag.starts_with("--network")) {
            words.push("--network=none".to_owned());
        }
        words.extend(flags.iter().map(ToString::to_string));
        words.push(image::NAME.to_owned());
        words.extend(program.iter().map(ToString::to_string));
        words
    }

    /// `run` in the foreground, whatever comes of it.
    pub(crate) fn run_output(&self, flags: &[&str], program: &[&str]) -> Output {
        let words = self.words("run", flags, program);
        self.command(&words.iter().map(String::as_str).collect::<Vec<_>>()).output().expect("the client runs")
    }

    /// `run --rm` in the foreground; what the program wrote.
    #[track_caller]
    pub(crate) fn run(&self, flags: &[&str], program: &[&str]) -> String {
        let words = self.words("run", &[&["--rm"], flags].concat(), program);
        self.call(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// `run --rm` of a shell script.
    #[track_caller]
    pub(crate) fn script(&self, flags: &[&str], script: &str) -> String {
        self.run(flags, &["sh", "-c", script])
    }

    /// `run --detach` of a shell script under a name.
    #[track_caller]
    pub(crate) fn start_script(&self, name: &str, flags: &[&str], script: &str) -> String {
        let words = self.words("run", &[&["--detach", "--name", name], flags].concat(), &["sh", "-c", script]);
        self.call(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What `inspect` says of a container.
    #[track_caller]
    pub(crate) fn inspect(&self, name: &str) -> Value {
        let text = self.call(&["inspect", "--type=container", name]);
        let all: Value = serde_json::from_str(&text).expect("inspect writes JSON");
        all[0].clone()
    }

    /// Process id of a container's first process, in the place.
    #[track_caller]
    pub(crate) fn pid(&self, name: &str) -> String {
        self.inspect(name)["State"]["Pid"].to_string()
    }

    /// Waits until a container's state is `status`.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, status: &str) -> Value {
        wait_until(&format!("{name} is {status}"), || Some(self.inspect(name)).filter(|found| found["State"]["Status"] == status))
    }

    /// Waits until the log of a container contains `text`, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, name: &str, text: &str) -> String {
        wait_until(&format!("{name} writes {text:?}"), || Some(self.call(&["logs", name])).filter(|log| log.contains(text)))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() && self.kind == Kind::Docker {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
        let client = self.command(&["ps", "--all", "--quiet"]).output();
        let listed = client.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let names: Vec<&str> = listed.split_whitespace().collect();
        if !names.is_empty() {
            let _swept_by_the_place = self.command(&[&["rm", "--force"], &names[..]].concat()).output();
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _gone = self.place.command("sh").args(["-c", "kill $(cat /run/docker.pid)"]).status();
            let limit = std::time::Duration::from_secs(10);
            if belljar_testbed::wait::try_wait(limit, || daemon.try_wait().ok().flatten()).is_none() {
                let _swept_by_the_place: Result<(), std::io::Error> = daemon.kill();
            }
        }
    }
}

/// The first of the paths at which a program of an engine is found.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().map(|folder| PathBuf::from(folder).join(program)).find(|path| path.exists())
}
