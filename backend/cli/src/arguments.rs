//! The command line as types. What is written here is what `belljar --help` says: the doc comments *are* the help.
//!
//! Flags are named as in `docker run`, so that what a person's fingers know works. Nothing here talks to the server or to
//! the kernel. Start reading at [`Command`]; what `run` and `create` share, and how it becomes a request, is in [`create`].

pub(crate) mod create;
pub(crate) mod environment;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod images;
pub(crate) mod isolation;
pub(crate) mod limits;
pub(crate) mod mount;
pub(crate) mod volumes;
pub(crate) mod words;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::create::CreateArguments;
use self::files::{CopyArguments, DiffArguments, ResetArguments, UndoArguments};
use self::images::{CommitArguments, ImagesCommand, LoginArguments, PullArguments};
use self::limits::LimitArguments;
pub(crate) use self::volumes::VolumesCommand;

/// Runs Linux containers, and shows what they are made of.
#[derive(Debug, Parser)]
#[command(name = "belljar", version, propagate_version = true, disable_help_subcommand = true, max_term_width = 120)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the server is to be found. Also where it puts its socket.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The server's socket; `belljar.sock` in the run folder where not given
    #[arg(long, env = "BELLJAR_SOCKET", value_name = "PATH", global = true)]
    pub(crate) socket: Option<PathBuf>,
    /// The server's folder for what ends with the machine's run
    #[arg(long, env = "BELLJAR_RUN_DIR", value_name = "DIR", default_value = "/run/belljar", global = true)]
    pub(crate) run_dir: PathBuf,
}

impl Place {
    /// Path of the socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.run_dir.join(SOCKET_NAME))
    }
}

/// Name of the server's socket in its run folder.
const SOCKET_NAME: &str = "belljar.sock";

/// Everything that the executable does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server: containers, REST API, pages
    Serve(ServeArguments),
    /// Create a container, start it, and follow its output until it ends
    #[command(disable_help_flag = true)]
    Run(RunArguments),
    /// Create a container without starting it
    #[command(disable_help_flag = true)]
    Create(CreateArguments),
    /// Start containers that are created or stopped
    Start(Containers),
    /// Stop containers: stop signal, grace, kill
    Stop(StopArguments),
    /// Change limits and restart policy of containers, at once where they run
    Update(UpdateArguments),
    /// Send a signal to the first process of containers
    Kill(KillArguments),
    /// Stop containers, then start them
    Restart(StopArguments),
    /// Freeze the processes of containers
    Pause(Containers),
    /// Thaw the processes of paused containers
    #[command(visible_alias = "unpause")]
    Resume(Containers),
    /// Delete containers, with everything that they changed
    #[command(visible_alias = "rm")]
    Delete(DeleteArguments),
    /// List the containers that run
    #[command(visible_aliases = ["ps", "ls"])]
    List(ListArguments),
    /// Show all that is known about containers, as JSON
    Inspect(Containers),
    /// Show what a container wrote
    Logs(LogsArguments),
    /// Tell why a container died, or why it is slow
    #[command(visible_alias = "diagnose")]
    Why(OneContainer),
    /// Show what containers use, again every second
    Stats(StatsArguments),
    /// List the processes of a container
    Top(OneContainer),
    /// Wait until containers end, and print their exit codes
    Wait(Containers),
    /// Show a container's namespaces by inode, beside the host's
    Namespaces(OneContainer),
    /// Show what is mounted in a container, as the kernel tells it, beside what was asked for
    Mounts(OneContainer),
    /// Show every limit and usage of a container's cgroup, with the kernel's file that it is read from
    Cgroup(OneContainer),
    /// Show the layers of a container's root
    Overlay(OneContainer),
    /// List what a container added (A), changed (C) and deleted (D); of one file, how its lines differ from its image's
    #[command(visible_alias = "changes")]
    Diff(DiffArguments),
    /// Put paths of a container back to what its image says
    Undo(UndoArguments),
    /// Empty the own layer of containers that are stopped: everything that they changed is gone
    Reset(ResetArguments),
    /// Copy files into a container, or out of it
    Cp(CopyArguments),
    /// Show the steps that made a container, and the time that each took
    Plan(OneContainer),
    /// Run a further program in a running container
    Exec(ExecArguments),
    /// Show which system calls a container was denied, where that is recorded (--security-opt seccomp=record)
    Denied(OneContainer),
    /// Images: list, pull, tag, inspect, delete, and more
    Images {
        #[command(subcommand)]
        command: Option<ImagesCommand>,
    },
    /// Volumes, which outlive containers: list, create, inspect, delete, prune, browse
    #[command(visible_alias = "volume")]
    Volumes {
        #[command(subcommand)]
        command: Option<VolumesCommand>,
    },
    /// Pull an image from its registry
    Pull(PullArguments),
    /// Make an image of what a container changed
    Commit(CommitArguments),
    /// Log in at a registry
    Login(LoginArguments),
    /// Log out of a registry
    Logout {
        /// Its host, with its port where it has one; Docker's own where not given
        #[arg(value_name = "REGISTRY", default_value = "docker.io")]
        registry: String,
    },
    /// List what happened
    Events(EventsArguments),
    /// Show what the server knows about this host
    Host(Format),
    /// Be the runtime of Podman, containerd, Docker or Kubernetes: commands and flags as of `runc`
    #[command(disable_help_flag = true)]
    Runtime {
        /// The runtime's own flags, command and words; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
        words: Vec<std::ffi::OsString>,
    },
    /// Tokens for the API: create, list, delete
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
}

