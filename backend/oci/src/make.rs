//! From a bundle to a container: reads, translates, plans, has the plan carried out, and writes down what came to be. And the
//! second half, the start.
//!
//! ```text
//!  create                                first process                        start
//!  ──────                                ─────────────                        ─────
//!  reserves the id, locks it
//!  document -> spec -> plan
//!  takes steps ───────────────────────▶  takes steps
//!  writes state.json with its pid
//!  takes steps, runs hooks  ◀─────────▶  takes steps
//!  writes that it is made, pid file  ◀─  waits at start.fifo
//!  ends                                    ·  (belongs to whoever called)     writes to it
//!                                        startContainer hooks, exec  ◀──────  and removes it: running
//!                                                                             poststart hooks
//! ```
//!
//! `run` is both in one plan without the wait. Whatever fails, nothing is left: no process, no cgroup, no folder.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use belljar_linux::process::{self, Ended};
use belljar_model::plan::PlanRecord;
use belljar_runtime::apply::{self, Streams};
use belljar_runtime::cgroup::{Cgroup, Hierarchies};
use belljar_runtime::plan::{self, Facts, Plan};
use belljar_runtime::spec::{Keyring, Start};
use belljar_runtime::{Spec, seccomp};

use crate::command::Error;
use crate::console;
use crate::document::{self, Document, IdMapping, Identities, NamespaceEntry, NamespaceKind};
use crate::flags::{Flag, Line, switch, valued};
use crate::journal::{Journal, sentence};
use crate::notify::{self, Proxy};
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
    pub(crate) spec: Spec,
    pub(crate) running: Running,
    pub(crate) lock: Lock,
}

/// A process of a container.
pub(crate) struct Running {
    pub(crate) pidfd: OwnedFd,
    /// The other end of its terminal, where it has one and nobody else was given it.
    pub(crate) terminal: Option<OwnedFd>,
    /// Where it says that it is ready, if somebody waits for that.
    pub(crate) notice: Option<(Proxy, i32)>,
}

/// Reads the bundle that a command line names, for a look at it.
pub(crate) fn bundle(line: &Line) -> Result<Bundle, Error> {
    read_bundle(line, |_| Ok(()))
}

/// Reads the bundle that a command line names, for a container that is to be made from it. Protects us before it goes on, and then
/// does not return here: nothing that was read is lost but a few lines.
pub(crate) fn bundle_to_make(line: &Line) -> Result<Bundle, Error> {
    read_bundle(line, protect)
}

fn read_bundle(line: &Line, before: impl FnOnce(&[u8]) -> Result<(), Error>) -> Result<Bundle, Error> {
    let named = line.value("bundle").filter(|bundle| !bundle.is_empty()).unwrap_or(".");
    let path = std::fs::canonicalize(named).map_err(|source| Error::File { operation: "enter bundle", path: named.into(), source })?;
    let text = document::text_of_bundle(&path)?;
    before(&text)?;
    let document = Document::of_text(&path, &text)?;
    Ok(Bundle { path, document, text })
}

/// A container in which somebody has the ids of our executable's owner could open it and write to it (CVE-2019-5736): then this
/// goes on from a copy of its mount that cannot be written, and does not return here. `document` is the container's, unread yet.
pub(crate) fn protect(document: &[u8]) -> Result<(), Error> {
    if belljar_linux::executable::is_protected()? {
        return Ok(());
    }
    let (uid, gid) = belljar_linux::executable::owner()?;
    if has_owner(&document::identities_of(document), uid, gid) {
        belljar_linux::executable::protect()?;
    }
    Ok(())
}

