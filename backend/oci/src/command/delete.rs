//! `delete`: all that is left of a container goes.

use std::time::{Duration, Instant};

use belljar_linux::process;
use belljar_runtime::Spec;
use belljar_runtime::cgroup::{CgroupPlace, Hierarchies};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, pidfd_send_signal};

use super::{Call, Command, DONE, Error};
use crate::flags::{Flag, Line, Order, switch};
use crate::journal::Journal;
use crate::state::{self, First, Folder, Record, Status};

const FLAGS: &[Flag] = &[switch("force", "f", "kill the container if it still runs")];

pub(super) const COMMAND: Command = Command {
    name: "delete",
    words: "<container-id>",
    about: "delete a container that has ended",
    flags: FLAGS,
    order: Order::Anywhere,
    run,
};

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.only_word("delete")?;
    let force = line.has("force");
    if force {
        interrupt(call, id);
    }
    let (folder, _lock, record, status) = match call.locked(id) {
        Ok(found) => found,
        // Gone is what was asked for.
        Err(Error::State(state::Error::Missing { .. })) if force => return abandoned(call, id),
        Err(Error::State(state::Error::Damaged { .. })) if force => return abandoned(call, id),
        Err(error) => return Err(error),
    };
    match status {
        Status::Stopped | Status::Created => {}
        _ if force => {}
        _ => return Err(Error::status(id, format!("cannot delete container {id} that is not stopped: {}", status.as_str()))),
    }
    destroy(&folder, &record, None, &call.journal)?;
    Ok(DONE)
}

/// Whoever makes or starts it may be stuck in a hook, and keeps it from everybody as long.
fn interrupt(call: &Call, id: &str) {
    // One that is not there, or cannot be read, is the deletion's own matter.
    let Ok((folder, record)) = call.container(id) else { return };
    match (record.maker, record.first) {
        (Some(maker), _) => end_maker(&folder, maker),
        // Who starts it hears of its end.
        (None, Some(first)) if folder.is_locked() => kill(first),
        _ => {}
    }
}

/// How long a maker may take to stand still before it is killed all the same.
const STILL_LIMIT: Duration = Duration::from_secs(1);

/// Ends who makes a container, with the hook that it waits for and all that this one began.
fn end_maker(folder: &Folder, maker: First) {
    let Ok(pidfd) = process::open(maker.pid, maker.start_ticks) else { return };
    // While it stands still it starts nobody, and awaits nobody whose pid would then be another's.
    let _ = pidfd_send_signal(&pidfd, Signal::STOP);
    let deadline = Instant::now() + STILL_LIMIT;
    while maker.is_alive() && !process::stands_still(maker.pid) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(500));
    }
    // It may have come to its end before: then the container is gone, or like any other, and who made it stays with its program.
    if !folder.read().is_ok_and(|record| record.maker == Some(maker)) {
        let _ = pidfd_send_signal(&pidfd, Signal::CONT);
        return;
    }
    for child in process::children(maker.pid).unwrap_or_default().into_iter().filter_map(Pid::from_raw) {
        // A hook has a group of its own.
        let _ = kill_process_group(child, Signal::KILL);
        let _ = kill_process(child, Signal::KILL);
    }
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
}

fn kill(first: First) {
    if let Ok(pidfd) = process::open(first.pid, first.start_ticks) {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
}

/// A folder that says nothing of a container keeps the id from everybody. Meanwhile it may have come to say something: whoever
/// makes one reserves the folder a moment before it locks it.
fn abandoned(call: &Call, id: &str) -> Result<u8, Error> {
    let folder = Folder::of(&call.root, id)?;
    let _lock = match folder.lock() {
        Err(state::Error::Missing { .. }) => return Ok(DONE),
        lock => lock?,
    };
    match folder.read() {
        Ok(record) => destroy(&folder, &record, None, &call.journal)?,
        Err(_) => destroy_unknown(&folder, &call.journal)?,
    }
    Ok(DONE)
}

/// What the state does not tell any more, the spec beside it may: which cgroup was the container's. Where a relative one was
/// depends on who had it made, which nobody knows now, and another's must not be killed for it.
fn destroy_unknown(folder: &Folder, journal: &Journal) -> Result<(), Error> {
    let spec = folder.spec().ok();
    match spec.as_ref().map(|spec| &spec.cgroup) {
        Some(CgroupPlace::Below(name)) => journal.warning(&format!("{name}: where this cgroup was is not known: what runs in it goes on")),
        Some(place) => {
            let cgroup = place.cgroup(&Hierarchies::probe()?);
            cgroup.end()?;
        }
        None => {}
    }
    folder.remove()?;
    if let Some(spec) = spec {
        crate::make::poststop(&spec, journal);
    }
    Ok(())
}

/// Ends what still runs, removes cgroup and folder, and runs the hooks that follow. Whoever has the spec need not have it read again.
pub(super) fn destroy(folder: &Folder, record: &Record, spec: Option<Spec>, journal: &Journal) -> Result<(), Error> {
    // The first process by itself too: nobody must be able to keep it by having removed its cgroup.
    record.first.into_iter().for_each(kill);
    record.cgroup.end()?;
    // One that was cut off before it had a spec has no hooks that were ever promised anything.
    let spec = spec.or_else(|| folder.spec().ok());
    folder.remove()?;
    if let Some(spec) = spec {
        crate::make::poststop(&spec, journal);
    }
    Ok(())
}
