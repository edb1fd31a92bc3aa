//! Runs a hook: a program of the host, with the container's state on its standard input, for as long as it may take.

use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use belljar_linux::error::Context;
use belljar_linux::{Error, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::Serialize;

use crate::spec::HookState;
use crate::step::process::HookRun;

/// How much of what a failed hook wrote on standard error is told, in bytes.
const WORDS_BYTES_MAX: usize = 512;

/// The container's state as hooks get it (OCI runtime specification, *State*).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'static str,
    pid: i32,
    bundle: &'a std::path::Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// Runs a hook for the container whose first process is `pid`. An error says how it ended, and what it said last.
pub(super) fn run(run: &HookRun, pid: i32) -> Result<()> {
    let hook = &run.hook;
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.arguments.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear().envs(hook.environment.iter().filter_map(|pair| pair.split_once('=')));
    // A group of its own, so that what it began ends with it when its time is over.
    command.process_group(0);
    command.stdin(state_file(run, pid)?).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("execute", || hook.path.display().to_string())?;
    let limit = hook.timeout_seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
    // Inside, a filter of the container's may forbid this one.
    let pidfd = Pid::from_raw(child.id() as i32).and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    let (words, in_time) = listen(&mut child, pidfd.as_ref(), limit);
    if in_time == InTime::No {
        if let Some(group) = Pid::from_raw(child.id() as i32) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
        let seconds = hook.timeout_seconds.unwrap_or_default();
        return Err(Error::new("wait for", format!("it: killed after {seconds} s{words}"), Errno::TIMEDOUT));
    }
    let status = child.wait().context("wait for", || hook.path.display().to_string())?;
    if status.success() { Ok(()) } else { Err(Error::new("run", format!("it: {}{words}", ended(status)), Errno::CANCELED)) }
}

/// The state of a container, and its first process, as hooks and agents get it.
pub(super) fn state_of((id, pid): (&str, i32), status: &'static str, state: &HookState) -> Result<serde_json::Value> {
    let HookState { oci_version, bundle, annotations } = state;
    let state = State { oci_version, id, status, pid, bundle, annotations };
    serde_json::to_value(state).map_err(|error| Error::from_io("write", "state of the container", &error.into()))
}

fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it exited with {code}"),
        (None, Some(signal)) => format!("it was killed by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

/// A file and not a pipe: a hook that reads nothing must not hold anybody up, nor end us by `SIGPIPE`.
fn state_file(run: &HookRun, pid: i32) -> Result<std::fs::File> {
    let subject = || "state for a hook".to_owned();
    let json = state_of((&run.id, pid), run.moment.status(), &run.state)?.to_string();
    let memory = rustix::fs::memfd_create("state", rustix::fs::MemfdFlags::CLOEXEC).context("make", subject)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(json.as_bytes()).and_then(|()| file.rewind()).context("write", subject)?;
    Ok(file)
}

/// Whether a hook ended before its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InTime {
    Yes,
    No,
}

/// How often it is asked whether a hook has ended that no descriptor tells of.
const ASKED_EVERY: Duration = Duration::from_millis(5);

/// Reads what a hook says until it has ended or its time is over; keeps the beginning.
fn listen(child: &mut Child, pidfd: Option<&OwnedFd>, limit: Option<Duration>) -> (String, InTime) {
    let deadline = limit.map(|limit| Instant::now() + limit);
    let stderr: Option<OwnedFd> = child.stderr.take().map(Into::into);
    let Some(pipe) = stderr else { return (String::new(), InTime::Yes) };
    let mut words = Vec::new();
    let mut open = true;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let pause = if pidfd.is_some() { left } else { Some(left.map_or(ASKED_EVERY, |left| left.min(ASKED_EVERY))) };
        let timeout = pause.map(|pause| rustix::event::Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: pause.subsec_nanos().into() });
        let mut polled: Vec<PollFd<'_>> = open.then(|| PollFd::new(&pipe, PollFlags::IN)).into_iter().collect();
        polled.extend(pidfd.map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(0) if left.is_some_and(|left| left.is_zero() || pidfd.is_some()) => return (quoted(&words), InTime::No),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return (quoted(&words), InTime::Yes),
        }
        let ready = |at: usize| polled.get(at).is_some_and(|polled| !polled.revents().is_empty());
        let (readable, ends) = (open && ready(0), ready(usize::from(open)));
        let ended = if pidfd.is_some() { ends } else { !matches!(child.try_wait(), Ok(None)) };
        if readable {
            open = read_some(pipe.as_fd(), &mut words);
        }
        // What others may still write who have its output is not waited for.
        if ended {
            return (quoted(&words), InTime::Yes);
        }
    }
}

