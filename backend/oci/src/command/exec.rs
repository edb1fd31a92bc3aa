//! `exec`: one more program in a container, as strict as its first.

use std::path::Path;

use belljar_linux::process::signal as process_signal;
use belljar_model::container::ProcessRef;
use belljar_model::namespace::Kind;
use belljar_runtime::apply::{self, Streams};
use belljar_runtime::cgroup::{Cgroup, Hierarchies};
use belljar_runtime::plan::{self, ExecFacts};
use belljar_runtime::seccomp;
use belljar_runtime::spec::{Exec, ExecCgroup, Keyring};

use super::{Call, Command, DONE, Error};
use crate::document::{self, Capabilities, Process};
use crate::flags::{Flag, Line, Order, switch, valued};
use crate::make::{self, Running, Stay};
use crate::relay::Signals;
use crate::state::{Folder, Record, Status};
use crate::translate::{self, Caller, Rights};

/// The signal that nothing can catch.
const KILL: i32 = 9;

const FLAGS: &[Flag] = &[
    valued("console-socket", "", "SOCKET", "send the other end of the program's terminal there"),
    valued("pidfd-socket", "", "SOCKET", "send a pidfd of the program there"),
    valued("cwd", "", "DIR", "working folder in the container"),
    valued("env", "e", "KEY=VALUE", "one more variable"),
    switch("tty", "t", "give it a terminal"),
    valued("user", "u", "UID[:GID]", "who it runs as"),
    valued("additional-gids", "g", "GID", "one more group"),
    valued("process", "p", "FILE", "take everything from this JSON file"),
    switch("detach", "d", "end as soon as the program runs"),
    valued("pid-file", "", "FILE", "write the pid of the program there"),
    valued("process-label", "", "LABEL", "SELinux label"),
    valued("apparmor", "", "PROFILE", "AppArmor profile"),
    switch("no-new-privs", "", "no exec of it may gain privileges"),
    valued("cap", "c", "CAP", "one more capability"),
    valued("preserve-fds", "", "N", "pass N more descriptors than the standard three and $LISTEN_FDS"),
    valued("cgroup", "", "PATH", "run it in an existing cgroup below the container's"),
    switch("ignore-paused", "", "also in a container that is paused"),
    switch("no-subreaper", "", "accepted: this is never one"),
];

pub(super) const COMMAND: Command = Command {
    name: "exec",
    words: "<container-id> <command> [arguments...]  |  --process FILE <container-id>",
    about: "run one more program in a container",
    flags: FLAGS,
    order: Order::First,
    run,
};

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    executed(call, line).map_err(|error| Error::Exec { source: Box::new(error) })
}

fn executed(call: &Call, line: &Line) -> Result<u8, Error> {
    make::require_root()?;
    let id = line.first_word("exec")?;
    let (folder, record) = call.container(id)?;
    let config = folder.config_text()?;
    make::protect(&config)?;
    match folder.look(&record) {
        Status::Created | Status::Running => {}
        Status::Paused if line.has("ignore-paused") => {}
        Status::Paused => return Err(Error::status(id, "cannot exec in a paused container (use --ignore-paused to override)")),
        status => return Err(Error::status(id, format!("cannot exec in a {} container", status.as_str()))),
    }
    let wanted = wanted(line, || folder.program_of(&config))?;
    let stay = if line.has("detach") { Stay::Detached } else { Stay::Attached };
    check_terminal(line, &wanted, stay)?;
    let signals = (stay == Stay::Attached).then(Signals::hold).transpose()?;
    let mut running = join(call, line, (&folder, &record), &wanted)?;
    match signals {
        Some(signals) => make::stay(&mut running, &signals),
        None => Ok(DONE),
    }
}

/// Makes the program in the container's namespaces and cgroup.
fn join(call: &Call, line: &Line, (folder, record): (&Folder, &Record), wanted: &Process) -> Result<Running, Error> {
    let mut warnings = Vec::new();
    let (listening, variables) = make::listening();
    let mut wanted = wanted.clone();
    wanted.env.extend(variables);
    let preserved_descriptors = make::preserved_with(line, listening)?;
    let spec = folder.spec()?;
    let caller = Caller { keyring: Keyring::New, preserved_descriptors, rights: Rights::of(&spec.namespaces) };
    let mut process = translate::process(&wanted, "process", &caller, &mut warnings)?;
    warnings.iter().for_each(|warning| call.journal.warning(warning));
    // What a document of its own cannot say is the container's.
    let shares_mounts = spec.namespace(Kind::Mnt).is_none();
    process.seccomp = spec.process.seccomp;
    process.personality = spec.process.personality;
    process.landlock = spec.process.landlock;
    // Its rules are for good, so no exec may get past them (`plan::process::check_process`).
    process.no_new_privileges |= process.landlock.is_some();
    let first = record.first.ok_or_else(|| Error::status(&record.id, "cannot exec in a container that is being created"))?;
    let first = ProcessRef { pid: first.pid, start_ticks: first.start_ticks };
    let cgroup = ExecCgroup::Found(cgroup(line, &record.cgroup)?);
    let filters = Some(folder.filters());
    let exec = Exec { id: record.id.clone(), first, cgroup, process, state: spec.hooks.state, filters };
    let filter = seccomp::of_process(&exec.process, exec.filters.as_deref())?;
    // Its folders were found when it was made: where hierarchies are now is not asked.
    let facts = ExecFacts { filter, ..ExecFacts::of(first, Hierarchies::default())? };
    // Only in the mount namespace of both is the container's root a folder that can be entered (`TreeStep::Chroot`).
    if shares_mounts && facts.entered.contains(&Kind::Mnt) {
        return Err(Error::status(
            &record.id,
            "cannot exec from another mount namespace than that of who made the container, which it shares",
        ));
    }
    let plan = plan::make_exec(&exec, &facts)?;
    let (told, started) = apply::apply(&plan, Streams::Inherited);
    make::tell_steps(&plan, &told, &call.journal);
    let Some(started) = started else { return Err(make::step_failure(told.failure.as_ref())) };
    let mut running = Running { pidfd: started.pidfd, terminal: started.terminal, notice: None };
    let handed = make::hand_out(line, &mut running).and_then(|()| make::write_pid_file(line, started.pid));
    if handed.is_err() {
        // A program that nobody was told of ends at once.
        let _ = process_signal(&running.pidfd, KILL);
    }
    handed.map(|()| running)
}

