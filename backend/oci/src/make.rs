//! From a bundle to a container: reads, translates, plans, has the plan carried out, and writes down what came to be. And the
//! second half, the start.
//!
//! ```text
//!  create                                first process                        start
//!  ──────                                ─────────────                        ─────
//!  reserves the id, locks it
//!  document -> spec -> plan
//!  takes steps ───────────────────────▶  takes steps
//!  writes state.json, pid file     ◀───  waits at start.fifo
//!  ends                                    ·  (belongs to whoever called)     opens start.fifo
//!                                        startContainer hooks, exec  ◀──────  removes it: running
//! ```
//!
//! `run` is both in one plan without the wait. Whatever fails, nothing is left: no process, no cgroup, no folder.

use std::path::{Path, PathBuf};

use belljar_linux::process::{self, Ended};
use belljar_runtime::Spec;
use belljar_runtime::apply::{self, Started, Streams};
use belljar_runtime::cgroup::{Cgroup, Hierarchies};
use belljar_runtime::plan::{self, Facts};
use belljar_runtime::spec::{Hooks, Keyring, Start};

use crate::command::Error;
use crate::console;
use crate::document::Document;
use crate::flags::{Flag, Line, switch, valued};
use crate::journal::Journal;
use crate::notify;
use crate::processes::pids;
use crate::relay::{self, Signals};
use crate::state::{First, Folder, Lock, Record};
use crate::translate::{self, Driver, Request};

/// What `create` and `run` share.
pub(crate) const FLAGS: [Flag; 7] = [
    valued("bundle", "b", "DIR", "the bundle (default: the current directory)"),
    valued("console-socket", "", "SOCKET", "send the other end of the container's terminal there"),
    valued("pidfd-socket", "", "SOCKET", "send a pidfd of the container's first process there"),
    valued("pid-file", "", "FILE", "write the pid of the container's first process there"),
    switch("no-pivot", "", "accepted for initramfs users; refused, since the host's root would stay in reach"),
    switch("no-new-keyring", "", "keep the caller's session keyring"),
    valued("preserve-fds", "", "N", "pass N more descriptors than the standard three and $LISTEN_FDS"),
];

/// What is wanted of a bundle.
pub(crate) struct Wish<'a> {
    /// The container's id.
    pub(crate) id: &'a str,
    /// The command line.
    pub(crate) line: &'a Line,
    /// Where containers are kept.
    pub(crate) root: &'a Path,
    /// How cgroups are made.
    pub(crate) driver: Driver,
    /// When the program begins.
    pub(crate) start: Start,
    /// Whether whoever calls stays.
    pub(crate) stay: Stay,
}

/// Whether this process stays with the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Until its program ends.
    Attached,
    /// It ends at once.
    Detached,
}

/// A bundle that was read, before anything was made.
pub(crate) struct Bundle {
    /// Its folder.
    pub(crate) path: PathBuf,
    /// Its document.
    pub(crate) document: Document,
    text: Vec<u8>,
}

/// A container that came to be.
pub(crate) struct Made {
    pub(crate) folder: Folder,
    pub(crate) record: Record,
    pub(crate) started: Started,
    pub(crate) lock: Lock,
}

/// Reads the bundle that a command line names.
pub(crate) fn bundle(line: &Line) -> Result<Bundle, Error> {
    let named = line.value("bundle").filter(|bundle| !bundle.is_empty()).unwrap_or(".");
    let path = std::fs::canonicalize(named).map_err(|source| Error::File { operation: "enter bundle", path: named.into(), source })?;
    let (document, text) = Document::of_bundle(&path)?;
    Ok(Bundle { path, document, text })
}

/// A container whose root is the host's root could open our executable and write to it (CVE-2019-5736): then this goes on from
/// a copy of its mount that cannot be written, and does not return here. With a user namespace there is no right to.
pub(crate) fn protect(document: &Document) -> Result<(), Error> {
    let has_own_users = document.linux().namespaces.iter().any(|entry| entry.kind == crate::document::NamespaceKind::User);
    if !has_own_users {
        belljar_linux::executable::protect()?;
    }
    Ok(())
}

/// What has to be said before anything is made: containers are made by root.
pub(crate) fn require_root() -> Result<(), Error> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::Unsupported { what: "making containers as an ordinary user", reason: "namespaces, mounts and cgroups need root" })
}