/// Whether there may be more.
fn read_some(pipe: impl AsFd, words: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 1024];
    match rustix::io::read(pipe, &mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(length) => {
            let room = WORDS_BYTES_MAX.saturating_sub(words.len());
            words.extend(&buffer[..length.min(room)]);
            true
        }
    }
}

fn quoted(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Hook, Moment};

    fn of(script: &str, timeout_seconds: Option<u32>) -> HookRun {
        let arguments = ["sh", "-c", script].map(str::to_owned).to_vec();
        let hook = Hook { path: "/bin/sh".into(), arguments, environment: vec!["WORD=hello".into()], timeout_seconds };
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let state = HookState { oci_version: "1.2.0".into(), bundle: "/b".into(), annotations };
        HookRun { moment: Moment::Poststart, index: 0, hook, id: "c1".into(), state }
    }

    #[test]
    fn a_hook_is_told_the_state_and_has_only_its_own_environment() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out").display().to_string();
        run(&of(&format!("cat > {out}; echo >> {out}; echo $WORD $HOME >> {out}"), None), 42).unwrap();
        let text = std::fs::read_to_string(out).unwrap();
        let (state, rest) = text.split_once('\n').unwrap();
        let expected = r#"{"ociVersion":"1.2.0","id":"c1","status":"running","pid":42,"bundle":"/b","annotations":{"a":"b"}}"#;
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!((read(state), rest), (read(expected), "hello\n"));
    }

    #[test]
    fn a_hook_that_fails_says_how_and_what_it_said() {
        let error = run(&of("echo no such thing >&2; exit 3", None), 1).unwrap_err();
        assert!(error.to_string().contains("it exited with 3: no such thing"), "{error}");
        assert_eq!(run(&of("exit 0", Some(5)), 1), Ok(()));
    }

    #[test]
    fn a_hook_that_cannot_be_told_by_a_descriptor_is_read_and_ended_all_the_same() {
        let spawn = |script: &str| Command::new("sh").args(["-c", script]).process_group(0).stderr(Stdio::piped()).spawn().unwrap();
        // More than a pipe holds.
        let mut talker = spawn("head -c 200000 /dev/zero | tr '\\0' x >&2; exit 3");
        let (words, in_time) = listen(&mut talker, None, None);
        assert_eq!((words.len(), in_time), (": ".len() + WORDS_BYTES_MAX, InTime::Yes));
        assert_eq!(talker.wait().unwrap().code(), Some(3));
        for script in ["exec sleep 60", "exec 2>&-; exec sleep 60"] {
            let mut sleeper = spawn(script);
            assert_eq!(listen(&mut sleeper, None, Some(Duration::from_millis(50))), (String::new(), InTime::No), "{script}");
            sleeper.kill().and_then(|()| sleeper.wait()).unwrap();
        }
    }

    #[test]
    fn a_hook_that_takes_too_long_is_killed_with_what_it_began() {
        let begun = Instant::now();
        let error = run(&of("echo begun >&2; sleep 60 & wait", Some(1)), 1).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(error.to_string().contains("killed after 1 s: begun"), "{error}");
    }
}
