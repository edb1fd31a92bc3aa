//! The maker's half: makes what needs the host's rights, hands it over, and listens.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use belljar_linux::attributes::MoreFiles;
use belljar_linux::process;
use belljar_linux::{Error, Result, fd};
use belljar_model::Failure;
use belljar_model::namespace::Kind;
use belljar_model::plan::{Outcome, Place, PlanRecord};
use rustix::io::Errno;

use super::line::Line;
use super::starting::Wait;
use super::{Report, Word, cgroup, hooks, starting, streams, told, tree};
use crate::cgroup::Claim;
use crate::plan::Plan;
use crate::seccomp::agent;
use crate::spec::{IdMaps, Moment};
use crate::step::process::{HookRun, ListenerRun};
use crate::step::tree::TreeStep;
use crate::step::{CgroupStep, ProcessStep, Step};

/// Where the container's standard input, output and error go.
#[derive(Debug)]
pub enum Streams {
    /// Input is nothing; output and error are the writing ends of two pipes.
    Pipes {
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// The maker's own three.
    Inherited,
}

/// A container's first process, running its program or waiting for its start.
#[derive(Debug)]
pub struct Started {
    /// Its pid as the host sees it.
    pub pid: i32,
    /// A descriptor that means it and nobody else.
    pub pidfd: OwnedFd,
    /// The outer end of its terminal, where the plan made one.
    pub terminal: Option<OwnedFd>,
    /// What receives the calls that its filter does not answer itself.
    pub listener: Option<OwnedFd>,
}

/// Carries the plan out, to its end or to where the first process waits for its start. On failure everything that was made is
/// undone before this returns, and the record's `failure` says which step it was; the record is complete either way.
pub fn apply(plan: &Plan, streams: Streams) -> (PlanRecord, Option<Started>) {
    apply_meanwhile(plan, streams, |_| ())
}

/// [`apply`], and `meanwhile` once while the first process takes its first steps, or at the end where it was never waited for. It
/// is told the pid of the first process, 0 where there never was one, and is done before a hook runs outside. Nothing of the
/// container may depend on it but what hooks read, and what is read after this returns.
pub fn apply_meanwhile(plan: &Plan, streams: Streams, meanwhile: impl FnOnce(i32)) -> (PlanRecord, Option<Started>) {
    let mut meanwhile = Some(meanwhile);
    let mut once = |pid| meanwhile.take().into_iter().for_each(|work| work(pid));
    let mut outside = Outside::new(plan, Some(streams));
    outside.meanwhile = Some(&mut once);
    let outcome = outside.run();
    outside.work_meanwhile();
    match outcome {
        Ok(()) => {
            let record = outside.record();
            let (terminal, listener) = (outside.terminal, outside.filter_listener);
            (record, outside.child.map(|child| Started { terminal, listener, ..child }))
        }
        Err((index, cause)) => {
            outside.fail(index, cause);
            (outside.record(), None)
        }
    }
}

/// Tells a container that waits to begin: carries out what [`crate::plan::make_start`] left. `state_dir` is the spec's, `pid`
/// the first process's. An error means that nobody waits there ([`super::nobody_waits`]) or that it cannot be asked; a
/// failure of a step is the record's, and the first process has ended then.
pub fn start(plan: &Plan, state_dir: &Path, pid: i32) -> Result<PlanRecord> {
    let mut outside = Outside::new(plan, None);
    outside.pid = pid;
    outside.line = Some(starting::tell(state_dir)?);
    if let Err((index, cause)) = outside.run() {
        outside.fail(index, cause);
    }
    Ok(outside.record())
}

/// Carries out a plan without a process of its own: what is left to do after a container's start, whose first process is `pid`, or
/// after its end, where that is 0.
pub fn finish(plan: &Plan, pid: i32) -> PlanRecord {
    let mut outside = Outside::new(plan, None);
    outside.pid = pid;
    if let Err((index, cause)) = outside.run() {
        outside.fail(index, cause);
    }
    outside.record()
}

/// Undoes what outlasts processes and descriptors, the last step first. Everything else of a container that never came to
/// be went with its first process.
pub fn undo(plan: &Plan) {
    plan.steps.iter().rev().for_each(undo_step);
}

fn undo_step(step: &Step) {
    match step {
        Step::Cgroup(step) => cgroup::undo(step),
        Step::Process(ProcessStep::PrepareStart { folder }) => starting::take_away(folder),
        Step::Tree(_) | Step::Process(_) => {}
    }
}

/// A step that failed, and why.
type Failed = (usize, String);

/// Whether the other side goes on after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    /// It waits until it is told.
    Waits,
}

/// What became of a step.
#[derive(Debug, Default)]
struct Mark {
    outcome: Outcome,
    took_usec: Option<u64>,
    /// How it was taken differently from how it was planned.
    note: Option<String>,
}

