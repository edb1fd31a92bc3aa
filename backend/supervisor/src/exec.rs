//! A further program in a running container: started by a process of the spawner's, never by this one, which has threads. What
//! it writes is handed on as it comes; whoever stops reading ends it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use belljar_linux::error::Context;
use belljar_model::exec::{Exec, OUTPUT_BYTES_MAX, Ran};
use belljar_model::machine::{Verdict, admit_exec};
use belljar_model::{Container, ContainerId, EventKind, NewEvent};
use belljar_monitor::exec::{WORD_BYTES_MAX, Word};
use belljar_runtime::spec;
use belljar_store::Durability;
use tokio::net::unix::pipe;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::launch::{START_LIMIT, Watched, next_word, watched};
use crate::shared::Shared;
use crate::task::command_words;
use crate::{Error, Notice, inspect};

/// Most execs at once, of all containers: each is a process of ours, and three descriptors.
pub(crate) const EXECS_MAX: usize = 128;
/// Bytes of an output that are handed on at once.
const PIECE_BYTES: usize = 32 << 10;
/// How long a killed program may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Something that a program did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// It wrote this.
    Stdout(Vec<u8>),
    /// It wrote this on its error output.
    Stderr(Vec<u8>),
    /// It ended; the outputs in here are empty. Nothing follows.
    Ended(Ran),
}

/// A program that runs in a container. Dropping it kills it, with what is still of its session.
#[derive(Debug)]
pub struct Running {
    tells: Watched,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    begun: Instant,
    /// When it is killed; once it was, when it is given up.
    deadline: Instant,
    lateness: Lateness,
    life: Life,
    _place: OwnedSemaphorePermit,
}

/// Where a program is in its life.
#[derive(Debug)]
enum Life {
    Runs,
    /// It ended; what it had written may still be in the pipes.
    Ended(Ran),
    /// And that was told.
    Told,
}

/// Runs what a person asked for, which is an event. Returns when it runs; a program that could not begin is an error that says
/// which step failed.
pub(crate) async fn start(shared: &Arc<Shared>, id: &ContainerId, exec: Exec) -> Result<Running, Error> {
    let container = shared.registry.snapshot(id)?;
    let no_place = || Error::Unavailable { because: format!("{EXECS_MAX} programs are run in containers just now; ask again later") };
    let place = Arc::clone(&shared.execs).try_acquire_owned().map_err(|_| no_place())?;
    let (told, asked) = (container.clone(), exec.clone());
    let running = begin(shared, container, exec, (place, Leftovers::Stay)).await?;
    tell(shared, &told, &asked).await;
    Ok(running)
}

/// What becomes of what a program left behind that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftovers {
    /// What left its session and its parent stays: a person may have wanted that.
    Stay,
    /// All of it is killed.
    Go,
}

/// Runs it in a container as that was seen, and holds the place until it has ended.
pub(crate) async fn begin(
    shared: &Arc<Shared>,
    container: Container,
    exec: Exec,
    (place, leftovers): (OwnedSemaphorePermit, Leftovers),
) -> Result<Running, Error> {
    let name = container.config.name.clone();
    if let Verdict::No(because) = admit_exec(container.state) {
        return Err(Error::Refused { name, because });
    }
    let mut order = order(shared, &container, &exec)?;
    if leftovers == Leftovers::Go {
        order.cgroup = order.cgroup.nested();
    }
    let begun = Instant::now();
    let failed = |error: belljar_linux::Error| Error::failed("run a program in", name.to_string(), error);
    let (stdout, stdout_end) = output().map_err(failed)?;
    let (stderr, stderr_end) = output().map_err(failed)?;
    let launched = Arc::clone(shared);
    let tells = crate::blocking(move || launched.launcher.exec(&order, stdout_end, stderr_end)).await.map_err(failed)?;
    let tells = watched(tells).map_err(|error| Error::failed("wait for", "a program", error))?;
    let deadline = begun + Duration::from_millis(exec.time_limit_ms);
    let running = Running {
        tells,
        stdout: Some(stdout),
        stderr: Some(stderr),
        begun,
        deadline,
        lateness: Lateness::InTime,
        life: Life::Runs,
        _place: place,
    };
    match tokio::time::timeout(START_LIMIT, next_word(&running.tells, WORD_BYTES_MAX)).await {
        Ok(Some(Word::Started(_))) => Ok(running),
        Ok(Some(Word::Failed(failure))) => Err(Error::ExecFailed { name, failure }),
        _ => Err(Error::Unavailable { because: format!("a program could not be run in {name}: nothing came of it") }),
    }
}

/// The container may have been started by an earlier server: what it was made of is in its bundle.
fn order(shared: &Shared, container: &Container, exec: &Exec) -> Result<spec::Exec, Error> {
    let gone = || Error::Refused { name: container.config.name.clone(), because: "has just ended" };
    let first = container.init.ok_or_else(gone)?;
    let path = shared.bundle(&container.id).spec();
    let unread = || Error::Unavailable {
        because: format!(
            "{} was started by an earlier version, which did not note what is needed: restart it first",
            container.config.name
        ),
    };
    let spec = inspect::written_spec(&path).ok_or_else(unread)?;
    Ok(spec::Exec::of(&spec, first, exec))
}

