//! What the program says of itself, and what it does not do.

use super::{COMMANDS, Call, Command, DONE, Error, FAILED, GLOBAL, print};
use crate::document::SPEC_VERSION;
use crate::flags::{Line, Order, describe};

pub(super) const CHECKPOINT: Command = Command {
    name: "checkpoint",
    words: "<container-id>",
    about: "not supported: containers are made anew instead",
    flags: &[],
    order: Order::Unread,
    run: |_, _| Err(Error::Unsupported { what: "checkpoint", reason: "this runtime does not save the memory of processes" }),
};

pub(super) const RESTORE: Command = Command {
    name: "restore",
    words: "<container-id>",
    about: "not supported: containers are made anew instead",
    flags: &[],
    order: Order::Unread,
    run: |_, _| Err(Error::Unsupported { what: "restore", reason: "this runtime does not save the memory of processes" }),
};

pub(super) const VERSION: Command = Command {
    name: "version",
    words: "",
    about: "show the version",
    flags: &[],
    order: Order::Anywhere,
    run: |_: &Call, _: &Line| Ok(version()),
};

/// Engines take the version from the first line and the specification's from `spec:`.
pub(super) fn version() -> u8 {
    said(&format!("belljar-runtime version {}\nspec: {SPEC_VERSION}\n", env!("CARGO_PKG_VERSION")))
}

pub(super) fn overview() -> u8 {
    let width = COMMANDS.iter().map(|command| command.name.len()).max().unwrap_or_default();
    let commands: String = COMMANDS.iter().map(|command| format!("   {:width$}  {}\n", command.name, command.about)).collect();
    said(&format!(
        "belljar-runtime - runs OCI bundles as containers\n\nUSAGE:\n   belljar-runtime [global options] command [command options] [arguments...]\n\n\
         COMMANDS:\n{commands}\nGLOBAL OPTIONS:\n{}",
        describe(GLOBAL)
    ))
}

pub(super) fn of(command: &Command) -> u8 {
    let Command { name, words, about, flags, .. } = command;
    said(&format!(
        "belljar-runtime {name} - {about}\n\nUSAGE:\n   belljar-runtime {name} [command options] {words}\n\nOPTIONS:\n{}",
        describe(flags)
    ))
}

fn said(text: &str) -> u8 {
    print(text).map_or(FAILED, |()| DONE)
}
