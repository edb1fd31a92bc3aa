//! `start`: a created container's program begins.

use super::{Call, Command, DONE, Error};
use crate::flags::{Line, Order};
use crate::make;
use crate::notify::Proxy;
use crate::state::Status;

pub(super) const COMMAND: Command = Command {
    name: "start",
    words: "<container-id>",
    about: "run the program of a created container",
    flags: &[],
    order: Order::Anywhere,
    run,
};

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.only_word("start")?;
    let (folder, lock, record, status) = call.locked(id)?;
    match status {
        Status::Created => {}
        Status::Running => return Err(Error::status(id, "cannot start an already running container")),
        Status::Stopped => return Err(Error::status(id, "cannot start a container that has stopped")),
        Status::Creating | Status::Paused => {
            return Err(Error::status(id, format!("cannot start a container in the {} state", status.as_str())));
        }
    }
    let proxy = Proxy::of_environment(&folder)?;
    let first = record.first.ok_or_else(|| Error::status(id, "container not running"))?;
    let spec = make::start(&folder, first, &call.journal)?;
    // All that is known is written down: hooks may ask for it, or change it, as long as they want.
    drop(lock);
    make::poststart(&spec, first, &call.journal);
    if let Some(proxy) = proxy {
        proxy.until_ready(first)?;
    }
    Ok(DONE)
}
