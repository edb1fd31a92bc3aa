//! A minimal init: PID 1 of a container that asked for one. It starts the program as its child, forwards the signals that
//! it gets, reaps whatever is orphaned to it, and ends as the program does.

use belljar_linux::Result;
use belljar_linux::error::Context;
use belljar_linux::process::{self, Ended};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

/// Splits into init and program. Returns in the program's process, which goes on to the exec; init's serves until the
/// program ends. An error means that there was no split.
pub(super) fn split() -> Result<()> {
    // Blocked before the split, so that none is lost; the program's own side unblocks all again.
    let all = SigSet::all();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&all), None).context("block", || "signals".into())?;
    match process::fork()? {
        None => process::reset_signals(),
        Some(pid) => {
            close_all();
            serve(pid)
        }
    }
}

/// Nothing of ours stays open in a process that lives as long as the container: outputs end when the program's do, and
/// the monitor takes the socket's end for the exec's success, so only the program's side may hold it.
fn close_all() {
    // Nothing can be done where the kernel refuses; the monitor would then wait for the program's end.
    let _ = belljar_linux::fd::close_all();
}

fn serve(program: i32) -> ! {
    loop {
        match process::wait_signal() {
            Ok(number) if number == Signal::SIGCHLD as i32 => reap(program),
            // It may have ended just now.
            Ok(number) => drop(process::signal_child(program, number)),
            Err(_) => {}
        }
    }
}

/// Reaps everything that has ended; when the program is among it, ends as it did.
fn reap(program: i32) {
    while let Ok(Some((pid, ended))) = process::wait_any_now() {
        if pid == program {
            process::exit_now(match ended {
                Ended::Exited(code) => i32::from(code),
                Ended::Signaled(signal) => 128 + signal,
            });
        }
    }
}
