//! The executable `belljar`: reads the command line and hands over, to the server, to the monitor, or to a client command.
//!
//! It is the only crate in which all others meet, and it decides nothing about containers. Everything that a person can
//! get wrong ends here as one sentence on standard error and an exit status; there is no backtrace. Start reading at
//! [`arguments`], then [`serve`] for the server's start and [`commands`] for everything else.

mod arguments;
mod client;
mod commands;
mod failure;
mod output;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::{Command, CommandLine};
use crate::client::Client;
use crate::commands::{Outcome, Session};
use crate::failure::{Failure, sentence};
use crate::output::{Paper, complain};

/// Exit status of a command that failed.
const FAILED: u8 = 1;
/// The word by which the server executes itself as a monitor.
const MONITOR: &str = "monitor";

/// The word that makes this an OCI runtime, and the name by which it is one without it.
const RUNTIME: &str = "runtime";
const RUNTIME_NAME: &str = "belljar-runtime";

/// The command whose own exit statuses are the program's: what is ours has a number of its own, also for a wrong flag.
const RUN: &str = "run";

fn main() -> ExitCode {
    // Before the command line is read: what is allocated here stays in the memory of every monitor, and an engine waits for
    // the runtime.
    if let Some(words) = runtime_words() {
        return ExitCode::from(belljar_oci::command::answer(words));
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == MONITOR) {
        return monitor();
    }
    let words = arguments::words::with_end_of_ours(std::env::args_os().collect());
    let line = match CommandLine::try_parse_from(words) {
        Ok(line) => line,
        Err(told) => return tell(&told),
    };
    match line.command {
        Command::Serve(arguments) => serve(&arguments, &line.place),
        Command::Runtime { words } => ExitCode::from(belljar_oci::command::answer(words.into_iter())),
        command => ExitCode::from(ask(command, Client::at(line.place.socket()))),
    }
}

/// What follows the runtime's name on the command line; `None` where this was not called as one.
fn runtime_words() -> Option<std::iter::Skip<std::env::ArgsOs>> {
    let mut words = std::env::args_os();
    let by_name = words.next().is_some_and(|name| std::path::Path::new(&name).file_name().is_some_and(|name| name == RUNTIME_NAME));
    match by_name {
        true => Some(std::env::args_os().skip(1)),
        false => words.next().is_some_and(|word| word == RUNTIME).then(|| std::env::args_os().skip(2)),
    }
}

fn serve(arguments: &arguments::ServeArguments, place: &arguments::Place) -> ExitCode {
    match serve::serve(arguments, place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            complain(&format!("cannot serve: {}", sentence(&refusal)));
            ExitCode::from(FAILED)
        }
    }
}

/// Help and the version, or what is wrong with the command line.
fn tell(told: &clap::Error) -> ExitCode {
    // Nobody may be reading, which changes nothing.
    let _ = told.print();
    let is_run = std::env::args_os().nth(1).is_some_and(|word| word == RUN);
    match u8::try_from(told.exit_code()) {
        Ok(code) if code == 0 || !is_run => ExitCode::from(code),
        _ => ExitCode::from(commands::run::OUR_FAILURE),
    }
}

fn monitor() -> ExitCode {
    match belljar_monitor::spawner::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("cannot make monitors: {}", sentence(&error)));
            ExitCode::from(FAILED)
        }
    }
}

/// A client command on a runtime of one thread: it waits for one server.
fn ask(command: Command, client: Client) -> u8 {
    let failed = if matches!(command, Command::Run(_)) { commands::run::OUR_FAILURE } else { FAILED };
    let mut session = Session { client, paper: Paper::new() };
    match converse(&mut session, command) {
        Ok(status) => status,
        Err(failure) if failure.is_broken_pipe() => commands::DONE,
        Err(failure) => {
            // What was printed so far comes before the sentence; that it may fail too changes nothing.
            let _ = session.paper.flush();
            complain(&failure.sentence());
            failed
        }
    }
}

fn converse(session: &mut Session, command: Command) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Failure::Process { what: "begin", source })?;
    let status = runtime.block_on(Box::pin(commands::dispatch(session, command)))?;
    session.paper.flush()?;
    Ok(status)
}