pub(super) struct Outside<'a> {
    pub(super) plan: &'a Plan,
    pub(super) streams: Option<Streams>,
    /// What became of each step.
    marks: Vec<Mark>,
    failure: Option<Failure>,
    /// The last step that it came to.
    reached: usize,
    pub(super) child: Option<Started>,
    /// The first process; 0 before there is one.
    pub(super) pid: i32,
    pub(super) line: Option<Line>,
    pub(super) wait: Option<Wait>,
    /// The first process of a container that is entered.
    pub(super) target: Option<OwnedFd>,
    pub(super) tree: tree::Outside,
    /// Keep the cgroup for the first process.
    claims: Vec<Claim>,
    /// The outer end of the terminal that was made.
    terminal: Option<OwnedFd>,
    /// What receives the calls that the filter does not answer itself.
    filter_listener: Option<OwnedFd>,
    /// The maker's own namespaces, of the kinds that it is not in now.
    pub(super) left: Vec<(Kind, OwnedFd)>,
    /// Room for what is handed over, until it is.
    pub(super) more_files: Option<MoreFiles>,
    /// What is handed over with the inside's next turn.
    handed: Vec<OwnedFd>,
    /// Steps that the inside takes while the outside goes on.
    beside: Vec<usize>,
    /// What was heard of a later step than the one that is waited for.
    heard: Option<(Report, Vec<OwnedFd>)>,
    /// The last step inside is on its way: the line's end means that it succeeded.
    exec_begun: bool,
    /// What is done the first time that there is nothing to do but to wait for the inside.
    meanwhile: Option<&'a mut dyn FnMut(i32)>,
}

impl<'a> Outside<'a> {
    fn new(plan: &'a Plan, streams: Option<Streams>) -> Self {
        Self {
            plan,
            streams,
            marks: plan.steps.iter().map(|_| Mark::default()).collect(),
            failure: None,
            reached: 0,
            child: None,
            pid: 0,
            line: None,
            wait: None,
            target: None,
            tree: tree::Outside::default(),
            claims: Vec::new(),
            terminal: None,
            filter_listener: None,
            left: Vec::new(),
            more_files: None,
            handed: Vec::new(),
            beside: Vec::new(),
            heard: None,
            exec_begun: false,
            meanwhile: None,
        }
    }

    /// The steps in words, and what became of each. Nobody waits for the words before everything is done.
    fn record(&mut self) -> PlanRecord {
        let mut steps = self.plan.records();
        for (step, mark) in steps.iter_mut().zip(std::mem::take(&mut self.marks)) {
            (step.outcome, step.took_usec) = (mark.outcome, mark.took_usec);
            step.text.extend(mark.note);
        }
        PlanRecord { steps, failure: self.failure.take() }
    }

    fn work_meanwhile(&mut self) {
        if let Some(work) = self.meanwhile.take() {
            work(self.pid);
        }
    }

