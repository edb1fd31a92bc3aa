//! The monitor's half: makes what needs the host's rights, hands it over, and listens.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use belljar_linux::error::Context;
use belljar_linux::mount::{self, Attributes, Depth};
use belljar_linux::process::{self, Cloned};
use belljar_linux::{Error, Result, fd, namespace, tree};
use belljar_model::namespace::Kind;
use belljar_model::plan::{Outcome, PlanRecord};
use rustix::io::Errno;

use super::inside::{self, Inherited};
use super::{Report, Word, overlay};
use crate::plan::Plan;
use crate::spec::Spec;
use crate::step::{Access, Joining, Owners, Step};

/// Where the container's standard output and error go: the writing ends of two pipes.
#[derive(Debug)]
pub struct Outputs {
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// A container's first process, running its program.
#[derive(Debug)]
pub struct Started {
    /// Its pid as the host sees it.
    pub pid: i32,
    /// A descriptor that means it and nobody else.
    pub pidfd: OwnedFd,
}

/// Carries the plan out. On failure everything that was made is undone before this returns, and the record's `failure` says
/// which step it was; the record is complete either way.
pub fn apply(plan: &Plan, spec: &Spec, outputs: Outputs) -> (PlanRecord, Option<Started>) {
    let mut outside = Outside::new(plan, spec, outputs);
    match outside.run() {
        Ok(started) => (outside.record, Some(started)),
        Err((index, cause)) => {
            outside.fail(index, cause);
            (outside.record, None)
        }
    }
}

/// Undoes what outlasts processes and descriptors: the cgroup. Everything else of a container that never came to be went
/// with its first process.
pub fn undo(plan: &Plan) {
    for step in plan.steps.iter().rev() {
        if let Step::MakeCgroup { folders, .. } = step {
            for folder in folders {
                // A folder that could not be removed is found, and told, by the supervisor's next look.
                let _ = std::fs::remove_dir(folder);
            }
        }
    }
}

/// A step that failed, and why.
type Failed = (usize, String);

struct Outside<'a> {
    plan: &'a Plan,
    spec: &'a Spec,
    outputs: Option<Outputs>,
    record: PlanRecord,
    child: Option<Started>,
    socket: Option<OwnedFd>,
    user_namespace: Option<OwnedFd>,
    mounts: Vec<OwnedFd>,
    /// What the step that is being taken has to say beside its time.
    note: Option<String>,
}

impl<'a> Outside<'a> {
    fn new(plan: &'a Plan, spec: &'a Spec, outputs: Outputs) -> Self {
        Self {
            plan,
            spec,
            outputs: Some(outputs),
            record: PlanRecord { steps: plan.records(), failure: None },
            child: None,
            socket: None,
            user_namespace: None,
            mounts: Vec::new(),
            note: None,
        }
    }

    fn run(&mut self) -> std::result::Result<Started, Failed> {
        let plan = self.plan;
        for (index, step) in plan.steps[..plan.inside_begins()].iter().enumerate() {
            let begun = Instant::now();
            self.take(step).map_err(|error| (index, told(&error)))?;
            self.done(index, begun.elapsed().as_nanos() as u64);
        }
        self.listen()
    }

    fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::FillInitLayer { layer, hostname } => super::init_layer::fill(layer, hostname),
            Step::MakeCgroup { name, folders } => folders.iter().try_for_each(|folder| make_cgroup(name, folder)),
            Step::Limit(write) => write.apply(),
            Step::Clone { namespaces, cgroup } => self.clone(namespaces, cgroup),
            Step::MapIds { base, count } => self.map_ids(*base, *count),
            Step::Overlay { mount, owners } => {
                overlay::prepare(mount)?;
                let made = match (owners, &self.user_namespace) {
                    (Owners::Mapped(base), Some(user_namespace)) => {
                        process::with_file_ids(*base, || overlay::make(mount, Some(user_namespace.as_fd())))?
                    }
                    _ => overlay::make(mount, None)?,
                };
                self.mounts.push(made);
                Ok(())
            }
            Step::TakeBind { source, access, owners, .. } => self.take_bind(source, *access, *owners),
            Step::HandOver { .. } => {
                let socket = self.socket.as_ref().ok_or_else(no_child)?;
                super::hand_over(socket, &std::mem::take(&mut self.mounts))
            }
            // The plan keeps the two places apart; a step of the other one here is our own mistake, told and not made.
            _ => Err(Error::new("take", format!("{step} outside"), Errno::NOSYS)),
        }
    }

    /// Everything that the child needs from our side is opened before: afterwards it has no way to our files.
    fn clone(&mut self, namespaces: &[Kind], cgroup: &Joining) -> Result<()> {
        let joining = self.plan.steps.iter().find_map(|step| match step {
            Step::JoinCgroup { files } => Some(files),
            _ => None,
        });
        let tasks = joining.into_iter().flatten().map(open_for_writing).collect::<Result<Vec<_>>>()?;
        let unified = match cgroup {
            Joining::AtBirth(folder) => Some(tree::root(folder)?),
            Joining::Later => None,
        };
        let (ours, theirs) = fd::message_pair()?;
        let flags = namespaces.iter().map(|kind| flag_of(*kind)).fold(0, |all, flag| all | flag);
        let outputs = self.outputs.take().ok_or_else(no_child)?;
        self.give_away(&outputs)?;
        match process::clone(flags, unified.as_ref())? {
            Cloned::Child => {
                drop(ours);
                inside::run(self.plan, self.spec, Inherited { socket: theirs, tasks, outputs })
            }
            Cloned::Parent { pid, pidfd } => {
                // Dropped here: the other end of the outputs must end when the container's processes do.
                drop(outputs);
                self.child = Some(Started { pid, pidfd });
                self.socket = Some(ours);
                Ok(())
            }
        }
    }

    /// A program may reopen its outputs by name (`/dev/stdout`), so they belong to the root of its user namespace, who gives
    /// them on to its user: what belongs to the host's root is nobody's inside.
    fn give_away(&self, outputs: &Outputs) -> Result<()> {
        let Some(base) = self.spec.uid_base else { return Ok(()) };
        let (owner, group) = (rustix::fs::Uid::from_raw(base), rustix::fs::Gid::from_raw(base));
        for output in [&outputs.stdout, &outputs.stderr] {
            rustix::fs::fchown(output, Some(owner), Some(group)).context("give away", || "output".into())?;
        }
        Ok(())
    }

    fn map_ids(&mut self, base: u32, count: u32) -> Result<()> {
        let pid = self.child.as_ref().ok_or_else(no_child)?.pid;
        namespace::map_ids(pid, base, count)?;
        self.user_namespace = Some(namespace::open(pid, "user")?);
        Ok(())
    }

    fn take_bind(&mut self, source: &Path, access: Access, owners: Owners) -> Result<()> {
        // What is mounted below comes along, as people expect of a bind; owners are shifted on the mount itself.
        let taken = mount::clone_tree(source, Depth::All)?;
        if let Some(user_namespace) = self.user_namespace.as_ref().filter(|_| owners != Owners::AsTheyAre) {
            match mount::map_ids(&taken, user_namespace, Depth::One) {
                // The next safest: its files belong to nobody inside, and the step says so.
                Err(error) if error.errno == Errno::INVAL => self.note = Some(cannot_map(source)),
                mapped => mapped?,
            }
        }
        let read_only = if access == Access::ReadOnly { Attributes::MOUNT_ATTR_RDONLY } else { mount::no_attributes() };
        mount::set_attributes(&taken, read_only | Attributes::MOUNT_ATTR_NODEV | Attributes::MOUNT_ATTR_NOSUID, Depth::All)?;
        self.mounts.push(taken);
        Ok(())
    }

    /// Reads reports until the socket ends.
    fn listen(&mut self) -> std::result::Result<Started, Failed> {
        let mut next = self.plan.inside_begins();
        let mut exec_begun = false;
        let mut message = [0; super::CAUSE_BYTES_MAX + 64];
        let Some(socket) = self.socket.take() else { return Err((next, no_child().cause())) };
        loop {
            let received = fd::receive(&socket, &mut message).map_err(|error| (next, told(&error)))?;
            match Report::decode(&message[..received.0]) {
                Some(Report { index, took_nsec, outcome: Word::Done }) => {
                    self.done(index, took_nsec);
                    next = index + 1;
                }
                Some(Report { index, outcome: Word::Failed(cause), .. }) => return Err((index, cause)),
                Some(Report { index, took_nsec, outcome: Word::Begun }) => {
                    self.done(index, took_nsec);
                    exec_begun = true;
                }
                None if exec_begun => return self.child.take().ok_or((next, no_child().cause())),
                None => return Err((next, self.how_it_died())),
            }
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
            step.text.extend(self.note.take());
        }
    }

    fn fail(&mut self, index: usize, cause: String) {
        if let Some(step) = self.record.steps.get_mut(index) {
            step.outcome = Outcome::Failed;
        }
        self.record.failure = Some(self.plan.failure(index, cause));
        self.socket = None;
        self.mounts.clear();
        if let Some(child) = self.child.take() {
            // It may be gone already; reaping it is what matters.
            let _ = process::signal(&child.pidfd, 9);
            let _ = process::wait(&child.pidfd);
        }
        undo(self.plan);
    }
}

/// The cause alone where the subject is the step's own; with the subject where it says more.
fn told(error: &Error) -> String {
    if error.subject.is_empty() { error.cause() } else { format!("{} ({} {})", error.cause(), error.operation, error.subject) }
}

fn no_child() -> Error {
    Error::new("find", "first process", Errno::CHILD)
}

fn cannot_map(source: &Path) -> String {
    let filesystem = mount::filesystem_of(source).unwrap_or_else(|_| "unknown".to_owned());
    format!(": its file system, {filesystem}, cannot map owners, so they stay as they are and read as nobody")
}

fn make_cgroup(name: &str, folder: &Path) -> Result<()> {
    let made = match std::fs::create_dir(folder) {
        // Another engine mounted this hierarchy after the server had made its own folder in every other.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = name.split_once('/').map_or(name, |(parent, _)| parent);
            crate::cgroup::Hierarchies::probe()?.prepare(parent)?;
            std::fs::create_dir(folder)
        }
        made => made,
    };
    match made {
        // Left by a start that was cut off; it has no processes, or the join would have found the container alive.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.context("make", || folder.display().to_string()),
    }
}

fn open_for_writing(path: impl AsRef<Path>) -> Result<File> {
    let path = path.as_ref();
    File::options().write(true).open(path).context("open", || path.display().to_string())
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
