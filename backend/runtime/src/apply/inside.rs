//! The first process's half: builds its tree, shuts the door behind itself, and becomes the program.
//!
//! It runs as a copy of its maker until the exec, in namespaces of its own. It never returns: every way out is an exec
//! or an exit.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use belljar_linux::error::Context;
use belljar_linux::{Error, Result, capability, fd, namespace, net, process, seccomp, tree as paths};
use belljar_model::plan::Place;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::{Report, Streams, Word, cgroup, init, tree};
use crate::plan::Plan;
use crate::seccomp::{Listener, Prepared};
use crate::spec::User;
use crate::step::process::First;
use crate::step::{CgroupStep, ProcessStep, Step};
use crate::user::{self, Identity};

/// What it has from its maker.
pub(super) struct Inherited {
    /// The socket to it.
    pub(super) socket: OwnedFd,
    /// `tasks` of each v1 hierarchy, opened with the host's rights.
    pub(super) tasks: Vec<File>,
    /// Where output goes.
    pub(super) streams: Streams,
}

/// Walks the steps after number `born`; never returns.
pub(super) fn run(plan: &Plan, born: usize, inherited: Inherited) -> ! {
    // Should the maker die now, nobody would know of this process.
    if process::die_with_parent().and_then(|()| process::forbid_inspection()).is_err() {
        process::exit_now(1);
    }
    let mut inside = Inside {
        socket: inherited.socket,
        tasks: inherited.tasks,
        streams: Some(inherited.streams),
        tree: tree::Inside::default(),
        keep: rustix::thread::CapabilitySet::empty(),
        identity: None,
        made: Vec::new(),
    };
    let mut turn = Place::Outside;
    for (index, step) in plan.steps.iter().enumerate().skip(born + 1) {
        if step.place() == Place::Inside {
            if turn == Place::Outside {
                inside.await_turn();
            }
            inside.take_and_report(index, step);
        }
        turn = step.place();
    }
    process::exit_now(1)
}

/// Becomes another user, and still dies with the maker: the kernel forgets that wish when ids change.
fn become_mortal(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    process::become_user(uid, gid, groups)?;
    process::die_with_parent()
}

struct Inside {
    socket: OwnedFd,
    tasks: Vec<File>,
    streams: Option<Streams>,
    tree: tree::Inside,
    keep: rustix::thread::CapabilitySet,
    identity: Option<Identity>,
    /// What the step at hand made for the outside.
    made: Vec<OwnedFd>,
}

/// What is executed at the end.
struct Program<'a> {
    arguments: &'a [String],
    environment: &'a [String],
    first: First,
}

impl Inside {
    fn await_turn(&mut self) {
        match super::await_turn(&self.socket) {
            Ok(Some(taken)) => self.tree.mounts.extend(taken.into_iter().map(Some)),
            // The outside gave up, or is gone: nobody would know of the container that this would become.
            Ok(None) | Err(_) => process::exit_now(1),
        }
    }

    fn report(&mut self, report: &Report) {
        let made = std::mem::take(&mut self.made);
        let made: Vec<_> = made.iter().map(AsFd::as_fd).collect();
        if fd::send(&self.socket, &report.encode(), &made).is_err() {
            process::exit_now(1);
        }
    }

    fn take_and_report(&mut self, index: usize, step: &Step) {
        let begun = Instant::now();
        let outcome = match step {
            Step::Cgroup(step) => self.take_of_cgroup(step),
            Step::Tree(step) => self.tree.take(step),
            Step::Process(ProcessStep::Exec { arguments, environment, first }) => {
                Err(self.exec(index, &Program { arguments, environment, first: *first }))
            }
            Step::Process(step) => self.take_of_process(step),
        };
        let took_nsec = begun.elapsed().as_nanos() as u64;
        match outcome {
            Ok(()) => {
                let note = self.tree.note.take().unwrap_or_default();
                self.report(&Report { index, took_nsec, outcome: Word::Done(note) });
            }
            Err(error) => {
                let cause = super::told(&error);
                self.report(&Report { index, took_nsec, outcome: Word::Failed(cause) });
                process::exit_now(1);
            }
        }
    }