/// How the server is run.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArguments {
    /// Address and port of the pages and the API
    #[arg(long, env = "BELLJAR_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7070")]
    pub(crate) listen: std::net::SocketAddr,
    /// Folder that keeps everything: database, images, containers
    #[arg(long, env = "BELLJAR_DATA_DIR", value_name = "DIR", default_value = "/var/lib/belljar")]
    pub(crate) data_dir: PathBuf,
    /// Name of this instance: several run side by side on one host, each with its own folders
    #[arg(long, env = "BELLJAR_INSTANCE", value_name = "NAME", default_value = "belljar", value_parser = instance_name)]
    pub(crate) instance: String,
    /// A further host name under which browsers may reach the server (may be repeated)
    #[arg(long = "allowed-host", env = "BELLJAR_ALLOWED_HOSTS", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allowed_hosts: Vec<String>,
    /// How much the server says on its standard error
    #[arg(long, env = "BELLJAR_LOG", value_name = "LEVEL", default_value = "info")]
    pub(crate) log: LogLevel,
}

/// How much the server says.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogLevel {
    /// Failures only.
    Error,
    /// Also what a person should look at.
    Warn,
    /// Also what happens.
    Info,
    /// Also how.
    Debug,
}

/// The name becomes a folder of every cgroup hierarchy, so it obeys the rule for a container's name.
fn instance_name(text: &str) -> Result<String, String> {
    text.parse::<belljar_model::ContainerName>().map(|name| name.to_string()).map_err(|invalid| invalid.problem)
}

/// The milliseconds of a length of time.
fn span_ms(text: &str) -> Result<i64, String> {
    belljar_api::time::length_ms("history", text).map_err(|invalid| invalid.problem)
}

/// `run`: what `create` takes, and what happens then.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Print the container's id and return, instead of following its output
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Delete the container when it has ended
    #[arg(long, conflicts_with = "detach")]
    pub(crate) rm: bool,
    #[command(flatten)]
    pub(crate) create: CreateArguments,
}

/// One container.
#[derive(Debug, Args)]
pub(crate) struct OneContainer {
    /// Its name, id, or the first digits of its id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArguments {
    /// Set a variable; KEY alone passes your own on (may be repeated)
    #[arg(short, long = "env", value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub(crate) env: Vec<String>,
    /// User inside, as USER, USER:GROUP, or their numbers; the container's own where not given
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Working folder inside; the container's own where not given
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Kill it, and what it started, after so many seconds; a day where not given
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time_limit: Option<u32>,
    #[arg(short = 'i', long, hide = true)]
    pub(crate) interactive: bool,
    #[arg(short = 't', long, hide = true)]
    pub(crate) tty: bool,
    /// Its name, id, or the first digits of its id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// The program and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// Print the server's JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// One or more containers.
#[derive(Debug, Args)]
pub(crate) struct Containers {
    /// Names, ids, or first digits of ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<String>,
}

/// `stop` and `restart`.
#[derive(Debug, Args)]
pub(crate) struct StopArguments {
    /// Seconds between the stop signal and the kill; the container's own setting where not given
    #[arg(short = 't', long = "time", visible_alias = "timeout", value_name = "SECONDS")]
    pub(crate) seconds: Option<u32>,
    #[command(flatten)]
    pub(crate) containers: Containers,
}

/// `update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArguments {
    /// What happens when the program ends: no, on-failure, always, unless-stopped
    #[arg(long, value_name = "POLICY", value_parser = create::restart)]
    pub(crate) restart: Option<belljar_model::container::Restart>,
    /// A limit of each process, which every process has at once: nofile=1024:2048; nofile= takes it away (may be repeated)
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimit: Vec<String>,
    /// How early it is killed where the host is out of memory: -1000 to 1000; empty for the server's own
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) oom_score_adj: Option<String>,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) containers: Containers,
}