/// The container's cgroup, or an existing one below it.
fn cgroup(line: &Line, own: &Cgroup) -> Result<Cgroup, Error> {
    let Some(wanted) = line.value("cgroup").filter(|wanted| !wanted.is_empty()) else { return Ok(own.clone()) };
    let refused = |problem: &str| Error::Refused(format!("--cgroup: {wanted:?} {problem}"));
    if wanted.contains(':') {
        return Err(refused("names a controller, which is not supported: name the path alone"));
    }
    if wanted.split('/').any(|name| name == "..") {
        return Err(refused("leads out of the container's cgroup"));
    }
    let below = own.below(wanted.trim_matches('/'));
    if below.exists() { Ok(below) } else { Err(refused("does not exist below the container's cgroup")) }
}

fn check_terminal(line: &Line, wanted: &Process, stay: Stay) -> Result<(), Error> {
    let has_socket = line.value("console-socket").is_some_and(|socket| !socket.is_empty());
    match (wanted.terminal, stay, has_socket) {
        (true, Stay::Detached, false) => {
            Err(Error::Refused("cannot allocate tty if runtime will detach without setting console socket".into()))
        }
        (false, _, true) | (true, Stay::Attached, true) => {
            Err(Error::Refused("cannot use console socket if runtime will not detach or allocate tty".into()))
        }
        _ => Ok(()),
    }
}

/// The program: a document of its own, or the container's with what the flags say.
fn wanted(line: &Line, own: impl FnOnce() -> Result<Process, crate::state::Error>) -> Result<Process, Error> {
    if let Some(file) = line.value("process").filter(|file| !file.is_empty()) {
        return Ok(document::read(Path::new(file))?);
    }
    let mut process = own()?;
    process.args = line.words[1..].to_vec();
    process.terminal = line.has("tty");
    process.console_size = None;
    // Those of the first process were a matter of its start.
    process.scheduler = None;
    process.env.extend(line.values("env").map(str::to_owned));
    if let Some(cwd) = line.value("cwd").filter(|cwd| !cwd.is_empty()) {
        process.cwd = cwd.to_owned();
    }
    if let Some(label) = line.value("process-label").filter(|label| !label.is_empty()) {
        process.selinux_label = label.to_owned();
    }
    if let Some(profile) = line.value("apparmor").filter(|profile| !profile.is_empty()) {
        process.apparmor_profile = profile.to_owned();
    }
    if line.has("no-new-privs") {
        process.no_new_privileges = true;
    }
    if line.value("cap").is_some() {
        let sets = process.capabilities.get_or_insert_with(Capabilities::default);
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(line.values("cap").map(str::to_owned));
        }
    }
    if let Some(user) = line.value("user").filter(|user| !user.is_empty()) {
        (process.user.uid, process.user.gid) = ids(user, process.user.gid)?;
    }
    for gid in line.values("additional-gids") {
        process.user.additional_gids.push(id("--additional-gids", gid)?);
    }
    Ok(process)
}

/// `UID[:GID]`, both plain numbers that fit: what wraps around becomes root (CVE-2024-40635, CVE-2026-30892).
fn ids(text: &str, gid: u32) -> Result<(u32, u32), Error> {
    match text.split_once(':') {
        Some((user, group)) => Ok((id("--user", user)?, id("--user", group)?)),
        None => Ok((id("--user", text)?, gid)),
    }
}

fn id(flag: &str, text: &str) -> Result<u32, Error> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The last one means "no id" to the kernel.
    let parsed = text.parse::<u32>().ok().filter(|id| all_digits && *id != u32::MAX);
    parsed.ok_or_else(|| Error::Refused(format!("{flag}: {text:?} is not an id: write a number, as in 1000 or 1000:1000")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_would_wrap_around_is_refused() {
        assert_eq!(ids("1", 7).unwrap(), (1, 7));
        assert_eq!(ids("1:2", 7).unwrap(), (1, 2));
        for wrong in ["", ":", "1:", ":1", "-1", "4294967295", "4294967296", "bob", "+1", "1:2:3", " 1"] {
            assert!(ids(wrong, 7).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_flags_change_the_containers_own_program() {
        let config = Process { cwd: "/".into(), env: vec!["A=1".into()], terminal: true, ..Process::default() };
        let words: Vec<String> = "-e B=2 -u 5:6 -g 7 -c CAP_KILL --cwd /tmp id ls -l".split(' ').map(str::to_owned).collect();
        let line = crate::flags::parse(FLAGS, Order::First, &words).expect("it is fine");
        let process = wanted(&line, || Ok(config)).expect("it is fine");
        assert_eq!(
            (process.args.as_slice(), process.env.as_slice()),
            (&["ls".to_owned(), "-l".into()][..], &["A=1".to_owned(), "B=2".into()][..])
        );
        assert_eq!((process.user.uid, process.user.gid, process.user.additional_gids.as_slice()), (5, 6, &[7][..]));
        assert_eq!((process.cwd.as_str(), process.terminal), ("/tmp", false));
        assert_eq!(process.capabilities.expect("one").effective, ["CAP_KILL"]);
    }
}