    fn take_of_cgroup(&mut self, step: &CgroupStep) -> Result<()> {
        match step {
            CgroupStep::Join { .. } => cgroup::join(&mut self.tasks),
            CgroupStep::Unshare => namespace::unshare_cgroup(),
            _ => Err(super::misplaced(step.verb(), &step.object())),
        }
    }

    fn take_of_process(&mut self, step: &ProcessStep) -> Result<()> {
        match step {
            ProcessStep::NewSession { keyring, umask } => new_session(*keyring, *umask),
            ProcessStep::BecomeNamespaceRoot => become_mortal(0, 0, &[]),
            ProcessStep::SetHostname(name) => nix::unistd::sethostname(name).context("set", || name.clone()),
            ProcessStep::BringLoopbackUp => net::loopback_up(),
            ProcessStep::ConnectOutputs => self.connect_outputs(),
            ProcessStep::BoundCapabilities { keep } => self.bound_capabilities(keep),
            ProcessStep::BecomeUser(user) => self.become_user(user),
            ProcessStep::LimitCapabilities => capability::keep_only(self.keep),
            ProcessStep::MakeWorkdir(path) => paths::make_folder(self.tree.root()?, path, 0o755).map(drop),
            ProcessStep::EnterWorkdir(path) => self.enter_workdir(path),
            ProcessStep::ForbidNewPrivileges => process::forbid_new_privileges(),
            ProcessStep::CloseDescriptors => fd::close_on_exec_from(3),
            ProcessStep::LoadSeccomp(filter) => self.load_filter(filter),
            _ => Err(super::misplaced(step.verb(), &step.object())),
        }
    }

    fn connect_outputs(&mut self) -> Result<()> {
        let path = "/dev/null";
        // Looked at before it is opened: a pipe in its place would never answer.
        let is_device = self.tree.existing(path)?.is_some_and(|(_, kind)| kind == FileType::CharacterDevice);
        if !is_device {
            return Err(Error::new("open", format!("{path}: not a device"), Errno::NODEV));
        }
        let null = paths::open(self.tree.root()?, path, OFlags::RDONLY | OFlags::NOFOLLOW)?;
        fd::replace_standard(null, fd::Standard::Input)?;
        let Some(Streams::Pipes { stdout, stderr }) = self.streams.take() else { return Ok(()) };
        fd::replace_standard(&stdout, fd::Standard::Output)?;
        fd::replace_standard(&stderr, fd::Standard::Error)
    }

    fn bound_capabilities(&mut self, keep: &[String]) -> Result<()> {
        for name in keep {
            self.keep |= capability::by_name(name).ok_or_else(|| Error::new("find", format!("capability {name}"), Errno::INVAL))?;
        }
        capability::bound(self.keep)
    }

