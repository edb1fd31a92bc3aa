//! How the first process comes to be: into which namespaces, into which cgroup, and what the maker can set of it by its pid.
//!
//! A process is born in the maker's pid and time namespaces *for children*, and in all its others. So the maker itself goes into
//! what is to be joined, with the host's rights, and back again ([`Outside::leave`]); that needs no second fork. Only a user
//! namespace has to be entered by the process itself, because all that is new belongs to it; and then only a new pid
//! namespace needs a second process, since nobody can change its own.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use belljar_linux::board::Board;
use belljar_linux::error::Context;
use belljar_linux::process::{self, Cloned, Parent};
use belljar_linux::{Error, Result, attributes, environment, fd, namespace, owner, tree as paths};
use belljar_model::namespace::Kind;
use rustix::io::Errno;

use super::inside::{self, Inherited};
use super::line::Line;
use super::outside::{Outside, Started, no_child};
use super::{Report, Word, cgroup, told};
use crate::spec::{Clock, IdMap, IdMaps, Namespace, Source, TimeOffset};
use crate::step::ProcessStep;
use crate::step::process::{Birth, Joining};

/// Files that either side may have open beside the mounts that are handed over.
const FILES_BESIDE: u64 = 256;

impl Outside<'_> {
    /// Takes an outer step of the process.
    pub(super) fn take_of_process(&mut self, index: usize, step: &ProcessStep) -> Result<()> {
        let pid = self.pid;
        match step {
            ProcessStep::EnterNamespace { kind, path, inode } => self.enter(*kind, path, *inode),
            ProcessStep::SetClocks(offsets) => self.set_clocks(offsets),
            ProcessStep::FindTarget(target) => {
                self.target = Some(process::open(target.pid, target.start_ticks)?);
                Ok(())
            }
            ProcessStep::PrepareStart { folder } => {
                self.wait = Some(super::starting::prepare(folder)?);
                Ok(())
            }
            ProcessStep::Clone(birth) => self.clone(index, birth),
            ProcessStep::LeaveNamespaces(_) => self.leave(),
            ProcessStep::MapIds(ids) => self.map_ids(ids),
            ProcessStep::AdjustOomScore(score) => attributes::adjust_oom_score(pid, *score),
            ProcessStep::Schedule(scheduler) => attributes::schedule(pid, schedule_of(scheduler)),
            ProcessStep::PrioritiseIo(priority) => attributes::prioritise_io(pid, priority.class, priority.level),
            ProcessStep::Pin(processors) => attributes::pin(pid, processors),
            ProcessStep::Limit(limit) => {
                // Whose the process is decides who may: an exec's namespace was made by an earlier plan.
                let owner = namespace::open(pid, "user").and_then(|opened| namespace::owner(&opened))?;
                let limited = || attributes::limit(pid, &limit.resource, limit.soft, limit.hard);
                if owner == rustix::process::geteuid().as_raw() { limited() } else { owner::acting(owner, limited) }
            }
            ProcessStep::RunHook(run) => self.run_hook(run),
            ProcessStep::HandOverListener(run) => self.hand_over_listener(run),
            _ => Err(super::misplaced(step.verb(), &step.object())),
        }
    }

    fn enter(&mut self, kind: Kind, path: &std::path::Path, inode: Option<u64>) -> Result<()> {
        let opened = namespace::open_at(path, flag_of(kind), inode)?;
        self.left.push((kind, namespace::open(std::process::id() as i32, kind.as_str())?));
        namespace::enter(&opened, flag_of(kind))
    }

    /// The offsets can be written while the namespace has no process yet, and only by whoever unshared it.
    fn set_clocks(&mut self, offsets: &[TimeOffset]) -> Result<()> {
        self.left.push((Kind::Time, namespace::open(std::process::id() as i32, "time")?));
        namespace::unshare(namespace::CLONE_NEWTIME)?;
        let line = |offset: &TimeOffset| {
            let clock = match offset.clock {
                Clock::Monotonic => "monotonic",
                Clock::Boottime => "boottime",
            };
            (clock, offset.seconds, offset.nanoseconds)
        };
        let lines: Vec<_> = offsets.iter().map(line).collect();
        if lines.is_empty() { Ok(()) } else { namespace::set_clocks(&lines) }
    }

    /// Goes back to the maker's own namespaces, the last one entered first.
    pub(super) fn leave(&mut self) -> Result<()> {
        while let Some((kind, own)) = self.left.pop() {
            namespace::enter(&own, flag_of(kind))?;
        }
        Ok(())
    }

    /// Everything that the child needs from our side is opened before: afterwards it has no way to our files.
    fn clone(&mut self, index: usize, birth: &Birth) -> Result<()> {
        let entered = birth.entered.iter().map(open).collect::<Result<Vec<_>>>()?;
        let (unified, door) = match &birth.cgroup {
            Joining::AtBirth(folder) if self.is_in_cgroups_of_another() => (None, Some(self.open_door(folder)?)),
            Joining::AtBirth(folder) => (Some(paths::root(folder)?), None),
            Joining::Later => (None, None),
        };
        let (ours, theirs) = fd::message_pair()?;
        let board = Board::new(self.plan.steps.len())?;
        let streams = self.streams.take().ok_or_else(no_child)?;
        let new = flags_of(&birth.namespaces);
        // What is new is to belong to the user namespace that is entered first.
        let at_once = if entered.is_empty() { new } else { 0 };
        self.more_files = attributes::allow_files(self.plan.mounts_handed_over() as u64 + FILES_BESIDE);
        // The copy is seen by whoever is in its pid namespace already: it must not be looked into for one moment.
        // Where it can be all the same, by who has the host's ids and may trace, it has nothing of our caller's secrets.
        process::forbid_inspection()?;
        environment::forget()?;
        let cloned = match birth.owner {
            Some(owner) => owner::clone(owner, at_once as u64, unified.as_ref()),
            None => process::clone(at_once as u64, unified.as_ref(), Parent::This),
        };
        match cloned? {
            Cloned::Child => {
                drop(ours);
                if !entered.is_empty() {
                    enter_in_child(index, &theirs, &entered, new);
                }
                let (wait, target, more_files) = (self.wait.take(), self.target.take(), self.more_files.take());
                inside::run(self.plan, index, Inherited { socket: theirs, board, streams, wait, target, more_files })
            }
            Cloned::Parent { pid, pidfd } => {
                drop(theirs);
                (self.wait, self.target) = (None, None);
                self.pid = pid;
                self.child = Some(Started { pid, pidfd, terminal: None, listener: None });
                self.line = Some(Line::Socket { socket: ours, board });
                if let Some(mut door) = door {
                    door.write_all(pid.to_string().as_bytes()).context("join", || "cgroup".to_owned())?;
                }
                if !entered.is_empty() {
                    self.await_entry()?;
                }
                // Dropped after that: the other end of the outputs must end when the container's processes do.
                self.give_away(&streams)
            }
        }
    }

    fn is_in_cgroups_of_another(&self) -> bool {
        self.left.iter().any(|(kind, _)| *kind == Kind::Cgroup)
    }

    /// Where v2 is mounted with `nsdelegate`, as systemd does, nobody in the cgroup namespace of another can have a child born
    /// into a cgroup outside of it (ENOENT). By a file that was opened outside, the child can be put there (`cgroups(7)`).
    fn open_door(&self, folder: &std::path::Path) -> Result<std::fs::File> {
        let another = namespace::open(std::process::id() as i32, Kind::Cgroup.as_str())?;
        for (_, own) in self.left.iter().filter(|(kind, _)| *kind == Kind::Cgroup).take(1) {
            namespace::enter(own, flag_of(Kind::Cgroup))?;
        }
        let door = cgroup::open_for_joining(&folder.join("cgroup.procs"));
        namespace::enter(&another, flag_of(Kind::Cgroup))?;
        door
    }

    /// Waits until the child is in the namespaces that it enters itself. Where it had to make another process, that one is
    /// the container's first.
    fn await_entry(&mut self) -> Result<()> {
        let (report, mut passed) = self.line.as_ref().ok_or_else(no_child)?.hear()?;
        match report {
            Some(Report { outcome: Word::Done(_), .. }) => {}
            Some(Report { outcome: Word::Failed(cause), .. }) => return Err(Error::new("enter", cause, Errno::PERM)),
            _ => return Err(no_child()),
        }
        if let Some(pidfd) = passed.pop() {
            self.follow(process::pid_of(&pidfd)?, pidfd)?;
        }
        self.tree.user_namespace = Some(namespace::open(self.pid, "user")?);
        Ok(())
    }

    /// The child went on as another process, and ends.
    pub(super) fn follow(&mut self, pid: i32, pidfd: OwnedFd) -> Result<()> {
        let first = self.child.take().ok_or_else(no_child)?;
        self.pid = pid;
        self.child = Some(Started { pid, pidfd, terminal: None, listener: None });
        process::wait(&first.pidfd).map(drop)
    }

    fn map_ids(&mut self, ids: &IdMaps) -> Result<()> {
        let ranges = |maps: &[IdMap]| maps.iter().map(|map| (map.inside, map.outside, map.count)).collect::<Vec<_>>();
        namespace::map_ids(self.pid, &ranges(&ids.uids), &ranges(&ids.gids))?;
        self.tree.user_namespace = Some(namespace::open(self.pid, "user")?);
        Ok(())
    }
}