/// `kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArguments {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL", value_parser = signal)]
    pub(crate) signal: belljar_model::Signal,
    #[command(flatten)]
    pub(crate) containers: Containers,
}

fn signal(text: &str) -> Result<belljar_model::Signal, String> {
    text.parse().map_err(|invalid: belljar_model::Invalid| invalid.problem)
}

/// `delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// Kill the containers first where they run
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) containers: Containers,
}

/// `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Also list those that do not run
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Print ids only
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Also show what their own layers take, as last measured
    #[arg(short, long)]
    pub(crate) size: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// Go on with what the container writes from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last LINES; the server sends 10000 at most, which is what `all` and no number mean
    #[arg(short = 'n', long, value_name = "LINES", value_parser = tail)]
    pub(crate) tail: Option<Tail>,
    /// Only what was written since: a time as in `2026-11-23T21:00:00Z`, or an age as in `90s`, `10m`, `2h`
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Begin every line with its time
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Its name, id, or the first digits of its id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// How many lines from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// All that are kept.
    All,
    /// This many.
    Lines(u32),
}

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail::All),
        _ => text.parse().map(Tail::Lines).map_err(|_| "must be a number of lines, or all".to_owned()),
    }
}

/// `stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArguments {
    /// Print once and return
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Show the last 1h, 1d, 7d, 30d or any other time up to then, also of containers that are gone (by their ids)
    #[arg(long, value_name = "TIME", value_parser = span_ms, requires = "containers", conflicts_with = "no_stream")]
    pub(crate) history: Option<i64>,
    /// Names or ids; all that run where none is given
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// `events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    /// Go on with what happens from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the newest LINES
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = EVENTS_SHOWN)]
    pub(crate) tail: u32,
    #[command(flatten)]
    pub(crate) format: Format,
    /// Only events of this container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
}

/// Events that are shown where no number is asked for: about a screen.
const EVENTS_SHOWN: u32 = 50;

/// `token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token and print it; it is never shown again
    Create {
        /// What it is for, in a word
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List tokens
    #[command(visible_alias = "ls")]
    List(Format),
    /// Delete tokens; whoever uses them is locked out at once
    #[command(visible_alias = "rm")]
    Delete {
        /// Names of tokens
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn the_socket_lies_in_the_run_folder_unless_it_is_given() {
        let place = |arguments: &[&str]| CommandLine::try_parse_from(arguments).map(|line| line.place.socket());
        assert_eq!(place(&["belljar", "list", "--run-dir", "/run/x"]).ok(), Some(PathBuf::from("/run/x/belljar.sock")));
        assert_eq!(place(&["belljar", "--socket", "/tmp/s", "list"]).ok(), Some(PathBuf::from("/tmp/s")));
    }

    #[test]
    fn dockers_names_for_our_commands_are_understood() {
        for arguments in
            [&["ps", "-a"][..], &["rm", "-f", "web"], &["unpause", "web"], &["stop", "-t", "3", "web"], &["kill", "-s", "HUP", "web"]]
        {
            let line = std::iter::once("belljar").chain(arguments.iter().copied());
            assert!(CommandLine::try_parse_from(line).is_ok(), "{arguments:?}");
        }
    }

    #[test]
    fn an_instance_is_a_plain_name() {
        for name in ["../x", "a/b", "", "-x"] {
            assert!(CommandLine::try_parse_from(["belljar", "serve", &format!("--instance={name}")]).is_err(), "{name:?}");
        }
    }
}