    fn become_user(&mut self, user: &User) -> Result<()> {
        let identity = user::identity(self.tree.root()?, user)?;
        for output in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
            let (owner, group) = (rustix::fs::Uid::from_raw(identity.uid), rustix::fs::Gid::from_raw(identity.gid));
            rustix::fs::fchown(output, Some(owner), Some(group)).context("give", || "outputs to the user".into())?;
        }
        become_mortal(identity.uid, identity.gid, &identity.groups)?;
        self.identity = Some(identity);
        Ok(())
    }

    /// Entered with the user's own rights, and checked to lie inside (CVE-2024-21626).
    fn enter_workdir(&self, path: &str) -> Result<()> {
        let folder = paths::open(self.tree.root()?, path, OFlags::PATH | OFlags::DIRECTORY)?;
        rustix::process::fchdir(&folder).context("enter", || path.to_owned())?;
        let inside = std::env::current_dir().is_ok_and(|now| now.is_absolute());
        if inside { Ok(()) } else { Err(Error::new("enter", path, Errno::XDEV)) }
    }

    /// A listener goes outside with the report. Where somebody further out listens to us already, or the kernel is too old for
    /// a flag, the container gets its filter all the same, and nothing is recorded.
    fn load_filter(&mut self, filter: &Prepared) -> Result<()> {
        let strict = match &filter.listener {
            Listener::None => return seccomp::load(&filter.program, filter.flags),
            Listener::Agent { .. } => None,
            Listener::Recorder { strict, .. } => Some(strict),
        };
        match (seccomp::load_with_listener(&filter.program, filter.flags), strict) {
            (Ok(listener), _) => {
                self.made.push(listener);
                Ok(())
            }
            (Err(Error { errno: Errno::BUSY | Errno::INVAL, .. }), Some(strict)) => seccomp::load(strict, filter.flags),
            (Err(error), _) => Err(error),
        }
    }

    /// Becomes the program; returns only the reason why not.
    fn exec(&mut self, index: usize, program: &Program<'_>) -> Error {
        match self.prepare_exec(program) {
            Ok((candidates, arguments, environment)) => {
                // The death of the monitor from here on is the supervisor's to notice: containers outlive it.
                let _ = rustix::process::set_parent_process_death_signal(None);
                if program.first == First::Init
                    && let Err(error) = init::split()
                {
                    return error;
                }
                self.report(&Report { index, took_nsec: 0, outcome: Word::Begun });
                try_each(&candidates, &arguments, &environment)
            }
            Err(error) => error,
        }
    }

    fn prepare_exec(&self, program: &Program<'_>) -> Result<(Vec<CString>, Vec<CString>, Vec<CString>)> {
        let text = |text: &String| CString::new(text.as_str()).map_err(|_| Error::new("exec", text.clone(), Errno::INVAL));
        let arguments = program.arguments.iter().map(text).collect::<Result<Vec<_>>>()?;
        let mut environment = program.environment.iter().map(text).collect::<Result<Vec<_>>>()?;
        let variable = |key: &str| program.environment.iter().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        if variable("HOME").is_none() {
            let home = self.identity.as_ref().map_or("/", |identity| &identity.home);
            environment.push(text(&format!("HOME={home}"))?);
        }
        let name = program.arguments.first().cloned().unwrap_or_default();
        let candidates = candidates(&name, variable("PATH").unwrap_or(crate::spec::DEFAULT_PATH));
        Ok((candidates.iter().map(text).collect::<Result<Vec<_>>>()?, arguments, environment))
    }
}

fn new_session(keyring: crate::spec::Keyring, umask: u32) -> Result<()> {
    rustix::process::setsid().context("begin", || "session".into())?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
    process::reset_signals()?;
    match keyring {
        crate::spec::Keyring::New => process::new_session_keyring(),
        crate::spec::Keyring::Inherited => Ok(()),
    }
}

/// Where a program may be: as it is where it has a slash, else below each folder of `PATH` (`execvp(3)`).
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let folder =
        |folder: &str| if folder.is_empty() { format!("./{program}") } else { format!("{}/{program}", folder.trim_end_matches('/')) };
    path.split(':').map(folder).collect()
}

/// Tries each; a folder without the program goes on to the next, one whose file may not be run is remembered.
fn try_each(candidates: &[CString], arguments: &[CString], environment: &[CString]) -> Error {
    let mut worst = Errno::NOENT;
    for candidate in candidates {
        let errno = match nix::unistd::execve(candidate, arguments, environment) {
            Err(errno) => Errno::from_raw_os_error(errno as i32),
            Ok(never) => match never {},
        };
        match errno {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => worst = errno,
            other => return Error::new("exec", "", other),
        }
    }
    Error::new("exec", "", worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_up_as_a_shell_would() {
        assert_eq!(candidates("sh", "/usr/bin:/bin/"), ["/usr/bin/sh", "/bin/sh"]);
        assert_eq!(candidates("./run", "/bin"), ["./run"]);
        assert_eq!(candidates("x", ":/bin"), ["./x", "/bin/x"]);
    }
}
