//! The maker's half: makes what needs the host's rights, hands it over, and listens.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Instant;

use belljar_linux::error::Context;
use belljar_linux::process::{self, Cloned};
use belljar_linux::{Error, Result, fd, namespace, tree as paths};
use belljar_model::namespace::Kind;
use belljar_model::plan::{Outcome, Place, PlanRecord};
use rustix::io::Errno;

use super::inside::{self, Inherited};
use super::{Report, Word, cgroup, told, tree};
use crate::plan::Plan;
use crate::spec::IdMaps;
use crate::step::process::Joining;
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

/// A container's first process, running its program.
#[derive(Debug)]
pub struct Started {
    /// Its pid as the host sees it.
    pub pid: i32,
    /// A descriptor that means it and nobody else.
    pub pidfd: OwnedFd,
    /// What receives the calls that its filter does not answer itself.
    pub listener: Option<OwnedFd>,
}

/// Carries the plan out. On failure everything that was made is undone before this returns, and the record's `failure` says
/// which step it was; the record is complete either way.
pub fn apply(plan: &Plan, streams: Streams) -> (PlanRecord, Option<Started>) {
    let mut outside = Outside::new(plan, streams);
    match outside.run() {
        Ok(started) => (outside.record, Some(started)),
        Err((index, cause)) => {
            outside.fail(index, cause);
            (outside.record, None)
        }
    }
}

/// Undoes what outlasts processes and descriptors, the last step first. Everything else of a container that never came to
/// be went with its first process.
pub fn undo(plan: &Plan) {
    plan.steps.iter().rev().for_each(undo_step);
}

fn undo_step(step: &Step) {
    match step {
        Step::Cgroup(step) => cgroup::undo(step),
        Step::Tree(_) | Step::Process(_) => {}
    }
}

/// A step that failed, and why.
type Failed = (usize, String);

struct Outside<'a> {
    plan: &'a Plan,
    streams: Option<Streams>,
    record: PlanRecord,
    child: Option<Started>,
    socket: Option<OwnedFd>,
    tree: tree::Outside,
    /// The last step inside is on its way: the socket's end means that it succeeded.
    exec_begun: bool,
}

impl<'a> Outside<'a> {
    fn new(plan: &'a Plan, streams: Streams) -> Self {
        Self {
            plan,
            streams: Some(streams),
            record: PlanRecord { steps: plan.records(), failure: None },
            child: None,
            socket: None,
            tree: tree::Outside::default(),
            exec_begun: false,
        }
    }

    fn run(&mut self) -> std::result::Result<Started, Failed> {
        let plan = self.plan;
        for (index, step) in plan.steps.iter().enumerate() {
            match step.place() {
                Place::Outside => {
                    let begun = Instant::now();
                    self.take(index, step).map_err(|error| (index, told(&error)))?;
                    self.done(index, begun.elapsed().as_nanos() as u64);
                    if plan.turns_inside_after(index) {
                        let socket = self.socket.as_ref().ok_or_else(|| (index, told(&no_child())))?;
                        super::go(socket).map_err(|error| (index, told(&error)))?;
                    }
                }
                Place::Inside => self.listen(index)?,
            }
        }
        self.child.take().ok_or_else(|| (plan.steps.len(), told(&no_child())))
    }

    fn take(&mut self, index: usize, step: &Step) -> Result<()> {
        match step {
            Step::Cgroup(step) => cgroup::take(step),
            Step::Tree(TreeStep::HandOver { .. }) => {
                let socket = self.socket.as_ref().ok_or_else(no_child)?;
                super::hand_over(socket, &std::mem::take(&mut self.tree.mounts))
            }
            Step::Tree(step) => self.tree.take(step),
            Step::Process(ProcessStep::Clone { namespaces, cgroup }) => self.clone(index, namespaces, cgroup),
            Step::Process(ProcessStep::MapIds(ids)) => self.map_ids(ids),
            Step::Process(step) => Err(super::misplaced(step.verb(), &step.object())),
        }
    }

    /// Everything that the child needs from our side is opened before: afterwards it has no way to our files.
    fn clone(&mut self, index: usize, namespaces: &[Kind], cgroup: &Joining) -> Result<()> {
        let tasks = self.open_tasks()?;
        let unified = match cgroup {
            Joining::AtBirth(folder) => Some(paths::root(folder)?),
            Joining::Later => None,
        };
        let (ours, theirs) = fd::message_pair()?;
        let flags = namespaces.iter().map(|kind| flag_of(*kind)).fold(0, |all, flag| all | flag);
        let streams = self.streams.take().ok_or_else(no_child)?;
        self.give_away(&streams)?;
        match process::clone(flags, unified.as_ref())? {
            Cloned::Child => {
                drop(ours);
                inside::run(self.plan, index, Inherited { socket: theirs, tasks, streams })
            }
            Cloned::Parent { pid, pidfd } => {
                // Dropped here: the other end of the outputs must end when the container's processes do.
                drop(streams);
                self.child = Some(Started { pid, pidfd, listener: None });
                self.socket = Some(ours);
                Ok(())
            }
        }
    }

