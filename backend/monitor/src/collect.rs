//! Reads a container's two outputs until its first process ends, and writes them to the log line by line.

use std::os::fd::{AsFd, OwnedFd};

use belljar_linux::Result;
use belljar_linux::error::Context;
use belljar_model::log::Stream;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::denied::Denied;
use crate::log::{LINE_BYTES_MAX, Piece, Writer};

/// One of the two outputs, with the beginning of a line whose end has not come yet.
struct Output {
    pipe: Option<OwnedFd>,
    stream: Stream,
    begun: Vec<u8>,
}

/// Collects until the process of `pidfd` has ended and what it had written is read. It does not wait for others that may
/// hold the outputs: with PID 1 all of a container's processes are gone.
pub(crate) fn until_end(pidfd: &OwnedFd, [stdout, stderr]: [OwnedFd; 2], log: &mut Writer, denied: &mut Option<Denied>) -> Result<()> {
    let mut outputs = [Output::new(stdout, Stream::Stdout)?, Output::new(stderr, Stream::Stderr)?];
    loop {
        let ended = wait(pidfd, &outputs, denied.as_ref())?;
        // Before anything else: these callers wait.
        denied.iter_mut().for_each(Denied::serve);
        for output in &mut outputs {
            output.drain(log);
        }
        if ended {
            outputs.iter_mut().for_each(|output| output.finish(log));
            return Ok(());
        }
    }
}

/// Waits for something to read, or the end; says whether it is the end.
fn wait(pidfd: &OwnedFd, outputs: &[Output; 2], denied: Option<&Denied>) -> Result<bool> {
    let mut polled = vec![PollFd::new(pidfd, PollFlags::IN)];
    polled.extend(outputs.iter().filter_map(|output| output.pipe.as_ref()).map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    polled.extend(denied.and_then(Denied::listener).map(|listener| PollFd::new(listener, PollFlags::IN)));
    let pause = denied.and_then(Denied::wait_ms).map(|pause_ms| Timespec { tv_sec: pause_ms / 1000, tv_nsec: pause_ms % 1000 * 1_000_000 });
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, pause.as_ref())).context("wait for", || "output".into())?;
    Ok(!polled[0].revents().is_empty())
}

impl Output {
    fn new(pipe: OwnedFd, stream: Stream) -> Result<Self> {
        rustix::io::ioctl_fionbio(pipe.as_fd(), true).context("set", || "output non-blocking".into())?;
        Ok(Self { pipe: Some(pipe), stream, begun: Vec::new() })
    }

    /// Reads at most as much as a pipe holds, so that one output that never pauses does not starve the other.
    fn drain(&mut self, log: &mut Writer) {
        let mut buffer = [0; 16 << 10];
        for _ in 0..4 {
            let Some(pipe) = &self.pipe else { return };
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => self.take(&buffer[..length], log),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], log: &mut Writer) {
        let at_usec = crate::run::now_usec();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.begin(&bytes[..end], at_usec, log);
            log.write(at_usec, self.stream, &self.begun, Piece::End);
            self.begun.clear();
            bytes = &bytes[end + 1..];
        }
        self.begin(bytes, at_usec, log);
    }

    /// Adds to the line; what is longer than a line may be goes out in parts.
    fn begin(&mut self, mut bytes: &[u8], at_usec: i64, log: &mut Writer) {
        while self.begun.len() + bytes.len() > LINE_BYTES_MAX {
            let (fits, rest) = bytes.split_at(LINE_BYTES_MAX - self.begun.len());
            self.begun.extend_from_slice(fits);
            log.write(at_usec, self.stream, &self.begun, Piece::Part);
            self.begun.clear();
            bytes = rest;
        }
        self.begun.extend_from_slice(bytes);
    }

    /// The rest, and a last line without its end.
    fn finish(&mut self, log: &mut Writer) {
        // A pipe holds 64 KiB at first and 1 MiB at most; bounded, should somebody outside hold the other end.
        for _ in 0..64 {
            self.drain(log);
        }
        if !self.begun.is_empty() {
            log.write(crate::run::now_usec(), self.stream, &self.begun, Piece::End);
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn lines_long_lines_and_a_last_one_without_its_end_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo out; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; printf last";
        let mut child = Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let mut log = Writer::open(folder.path()).unwrap();
        until_end(&pidfd, [stdout.into(), stderr.into()], &mut log, &mut None).unwrap();
        child.wait().unwrap();
        let lines = crate::log::read(folder.path(), &crate::log::Query::default()).unwrap();
        let stdout: Vec<_> = lines.iter().filter(|line| line.stream == Stream::Stdout).collect();
        let sizes: Vec<_> = stdout.iter().map(|line| (line.text.len(), line.partial)).collect();
        assert_eq!(sizes, [(3, false), (LINE_BYTES_MAX, true), (LINE_BYTES_MAX, true), (40_000 - 2 * LINE_BYTES_MAX, false), (4, false)]);
        assert!(lines.iter().any(|line| line.stream == Stream::Stderr && line.text == "err"));
    }
}
