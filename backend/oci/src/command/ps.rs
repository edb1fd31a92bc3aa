//! `ps`: the processes of a container, by the host's `ps(1)`, or their pids as JSON.

use super::{Call, Command, DONE, Error, print};
use crate::flags::{Flag, Line, Order, valued};

const FLAGS: &[Flag] = &[valued("format", "f", "FORMAT", "table (default) or json")];

pub(super) const COMMAND: Command = Command {
    name: "ps",
    words: "<container-id> [ps options]",
    about: "list the processes of a container",
    flags: FLAGS,
    order: Order::First,
    run,
};

fn run(call: &Call, line: &Line) -> Result<u8, Error> {
    let (_, record) = call.container(line.first_word("ps")?)?;
    let pids = record.cgroup.processes();
    match line.value("format").unwrap_or("table") {
        "json" => print(&format!("{}\n", serde_json::to_string(&pids).unwrap_or_default()))?,
        "table" => print(&table(&line.words[1..], &pids)?)?,
        other => return Err(Error::Refused(format!("invalid format option: {other:?} is neither table nor json"))),
    }
    Ok(DONE)
}

/// What the host's `ps` says of these processes.
fn table(options: &[String], pids: &[i32]) -> Result<String, Error> {
    let default = ["-ef".to_owned()];
    let options = if options.is_empty() { &default } else { options };
    let output = std::process::Command::new("ps").args(options).output().map_err(|source| Error::Program { program: "ps", source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(Error::Refused(format!("ps: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    let head = text.lines().next().unwrap_or_default();
    let column = head.split_whitespace().position(|title| title == "PID");
    let column = column.ok_or_else(|| Error::Refused("couldn't find PID field in ps output".into()))?;
    let is_ours = |row: &&str| row.split_whitespace().nth(column).and_then(|pid| pid.parse().ok()).is_some_and(|pid| pids.contains(&pid));
    Ok(std::iter::once(head).chain(text.lines().skip(1).filter(is_ours)).map(|row| format!("{row}\n")).collect())
}