    fn run(&mut self) -> std::result::Result<(), Failed> {
        let plan = self.plan;
        for (index, step) in plan.steps.iter().enumerate() {
            self.reached = index;
            match step.place() {
                Place::Outside => {
                    if let Err(failed) = self.take_outside(index, step) {
                        // It may be for this only that the inside is gone, which then has said why.
                        self.catch_up()?;
                        return Err(failed);
                    }
                }
                Place::Inside if step.goes_on_beside() => self.beside.push(index),
                Place::Inside => {
                    self.catch_up()?;
                    if self.listen(index)? == Goes::Waits {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes an outer step, and gives the turn to the inside where that is the next.
    fn take_outside(&mut self, index: usize, step: &Step) -> std::result::Result<(), Failed> {
        let failed = |error: Error| (index, told(&error));
        let begun = Instant::now();
        self.take(index, step).map_err(failed)?;
        self.done(index, begun.elapsed().as_nanos() as u64);
        if self.plan.turns_inside_after(index) {
            self.open_tasks(index + 1)?;
            self.go().map_err(failed)?;
        }
        Ok(())
    }

    /// Waits until the inside has taken what it was left alone with.
    fn catch_up(&mut self) -> std::result::Result<(), Failed> {
        for index in std::mem::take(&mut self.beside) {
            self.listen(index)?;
        }
        Ok(())
    }

    fn take(&mut self, index: usize, step: &Step) -> Result<()> {
        match step {
            Step::Cgroup(step) => cgroup::take(step, self.child.as_ref(), &mut self.claims),
            Step::Tree(TreeStep::HandOver { .. }) => {
                self.handed = std::mem::take(&mut self.tree.mounts);
                Ok(())
            }
            Step::Tree(step) => self.tree.take(step),
            Step::Process(step) => self.take_of_process(index, step),
        }
    }

    /// What the turn that begins at `index` joins cgroups by is handed over before everything else.
    fn open_tasks(&mut self, index: usize) -> std::result::Result<(), Failed> {
        let Some((join, files)) = self.plan.joins_in_turn(index) else { return Ok(()) };
        let opened: Result<Vec<OwnedFd>> = files.iter().map(|path| Ok(cgroup::open_for_joining(path)?.into())).collect();
        self.handed.splice(..0, opened.map_err(|error| (join, told(&error)))?);
        Ok(())
    }

    fn go(&mut self) -> Result<()> {
        self.line.as_ref().ok_or_else(no_child)?.go(&self.handed)?;
        self.handed.clear();
        self.more_files = None;
        Ok(())
    }

    /// A hook after the fact cannot fail what is done: it is told with the step (OCI runtime specification 1.2, *Lifecycle*).
    pub(super) fn run_hook(&mut self, run: &HookRun) -> Result<()> {
        // What is written down meanwhile says which hooks were promised to follow, and what this one is run for.
        self.work_meanwhile();
        match hooks::run(run, self.pid) {
            Err(error) if matches!(run.moment, Moment::Poststart | Moment::Poststop) => {
                self.tree.note = Some(format!(": failed and passed over: {}", told(&error)));
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// A program may reopen its outputs by name (`/dev/stdout`), so they belong to the root of its user namespace, who gives
    /// them on to its user: what belongs to the host's root is nobody's inside.
    pub(super) fn give_away(&self, streams: &Streams) -> Result<()> {
        let Some(ids) = self.ids()? else { return Ok(()) };
        let owner = ids.root_uid().map(rustix::fs::Uid::from_raw);
        let group = ids.root_gid().map(rustix::fs::Gid::from_raw);
        let all = match streams {
            Streams::Pipes { stdout, stderr } => vec![stdout.as_fd(), stderr.as_fd()],
            Streams::Inherited => vec![rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()],
        };
        all.into_iter().filter(|stream| fd::is_pipe(*stream)).try_for_each(|stream| streams::give(stream, owner, group))
    }

    /// What ids the process has in a user namespace that is not ours: its own new one, one that it has joined, or that of the
    /// container that it enters.
    fn ids(&self) -> Result<Option<IdMaps>> {
        for step in &self.plan.steps {
            match step {
                Step::Process(ProcessStep::MapIds(ids)) => return Ok(Some(ids.clone())),
                Step::Process(ProcessStep::Clone(birth)) if birth.entered.iter().any(|entered| entered.kind == Kind::User) => {
                    return IdMaps::of_process(self.pid).map(Some);
                }
                Step::Process(ProcessStep::EnterTarget(kinds)) if kinds.contains(&Kind::User) => {
                    let target = self.plan.steps.iter().find_map(|step| match step {
                        Step::Process(ProcessStep::FindTarget(target)) => Some(*target),
                        _ => None,
                    });
                    let Some(target) = target else { return Ok(None) };
                    let ids = IdMaps::of_process(target.pid);
                    // It lived when they were read, or they may be somebody else's.
                    process::open(target.pid, target.start_ticks)?;
                    return ids.map(Some);
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Waits until the inside has taken this step.
    fn listen(&mut self, index: usize) -> std::result::Result<Goes, Failed> {
        let is_exec = matches!(self.plan.steps.get(index), Some(Step::Process(ProcessStep::Exec { .. })));
        loop {
            // Of the exec it says only that it begun.
            if let Some(took_nsec) = self.taken(index).filter(|_| !is_exec) {
                self.done(index, took_nsec);
                return Ok(Goes::On);
            }
            let (report, passed) = self.hear().map_err(|error| (index, told(&error)))?;
            match report {
                // It may have been late: what there was to hear was on the board before.
                Some(Report { index: next, outcome: Word::TurnEnds, .. }) if next < index || self.taken(index).is_some() => {}
                Some(report) if report.index > index && self.taken(index).is_some() => self.heard = Some((report, passed)),
                Some(Report { index, took_nsec, outcome: Word::Done(note) }) => {
                    self.tree.note = (!note.is_empty()).then_some(note);
                    self.keep(index, passed);
                    self.done(index, took_nsec);
                    return Ok(Goes::On);
                }
                Some(Report { index, took_nsec, outcome: Word::Holds(number) }) => {
                    self.take_listener(number).map_err(|error| (index, told(&error)))?;
                    self.done(index, took_nsec);
                    return Ok(Goes::On);
                }
                Some(Report { index, took_nsec, outcome: Word::GoesOnAs(pid) }) => {
                    // Our child, which nobody waits for but us: the pid is its own.
                    let followed = process::open_child(pid).and_then(|pidfd| self.follow(pid, pidfd));
                    followed.map_err(|error| (index, told(&error)))?;
                    self.done(index, took_nsec);
                    return Ok(Goes::On);
                }
                Some(Report { index, outcome: Word::Failed(cause), .. }) => return Err((index, cause)),
                Some(Report { index, took_nsec, outcome: Word::Begun }) => {
                    self.done(index, took_nsec);
                    self.exec_begun = true;
                }
                Some(Report { outcome: Word::Waits, .. }) => return Ok(Goes::Waits),
                Some(Report { outcome: Word::TurnEnds, .. }) => return Err((index, told(&no_child()))),
                None if is_exec && self.has_begun(index) => {
                    self.line = None;
                    return Ok(Goes::On);
                }
                None if self.taken(index).is_some() && !is_exec => {}
                None => return Err((index, self.how_it_died())),
            }
        }
    }

    /// How long a step took by the board.
    fn taken(&self, index: usize) -> Option<u64> {
        self.line.as_ref().and_then(|line| line.taken(index))
    }

    fn hear(&mut self) -> Result<(Option<Report>, Vec<OwnedFd>)> {
        self.work_meanwhile();
        match self.heard.take() {
            Some((report, passed)) => Ok((Some(report), passed)),
            None => self.line.as_ref().ok_or_else(no_child)?.hear(),
        }
    }

    /// Whether the exec was, at the line's end.
    fn has_begun(&mut self, index: usize) -> bool {
        if let Some(took_nsec) = self.taken(index) {
            self.done(index, took_nsec);
            self.exec_begun = true;
        }
        self.exec_begun
    }

    /// What a step inside made for us.
    fn keep(&mut self, index: usize, mut passed: Vec<OwnedFd>) {
        if let Some(Step::Process(ProcessStep::MakeTerminal { .. })) = self.plan.steps.get(index) {
            self.terminal = passed.pop();
        }
    }

    /// The filter that it belongs to stands already, and may not let it be sent.
    fn take_listener(&mut self, number: i32) -> Result<()> {
        // A container that is being started is no child of ours, and cannot have ended since it spoke: it waits for us.
        let opened = if self.child.is_none() { Some(process::open_child(self.pid)?) } else { None };
        let first = self.child.as_ref().map(|child| &child.pidfd).or(opened.as_ref()).ok_or_else(no_child)?;
        self.filter_listener = Some(process::take_descriptor(first, number)?);
        self.line.as_ref().ok_or_else(no_child)?.go(&[])
    }

    pub(super) fn hand_over_listener(&mut self, run: &ListenerRun) -> Result<()> {
        let missing = || Error::new("find", "listener of the filter", Errno::BADF);
        let listener = self.filter_listener.take().ok_or_else(missing)?;
        let state = hooks::state_of((&run.id, self.pid), run.status, &run.state)?;
        let told = agent::ProcessState::new(&run.state.oci_version, self.pid, run.metadata.clone(), state);
        agent::hand_over(&run.path, &told, &listener)
    }

    /// The first process ended without a word: killed, most likely for memory.
    fn how_it_died(&mut self) -> String {
        match self.child.take().map(|child| process::wait(&child.pidfd)) {
            Some(Ok(process::Ended::Signaled(9))) => "SIGKILL: killed while it was being made (is its memory limit too small?)".to_owned(),
            Some(Ok(ended)) => format!("ended while it was being made: {ended:?}"),
            _ => "ended while it was being made".to_owned(),
        }
    }

    fn done(&mut self, index: usize, took_nsec: u64) {
        if let Some(mark) = self.marks.get_mut(index) {
            *mark = Mark { outcome: Outcome::Done, took_usec: Some(took_nsec / 1000), note: self.tree.note.take().or(mark.note.take()) };
        }
    }

    fn fail(&mut self, index: usize, cause: String) {
        if let Some(mark) = self.marks.get_mut(index) {
            mark.outcome = Outcome::Failed;
        }
        self.failure = Some(self.plan.failure(index, cause));
        self.line = None;
        self.wait = None;
        self.tree.mounts.clear();
        // Whoever made it goes on with other things, in its own namespaces; where it cannot, it has nothing to go on for.
        let _ = self.leave();
        if let Some(child) = self.child.take() {
            // It may be gone already; reaping it is what matters.
            let _ = process::signal(&child.pidfd, 9);
            let _ = process::wait(&child.pidfd);
        }
        // What was reached, the step that failed included: it may have come half-way; and what the outside took meanwhile. Only the
        // making of a cgroup takes back by itself what it made: a folder that it refuses to share is somebody's.
        let reached = self.reached.max(index) + 1;
        for (step, mark) in self.plan.steps.iter().zip(&self.marks).take(reached).rev() {
            let is_whole = mark.took_usec.is_some();
            if is_whole || !matches!(step, Step::Cgroup(CgroupStep::Make { .. })) {
                undo_step(step);
            }
        }
    }
}

pub(super) fn no_child() -> Error {
    Error::new("find", "first process", Errno::CHILD)
}
