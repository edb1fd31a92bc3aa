//! The process that makes monitors: executed once by the server while that has one thread, then forks one per start.
//!
//! ```text
//! server ──▶ spawner    path of a spec, and the writing end of a pipe
//! monitor ──▶ server    nothing but the pipe's end: look
//! server ──▶ spawner    `exec`, and a socket, the order, two pipes: see [`crate::exec`]
//! server ──▶ spawner    `files`, and a socket, the order, an end of a pipe: see [`crate::files`]
//! ```
//! The socket's end is the server's end: the spawner ends too, its monitors go on.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use belljar_linux::error::Context;
use belljar_linux::process::{self, Children};
use belljar_linux::{Result, executable, fd};
use belljar_runtime::spec::Exec;
use rustix::io::Errno;

use serde::Serialize;

use crate::exec::Inherited;
use crate::files::{self, Order};

/// What asks for an exec.
const EXEC: &[u8] = b"exec";
/// What asks for an operation on files.
const FILES: &[u8] = b"files";
/// Longest path of a spec, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// The server's end. When it is dropped, the spawner ends; monitors go on.
#[derive(Debug)]
pub struct Spawner {
    program: PathBuf,
    /// Replaced when the spawner is found dead.
    socket: Mutex<OwnedFd>,
}

impl Spawner {
    /// Executes `program monitor` (`/proc/self/exe` for the program that calls this). It gets its end of the socket as its
    /// standard input, and the caller's standard error.
    pub fn launch(program: &Path) -> Result<Self> {
        Ok(Self { program: program.to_owned(), socket: Mutex::new(execute(program)?) })
    }

    /// Asks for a monitor of the spec at `path`. Returns the reading end of a pipe: its end means that there is something to
    /// look at ([`crate::look`]), or that nothing came of it. A spawner that somebody killed is executed again.
    pub fn start(&self, path: &Path) -> Result<OwnedFd> {
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("make", || "pipe".into())?;
        self.send(path.as_os_str().as_bytes(), &[theirs.as_fd()])?;
        Ok(ours)
    }