fn output() -> belljar_linux::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("make", || "pipe".into())?;
    Ok((pipe::Receiver::from_owned_fd(ours).context("read", || "pipe".into())?, theirs))
}

/// Every exec is an event. One that could not be recorded ran all the same.
async fn tell(shared: &Shared, container: &Container, exec: &Exec) {
    let message = format!("ran {}", command_words(&exec.command));
    let message = exec.user.as_ref().map_or(message.clone(), |user| format!("{message}, as {user}"));
    let event = NewEvent {
        at_ms: now_ms(),
        kind: EventKind::Exec,
        container: Some(container.id.clone()),
        subject: container.config.name.to_string(),
        message,
    };
    match shared.store.tell(event, Durability::Deferred).await {
        Ok(Some(event)) => shared.notify(Notice::Event(event)),
        Ok(None) => {}
        Err(error) => {
            tracing::error!(container.id = container.id.short(), error = crate::error::chain(&error), "an exec could not be recorded")
        }
    }
}

impl Running {
    /// What it did next; `None` after its end was told. Cancel safe.
    pub async fn next(&mut self) -> Option<Piece> {
        while matches!(self.life, Life::Runs) {
            tokio::select! {
                piece = read(&mut self.stdout) => if let Some(piece) = piece { return Some(Piece::Stdout(piece)) },
                piece = read(&mut self.stderr) => if let Some(piece) = piece { return Some(Piece::Stderr(piece)) },
                word = next_word(&self.tells, WORD_BYTES_MAX) => self.life = Life::Ended(self.ran(word)),
                () = tokio::time::sleep_until(self.deadline) => self.hurry(),
            }
        }
        // What it had written before its end comes before that. Others may hold the pipes open (a program that was left in the
        // background): nobody waits for those.
        if let Some(piece) = read_now(&mut self.stdout) {
            return Some(Piece::Stdout(piece));
        }
        if let Some(piece) = read_now(&mut self.stderr) {
            return Some(Piece::Stderr(piece));
        }
        match std::mem::replace(&mut self.life, Life::Told) {
            Life::Ended(ran) => Some(Piece::Ended(ran)),
            Life::Runs | Life::Told => None,
        }
    }

    /// Its time is up: it is killed. Where it is not gone in time even then, nobody waits for it any more.
    fn hurry(&mut self) {
        if self.lateness == Lateness::TimedOut {
            self.life = Life::Ended(self.ran(None));
            return;
        }
        // Its watcher takes this for our end; what it still has to say comes all the same.
        let _ = rustix::net::shutdown(self.tells.get_ref(), rustix::net::Shutdown::Write);
        self.lateness = Lateness::TimedOut;
        self.deadline = Instant::now() + KILL_LIMIT;
    }

    fn ran(&self, word: Option<Word>) -> Ran {
        let took_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (code, signal) = match word {
            Some(Word::Ended { code, signal }) => (code, signal),
            // Its watcher was killed: what became of it nobody knows.
            _ => (None, None),
        };
        Ran { code, signal, timed_out: self.lateness == Lateness::TimedOut, took_ms, ..Ran::default() }
    }

    /// All of it: waits for the end, and keeps of each output as much as an answer holds.
    pub async fn finish(mut self) -> Ran {
        let (mut stdout, mut stderr, mut truncated) = (Vec::new(), Vec::new(), false);
        let mut keep = |kept: &mut Vec<u8>, piece: Vec<u8>| {
            let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
            truncated |= piece.len() > room;
            kept.extend(piece.into_iter().take(room));
        };
        let mut ran = Ran::default();
        while let Some(piece) = self.next().await {
            match piece {
                Piece::Stdout(piece) => keep(&mut stdout, piece),
                Piece::Stderr(piece) => keep(&mut stderr, piece),
                Piece::Ended(ended) => ran = ended,
            }
        }
        Ran { stdout, stderr, truncated, ..ran }
    }
}

/// Whether its time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lateness {
    InTime,
    TimedOut,
}

/// The next piece of an output; `None` once at its end, and from then on never again.
async fn read(output: &mut Option<pipe::Receiver>) -> Option<Vec<u8>> {
    let Some(pipe) = output else { return std::future::pending().await };
    let mut piece = Vec::new();
    loop {
        if pipe.readable().await.is_err() {
            break;
        }
        piece.resize(PIECE_BYTES, 0);
        match pipe.try_read(&mut piece) {
            Ok(0) => break,
            Ok(length) => {
                piece.truncate(length);
                return Some(piece);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    *output = None;
    None
}

fn read_now(output: &mut Option<pipe::Receiver>) -> Option<Vec<u8>> {
    use std::os::fd::AsFd as _;
    let pipe = output.as_ref()?;
    let mut piece = vec![0; PIECE_BYTES];
    // Asked of the kernel itself: what the runtime knows of the pipe may be older than the end.
    match rustix::io::read(pipe.as_fd(), &mut piece[..]) {
        Ok(length @ 1..) => {
            piece.truncate(length);
            Some(piece)
        }
        _ => {
            *output = None;
            None
        }
    }
}
