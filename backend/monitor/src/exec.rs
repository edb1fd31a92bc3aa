//! The process of one exec: makes a further program in a running container, waits for its end, and tells both.
//!
//! ```text
//! exec ──▶ server    {"started": …} or {"failed": …}, then {"ended": …}; one JSON document a message
//! server ──▶ exec    nothing but the socket's end: whoever asked is gone, or its time is up. The program is killed, with all
//!                    that it started: what is in its nest (`cgroup::Nest`), and what is still of its session
//! ```
//! It is forked from the spawner, which has one thread, and is as strict as a start: the plan is the core's own. Nothing of it
//! is on disk, and a server that comes back after a crash finds nothing of it.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use belljar_linux::error::Context;
use belljar_linux::process::{self, Ended, parse_stat};
use belljar_linux::{Result, fd};
use belljar_model::container::ProcessRef;
use belljar_model::{Failure, Signal};
use belljar_runtime::apply::{self, Started, Streams};
use belljar_runtime::cgroup::{Cgroup, Hierarchies, Nest};
use belljar_runtime::plan::{ExecFacts, make_exec};
use belljar_runtime::seccomp;
use belljar_runtime::spec::{Exec, ExecCgroup};
use rustix::event::{PollFd, PollFlags};
use serde::{Deserialize, Serialize};

/// Looks for what an exec started, while that starts more.
const LOOKS_MAX: u32 = 16;
/// How long the end of a program is waited for, once it is there.
const REAP_LIMIT: Duration = Duration::from_secs(1);

/// Longest message of an exec to the server, in bytes: a failure's cause is bounded by the core.
pub const WORD_BYTES_MAX: usize = 16 << 10;

/// What an exec tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The program runs.
    Started(ProcessRef),
    /// It could not be run. Nothing follows.
    Failed(Failure),
    /// It ended. Nothing follows.
    Ended {
        /// Exit code, where it exited.
        code: Option<u8>,
        /// The signal that ended it.
        signal: Option<Signal>,
    },
}

/// What an exec has from the spawner.
pub(crate) struct Inherited {
    /// The socket to the server.
    pub(crate) socket: OwnedFd,
    /// The order, as JSON.
    pub(crate) order: OwnedFd,
    /// Where the program writes.
    pub(crate) stdout: OwnedFd,
    /// Where its errors go.
    pub(crate) stderr: OwnedFd,
}

/// Carries the order out.
pub(crate) fn run(inherited: Inherited) {
    let Inherited { socket, order, stdout, stderr } = inherited;
    match begin(order, Streams::Pipes { stdout, stderr }) {
        Ok((started, first, place)) => {
            tell(&socket, &Word::Started(first));
            let ended = wait(&socket, &started, first, &place);
            tell(&socket, &ended);
        }
        Err(failure) => tell(&socket, &Word::Failed(failure)),
    }
}

/// Where the program is: in the container's cgroup, and where that was asked for and can be, in a folder of its own there.
struct Place {
    whole: Cgroup,
    nest: Option<Nest>,
}

fn begin(order: OwnedFd, streams: Streams) -> std::result::Result<(Started, ProcessRef, Place), Failure> {
    let failed = |error: belljar_linux::Error| Failure { step: error.operation.to_owned(), cause: error.cause(), object: error.subject };
    let mut exec = read(order).map_err(failed)?;
    let hierarchies = Hierarchies::probe().map_err(failed)?;
    let whole = exec.cgroup.cgroup(&hierarchies);
    // The pid is this watcher's own, which lives as long as the nest.
    let nest = matches!(exec.cgroup, ExecCgroup::Nest(_)).then(|| whole.nest(&format!("exec-{}", std::process::id()))).flatten();
    if let Some(nest) = &nest {
        exec.cgroup = ExecCgroup::Found(nest.joined().clone());
    }
    let refused = |invalid: belljar_model::Invalid| Failure { step: "plan".into(), object: invalid.field, cause: invalid.problem };
    let filter = seccomp::of_process(&exec.process, exec.filters.as_deref()).map_err(refused)?;
    let facts = ExecFacts { filter, ..ExecFacts::of(exec.first, hierarchies).map_err(failed)? };
    let plan = make_exec(&exec, &facts).map_err(refused)?;
    let (record, started) = apply::apply(&plan, streams);
    let unknown = || Failure { step: "exec".into(), object: exec.process.arguments.concat(), cause: "nobody knows why".into() };
    let started = started.ok_or_else(|| record.failure.unwrap_or_else(unknown))?;
    // One that has ended already is a zombie of ours, whose start can still be read.
    let start_ticks = process::start_ticks(started.pid).map_err(failed)?;
    let first = ProcessRef { pid: started.pid, start_ticks };
    Ok((started, first, Place { whole, nest }))
}

fn read(order: OwnedFd) -> Result<Exec> {
    use std::io::{Read as _, Seek as _};
    let mut file = std::fs::File::from(order);
    let mut text = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut text)).context("read", || "order".into())?;
    serde_json::from_slice(&text).map_err(|error| belljar_linux::Error::from_io("read", "order", &error.into()))
}

