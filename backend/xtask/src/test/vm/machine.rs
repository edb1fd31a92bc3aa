//! One virtual machine, from its start to its certain end: it ends with this value, with this process, and by itself when
//! it has told everything.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::kernel::Kernel;
use super::report::Line;
use super::{Error, SOFTWARE};
use crate::command::command;

/// Lines of the console that are shown where something went wrong.
const CONSOLE_LINES_SHOWN: usize = 40;

/// What executes the machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU, some ten times slower.
    Software,
}

impl Accelerator {
    /// Whether the host has it for us; that it also works shows only by trying, as not every host that is a virtual
    /// machine itself lets another one run in it.
    pub(super) fn is_here(self) -> bool {
        self == Self::Software || OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
    }

    fn word(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Software => "tcg",
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kvm => "on the host's processor",
            Self::Software => "in software",
        })
    }
}

/// A machine that runs.
pub(super) struct Machine {
    child: Child,
    lines: Receiver<Line>,
    console: PathBuf,
}

impl Machine {
    /// Boots it. Its first serial line is the console, a file beside the disk; the second one tells of the tests.
    pub(super) fn start(kernel: &Kernel, initramfs: &Path, disk: &Path, accelerator: Accelerator) -> Result<Self, Error> {
        let console = disk.with_file_name("console.log");
        File::create(&console).map_err(Error::file("make", &console))?;
        // Where this process is killed, nobody is left to end the machine: the kernel does it.
        let mut qemu = command("setpriv", &["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        qemu.args(["-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "2048", "-accel", accelerator.word()]);
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        qemu.arg("-serial").arg(format!("file:{}", console.display())).args(["-serial", "stdio"]);
        qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initramfs);
        let mut words = vec!["console=ttyS0", "panic=-1", "quiet", "hugepages=16", "mitigations=off"];
        words.extend((accelerator == Accelerator::Software).then_some(SOFTWARE));
        qemu.arg("-append").arg(words.join(" "));
        // What the machine writes is thrown away with it, so nothing waits for the host's disk.
        qemu.arg("-drive").arg(format!("file={},if=virtio,format=raw,cache=unsafe", disk.display()));
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = qemu.spawn().map_err(Error::file("execute", Path::new("setpriv")))?;
        let (told, lines) = mpsc::channel();
        let output = child.stdout.take();
        std::thread::spawn(move || {
            let read = output.into_iter().flat_map(|output| BufReader::new(output).split(b'\n').map_while(Result::ok));
            for line in read.filter_map(|line| serde_json::from_slice(&line).ok()) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines, console })
    }

    /// The next that it tells, within `limit`; `None` where it tells no more.
    pub(super) fn line(&mut self, limit: Duration) -> Option<Line> {
        self.lines.recv_timeout(limit).ok()
    }

    /// The end of what its console said.
    pub(super) fn last_words(&self) -> String {
        let console = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(CONSOLE_LINES_SHOWN)..];
        shown.iter().map(|line| format!("    console: {}\n", line.trim_end())).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
