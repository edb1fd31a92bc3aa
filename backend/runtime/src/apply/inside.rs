//! The first process's half: builds its tree, shuts the door behind itself, and becomes the program.
//!
//! It runs as a copy of its maker until the exec, in namespaces of its own. It never returns: every way out is an exec
//! or an exit.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use belljar_linux::attributes::MoreFiles;
use belljar_linux::board::Board;
use belljar_linux::error::Context;
use belljar_linux::landlock::Ruleset;
use belljar_linux::{Error, Result, attributes, fd, namespace, net, process, procfs::Procfs, seccomp, terminal, tree as paths};
use belljar_model::namespace::Kind;
use belljar_model::plan::Place;
use rustix::io::Errno;

use super::exec::Program;
use super::line::Line;
use super::starting::{self, Wait};
use super::{Report, Streams, Word, birth, cgroup, hooks, identity, tree};
use crate::plan::Plan;
use crate::seccomp::{Listener, Prepared};
use crate::spec::Keyring;
use crate::step::{CgroupStep, ProcessStep, Step, TreeStep};
use crate::user::Identity;

/// What it has from its maker.
pub(super) struct Inherited {
    /// The socket to it.
    pub(super) socket: OwnedFd,
    /// What both read and write.
    pub(super) board: Board,
    /// Where output goes.
    pub(super) streams: Streams,
    /// Where it is told to start.
    pub(super) wait: Option<Wait>,
    /// The first process of the container that it enters.
    pub(super) target: Option<OwnedFd>,
    /// Room for what is handed over.
    pub(super) more_files: Option<MoreFiles>,
}

impl Inherited {
    /// Lets go of every descriptor but these, the standard three, and those that go on to the program: what enters a
    /// container has nothing else of ours, should somebody look into it after all.
    fn keep_only(&self, preserved: u32) -> Result<()> {
        let mut kept = vec![self.socket.as_fd()];
        kept.extend(self.target.iter().map(AsFd::as_fd));
        kept.extend(self.wait.iter().flat_map(|wait| [&wait.words, &wait.held, &wait.reports]).map(AsFd::as_fd));
        if let Streams::Pipes { stdout, stderr } = &self.streams {
            kept.extend([stdout.as_fd(), stderr.as_fd()]);
        }
        fd::close_all_but(3 + preserved, &kept)
    }
}

/// Walks the steps after number `born`; never returns.
pub(super) fn run(plan: &Plan, born: usize, inherited: Inherited) -> ! {
    // Should the maker die now, nobody would know of this process.
    let preserved = plan.steps.iter().find_map(|step| match step {
        Step::Process(ProcessStep::CloseDescriptors { from }) => Some(from.saturating_sub(3)),
        _ => None,
    });
    let alone = process::die_with_parent().and_then(|()| process::forbid_inspection());
    if alone.and_then(|()| inherited.keep_only(preserved.unwrap_or_default())).is_err() {
        process::exit_now(1);
    }
    let mut inside = Inside {
        plan,
        first: 0,
        line: Line::Socket { socket: inherited.socket, board: inherited.board },
        wait: inherited.wait,
        target: inherited.target,
        tasks: Vec::new(),
        more_files: inherited.more_files,
        streams: Some(inherited.streams),
        tree: tree::Inside::default(),
        identity: None,
        has_terminal: false,
        proc: None,
        threads: None,
        outside_workdir: false,
        rules: None,
        passing: None,
        holding: None,
    };
    inside.walk(born);
    process::exit_now(1)
}