/// A server that is gone is told nothing.
fn tell(socket: &OwnedFd, word: &Word) {
    let _ = fd::send(socket, &serde_json::to_vec(word).unwrap_or_default(), &[]);
}

fn wait(socket: &OwnedFd, started: &Started, first: ProcessRef, place: &Place) -> Word {
    let mut is_wanted = true;
    loop {
        let mut polled = vec![PollFd::new(&started.pidfd, PollFlags::IN)];
        if is_wanted {
            polled.push(PollFd::new(socket, PollFlags::IN));
        }
        let waited = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None));
        let ended = waited.is_err() || !polled[0].revents().is_empty();
        if ended {
            break;
        }
        // The server never writes: whatever this is, it is its end.
        is_wanted = false;
        kill_session(started, first, &place.whole);
        // What left its nest by itself is found as its session; what left its session, in its nest.
        let _ = place.nest.as_ref().map(Nest::kill);
    }
    // A container that traces what is executed in it must not keep us here: there would be one more of us each time.
    match belljar_linux::ending::wait_within(&started.pidfd, REAP_LIMIT) {
        Ok(Some(Ended::Exited(code))) => Word::Ended { code: Some(code), signal: None },
        Ok(Some(Ended::Signaled(number))) => Word::Ended { code: None, signal: Signal::from_number(number) },
        Ok(None) | Err(_) => Word::Ended { code: None, signal: None },
    }
}

/// Kills the program and what it started: its session, and what descends from that. What made itself a session of its own *and* was
/// left by its parent before is not found so.
fn kill_session(started: &Started, first: ProcessRef, cgroup: &Cgroup) {
    let mut told = BTreeSet::new();
    for _ in 0..LOOKS_MAX {
        let family: Vec<Relation> = cgroup.processes().into_iter().filter_map(relation).collect();
        let new: Vec<i32> = descendants(first.pid, &family).into_iter().filter(|pid| told.insert(*pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            let Ok(start_ticks) = process::start_ticks(pid) else { continue };
            // Opened by pid and start: by now the pid may be another's.
            let _ = process::open(pid, start_ticks).and_then(|pidfd| process::signal(pidfd, Signal::KILL.number()));
        }
    }
    let _ = process::signal(&started.pidfd, Signal::KILL.number());
}

/// Whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Relation {
    pid: i32,
    parent: i32,
    session: i32,
}

/// What is of the session that `first` leads, and all that descends from that.
fn descendants(first: i32, family: &[Relation]) -> BTreeSet<i32> {
    let mut found = BTreeSet::from([first]);
    loop {
        let known = found.len();
        let is_of_it = |one: &&Relation| one.session == first || found.contains(&one.parent);
        let more: Vec<i32> = family.iter().filter(is_of_it).map(|one| one.pid).collect();
        found.extend(more);
        if found.len() == known {
            return found;
        }
    }
}

/// Parent and session of a process: the fourth and sixth field of its `stat` (`proc_pid_stat(5)`), the second and fourth after the
/// name in brackets.
fn relation(pid: i32) -> Option<Relation> {
    let line = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let line = String::from_utf8_lossy(&line).into_owned();
    parse_stat(&line)?;
    let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    Some(Relation { pid, parent, session: fields.nth(1)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_way() {
        let failure = Failure { step: "exec".into(), object: "nope".into(), cause: "ENOENT".into() };
        let ended = Word::Ended { code: None, signal: Some(Signal::KILL) };
        for word in [Word::Started(ProcessRef { pid: 7, start_ticks: 8 }), Word::Failed(failure), ended] {
            let json = serde_json::to_vec(&word).unwrap();
            assert!(json.len() < WORD_BYTES_MAX);
            assert_eq!(serde_json::from_slice::<Word>(&json).unwrap(), word);
        }
    }

    /// In a session of its own making: ours may be led from a pid namespace that this one does not see, and is 0 then.
    #[test]
    fn a_process_is_in_its_session() {
        use std::io::Read as _;
        let mut command = std::process::Command::new("setsid");
        command.args(["sh", "-c", "echo $$; read end"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let Ok(mut child) = command.spawn() else { return println!("skipped: needs setsid") };
        let mut said = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        let pid = child.id() as i32;
        let of = |pid| relation(pid).map(|relation| relation.session);
        assert_eq!((of(pid), of(std::process::id() as i32) == Some(pid)), (Some(pid), false));
        assert_eq!(relation(pid).map(|relation| relation.parent), Some(std::process::id() as i32));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(relation(0), None);
    }

    #[test]
    fn what_descends_from_a_session_is_found_whatever_session_it_made_itself() {
        let one = |pid, parent, session| Relation { pid, parent, session };
        // The container's own program, the exec, its child, a session of a grandchild's own and a child of that, an orphan of the
        // session, and a stranger.
        let family = [one(1, 0, 1), one(7, 1, 7), one(8, 7, 7), one(12, 9, 9), one(9, 8, 9), one(10, 1, 7), one(11, 1, 1)];
        assert_eq!(Vec::from_iter(descendants(7, &family)), [7, 8, 9, 10, 12]);
        assert_eq!(Vec::from_iter(descendants(99, &family)), [99]);
    }
}
