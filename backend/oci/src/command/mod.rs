//! The commands, as an engine calls them: `belljar runtime [global flags] command [flags] words`.
//!
//! ```text
//!            create                start                kill / its own end            delete
//!   (none) ─────────▶ created ─────────────▶ running ──────────────────────▶ stopped ─────────▶ (none)
//!                        │  ▲ run does both     │ ▲ pause / resume              ▲
//!                        │                      ▼ │                             │
//!                        │                    paused                            │
//!                        └──────────────────────────────── kill, delete --force ┘
//! ```
//!
//! Flags, outputs, refusals and exit statuses are runc's, because that is what engines were written for: 1 for everything that
//! went wrong, 255 where `exec` did, 3 for a command that nobody knows, else the program's own. A failure is one sentence
//! that names the step, its object and the cause, on standard error and in `--log`.
//!
//! Start reading at [`answer`]; each command is a module of its own. This must never know how a step is taken.

mod create;
mod delete;
mod events;
mod exec;
mod features;
mod help;
mod kill;
mod list;
mod pause;
mod plan;
mod ps;
mod run;
mod spec;
mod start;
mod state;
mod stats;
mod update;

use std::ffi::OsString;
use std::path::PathBuf;

use belljar_linux::process::{self, Children};

use crate::flags::{self, Flag, Line, Order, switch, valued};
use crate::journal::{Detail, Format, Journal, sentence};
use crate::state::{DEFAULT_ROOT, Folder, Record, Status};
use crate::translate::Driver;

/// Everything went well.
const DONE: u8 = 0;
/// Something did not.
const FAILED: u8 = 1;
/// Nobody knows that command.
const UNKNOWN: u8 = 3;
/// `exec` could not run the program: a number that few programs end with.
pub(crate) const EXEC_FAILED: u8 = 255;

/// What is meant for every command.
const GLOBAL: &[Flag] = &[
    switch("debug", "", "say every step in the log"),
    valued("log", "", "FILE", "write errors there as well as to standard error"),
    valued("log-format", "", "FORMAT", "text (default) or json"),
    valued("root", "", "DIR", "where containers are kept (default /run/belljar/oci)"),
    valued("criu", "", "FILE", "accepted and not used: there are no checkpoints"),
    switch("systemd-cgroup", "", "let systemd make cgroups; cgroupsPath is then slice:prefix:name"),
    valued("rootless", "", "true|false|auto", "accepted: containers are made by root only"),
    switch("help", "h", "show this"),
    switch("version", "v", "show the version"),
];

/// One command.
struct Command {
    name: &'static str,
    /// What its words are.
    words: &'static str,
    about: &'static str,
    flags: &'static [Flag],
    order: Order,
    run: fn(&Call, &Line) -> Result<u8, Error>,
}

