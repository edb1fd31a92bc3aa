//! The life of a monitor, from the spec to the exit.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use belljar_linux::error::Context;
use belljar_linux::process::{self, Ended as ProcessEnded};
use belljar_linux::{Error, Result, kmsg};
use belljar_model::container::ProcessRef;
use belljar_model::exit::{Cause, Exit, Failure, OutOfMemory, Victim};
use belljar_model::plan::PlanRecord;
use belljar_model::{Invalid, Signal};
use belljar_runtime::apply::{self, Started, Streams};
use belljar_runtime::cgroup::{Cgroup, Hierarchies};
use belljar_runtime::plan::{self, Facts, Plan};
use belljar_runtime::seccomp::record::Recorder;
use belljar_runtime::seccomp::{self, Prepared};
use belljar_runtime::spec::{Folders, Process};
use belljar_runtime::{Bundle, Spec};

use crate::denied::Denied;
use crate::record::{self, Alive, Ended};
use crate::{collect, log};

/// Makes the container of the spec at `path`, stays until it has ended, and notes how. `poke` is dropped as soon as there is
/// something to look at: that is how the server, if it is there, learns of it.
pub(crate) fn run(path: &Path, poke: OwnedFd) {
    let Some(_held) = hold(path) else { return };
    let Ok((spec, bundle)) = read_spec(path) else { return };
    let hierarchies = Hierarchies::probe();
    match hierarchies.and_then(|hierarchies| Monitor::new(&spec, &bundle, hierarchies)) {
        Ok(monitor) => monitor.run(poke),
        Err(error) => {
            let failure = Failure { step: error.operation.to_owned(), object: error.subject.clone(), cause: error.cause() };
            note_never_started(&spec, &bundle, failure);
        }
    }
}

/// Takes the container's folder for as long as this monitor lives (`flock(2)`; the container does not inherit it), before
/// the spec is read: a server that comes back after a crash and gets this lock knows that no monitor lives, takes the spec
/// away, and so keeps one that is still to come from making a container that nobody knows. `None`: another has it.
fn hold(spec: &Path) -> Option<std::fs::File> {
    let folder = std::fs::File::open(spec.parent()?).ok()?;
    folder.try_lock().is_ok().then_some(folder)
}

/// Whoever wrote the spec sees that nothing came of it: there is no record, and the monitor is gone.
fn read_spec(path: &Path) -> Result<(Spec, Bundle)> {
    let text = std::fs::read(path).context("read", || path.display().to_string())?;
    let broken = || Error::new("read", path.display().to_string(), rustix::io::Errno::INVAL);
    let spec: Spec = serde_json::from_slice(&text).map_err(|_| broken())?;
    let bundle = spec.bundle().map_err(|_| broken())?;
    Ok((spec, bundle))
}

fn note_never_started(spec: &Spec, bundle: &Bundle, failure: Failure) {
    let exit = Exit { cause: Cause::NeverStarted(failure), out_of_memory: None, at_ms: now_ms() };
    // Nothing more can be done where even this fails; the next look finds a start without a monitor, which is lost.
    let _ = record::write_ended(bundle, &Ended { attempt: spec.attempt, exit });
}

/// The filter of one of its processes. One that is not the default is compiled once for all that have it.
fn filter(spec: &Spec, process: &Process) -> std::result::Result<Option<Arc<Prepared>>, Invalid> {
    let folder = spec.folders.as_ref().map(Folders::filters);
    seccomp::of_process(process, folder.as_deref())
}

struct Monitor<'a> {
    spec: &'a Spec,
    bundle: &'a Bundle,
    hierarchies: Hierarchies,
    cgroup: Cgroup,
    log: log::Writer,
}

impl<'a> Monitor<'a> {
    fn new(spec: &'a Spec, bundle: &'a Bundle, hierarchies: Hierarchies) -> Result<Self> {
        let cgroup = spec.cgroup.cgroup(&hierarchies);
        let log = log::Writer::open(&bundle.log())?;
        Ok(Self { spec, bundle, hierarchies, cgroup, log })
    }

    fn run(mut self, poke: OwnedFd) {
        let plan = filter(self.spec, &self.spec.process).and_then(|filter| {
            let facts = Facts { hierarchies: self.hierarchies.clone(), filter };
            plan::make(self.spec, &facts)
        });
        match plan {
            Err(invalid) => {
                let failure = Failure { step: "plan".to_owned(), object: invalid.field, cause: invalid.problem };
                note_never_started(self.spec, self.bundle, failure);
            }
            Ok(plan) => {
                if let Err(error) = self.make_and_watch(&plan, poke) {
                    let failure = Failure { step: error.operation.to_owned(), object: error.subject.clone(), cause: error.cause() };
                    note_never_started(self.spec, self.bundle, failure);
                }
            }
        }
    }

