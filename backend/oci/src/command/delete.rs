//! `delete`: all that is left of a container goes.

use belljar_linux::process;
use belljar_model::Signal;
use belljar_runtime::Spec;
use belljar_runtime::cgroup::{CgroupPlace, Hierarchies};

use super::{Call, Command, DONE, Error};
use crate::flags::{Flag, Line, Order, switch};
use crate::journal::Journal;
use crate::state::{self, Folder, Record, Status};

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
    if let Some(first) = record.first
        && let Ok(pidfd) = process::open(first.pid, first.start_ticks)
    {
        let _ = process::signal(&pidfd, Signal::KILL.number());
    }
    record.cgroup.end()?;
    // One that was cut off before it had a spec has no hooks that were ever promised anything.
    let spec = spec.or_else(|| folder.spec().ok());
    folder.remove()?;
    if let Some(spec) = spec {
        crate::make::poststop(&spec, journal);
    }
    Ok(())
}
