//! The process that makes monitors: executed once by the server while that has one thread, then forks one per start.
//!
//! ```text
//! server ──▶ spawner    path of a spec, and the writing end of a pipe
//! monitor ──▶ server    nothing but the pipe's end: look
//! ```
//! The socket's end is the server's end: the spawner ends too, its monitors go on.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use belljar_linux::error::Context;
use belljar_linux::process::{self, Children};
use belljar_linux::{Result, fd};

/// Longest path of a spec, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// The server's end. When it is dropped, the spawner ends; monitors go on.
#[derive(Debug)]
pub struct Spawner {
    socket: OwnedFd,
}

impl Spawner {
    /// Executes `program monitor` (`/proc/self/exe` for the program that calls this). It gets its end of the socket as its
    /// standard input, and the caller's standard error.
    pub fn launch(program: &Path) -> Result<Self> {
        let (ours, theirs) = fd::message_pair()?;
        let mut command = Command::new(program);
        command.arg0("belljar").arg("monitor").stdin(Stdio::from(theirs)).stdout(Stdio::null());
        // Dropped without waiting: the spawner ends when we do, and is nobody's zombie before.
        command.spawn().context("execute", || format!("{} monitor", program.display()))?;
        Ok(Self { socket: ours })
    }

    /// Asks for a monitor of the spec at `path`. Returns the reading end of a pipe: its end means that there is something to
    /// look at ([`crate::look`]), or that nothing came of it.
    pub fn start(&self, path: &Path) -> Result<OwnedFd> {
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("make", || "pipe".into())?;
        fd::send(&self.socket, path.as_os_str().as_bytes(), &[theirs.as_fd()])?;
        Ok(ours)
    }
}

/// The spawner itself: what `belljar monitor` does. Returns when the server is gone.
pub fn serve() -> Result<()> {
    let socket = fd::adopt(0)?;
    // Ctrl-C in the server's terminal is for the server alone.
    rustix::process::setsid().context("begin", || "session".into())?;
    process::treat_children(Children::Forgotten)?;
    process::set_name(c"belljar-spawner")?;
    let mut buffer = [0; PATH_BYTES_MAX];
    loop {
        let (length, mut passed) = fd::receive(&socket, &mut buffer)?;
        let Some(poke) = passed.pop() else { return Ok(()) };
        let path = Path::new(OsStr::from_bytes(&buffer[..length]));
        // A fork that fails drops the pipe: the server looks, and finds that nothing came of it.
        if let Ok(None) = process::fork() {
            drop(socket);
            let prepared = process::treat_children(Children::Awaited).and_then(|()| process::set_name(c"belljar-monitor"));
            if prepared.is_ok() && rustix::process::setsid().is_ok() {
                crate::run::run(path, poke);
            }
            process::exit_now(0);
        }
    }
}
