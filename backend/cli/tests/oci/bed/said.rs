//! What a command said and how it ended. Its output goes to files, not pipes: a container that stays holds them open,
//! and nobody should wait for it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use belljar_testbed::wait::try_wait;

/// How long one command of a runtime may take before it counts as hanging.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The end of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Runs `command` without input until it ends.
    pub(crate) fn of(command: Command) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        Self::in_files(command, &folder.path().join("out"), &folder.path().join("err"))
    }

    /// Runs `command` without input, with output and errors in these files.
    pub(crate) fn in_files(mut command: Command, out: &Path, err: &Path) -> Self {
        let file = |path: &Path| File::create(path).expect("a file can be made");
        command.stdin(Stdio::null()).stdout(file(out)).stderr(file(err));
        // Who tries to open the runtime for writing keeps it from being executed for that moment, also where the open fails: the
        // kernel counts writers before it asks the mount (`do_dentry_open`). Attacks here do so thousands of times.
        let spawned = try_wait(LIMIT, || match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => None,
            spawned => Some(spawned),
        });
        let child = match spawned {
            Some(Ok(child)) => child,
            Some(Err(error)) => panic!("{command:?}: {error}"),
            None => panic!("{command:?}: busy for {LIMIT:?}"),
        };
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let status = wait_or_kill(child, LIMIT);
        let status = status.unwrap_or_else(|| panic!("{command:?} hangs; it said {:?} {:?}", text(out), text(err)));
        Self { status, out: text(out), err: text(err) }
    }

    /// Its output, where it succeeded; otherwise the test fails with what it said.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{}\n{}{}", self.status, self.out, self.err);
        self.out
    }

    /// What it said, where it failed with an ordinary status; otherwise the test fails.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert!(!self.status.success(), "it was not refused; it said {:?}", self.out);
        assert!(self.status.code().is_some(), "it died: {}", self.status);
        assert!(!self.err.contains("panicked"), "it panicked: {}", self.err);
        assert!(!self.err.trim().is_empty(), "it failed without a word");
        self.err
    }

    /// The exit status as a shell tells it: 128 and the signal's number where a signal ended it.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// Its output without the white space around it, where it succeeded.
    #[track_caller]
    pub(crate) fn line(self) -> String {
        self.ok().trim().to_owned()
    }
}

/// Waits for `child`, or ends it after `limit`.
pub(crate) fn wait_or_kill(mut child: Child, limit: Duration) -> Option<ExitStatus> {
    let ended = try_wait(limit, || child.try_wait().expect("a child can be waited for"));
    if ended.is_none() {
        let _gone = child.kill();
        let _reaped = child.wait();
    }
    ended
}
