//! What `run` and `create` take, and how it becomes the request that the API knows.
//!
//! The meaning of every flag is that of `docker run`; where Belljar's own words differ (swap is counted *on top of* memory,
//! times are in milliseconds), the difference is bridged here. Whether a value makes sense on the host is the server's to say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use belljar_api::CreateRequest;
use belljar_model::container::Restart;
use belljar_model::{Invalid, Mount, PullPolicy};
use clap::{ArgAction, Args};

use super::environment::Environment;
use super::health::HealthArguments;
use super::isolation::IsolationArguments;
use super::limits::LimitArguments;
use super::mount;

/// What a container shall be.
#[derive(Debug, Clone, Args)]
pub(crate) struct CreateArguments {
    /// Name of the container; one is made up where not given
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// What is done where the image is not here: missing (pull it), always (ask its registry anyway), never
    #[arg(long, value_name = "POLICY", value_parser = pull, default_value = "missing")]
    pub(crate) pull: PullPolicy,
    /// What runs instead of the image's entrypoint, without its command; empty for nothing
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Set a variable; KEY alone passes your own on (may be repeated)
    #[arg(short, long = "env", value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub(crate) env: Vec<String>,
    /// Read variables from a file, one KEY=VALUE a line (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Hostname inside
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// User inside, as USER, USER:GROUP, or their numbers
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Working folder inside
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Share a folder or file of the host (may be repeated)
    #[arg(short, long = "volume", value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub(crate) volume: Vec<String>,
    /// Mount by fields: type=volume|bind|tmpfs|layer,source=…,target=…,readonly,volume-subpath=…,volume-nocopy,idmap=… (may be repeated)
    #[arg(long, value_name = "FIELDS")]
    pub(crate) mount: Vec<String>,
    /// An empty file system in memory (may be repeated)
    #[arg(long, value_name = "TARGET[:size=SIZE]")]
    pub(crate) tmpfs: Vec<String>,
    /// A folder of the host, or the layers of another image, as further read-only layers of the root; the first lies on top (may be
    /// repeated)
    #[arg(long, value_name = "FOLDER|image=NAME")]
    pub(crate) layer: Vec<String>,
    /// What happens when the program ends: no, on-failure, always, unless-stopped
    #[arg(long, value_name = "POLICY", value_parser = restart, default_value = "no")]
    pub(crate) restart: Restart,
    /// Run a minimal init as PID 1, which forwards signals and reaps
    #[arg(long)]
    pub(crate) init: bool,
    /// A free word for people and tools (may be repeated)
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// The signal that asks the program to end; SIGTERM where not given
    #[arg(long, value_name = "SIGNAL", value_parser = super::signal)]
    pub(crate) stop_signal: Option<belljar_model::Signal>,
    /// Seconds between that signal and the kill; 10 where not given
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_timeout: Option<u32>,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) isolation: IsolationArguments,
    #[command(flatten)]
    health: HealthArguments,
    #[command(flatten)]
    missing: Missing,
    /// Print help
    #[arg(long, action = ArgAction::HelpLong)]
    help: Option<bool>,
    /// `host`, an image's name in any form, or its id
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The program and its arguments; the image's own where not given
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// Docker's switch takes every protection away at once, of which most people need one less.
const NO_ONE_SWITCH: &str = "there is no one switch: loosen what is needed by itself, with --cap-add, --device, --userns host, \
    --security-opt seccomp=unconfined, --security-opt systempaths=unconfined";

/// What fingers that know Docker will type, and Belljar cannot do yet: refused with a sentence, not as a typing error.
#[derive(Debug, Clone, Default, Args)]
struct Missing {
    #[arg(short = 'i', long, hide = true)]
    interactive: bool,
    #[arg(short = 't', long, hide = true)]
    tty: bool,
    #[arg(short = 'p', long, hide = true)]
    publish: Vec<String>,
    #[arg(long, hide = true)]
    privileged: bool,
}

impl Missing {
    fn refuse(&self) -> Result<(), Invalid> {
        let (flag, problem) = match self {
            Missing { interactive: true, .. } => ("--interactive", "a container's standard input cannot be connected yet"),
            Missing { tty: true, .. } => ("--tty", "a container cannot have a terminal yet"),
            Missing { publish, .. } if !publish.is_empty() => ("--publish", "a container has no network but loopback yet"),
            Missing { privileged: true, .. } => return Err(Invalid::new("--privileged", NO_ONE_SWITCH)),
            _ => return Ok(()),
        };
        Err(Invalid::new(flag, format!("{problem}: leave it out")))
    }
}