    /// An error here means that the container never was; from its start on, everything is noted by itself.
    fn make_and_watch(&mut self, plan: &Plan, poke: OwnedFd) -> Result<()> {
        let (stdout, stdout_end) = pipe()?;
        let (stderr, stderr_end) = pipe()?;
        let (record, started) = apply::apply(plan, Streams::Pipes { stdout: stdout_end, stderr: stderr_end });
        // A full disk costs the page its list of steps, not the person the container.
        let _ = record::write_plan(self.bundle, &record);
        let Some(mut started) = started else {
            self.note_failure(&record);
            return Ok(());
        };
        if let Err(error) = self.note_alive(&started) {
            // Nobody would ever find this container again.
            let _ = process::signal(&started.pidfd, Signal::KILL.number());
            let _ = process::wait(&started.pidfd);
            apply::undo(plan);
            return Err(error);
        }
        drop(poke);
        let mut denied = self.denied(plan, &mut started);
        // Without a way to wait for output there is still a way to wait for the end, which comes next.
        let _ = collect::until_end(&started.pidfd, [stdout, stderr], &mut self.log, &mut denied);
        denied.iter_mut().for_each(Denied::finish);
        self.note_end(&started);
        Ok(())
    }

    fn note_failure(&self, record: &PlanRecord) {
        if let Some(failure) = record.failure.clone() {
            note_never_started(self.spec, self.bundle, failure);
        }
        self.clear_up();
    }

    /// The calls that the container's filter refuses, where they are counted.
    fn denied(&self, plan: &Plan, started: &mut Started) -> Option<Denied> {
        let recorder = plan.filter().and_then(Recorder::of)?;
        Some(Denied::begin(self.bundle, self.spec.attempt, started.listener.take()?, recorder))
    }

    fn note_alive(&self, started: &Started) -> Result<()> {
        let me = std::process::id() as i32;
        let monitor = ProcessRef { pid: me, start_ticks: process::start_ticks(me)? };
        let init = ProcessRef { pid: started.pid, start_ticks: process::start_ticks(started.pid)? };
        let alive = Alive { attempt: self.spec.attempt, monitor, init, started_at_ms: now_ms() };
        record::write_alive(self.bundle, &alive)
    }

    /// Counters are read before the cgroup goes; the end is on disk before the monitor, by whose end others learn of it.
    fn note_end(&self, started: &Started) {
        // It has ended, but keeps its name until it is reaped.
        let name = std::fs::read_to_string(format!("/proc/{}/comm", started.pid)).unwrap_or_default();
        let cause = match process::wait(&started.pidfd) {
            Ok(ProcessEnded::Exited(code)) => Cause::Exited { code },
            Ok(ProcessEnded::Signaled(number)) => Cause::Signaled { signal: Signal::from_number(number).unwrap_or(Signal::KILL) },
            Err(error) => Cause::Lost { why: error.to_string() },
        };
        let killed = matches!(cause, Cause::Signaled { signal: Signal::KILL });
        let first = killed.then(|| Victim { pid: started.pid, command: name.trim_end().to_owned() });
        let exit = Exit { cause, out_of_memory: self.out_of_memory(first), at_ms: now_ms() };
        // Where neither folder takes it, nothing more can be done: the next look finds an end without a record.
        let _ = record::write_ended(self.bundle, &Ended { attempt: self.spec.attempt, exit });
        self.clear_up();
        let _ = std::fs::remove_file(self.bundle.alive());
    }

    /// What is left is found by the supervisor's next look.
    fn clear_up(&self) {
        let _ = self.cgroup.kill_all();
        let _ = self.cgroup.remove();
    }

    /// `first` is the container's first process where that was killed: who it was, should the kernel's log be closed to us, as it
    /// is in most containers.
    fn out_of_memory(&self, first: Option<Victim>) -> Option<OutOfMemory> {
        let kills = self.cgroup.figure("memory", "memory_oom_kills").filter(|kills| *kills > 0)?;
        let victim = kmsg::last_kill(&self.cgroup.kernel_path()).ok().flatten();
        let victim = victim.map(|kill| Victim { pid: kill.pid, command: kill.command }).or(first);
        Some(OutOfMemory {
            kills,
            limit_bytes: self.cgroup.figure("memory", "memory_bytes_max"),
            peak_bytes: self.cgroup.figure("memory", "memory_bytes_peak"),
            victim,
            went_on: false,
        })
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("make", || "pipe".into())
}

pub(crate) fn now_usec() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

pub(crate) fn now_ms() -> i64 {
    now_usec() / 1000
}