/// What every command knows of its call.
pub(crate) struct Call {
    /// Where containers are kept.
    root: PathBuf,
    /// Where sentences go.
    journal: Journal,
    /// How cgroups are made.
    driver: Driver,
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line cannot be read.
    #[error(transparent)]
    Flags(#[from] flags::Error),
    /// The container's folder.
    #[error(transparent)]
    State(#[from] crate::state::Error),
    /// The bundle's document.
    #[error(transparent)]
    Document(#[from] crate::document::Error),
    /// A field of it, or of a command line, makes no sense.
    #[error(transparent)]
    Field(#[from] belljar_model::Invalid),
    /// The kernel said no.
    #[error(transparent)]
    Kernel(#[from] belljar_linux::Error),
    /// Limits stayed as they were.
    #[error(transparent)]
    Limits(#[from] belljar_runtime::cgroup::update::Refused),
    /// A step of a plan failed.
    #[error("unable to start container process: {failure}")]
    Step { failure: String },
    /// The container's status does not allow it.
    #[error("{id}: {problem}")]
    Status { id: String, problem: String },
    /// What was asked for is not done here.
    #[error("{what} is not supported: {reason}")]
    Unsupported { what: &'static str, reason: &'static str },
    /// What was asked for cannot be.
    #[error("{0}")]
    Refused(String),
    /// A file of whoever calls.
    #[error("cannot {operation} {}", path.display())]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Another program.
    #[error("cannot run {program}")]
    Program {
        program: &'static str,
        #[source]
        source: std::io::Error,
    },
    /// `exec` failed, whatever the reason.
    #[error("exec failed")]
    Exec {
        #[source]
        source: Box<Error>,
    },
    /// `create` or `run` failed, whatever the reason.
    #[error("belljar-runtime {command} failed")]
    Make {
        command: &'static str,
        #[source]
        source: Box<Error>,
    },
}

impl Error {
    pub(crate) fn status(id: &str, problem: impl Into<String>) -> Self {
        Error::Status { id: id.to_owned(), problem: problem.into() }
    }

    fn exit_status(&self) -> u8 {
        if matches!(self, Error::Exec { .. }) { EXEC_FAILED } else { FAILED }
    }
}

/// Every command, as the help lists them.
const COMMANDS: [Command; 19] = [
    create::COMMAND,
    start::COMMAND,
    state::COMMAND,
    kill::COMMAND,
    delete::COMMAND,
    run::COMMAND,
    exec::COMMAND,
    ps::COMMAND,
    pause::PAUSE,
    pause::RESUME,
    update::COMMAND,
    events::COMMAND,
    list::COMMAND,
    spec::COMMAND,
    features::COMMAND,
    plan::COMMAND,
    help::CHECKPOINT,
    help::RESTORE,
    help::VERSION,
];

/// Does what the words say; `words` begin after the program's name. Returns the exit status.
pub fn answer(words: impl Iterator<Item = OsString>) -> u8 {
    // Whoever calls may have children forgotten, which every program that it starts inherits; then none could be waited for.
    let _ = process::treat_children(Children::Awaited);
    let (words, line) = match flags::texts(words).and_then(|words| Ok((flags::parse(GLOBAL, Order::First, &words)?, words))) {
        Ok((line, words)) => (words, line),
        Err(error) => {
            let plain = Journal::open(None, Format::Text, Detail::Usual);
            let _ = plain.map(|journal| journal.error(&error.to_string()));
            return FAILED;
        }
    };
    drop(words);
    if line.has("version") {
        return help::version();
    }
    let Some(name) = line.words.first().filter(|_| !line.has("help")) else { return help::overview() };
    let journal = match open_journal(&line) {
        Ok(journal) => journal,
        Err(message) => {
            eprintln!("{message}");
            return FAILED;
        }
    };
    if name == "help" || name == "h" {
        return help::overview();
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        journal.error(&format!("No help topic for '{name}'"));
        return UNKNOWN;
    };
    let root = PathBuf::from(line.value("root").filter(|root| !root.is_empty()).unwrap_or(DEFAULT_ROOT));
    let call = Call {
        // Where it leads must not change with the folder that somebody is in.
        root: std::path::absolute(&root).unwrap_or(root),
        journal,
        driver: if line.has("systemd-cgroup") { Driver::Systemd } else { Driver::Folders },
    };
    dispatch(command, &call, &line.words[1..])
}

fn dispatch(command: &Command, call: &Call, words: &[String]) -> u8 {
    let line = flags::parse(command.flags, command.order, words);
    // No command has a flag of this name of its own; behind the words of a program it is the program's.
    if matches!(&line, Err(flags::Error::Unknown { flag }) if flag == "help" || flag == "h") {
        return help::of(command);
    }
    let done = line.map_err(Error::from).and_then(|line| (command.run)(call, &line));
    match done {
        Ok(status) => status,
        Err(error) => {
            call.journal.error(&sentence(&error));
            error.exit_status()
        }
    }
}

fn open_journal(line: &Line) -> Result<Journal, String> {
    let format = match line.value("log-format") {
        None | Some("text" | "") => Format::Text,
        Some("json") => Format::Json,
        Some(other) => return Err(format!("invalid log-format: {other}")),
    };
    let detail = if line.has("debug") { Detail::Debug } else { Detail::Usual };
    Journal::open(line.value("log").map(std::path::Path::new), format, detail).map_err(|error| sentence(&error))
}

impl Call {
    /// A container that exists, as it was last written down.
    fn container(&self, id: &str) -> Result<(Folder, Record), Error> {
        let folder = Folder::of(&self.root, id)?;
        let record = folder.read()?;
        Ok((folder, record))
    }

    /// The same, kept from other commands, and looked at.
    fn locked(&self, id: &str) -> Result<(Folder, crate::state::Lock, Record, Status), Error> {
        let folder = Folder::of(&self.root, id)?;
        let lock = folder.lock()?;
        let record = folder.read()?;
        let status = folder.look_alone(&record);
        Ok((folder, lock, record, status))
    }
}

/// Prints a whole text. Nobody may be reading any more, which is a failure like any other here: an engine waits for it.
fn print(text: &str) -> Result<(), Error> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|source| Error::File { operation: "write to", path: "standard output".into(), source })
}