    /// Asks for a further program in a container. What it writes goes to `stdout` and `stderr`; what becomes of it is told
    /// over the socket that is returned ([`crate::exec::Word`]), whose end kills it.
    pub fn exec(&self, order: &Exec, stdout: OwnedFd, stderr: OwnedFd) -> Result<OwnedFd> {
        let (ours, theirs) = fd::message_pair()?;
        let order = written(order)?;
        self.send(EXEC, &[theirs.as_fd(), order.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        Ok(ours)
    }

    /// Asks for one operation on files. The archive goes through `data`, where there is one; what becomes of it is told over the
    /// socket that is returned ([`crate::files::Word`]), whose end ends it.
    pub fn files(&self, order: &Order, data: Option<OwnedFd>) -> Result<OwnedFd> {
        let (ours, theirs) = fd::message_pair()?;
        let (order, data) = (written(order)?, data.map_or_else(nothing, Ok)?);
        self.send(FILES, &[theirs.as_fd(), order.as_fd(), data.as_fd()])?;
        Ok(ours)
    }

    fn send(&self, message: &[u8], passed: &[BorrowedFd<'_>]) -> Result<()> {
        // Nothing that holds the lock can panic half-way through a change.
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        match fd::send(&*socket, message, passed) {
            Err(error) if matches!(error.errno, Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                *socket = execute(&self.program)?;
                fd::send(&*socket, message, passed)
            }
            sent => sent,
        }
    }
}

/// An order in memory: it may be longer than a message, and is nobody's to find on a disk.
fn written(order: &impl Serialize) -> Result<OwnedFd> {
    use std::io::Write as _;
    let memory = rustix::fs::memfd_create("order", rustix::fs::MemfdFlags::CLOEXEC).context("make", || "order".into())?;
    let json = serde_json::to_vec(order).map_err(|error| belljar_linux::Error::from_io("write", "order", &error.into()))?;
    let mut file = std::fs::File::from(memory);
    file.write_all(&json).context("write", || "order".into())?;
    Ok(file.into())
}

fn execute(program: &Path) -> Result<OwnedFd> {
    let (ours, theirs) = fd::message_pair()?;
    let mut command = Command::new(program);
    // Without the server's environment, which may hold secrets: what enters a container can be looked into by whoever there
    // has the host's user ids and may trace.
    command.arg0("belljar").arg("monitor").env_clear().stdin(Stdio::from(theirs)).stdout(Stdio::null());
    // Dropped without waiting: the spawner ends when we do, and is nobody's zombie before.
    command.spawn().context("execute", || format!("{} monitor", program.display()))?;
    Ok(ours)
}

/// The spawner itself: what `belljar monitor` does. To be called before anything is opened. Returns when the server is gone.
pub fn serve() -> Result<()> {
    // First of all: this program is executed once more for it. Containers that share the host's root user are made by it, too.
    executable::protect()?;
    fd::close_inherited()?;
    let socket = fd::adopt(0)?;
    // A second end of the socket in every monitor would keep the server from seeing that the spawner is dead.
    fd::replace_standard(&nothing()?, fd::Standard::Input)?;
    // Ctrl-C in the server's terminal is for the server alone.
    rustix::process::setsid().context("begin", || "session".into())?;
    process::treat_children(Children::Forgotten)?;
    process::set_name(c"belljar-spawner")?;
    // Compiled here once, and in every monitor that is forked from here.
    let _ = belljar_runtime::seccomp::default_filter();
    let mut buffer = [0; PATH_BYTES_MAX];
    loop {
        let (length, mut passed) = match fd::receive(&socket, &mut buffer) {
            // The pipe was lost, so the server sees its end, and that nothing came of it.
            Err(error) if matches!(error.errno, Errno::MFILE | Errno::MSGSIZE) => continue,
            received => received?,
        };
        let path = Path::new(OsStr::from_bytes(&buffer[..length]));
        match passed.pop() {
            None if length == 0 => return Ok(()),
            None => {}
            // No path begins so: those of specs are absolute.
            Some(stderr) if &buffer[..length] == EXEC => {
                if let (Some(stdout), Some(order), Some(tells)) = (passed.pop(), passed.pop(), passed.pop())
                    && let Ok(None) = process::fork()
                {
                    drop(socket);
                    become_exec(Inherited { socket: tells, order, stdout, stderr });
                }
            }
            Some(data) if &buffer[..length] == FILES => {
                if let (Some(order), Some(tells)) = (passed.pop(), passed.pop())
                    && let Ok(None) = process::fork()
                {
                    drop(socket);
                    become_files(files::Inherited { socket: tells, order, data });
                }
            }
            // A fork that fails drops the pipe: the server looks, and finds that nothing came of it.
            Some(poke) => {
                if let Ok(None) = process::fork() {
                    drop(socket);
                    become_monitor(path, poke);
                }
            }
        }
    }
}

fn nothing() -> Result<OwnedFd> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty()).context("open", || "/dev/null".into())
}

fn become_exec(inherited: Inherited) -> ! {
    let prepared = process::treat_children(Children::Awaited)
        .and_then(|()| process::set_name(c"belljar-exec"))
        .and_then(|()| fd::let_go_of_standard());
    if prepared.is_ok() && rustix::process::setsid().is_ok() {
        crate::exec::run(inherited);
    }
    process::exit_now(0)
}

fn become_files(inherited: files::Inherited) -> ! {
    let prepared = process::treat_children(Children::Awaited)
        .and_then(|()| process::set_name(c"belljar-files"))
        .and_then(|()| fd::let_go_of_standard());
    if prepared.is_ok() && rustix::process::setsid().is_ok() {
        files::run(inherited);
    }
    process::exit_now(0)
}

fn become_monitor(path: &Path, poke: OwnedFd) -> ! {
    let prepared = process::treat_children(Children::Awaited)
        .and_then(|()| process::set_name(c"belljar-monitor"))
        // Whoever reads the server's output must not wait for containers.
        .and_then(|()| fd::let_go_of_standard());
    if prepared.is_ok() && rustix::process::setsid().is_ok() {
        crate::run::run(path, poke);
    }
    process::exit_now(0)
}
