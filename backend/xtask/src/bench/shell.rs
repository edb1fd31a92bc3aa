//! A shell that waits for the next line, in a mount namespace of its own: crun refuses a host that has controllers on both
//! versions of cgroups, and there the second version can be put out of its sight without touching the host.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Where hybrid hosts mount version 2 of cgroups (systemd's layout).
pub(super) const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// A shell in a mount namespace of its own, which does line by line what it is told.
pub(super) struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    /// Starts it in `folder`, and has it run `preparation`.
    pub(super) fn start(folder: &Path, preparation: &str) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh"]).current_dir(folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("the shell has no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("the shell has no output")?);
        let mut shell = Self { child, input, output };
        shell.say(&format!("{preparation}; echo prepared"))?;
        shell.hear("prepared")?;
        Ok(shell)
    }

    /// Has it run a line.
    pub(super) fn say(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        Ok(writeln!(self.input, "{line}")?)
    }

    /// Waits until it has printed `word` as a line.
    pub(super) fn hear(&mut self, word: &str) -> Result<(), Box<dyn Error>> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.trim() == word { Ok(()) } else { Err(format!("the shell said {line:?}").into()) }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _gone = writeln!(self.input, "exit");
        let _reaped = self.child.wait();
    }
}