    fn open_tasks(&self) -> Result<Vec<File>> {
        let files = self.plan.steps.iter().find_map(|step| match step {
            Step::Cgroup(CgroupStep::Join { files }) => Some(files),
            _ => None,
        });
        files.into_iter().flatten().map(|path| cgroup::open_for_joining(path)).collect()
    }

    /// A program may reopen its outputs by name (`/dev/stdout`), so they belong to the root of its user namespace, who gives
    /// them on to its user: what belongs to the host's root is nobody's inside.
    fn give_away(&self, streams: &Streams) -> Result<()> {
        let ids = self.plan.steps.iter().find_map(|step| match step {
            Step::Process(ProcessStep::MapIds(ids)) => Some(ids),
            _ => None,
        });
        let (Some(ids), Streams::Pipes { stdout, stderr }) = (ids, streams) else { return Ok(()) };
        let owner = ids.root_uid().map(rustix::fs::Uid::from_raw);
        let group = ids.root_gid().map(rustix::fs::Gid::from_raw);
        for output in [stdout, stderr] {
            rustix::fs::fchown(output, owner, group).context("give away", || "output".into())?;
        }
        Ok(())
    }

    fn map_ids(&mut self, ids: &IdMaps) -> Result<()> {
        let pid = self.child.as_ref().ok_or_else(no_child)?.pid;
        let ranges = |maps: &[crate::spec::IdMap]| maps.iter().map(|map| (map.inside, map.outside, map.count)).collect::<Vec<_>>();
        namespace::map_ids(pid, &ranges(&ids.uids), &ranges(&ids.gids))?;
        self.tree.user_namespace = Some(namespace::open(pid, "user")?);
        Ok(())
    }

    /// Waits until the inside has taken this step.
    fn listen(&mut self, index: usize) -> std::result::Result<(), Failed> {
        let mut message = [0; super::CAUSE_BYTES_MAX + 64];
        loop {
            let socket = self.socket.as_ref().ok_or_else(|| (index, told(&no_child())))?;
            let (length, passed) = fd::receive(socket, &mut message).map_err(|error| (index, told(&error)))?;
            match Report::decode(&message[..length]) {
                Some(Report { index, took_nsec, outcome: Word::Done(note) }) => {
                    self.tree.note = Some(note);
                    self.keep(index, passed);
                    self.done(index, took_nsec);
                    return Ok(());
                }
                Some(Report { index, outcome: Word::Failed(cause), .. }) => return Err((index, cause)),
                Some(Report { index, took_nsec, outcome: Word::Begun }) => {
                    self.done(index, took_nsec);
                    self.exec_begun = true;
                }
                None if self.exec_begun => {
                    self.socket = None;
                    return Ok(());
                }
                None => return Err((index, self.how_it_died())),
            }
        }
    }

    /// What a step inside made for us.
    fn keep(&mut self, index: usize, passed: Vec<OwnedFd>) {
        let loaded = matches!(self.plan.steps.get(index), Some(Step::Process(ProcessStep::LoadSeccomp(_))));
        if let Some(child) = self.child.as_mut().filter(|_| loaded) {
            child.listener = passed.into_iter().next();
        }
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
        if let Some(step) = self.record.steps.get_mut(index) {
            step.outcome = Outcome::Done;
            step.took_usec = Some(took_nsec / 1000);
            step.text.extend(self.tree.note.take());
        }
    }

    fn fail(&mut self, index: usize, cause: String) {
        if let Some(step) = self.record.steps.get_mut(index) {
            step.outcome = Outcome::Failed;
        }
        self.record.failure = Some(self.plan.failure(index, cause));
        self.socket = None;
        self.tree.mounts.clear();
        if let Some(child) = self.child.take() {
            // It may be gone already; reaping it is what matters.
            let _ = process::signal(&child.pidfd, 9);
            let _ = process::wait(&child.pidfd);
        }
        // What was reached, the step that failed included: it may have come half-way.
        self.plan.steps.iter().take(index + 1).rev().for_each(undo_step);
    }
}

fn no_child() -> Error {
    Error::new("find", "first process", Errno::CHILD)
}

fn flag_of(kind: Kind) -> u64 {
    let flag = match kind {
        Kind::Mnt => namespace::CLONE_NEWNS,
        Kind::Pid => namespace::CLONE_NEWPID,
        Kind::Net => namespace::CLONE_NEWNET,
        Kind::Uts => namespace::CLONE_NEWUTS,
        Kind::Ipc => namespace::CLONE_NEWIPC,
        Kind::User => namespace::CLONE_NEWUSER,
        Kind::Cgroup => namespace::CLONE_NEWCGROUP,
        Kind::Time => namespace::CLONE_NEWTIME,
    };
    flag as u64
}