fn pull(text: &str) -> Result<PullPolicy, String> {
    belljar_api::image::pull_policy(text).map_err(|invalid| invalid.problem)
}

pub(super) fn restart(text: &str) -> Result<Restart, String> {
    match text {
        "no" => Ok(Restart::No),
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        "unless-stopped" => Ok(Restart::UnlessStopped),
        _ if text.starts_with("on-failure:") => Err("a number of attempts cannot be given: write on-failure".to_owned()),
        _ => Err("must be no, on-failure, always or unless-stopped".to_owned()),
    }
}

/// What the command line is read against: the caller's variables and folder.
pub(crate) struct Surroundings {
    /// The caller's environment.
    pub(crate) variables: BTreeMap<String, String>,
    /// Where the caller stands.
    pub(crate) folder: PathBuf,
}

impl Surroundings {
    /// Those of this process. Variables that are not UTF-8 cannot be passed on, and are left out.
    pub(crate) fn of_this_process() -> Result<Self, Invalid> {
        let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| Some((key.into_string().ok()?, value.into_string().ok()?));
        let folder = std::env::current_dir().map_err(|source| Invalid::new("working folder", source.to_string()))?;
        Ok(Self { variables: std::env::vars_os().filter_map(text).collect(), folder })
    }
}

/// Whether the container is started at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It is: `run`.
    Now,
    /// It is not: `create`.
    Later,
}

impl CreateArguments {
    /// The request. Fields that are wrong on their own are refused here, by the name of their flag.
    pub(crate) fn request(self, surroundings: &Surroundings, start: Start) -> Result<CreateRequest, Invalid> {
        self.missing.refuse()?;
        let environment = Environment { files: &self.env_file, entries: &self.env, inherited: &surroundings.variables };
        let mut request = CreateRequest {
            env: environment.variables()?,
            limits: self.limits.limits()?,
            mounts: self.mounts(&surroundings.folder)?.iter().map(Into::into).collect(),
            labels: labels(&self.label),
            pull: self.pull,
            entrypoint: self.entrypoint.map(|program| vec![program]),
            name: self.name,
            user: self.user,
            workdir: self.workdir,
            hostname: self.hostname,
            restart: self.restart,
            init: self.init,
            stop_signal: self.stop_signal.map(String::from),
            stop_grace_ms: self.stop_timeout.map(|seconds| u64::from(seconds) * 1000),
            health: self.health.check()?,
            start: start == Start::Now,
            ..CreateRequest::new(self.image, self.command)
        };
        self.isolation.write(&mut request, &surroundings.folder)?;
        Ok(request)
    }

    fn mounts(&self, folder: &std::path::Path) -> Result<Vec<Mount>, Invalid> {
        let volumes = self.volume.iter().map(|text| mount::volume(text, folder));
        let mounts = self.mount.iter().map(|text| mount::mount(text, folder));
        let tmpfs = self.tmpfs.iter().map(|text| mount::tmpfs(text));
        let layers = self.layer.iter().map(|text| mount::layer(text, folder));
        volumes.chain(mounts).chain(tmpfs).chain(layers).collect()
    }
}