pub(super) struct Inside<'a> {
    pub(super) plan: &'a Plan,
    /// Number of the step that whoever listens calls 0.
    first: usize,
    line: Line,
    wait: Option<Wait>,
    target: Option<OwnedFd>,
    /// `tasks` of each v1 hierarchy, opened with the host's rights, until they are joined.
    tasks: Vec<File>,
    /// Until every mount has its place.
    more_files: Option<MoreFiles>,
    pub(super) streams: Option<Streams>,
    pub(super) tree: tree::Inside,
    pub(super) identity: Option<Identity>,
    /// It has a terminal.
    pub(super) has_terminal: bool,
    /// A `/proc` that knows it, where the container's own does not yet.
    proc: Option<Procfs>,
    /// Its threads, to be counted where it can no longer ask.
    threads: Option<process::Threads>,
    /// The working folder is not entered yet.
    pub(super) outside_workdir: bool,
    /// Landlock's rules, until they are in force.
    pub(super) rules: Option<Ruleset>,
    /// What goes outside with the report of the step that is being taken.
    pub(super) passing: Option<OwnedFd>,
    /// What is taken from here by whoever hears the report of the step that is being taken.
    holding: Option<OwnedFd>,
}

impl Inside<'_> {
    fn walk(&mut self, born: usize) {
        let mut turn = Place::Outside;
        let mut mounts_come = false;
        for (index, step) in self.plan.steps.iter().enumerate().skip(born + 1) {
            match (step.place(), turn) {
                (Place::Inside, Place::Outside) => match self.plan.joins_in_turn(index) {
                    Some((_, files)) if mounts_come || !files.is_empty() => self.await_descriptors(files.len()),
                    None if mounts_come => self.await_descriptors(0),
                    _ => self.await_turn(),
                },
                (Place::Outside, Place::Inside) => self.end_turn(index),
                _ => {}
            }
            if step.place() == Place::Inside {
                mounts_come = false;
                self.take_and_report(index, step);
            }
            mounts_come |= matches!(step, Step::Tree(TreeStep::HandOver { .. }));
            turn = step.place();
        }
    }

    fn end_turn(&self, index: usize) {
        if self.line.end_turn(index - self.first).is_err() {
            process::exit_now(1);
        }
    }

    fn await_turn(&mut self) {
        // The outside gave up, or is gone: nobody would know of the container that this would become.
        if !matches!(self.line.await_go(), Ok(true)) {
            process::exit_now(1);
        }
    }

    /// Waits for a turn that comes with so many cgroups to join, and then mounts.
    fn await_descriptors(&mut self, joined: usize) {
        match self.line.await_go_with_descriptors() {
            Ok(Some(taken)) if taken.len() >= joined => {
                let mut taken = taken.into_iter();
                self.tasks = taken.by_ref().take(joined).map(File::from).collect();
                self.tree.mounts.extend(taken.map(Some));
            }
            Ok(_) | Err(_) => process::exit_now(1),
        }
    }

    pub(super) fn report(&self, report: &Report) {
        let report = Report { index: report.index - self.first, ..report.clone() };
        let told = match &self.passing {
            Some(passing) => self.line.pass(&report, passing),
            None => self.line.say(&report),
        };
        if told.is_err() {
            process::exit_now(1);
        }
    }

    fn take_and_report(&mut self, index: usize, step: &Step) {
        let begun = Instant::now();
        let outcome = match step {
            Step::Cgroup(step) => self.take_of_cgroup(step),
            Step::Tree(step @ (TreeStep::Pivot | TreeStep::OpenRoot { .. })) => {
                self.more_files = None;
                self.tree.take(step)
            }
            Step::Tree(step) => self.tree.take(step),
            Step::Process(ProcessStep::AwaitStart) => self.await_start(index),
            Step::Process(ProcessStep::Appear) => self.appear(index),
            Step::Process(ProcessStep::Exec { arguments, environment, first }) => {
                Err(self.exec(index, &Program { arguments, environment, first: *first }))
            }
            Step::Process(step) => self.take_of_process(step),
        };
        let took_nsec = begun.elapsed().as_nanos() as u64;
        match outcome {
            // The process that it was before has told.
            Ok(()) if matches!(step, Step::Process(ProcessStep::Appear)) => {}
            Ok(()) => {
                let note = self.tree.note.take().unwrap_or_default();
                let holding = self.holding.take();
                let outcome = holding.as_ref().map_or(Word::Done(note), |holding| Word::Holds(holding.as_raw_fd()));
                self.report(&Report { index, took_nsec, outcome });
                if holding.is_some() {
                    self.await_turn();
                }
                self.passing = None;
            }
            Err(error) => {
                let cause = super::told(&error) + &self.of_limit(index, &error);
                self.report(&Report { index, took_nsec, outcome: Word::Failed(cause) });
                process::exit_now(1);
            }
        }
    }

    /// Says so where it is the program's own limit of open files that a step met.
    fn of_limit(&self, index: usize, error: &Error) -> String {
        let limit = self.plan.steps[..index].iter().rev().find_map(|step| match step {
            Step::Process(ProcessStep::Limit(limit)) if limit.resource == "NOFILE" => Some(limit.soft),
            _ => None,
        });
        let met = limit.filter(|_| error.errno == Errno::MFILE);
        met.map_or_else(String::new, |soft| format!(": RLIMIT_NOFILE of {soft} leaves too few to begin with"))
    }

    /// From here on nobody needs to live for it: the maker may end. Whoever tells it to start is listened to from then on, and
    /// counts the steps from this one.
    fn await_start(&mut self, index: usize) -> Result<()> {
        let wait = self.wait.take().ok_or_else(|| Error::new("find", "way for the start", Errno::BADF))?;
        rustix::process::set_parent_process_death_signal(None).context("outlive", || "maker".into())?;
        self.report(&Report { index, took_nsec: 0, outcome: Word::Waits });
        self.line = starting::await_word(wait)?.unwrap_or_else(|| process::exit_now(1));
        self.first = index;
        Ok(())
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
            ProcessStep::EnterTarget(kinds) => self.enter_target(kinds),
            ProcessStep::NewSession(keyring) => new_session(*keyring),
            ProcessStep::BecomeNamespaceRoot => identity::become_mortal(0, 0, &[]),
            ProcessStep::Unshare(kinds) => namespace::unshare(birth::flags_of(kinds)),
            ProcessStep::SetHostname(name) => nix::unistd::sethostname(name).context("set", || name.clone()),
            ProcessStep::SetDomainname(name) => attributes::set_domainname(name),
            ProcessStep::BringLoopbackUp => net::loopback_up(),
            ProcessStep::MakeTerminal { size, console } => self.make_terminal(*size, *console),
            ProcessStep::ConnectOutputs => self.connect_outputs(),
            ProcessStep::RunHook(run) => hooks::run(run, std::process::id() as i32),
            ProcessStep::SetPersonality(persona) => attributes::set_personality(*persona),
            ProcessStep::Label(label) => identity::set_label(label, self.proc.as_ref()),
            ProcessStep::CloseDescriptors { from } => {
                self.proc = None;
                fd::close_on_exec_from(*from)
            }
            ProcessStep::FindProgram { program, path } => super::exec::find(program, path),
            ProcessStep::SetUmask(mask) => set_umask(*mask),
            ProcessStep::BoundCapabilities { keep } => identity::bound_capabilities(keep),
            ProcessStep::BecomeUser(user) => self.become_user(user),
            ProcessStep::LimitCapabilities(capabilities) => identity::limit_capabilities(capabilities),
            ProcessStep::MakeWorkdir(path) => paths::make_folder(self.tree.root()?, path, 0o755).map(drop),
            ProcessStep::EnterWorkdir(path) => self.enter_workdir(path),
            ProcessStep::VerifyWorkdir(path) => self.verify_workdir(path),
            ProcessStep::ForbidNewPrivileges => process::forbid_new_privileges(),
            ProcessStep::PinProgram(processors) => attributes::pin(0, processors),
            ProcessStep::PrepareLandlock(rules) => self.prepare_landlock(rules),
            ProcessStep::EnforceLandlock => self.enforce_landlock(),
            ProcessStep::LoadSeccomp(filter) => self.load_filter(filter),
            _ => Err(super::misplaced(step.verb(), &step.object())),
        }
    }

    /// From here on it can be seen inside: by what is there already, which may even trace it. It leads a session of its own
    /// again, since the one that it had ends with the process that it was.
    fn appear(&mut self, index: usize) -> Result<()> {
        let begun = Instant::now();
        let threads = self.threads.take().ok_or_else(|| Error::new("find", "threads of this process", Errno::BADF))?;
        match process::clone_counted(threads, process::Parent::Its)? {
            process::Cloned::Parent { pid, .. } => {
                let took_nsec = begun.elapsed().as_nanos() as u64;
                self.report(&Report { index, took_nsec, outcome: Word::GoesOnAs(pid) });
                process::exit_now(0)
            }
            process::Cloned::Child => {
                process::die_with_parent()?;
                rustix::process::setsid().context("begin", || "session".into())?;
                if self.has_terminal {
                    terminal::make_controlling(rustix::stdio::stdin())?;
                }
                Ok(())
            }
        }
    }

    /// Whether it will go on as another process, which then is the one that leads its session.
    pub(super) fn will_appear(&self) -> bool {
        self.plan.steps.iter().any(|step| matches!(step, Step::Process(ProcessStep::Appear)))
    }

    /// Labels are given through the `/proc` of the pid namespace that a process is in, which is not the container's yet.
    fn will_be_labelled(&self) -> bool {
        self.plan.steps.iter().any(|step| matches!(step, Step::Process(ProcessStep::Label(_))))
    }

    /// All at once, so that each is entered with the rights that the user namespace gives. Then the root and the working folder
    /// are the container's, and nothing of the host can be named any more.
    fn enter_target(&mut self, kinds: &[Kind]) -> Result<()> {
        let target = self.target.take().ok_or_else(|| Error::new("find", "first process of the container", Errno::SRCH))?;
        if self.will_be_labelled() {
            self.proc = Some(Procfs::seen()?);
        }
        if self.will_appear() {
            // The container's /proc does not show us, and its filter may let nobody ask.
            self.threads = Some(process::Threads::open()?);
        }
        // One that shares our mounts is shut into a folder of them (`TreeStep::Chroot`), and so is what enters it.
        let shared = if kinds.contains(&Kind::Mnt) { None } else { Some(root_of(&target)?) };
        let flags = birth::flags_of(kinds);
        if flags != 0 {
            namespace::enter(&target, flags)?;
        }
        if let Some(root) = shared {
            paths::change_root(root)?;
        }
        self.tree.root = Some(paths::root(std::path::Path::new("/"))?);
        Ok(())
    }

    /// A listener is taken from here by whoever hears the report. Where somebody further out listens to us already, or the kernel is too old for
    /// a flag, the container gets its filter all the same, and nothing is recorded.
    fn load_filter(&mut self, filter: &Prepared) -> Result<()> {
        let strict = match &filter.listener {
            Listener::None => return seccomp::load(&filter.program, filter.flags),
            Listener::Agent { .. } => None,
            Listener::Recorder { strict, .. } => Some(strict),
        };
        match (seccomp::load_with_listener(&filter.program, filter.flags), strict) {
            (Ok(listener), _) => {
                self.holding = Some(listener);
                Ok(())
            }
            (Err(Error { errno: Errno::BUSY | Errno::INVAL, .. }), Some(strict)) => seccomp::load(strict, filter.flags),
            (Err(error), _) => Err(error),
        }
    }
}

/// What a process has as its root. It lived when that was opened, or its number may be somebody else's by now.
fn root_of(target: &OwnedFd) -> Result<OwnedFd> {
    let root = paths::root(std::path::Path::new(&format!("/proc/{}/root", process::pid_of(target)?)))?;
    process::signal(target, 0)?;
    Ok(root)
}

/// The mask is plain while the tree is made: what is made there has the modes that it is given.
fn new_session(keyring: Keyring) -> Result<()> {
    rustix::process::setsid().context("begin", || "session".into())?;
    set_umask(0o022)?;
    process::reset_signals()?;
    match keyring {
        Keyring::New => process::new_session_keyring(),
        Keyring::Inherited => Ok(()),
    }
}

fn set_umask(mask: u32) -> Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    Ok(())
}