/// Whether these ids of the host are somebody's in the container. Who is in a user namespace that is joined is not known.
fn has_owner(linux: &Identities, uid: u32, gid: u32) -> bool {
    let has = |maps: &[IdMapping], id: u32| maps.iter().any(|map| id.checked_sub(map.host_id).is_some_and(|above| above < map.size));
    let is_new = |entry: &NamespaceEntry| entry.kind == NamespaceKind::User && entry.path.is_empty();
    !linux.namespaces.iter().any(is_new) || has(&linux.uid_mappings, uid) || has(&linux.gid_mappings, gid)
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
    let _reserved = Reserved(folder.path().to_owned());
    match fill(wish, bundle, &folder, journal) {
        Ok((record, spec, running)) => Ok(Made { folder, record, spec, running, lock }),
        Err(error) => {
            // Its making goes over into its end, with the hooks of that (runtime-spec, *Lifecycle*, steps 6 to 13).
            let spec = folder.spec().ok();
            // The first failure is the one that matters.
            let _ = folder.remove();
            if let Some(spec) = spec {
                poststop(&spec, journal);
            }
            Err(error)
        }
    }
}

/// A mistake of ours must not keep the id from everybody: where it ends this process, the folder goes.
struct Reserved(PathBuf);

impl Drop for Reserved {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = belljar_linux::removal::remove(&self.0);
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

fn fill(wish: &Wish<'_>, mut bundle: Bundle, folder: &Folder, journal: &Journal) -> Result<(Record, Spec, Running), Error> {
    if wish.line.has("no-pivot") {
        return Err(Error::Unsupported { what: "--no-pivot", reason: "a container whose root can be left is none" });
    }
    let proxy = notify::prepare(&mut bundle.document, folder)?;
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
    let filter = seccomp::of_process(&translation.spec.process, Some(&folder.filters()))?;
    let facts = Facts { hierarchies: Hierarchies::probe()?, filter };
    let plan = plan::make(&translation.spec, &facts)?;
    tell_filter(&plan, journal);
    let cgroup = translation.spec.cgroup.cgroup(&facts.hierarchies);
    let mut record = record(wish, &bundle, (&translation.spec, cgroup))?;
    folder.write(&record)?;
    // Nobody reads the other two before the state names a first process.
    let mut kept = Ok(());
    let keep = |pid| {
        let others = folder.write_config(&bundle.text).and_then(|()| folder.write_spec(&translation.spec));
        record.first = First::of(pid);
        kept = others.and_then(|()| folder.write(&record));
    };
    let (told, started) = apply::apply_meanwhile(&plan, Streams::Inherited, keep);
    if let Err(error) = folder.write_plan(&told) {
        // A full disk costs the list of steps, not a container that stands.
        journal.warning(&sentence(&error));
    }
    tell_steps(&plan, &told, journal);
    let Some(mut started) = started else { return Err(step_failure(told.failure.as_ref())) };
    let notice = proxy.map(|proxy| (proxy, started.pid));
    let mut running = Running { terminal: started.terminal.take(), pidfd: started.pidfd, notice };
    let kept = kept.map_err(Error::from);
    let finished = kept.and_then(|()| finish(wish, folder, (&mut record, started.pid), &mut running));
    if let Err(error) = finished {
        end(&record, &running);
        apply::undo(&plan);
        return Err(error);
    }
    Ok((record, translation.spec, running))
}

/// What is told of a container that stands.
fn finish(wish: &Wish<'_>, folder: &Folder, (record, pid): (&mut Record, i32), running: &mut Running) -> Result<(), Error> {
    record.maker = None;
    folder.write(record)?;
    hand_out(wish.line, running)?;
    write_pid_file(wish.line, pid)
}

/// Gives away what whoever calls waits for at a socket.
pub(crate) fn hand_out(line: &Line, running: &mut Running) -> Result<(), Error> {
    if let Some(socket) = line.value("console-socket").filter(|path| !path.is_empty())
        && let Some(master) = running.terminal.take()
    {
        console::send(Path::new(socket), b"/dev/ptmx", &master)?;
    }
    if let Some(socket) = line.value("pidfd-socket").filter(|path| !path.is_empty()) {
        console::send(Path::new(socket), b"pidfd", &running.pidfd)?;
    }
    Ok(())
}

/// A container that nobody was told of ends at once.
fn end(record: &Record, running: &Running) {
    let _ = process::signal(&running.pidfd, 9);
    let _ = process::wait(&running.pidfd);
    let _ = record.cgroup.kill_all();
}

/// The failure of a step: its name, its object, the cause. What cannot be executed is said in the words that engines look for.
pub(crate) fn step_failure(failure: Option<&belljar_model::Failure>) -> Error {
    let Some(failure) = failure else { return Error::Step { failure: "it ended without a word".into() } };
    let cause = &failure.cause;
    let found = failure.object.strip_prefix("program ").filter(|_| failure.step == "find");
    let (step, object) = found.map_or((failure.step.as_str(), failure.object.as_str()), |program| ("exec", program));
    // Engines tell "no such program" (127) from "not to be executed" (126) by these words.
    let is_missing = step == "exec" && !object.contains('/') && cause.starts_with("ENOENT");
    let words = if is_missing { "executable file not found in $PATH: " } else { "" };
    Error::Step { failure: format!("{step} {object:?}: {words}{cause}") }
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
    preserved_with(line, count)
}

/// Most descriptors that are passed: no process can have more (`sysctl_nr_open_max` of the kernel).
const PRESERVED_MAX: u32 = 1 << 30;

/// The descriptors of `--preserve-fds`, each of which has to be there, and `listening` more.
pub(crate) fn preserved_with(line: &Line, listening: u32) -> Result<u32, Error> {
    let wanted = line.number::<u32>("preserve-fds")?.unwrap_or_default();
    let all = wanted.checked_add(listening).filter(|all| *all <= PRESERVED_MAX);
    let all = all.ok_or_else(|| Error::Refused("--preserve-fds: no process can have so many".into()))?;
    let missing = (listening..all).map(|index| 3 + index).find(|number| !belljar_linux::fd::is_inherited(*number as i32));
    match missing {
        Some(number) => Err(Error::Refused(format!("--preserve-fds {wanted}: descriptor {number} is not open"))),
        None => Ok(all),
    }
}

/// The descriptors that the caller listens at, and what a program has to know of them. Variables that were meant for another
/// process, and only inherited from it, say nothing of ours (`sd_listen_fds(3)`).
pub(crate) fn listening() -> (u32, Vec<String>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u32>().ok());
    let is_ours = number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").filter(|_| is_ours).unwrap_or_default();
    let variables = if count > 0 { vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()] } else { Vec::new() };
    (count, variables)
}