fn open(namespace: &Namespace) -> Result<(Kind, OwnedFd)> {
    match &namespace.source {
        Source::Path { path, inode } => Ok((namespace.kind, namespace::open_at(path, flag_of(namespace.kind), *inode)?)),
        Source::New => Err(super::misplaced("enter", "a new namespace")),
    }
}

/// The child's part: enters what it must, makes what is new there, and where that has a pid namespace goes on as another
/// process. Returns in the one that goes on.
fn enter_in_child(index: usize, socket: &OwnedFd, entered: &[(Kind, OwnedFd)], new: i32) {
    let send = |outcome: Word, passed: &[std::os::fd::BorrowedFd<'_>]| {
        let report = Report { index, took_nsec: 0, outcome };
        if fd::send(socket, &report.encode(), passed).is_err() {
            process::exit_now(1);
        }
    };
    match enter_all(entered, new) {
        Ok(Entry::Here) => send(Word::Done(String::new()), &[]),
        // The other one reports for both.
        Ok(Entry::Second) => {}
        Ok(Entry::Made(pidfd)) => {
            send(Word::Done(String::new()), &[pidfd.as_fd()]);
            process::exit_now(0)
        }
        Err(error) => {
            send(Word::Failed(told(&error)), &[]);
            process::exit_now(1)
        }
    }
}