fn labels(entries: &[String]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|entry| entry.split_once('=').unwrap_or((entry, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::arguments::{Command, CommandLine};

    /// The request of a command line without `belljar run`, as JSON without what was left at its default.
    fn request(arguments: &[&str]) -> Result<Value, String> {
        let line = ["belljar", "run"].iter().chain(arguments);
        let Command::Run(run) = CommandLine::try_parse_from(line).map_err(|error| error.to_string())?.command else {
            return Err("not run".into());
        };
        let variables = BTreeMap::from([("TZ".to_owned(), "Europe/Paris".to_owned())]);
        let surroundings = Surroundings { variables, folder: "/home/ann".into() };
        let request = run.create.request(&surroundings, Start::Now).map_err(|invalid| invalid.to_string())?;
        serde_json::to_value(request).map_err(|error| error.to_string())
    }

    fn field(arguments: &[&str], field: &str) -> Value {
        request(arguments).map_or_else(Value::String, |request| request[field].clone())
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_program() {
        let arguments = ["--name", "web", "host", "sh", "-c", "echo $0", "--name", "x", "-e"];
        assert_eq!(field(&arguments, "command"), json!(["sh", "-c", "echo $0", "--name", "x", "-e"]));
        assert_eq!((field(&arguments, "name"), field(&arguments, "image")), (json!("web"), json!("host")));
    }

    #[test]
    fn a_database_is_asked_for_as_with_docker() {
        let arguments = [
            "-d",
            "--name=db",
            "-h",
            "db",
            "-u",
            "postgres",
            "-w",
            "/var/lib",
            "-e",
            "TZ",
            "-e",
            "MODE=a=b",
            "-v",
            "/srv/db:/data",
            "-v",
            "./conf:/conf:ro",
            "--tmpfs",
            "/run:size=1m",
            "--layer",
            "/srv/conf",
            "-m",
            "64m",
            "--cpus",
            "0.5",
            "--pids-limit",
            "128",
            "--restart",
            "unless-stopped",
            "--init",
            "-l",
            "tier=data",
            "--stop-signal",
            "INT",
            "--stop-timeout",
            "30",
            "host",
            "postgres",
        ];
        let request = request(&arguments).expect("a valid command line");
        assert_eq!(request["hostname"], json!("db"));
        assert_eq!(request["env"], json!({"TZ": "Europe/Paris", "MODE": "a=b"}));
        assert_eq!(
            request["mounts"],
            json!([
                {"type": "bind", "source": "/srv/db", "target": "/data", "readonly": false},
                {"type": "bind", "source": "/home/ann/conf", "target": "/conf", "readonly": true},
                {"type": "tmpfs", "target": "/run", "size_bytes": 1 << 20},
                {"type": "layer", "source": "/srv/conf", "readonly": true},
            ])
        );
        assert_eq!(request["limits"], json!({"memory_bytes": 64 << 20, "memory_swap_bytes": 64 << 20, "cpus": 0.5, "pids": 128}));
        assert_eq!((&request["restart"], &request["init"]), (&json!("unless-stopped"), &json!(true)));
        assert_eq!((&request["stop_signal"], &request["stop_grace_ms"]), (&json!("SIGINT"), &json!(30_000)));
        assert_eq!((&request["labels"], &request["start"]), (&json!({"tier": "data"}), &json!(true)));
    }

    #[test]
    fn isolation_is_loosened_and_tightened_as_with_docker() {
        let arguments = [
            "--network",
            "host",
            "--pid=container:web",
            "--ipc",
            "shareable",
            "--userns",
            "host",
            "--cap-add",
            "NET_ADMIN",
            "--cap-drop",
            "all",
            "--security-opt",
            "seccomp=unconfined",
            "--security-opt",
            "systempaths=unconfined",
            "--security-opt=no-new-privileges=false",
            "--read-only",
            "--device",
            "/dev/fuse:rw",
            "--shm-size",
            "1m",
            "--ulimit",
            "nofile=10:20",
            "--sysctl",
            "net.ipv4.ip_forward=1",
            "--oom-score-adj",
            "-5",
            "--group-add",
            "audio",
            "--umask",
            "077",
            "--hidepid",
            "2",
            "--time-offset",
            "boottime=-7",
            "--landlock",
            "/usr:rx",
            "host",
            "true",
        ];
        let request = request(&arguments).expect("a valid command line");
        assert_eq!(request["namespaces"], json!({"net": "host", "pid": "container:web", "ipc": "private", "user": "host"}));
        assert_eq!(
            request["security"],
            json!({"capabilities": {"add": ["NET_ADMIN"], "drop": ["all"]}, "new_privileges": "allowed", "seccomp": "unconfined",
                "system_paths": "unconfined", "landlock": [{"path": "/usr", "access": ["read", "execute"]}]})
        );
        assert_eq!(request["devices"], json!([{"source": "/dev/fuse", "access": "rw"}]));
        assert_eq!((&request["shm_bytes"], &request["read_only"], &request["hidepid"]), (&json!(1 << 20), &json!(true), &json!(2)));
        assert_eq!(
            (&request["ulimits"], &request["sysctls"]),
            (&json!({"nofile": {"soft": 10, "hard": 20}}), &json!({"net.ipv4.ip_forward": "1"}))
        );
        assert_eq!((&request["oom_score_adj"], &request["groups"], &request["umask"]), (&json!(-5), &json!(["audio"]), &json!("077")));
        assert_eq!(request["time_offsets"], json!({"boottime": -7}));
    }

    #[test]
    fn a_profile_of_ones_own_is_read_from_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("profile.json");
        std::fs::write(&file, r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).expect("written");
        let option = format!("seccomp={}", file.display());
        assert_eq!(field(&["--security-opt", &option, "host", "true"], "security")["seccomp"], json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    }

    #[test]
    fn memory_swap_is_the_sum_of_memory_and_swap() {
        let swap = |arguments: &[&str]| field(arguments, "limits")["memory_swap_bytes"].clone();
        assert_eq!(swap(&["-m", "4m", "--memory-swap", "4m", "host", "true"]), json!(0));
        assert_eq!(swap(&["-m", "4m", "--memory-swap", "6m", "host", "true"]), json!(2 << 20));
        assert_eq!(swap(&["-m", "4m", "--memory-swap", "-1", "host", "true"]), Value::Null);
        assert_eq!(swap(&["-m", "4m", "host", "true"]), json!(4 << 20));
        for arguments in [["-m", "4m", "--memory-swap", "3m", "host"], ["--name", "x", "--memory-swap", "3m", "host"]] {
            assert!(request(&arguments).is_err_and(|problem| problem.starts_with("--memory-swap: ")), "{arguments:?}");
        }
    }

    #[test]
    fn no_limit_may_be_said_in_dockers_ways() {
        let limits = field(&["--pids-limit", "-1", "--cpus", "0", "host", "true"], "limits");
        assert_eq!((&limits["pids"], &limits["cpus"]), (&Value::Null, &Value::Null));
        assert!(request(&["--pids-limit", "-7", "host", "true"]).is_err());
        for no_number in ["nan", "inf", "-inf"] {
            let problem = request(&["--cpus", no_number, "host", "true"]).expect_err(no_number);
            assert!(problem.starts_with("--cpus: "), "{problem}");
        }
    }

    #[test]
    fn what_docker_has_and_belljar_has_not_yet_is_refused_with_a_sentence() {
        for (flags, name) in [("-it", "--interactive"), ("-t", "--tty"), ("-p8080:80", "--publish"), ("--privileged", "--privileged")] {
            assert!(request(&[flags, "host", "sh"]).is_err_and(|problem| problem.starts_with(&format!("{name}: "))), "{flags}");
        }
    }

    #[test]
    fn an_image_is_pulled_where_it_is_missing_and_its_entrypoint_may_be_replaced() {
        assert_eq!(field(&["nginx"], "pull"), json!("missing"));
        assert_eq!(field(&["--pull", "never", "nginx"], "pull"), Value::Null);
        assert_eq!(field(&["--pull=always", "nginx"], "pull"), json!("always"));
        assert!(request(&["--pull", "sometimes", "nginx"]).is_err());
        assert_eq!(field(&["--entrypoint", "/bin/sh", "nginx", "--", "-c", "true"], "entrypoint"), json!(["/bin/sh"]));
        assert_eq!(field(&["--entrypoint", "", "nginx"], "entrypoint"), json!([""]));
        assert_eq!((field(&["nginx"], "command"), field(&["nginx"], "entrypoint")), (Value::Null, Value::Null));
    }

    #[test]
    fn a_wrong_flag_is_named() {
        for (arguments, name) in [
            (["-m", "lots", "host", "true"], "--memory"),
            (["-v", "named:data", "host", "true"], "--volume"),
            (["--restart", "on-failure:3", "host", "true"], "--restart"),
            (["--stop-signal", "SIGNOPE", "host", "true"], "--stop-signal"),
            (["--env-file", "/does/not/exist", "host", "true"], "--env-file"),
            (["--network", "bridge", "host", "true"], "--network"),
            (["--pid", "container:a/b", "host", "true"], "--pid"),
            (["--security-opt", "seccomp=/does/not/exist", "host", "true"], "--security-opt"),
            (["--security-opt", "disable", "host", "true"], "--security-opt"),
            (["--ulimit", "nofile", "host", "true"], "--ulimit"),
            (["--device", "/dev/a:b:c:d", "host", "true"], "--device"),
        ] {
            assert!(request(&arguments).is_err_and(|problem| problem.contains(name)), "{arguments:?}");
        }
    }
}
