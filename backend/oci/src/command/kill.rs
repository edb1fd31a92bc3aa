//! `kill`: a signal to the first process of a container, or to all.

use belljar_linux::process;
use belljar_model::Signal;

use super::{Call, Command, DONE, Error};
use crate::flags::{Flag, Line, Order, switch};
use crate::state::{Record, Status};

const FLAGS: &[Flag] = &[switch("all", "a", "send the signal to all processes of the container")];

pub(super) const COMMAND: Command = Command {
    name: "kill",
    words: "<container-id> [signal]",
    about: "send a signal (default: SIGTERM) to the container's first process",
    flags: FLAGS,
    order: Order::Anywhere,
    run,
};

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let id = line.first_word("kill")?;
    if line.words.len() > 2 {
        return Err(crate::flags::Error::Words { command: "kill", wanted: "a maximum of 2" }.into());
    }
    let (folder, record) = call.container(id)?;
    // An empty word is none, as runc has it.
    let signal = number(line.words.get(1).map(String::as_str).filter(|word| !word.is_empty()).unwrap_or("SIGTERM"))?;
    if line.has("all") {
        all(&record, signal)?;
        return Ok(DONE);
    }
    let (status, first) = (folder.look(&record), record.first);
    let Some(first) = first.filter(|_| status.is_alive()) else { return Err(Error::status(id, "container not running")) };
    let pidfd = process::open(first.pid, first.start_ticks).map_err(|_| Error::status(id, "container not running"))?;
    process::signal(&pidfd, signal)?;
    // What is frozen by v1 does not die before it is thawed.
    if signal == Signal::KILL.number() && status == Status::Paused {
        record.cgroup.thaw()?;
    }
    Ok(DONE)
}

/// A signal by name or number. Numbers are the kernel's to judge: 0 only asks whether somebody is there.
pub(super) fn number(text: &str) -> Result<i32, Error> {
    if let Ok(number) = text.parse::<i32>() {
        return Ok(number);
    }
    text.parse().map(Signal::number).map_err(|_| Error::Refused(format!("unknown signal {text:?}")))
}

/// To every process of its cgroup.
pub(super) fn all(record: &Record, signal: i32) -> Result<(), Error> {
    let cgroup = &record.cgroup;
    if !cgroup.exists() {
        return Ok(());
    }
    let killing = signal == Signal::KILL.number();
    Ok(if killing { cgroup.kill_all() } else { cgroup.signal_all(signal) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_name_or_any_number() {
        for (text, expected) in [("KILL", 9), ("SIGKILL", 9), ("sigterm", 15), ("9", 9), ("RTMIN+3", 37), ("0", 0), ("99", 99)] {
            assert_eq!(number(text).unwrap(), expected, "{text}");
        }
        assert_eq!(number("FOO").unwrap_err().to_string(), "unknown signal \"FOO\"");
    }
}