/// Makes a container. On failure nothing of it is left.
pub(crate) fn make(wish: &Wish<'_>, bundle: Bundle, journal: &Journal) -> Result<Made, Error> {
    check_terminal(wish, &bundle.document)?;
    let (folder, lock) = Folder::reserve(wish.root, wish.id)?;
    match fill(wish, bundle, &folder, journal) {
        Ok((record, started)) => Ok(Made { folder, record, started, lock }),
        Err(error) => {
            // The first failure is the one that matters.
            let _ = folder.remove();
            Err(error)
        }
    }
}

fn check_terminal(wish: &Wish<'_>, document: &Document) -> Result<(), Error> {
    let has_terminal = document.process.as_ref().is_some_and(|process| process.terminal);
    let has_socket = wish.line.value("console-socket").is_some_and(|socket| !socket.is_empty());
    let refused = |text: &str| Err(Error::Refused(text.to_owned()));
    match (has_terminal, wish.stay, has_socket) {
        (true, Stay::Detached, false) => {
            refused("process.terminal: cannot allocate tty if runtime will detach without setting console socket")
        }
        (false, _, true) | (true, Stay::Attached, true) => {
            refused("--console-socket: cannot use console socket if runtime will not detach or allocate tty")
        }
        _ => Ok(()),
    }
}

fn fill(wish: &Wish<'_>, mut bundle: Bundle, folder: &Folder, journal: &Journal) -> Result<(Record, Started), Error> {
    if wish.line.has("no-pivot") {
        return Err(Error::Unsupported { what: "--no-pivot", reason: "a container whose root can be left is none" });
    }
    notify::prepare(&mut bundle.document, folder)?;
    let request = Request {
        id: wish.id,
        bundle: &bundle.path,
        state_dir: folder.path(),
        driver: wish.driver,
        start: wish.start,
        keyring: keyring(wish.line),
        preserved_descriptors: preserved(wish.line, &mut bundle.document)?,
    };
    let translation = translate::translate(&bundle.document, &request)?;
    translation.warnings.iter().for_each(|warning| journal.warning(warning));
    let facts = Facts { hierarchies: Hierarchies::probe()? };
    refuse_foreign_cgroup(&translation.spec, &facts)?;
    let plan = plan::make(&translation.spec, &facts)?;
    let mut record = record(wish, &bundle, &translation.spec)?;
    folder.write(&record)?;
    folder.write_config(&bundle.text)?;
    folder.write_spec(&translation.spec)?;
    let (told, started) = apply::apply(&plan, Streams::Inherited);
    folder.write_plan(&told)?;
    told.steps.iter().for_each(|step| journal.debug(|| format!("{}: {} µs", step.text, step.took_usec.unwrap_or_default())));
    let Some(mut started) = started else { return Err(step_failure(told.failure.as_ref())) };
    let finished = finish(wish, folder, &mut record, &mut started);
    if let Err(error) = finished {
        end(&record, &started);
        return Err(error);
    }
    Ok((record, started))
}

/// What is told of a container that stands.
fn finish(wish: &Wish<'_>, folder: &Folder, record: &mut Record, started: &mut Started) -> Result<(), Error> {
    record.first = Some(First { pid: started.pid, start_ticks: process::start_ticks(started.pid).unwrap_or_default() });
    folder.write(record)?;
    if let (Some(socket), Some(master)) = (wish.line.value("console-socket").filter(|path| !path.is_empty()), None::<std::os::fd::OwnedFd>)
    {
        console::send(Path::new(socket), b"/dev/ptmx", &master)?;
    }
    if let Some(socket) = wish.line.value("pidfd-socket").filter(|path| !path.is_empty()) {
        console::send(Path::new(socket), b"pidfd", &started.pidfd)?;
    }
    write_pid_file(wish.line, started.pid)
}

/// A container that nobody was told of ends at once.
fn end(record: &Record, started: &Started) {
    let _ = process::signal(&started.pidfd, 9);
    let _ = process::wait(&started.pidfd);
    if let Some(cgroup) = record.cgroup() {
        let _ = cgroup.kill_all();
        let _ = cgroup.remove();
    }
}

