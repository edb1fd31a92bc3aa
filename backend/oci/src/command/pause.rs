//! `pause` and `resume`: all processes of a container stand still, or go on.

use super::{Call, Command, DONE, Error};
use crate::flags::{Line, Order};
use crate::state::Status;

pub(super) const PAUSE: Command =
    Command { name: "pause", words: "<container-id>", about: "freeze all processes", flags: &[], order: Order::Anywhere, run: pause };

pub(super) const RESUME: Command = Command {
    name: "resume",
    words: "<container-id>",
    about: "let frozen processes go on",
    flags: &[],
    order: Order::Anywhere,
    run: resume,
};

fn pause(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.only_word("pause")?;
    let (_, _lock, record, status) = call.locked(id)?;
    match status {
        Status::Created | Status::Running => {
            record.cgroup.freeze()?;
            Ok(DONE)
        }
        _ => Err(Error::status(id, format!("container not running: it is {}", status.as_str()))),
    }
}

fn resume(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.only_word("resume")?;
    let (_, _lock, record, status) = call.locked(id)?;
    match status {
        Status::Paused => {
            record.cgroup.thaw()?;
            Ok(DONE)
        }
        _ => Err(Error::status(id, format!("container not paused: it is {}", status.as_str()))),
    }
}