/// Where the entry into namespaces ended.
enum Entry {
    /// In the process that began it.
    Here,
    /// In a second process, made by the first.
    Second,
    /// In the first one, which has made the second.
    Made(OwnedFd),
}

fn enter_all(entered: &[(Kind, OwnedFd)], new: i32) -> Result<Entry> {
    for (kind, opened) in entered {
        namespace::enter(opened, flag_of(*kind))
            .map_err(|error| Error::new("enter", format!("{} namespace", kind.as_str()), error.errno))?;
    }
    let (pid, others) = (new & namespace::CLONE_NEWPID, new & !namespace::CLONE_NEWPID);
    if others != 0 {
        namespace::unshare(others)?;
    }
    if pid == 0 {
        return Ok(Entry::Here);
    }
    match process::clone(pid as u64, None, Parent::Its)? {
        Cloned::Child => Ok(Entry::Second),
        Cloned::Parent { pidfd, .. } => Ok(Entry::Made(pidfd)),
    }
}

fn schedule_of(scheduler: &crate::spec::Scheduler) -> attributes::Schedule {
    attributes::Schedule {
        size: 0,
        policy: scheduler.policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime: scheduler.runtime_nsec,
        deadline: scheduler.deadline_nsec,
        period: scheduler.period_nsec,
    }
}

/// The kernel's flags for kinds of namespaces.
pub(super) fn flags_of(kinds: &[Kind]) -> i32 {
    kinds.iter().fold(0, |all, kind| all | flag_of(*kind))
}

/// The kernel's flag for a kind of namespace.
pub(super) fn flag_of(kind: Kind) -> i32 {
    match kind {
        Kind::Mnt => namespace::CLONE_NEWNS,
        Kind::Pid => namespace::CLONE_NEWPID,
        Kind::Net => namespace::CLONE_NEWNET,
        Kind::Uts => namespace::CLONE_NEWUTS,
        Kind::Ipc => namespace::CLONE_NEWIPC,
        Kind::User => namespace::CLONE_NEWUSER,
        Kind::Cgroup => namespace::CLONE_NEWCGROUP,
        Kind::Time => namespace::CLONE_NEWTIME,
    }
}