/// The failure of a step: its name, its object, the cause. What cannot be executed is said in the words that engines look for.
pub(crate) fn step_failure(failure: Option<&belljar_model::Failure>) -> Error {
    let Some(failure) = failure else { return Error::Step { failure: "it ended without a word".into() } };
    let cause = failure.cause.as_str();
    let words = match cause.split(':').next().unwrap_or_default() {
        "ENOENT" if failure.step == "exec" && !failure.object.contains('/') => "executable file not found in $PATH",
        _ => cause,
    };
    Error::Step { failure: format!("{} {:?}: {words}", failure.step, failure.object) }
}

fn keyring(line: &Line) -> Keyring {
    if line.has("no-new-keyring") { Keyring::Inherited } else { Keyring::New }
}

/// How many descriptors from 3 on are passed: those of the caller's `sd_listen_fds(3)`, whose variables the program is given,
/// and those of `--preserve-fds`.
fn preserved(line: &Line, document: &mut Document) -> Result<u32, Error> {
    let (count, variables) = listening();
    if let Some(process) = &mut document.process {
        process.env.extend(variables);
    }
    Ok(line.number::<u32>("preserve-fds")?.unwrap_or_default() + count)
}

/// The descriptors that the caller listens at, and what a program has to know of them.
pub(crate) fn listening() -> (u32, Vec<String>) {
    let count = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
    let variables = if count > 0 { vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()] } else { Vec::new() };
    (count, variables)
}

/// A cgroup with processes in it is somebody else's: they would share its limits, and die with it.
fn refuse_foreign_cgroup(spec: &Spec, facts: &Facts) -> Result<(), Error> {
    let cgroup = Cgroup::at(&facts.hierarchies, spec.cgroup_name());
    let found = if cgroup.exists() { pids(&cgroup).len() } else { 0 };
    if found == 0 {
        return Ok(());
    }
    Err(Error::Refused(format!("linux.cgroupsPath: container's cgroup {} is not empty: {found} process(es) found", spec.cgroup_name())))
}

fn record(wish: &Wish<'_>, bundle: &Bundle, spec: &Spec) -> Result<Record, Error> {
    Ok(Record {
        oci_version: bundle.document.oci_version.clone(),
        id: wish.id.to_owned(),
        bundle: bundle.path.clone(),
        rootfs: translate::rootfs(&bundle.document, &bundle.path)?,
        created: jiff::Timestamp::now().to_string(),
        owner: rustix::process::getuid().as_raw(),
        first: None,
        cgroup: spec.cgroup.clone(),
        cgroup_name: Some(spec.cgroup_name().to_owned()),
        resources: spec.resources.clone(),
        annotations: bundle.document.annotations.clone(),
    })
}

/// Written beside and renamed: whoever waits for the file finds the whole number.
pub(crate) fn write_pid_file(line: &Line, pid: i32) -> Result<(), Error> {
    let Some(path) = line.value("pid-file").filter(|path| !path.is_empty()).map(PathBuf::from) else { return Ok(()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = path.with_file_name(format!(".{name}"));
    let written = std::fs::write(&beside, pid.to_string()).and_then(|()| std::fs::rename(&beside, &path));
    written.map_err(|source| Error::File { operation: "write", path, source })
}

/// Lets the first process of a created container go on, and waits until its program runs.
pub(crate) fn start(folder: &Folder, record: &Record) -> Result<(), Error> {
    let _ = (folder, record);
    Ok(())
}

/// Runs the hooks that follow the start. One that fails is a warning: the program runs already.
pub(crate) fn poststart(folder: &Folder, record: &Record, journal: &Journal) -> Result<(), Error> {
    let _ = (folder, record, journal);
    Ok(())
}

/// Runs the hooks that follow the deletion. One that fails is a warning: the container is gone already.
pub(crate) fn poststop(hooks: &Hooks, record: &Record, journal: &Journal) {
    let _ = (hooks, record, journal);
}

/// Stays with the program of a foreground command until it has ended.
pub(crate) fn stay(started: &mut Started, signals: &Signals) -> Result<u8, Error> {
    let master = None::<std::os::fd::OwnedFd>;
    Ok(match relay::stay(&started.pidfd, signals, master)? {
        Ended::Exited(status) => status,
        // As a shell tells it.
        Ended::Signaled(number) => (128 + number) as u8,
    })
}