fn record(wish: &Wish<'_>, bundle: &Bundle, (spec, cgroup): (&Spec, Cgroup)) -> Result<Record, Error> {
    Ok(Record {
        oci_version: bundle.document.oci_version.clone(),
        id: wish.id.to_owned(),
        bundle: bundle.path.clone(),
        rootfs: translate::rootfs(&bundle.document, &bundle.path)?,
        created: jiff::Timestamp::now().to_string(),
        owner: rustix::process::getuid().as_raw(),
        maker: First::of(std::process::id().cast_signed()),
        first: None,
        cgroup,
        resources: spec.resources.clone(),
        annotations: bundle.document.annotations.clone(),
    })
}

/// Written beside and renamed: whoever waits for the file finds the whole number.
pub(crate) fn write_pid_file(line: &Line, pid: i32) -> Result<(), Error> {
    let Some(path) = line.value("pid-file").filter(|path| !path.is_empty()).map(PathBuf::from) else { return Ok(()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Of a name that nobody else has, and made anew: never through a link of somebody who guessed it.
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let failed = |source| Error::File { operation: "write", path: path.clone(), source };
    let mut file = std::fs::File::create_new(&beside).map_err(failed)?;
    let written = std::io::Write::write_all(&mut file, pid.to_string().as_bytes()).and_then(|()| std::fs::rename(&beside, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.map_err(failed)
}

/// Lets the first process of a created container go on, and waits until its program runs.
pub(crate) fn start(folder: &Folder, first: First, journal: &Journal) -> Result<Spec, Error> {
    let spec = folder.spec()?;
    let filter = seccomp::of_process(&spec.process, Some(&folder.filters()))?;
    let plan = plan::make_start(&spec, filter.as_ref())?;
    let told = apply::start(&plan, folder.path(), first.pid).map_err(|error| match error.errno {
        errno if apply::nobody_waits(errno) => Error::status(folder.id(), "cannot start an already running container"),
        _ => Error::Kernel(error),
    })?;
    tell_steps(&plan, &told, journal);
    match &told.failure {
        Some(failure) => Err(step_failure(Some(failure))),
        None => Ok(spec),
    }
}

/// Runs the hooks that follow the start, which whoever looks can see by now. One that fails is a warning: the program runs.
pub(crate) fn poststart(spec: &Spec, first: First, journal: &Journal) {
    let plan = plan::make_poststart(spec);
    tell_steps(&plan, &apply::finish(&plan, first.pid), journal);
}

/// Runs the hooks that follow the deletion. One that fails is a warning: the container is gone already.
pub(crate) fn poststop(spec: &Spec, journal: &Journal) {
    let plan = plan::make_delete(spec);
    let told = apply::finish(&plan, 0);
    tell_steps(&plan, &told, journal);
    if let Some(failure) = &told.failure {
        journal.warning(&step_failure(Some(failure)).to_string());
    }
}

/// Every step for whoever wants to read them; and what one did differently from how it was planned, for everybody: a hook
/// after the start that failed, owners that could not be mapped.
pub(crate) fn tell_steps(plan: &Plan, told: &PlanRecord, journal: &Journal) {
    for (planned, step) in plan.records().iter().zip(&told.steps) {
        journal.debug(|| format!("{}: {} µs", step.text, step.took_usec.unwrap_or_default()));
        if planned.text != step.text {
            journal.warning(&step.text);
        }
    }
}

/// What of a filter's profile nobody here knows. It is so in every profile that was written for other architectures and kernels
/// too: nobody needs to act, and under an engine standard error is the container's.
pub(crate) fn tell_filter(plan: &Plan, journal: &Journal) {
    plan.filter().into_iter().flat_map(|filter| &filter.warnings).for_each(|warning| journal.debug(|| warning.clone()));
}

/// Stays with the program of a foreground command until it has ended.
pub(crate) fn stay(running: &mut Running, signals: &Signals) -> Result<u8, Error> {
    let master = running.terminal.take();
    let notice = running.notice.take();
    Ok(match relay::stay(&running.pidfd, signals, master, notice)? {
        Ended::Exited(status) => status,
        // As a shell tells it.
        Ended::Signaled(number) => (128 + number) as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_of_ours_gives_the_id_back() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, _lock) = Folder::reserve(root.path(), "one").expect("it is free");
        drop(Reserved(folder.path().to_owned()));
        assert!(folder.path().exists());
        let mistake = std::panic::catch_unwind(|| {
            let _reserved = Reserved(folder.path().to_owned());
            panic!("a mistake");
        });
        assert!(mistake.is_err() && !folder.path().exists());
    }

    #[test]
    fn an_executable_is_out_of_reach_where_nobody_has_its_owners_ids() {
        let linux = |namespaces: &str, host: u32| -> Identities {
            let maps = format!(r#"[{{"containerID": 5, "hostID": {host}, "size": 10}}]"#);
            let text = format!(r#"{{"namespaces": {namespaces}, "uidMappings": {maps}, "gidMappings": {maps}}}"#);
            serde_json::from_str(&text).expect("it is fine")
        };
        let own = r#"[{"type": "user"}]"#;
        assert!(!has_owner(&linux(own, 1000), 0, 0) && !has_owner(&linux(own, 1000), 999, 1010));
        assert!(has_owner(&linux(own, 0), 0, 0), "the host's root is somebody inside");
        assert!(has_owner(&linux(own, 1000), 1009, 0) && has_owner(&linux(own, 1000), 0, 1000));
        assert!(has_owner(&linux("[]", 1000), 0, 0), "no user namespace");
        assert!(has_owner(&linux(r#"[{"type": "user", "path": "/proc/7/ns/user"}]"#, 1000), 0, 0), "nobody knows who is in it");
    }
}
