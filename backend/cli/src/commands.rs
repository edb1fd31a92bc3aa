//! The client commands: each asks the server over its socket and prints the answer.
//!
//! They know the API and nothing of the kernel: what a container is, is the server's to say. A command takes a [`Session`]
//! and its arguments, and returns its exit status. Start reading at [`dispatch`]; [`run`] is the one with a life of its own.

mod copy;
mod events;
mod exec;
mod files;
mod host;
mod images;
mod inside;
mod lifecycle;
mod list;
mod logs;
mod past;
mod pull;
mod registries;
pub(crate) mod run;
mod stats;
mod tokens;
mod update;
mod volumes;
mod why;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arguments::{Command, Format};
use crate::client::{Client, escape};
use crate::failure::Failure;
use crate::output::{Paper, Table, now_ms};

/// One command's conversation: with the server, and with the person.
pub(crate) struct Session {
    /// The server.
    pub(crate) client: Client,
    /// Standard output.
    pub(crate) paper: Paper,
}

/// How a command ends: its exit status.
pub(crate) type Outcome = Result<u8, Failure>;

/// Exit status of a command that did what was asked.
pub(crate) const DONE: u8 = 0;

/// Carries out a client command. `serve` is none, and was dispatched before.
pub(crate) async fn dispatch(session: &mut Session, command: Command) -> Outcome {
    match command {
        Command::Serve(_) | Command::Runtime { .. } => Ok(DONE),
        Command::Run(arguments) => run::run(session, arguments).await,
        Command::Create(arguments) => run::create(session, arguments).await,
        Command::Start(containers) => lifecycle::act(session, containers, "start", String::new()).await,
        Command::Stop(arguments) => lifecycle::stop(session, arguments, "stop").await,
        Command::Restart(arguments) => lifecycle::stop(session, arguments, "restart").await,
        Command::Update(arguments) => update::update(session, arguments).await,
        Command::Kill(arguments) => lifecycle::kill(session, arguments).await,
        Command::Pause(containers) => lifecycle::act(session, containers, "pause", String::new()).await,
        Command::Resume(containers) => lifecycle::act(session, containers, "resume", String::new()).await,
        Command::Delete(arguments) => lifecycle::delete(session, arguments).await,
        Command::Wait(containers) => lifecycle::wait(session, containers).await,
        Command::List(arguments) => list::list(session, arguments).await,
        Command::Inspect(containers) => list::inspect(session, containers).await,
        Command::Logs(arguments) => logs::logs(session, arguments).await,
        Command::Why(one) => why::why(session, one).await,
        Command::Stats(arguments) => match arguments.history {
            Some(span_ms) => past::past(session, &arguments.containers, span_ms).await,
            None => stats::stats(session, arguments).await,
        },
        Command::Top(one) => session.show(&of(&one.container, "processes"), one.format, stats::processes).await,
        Command::Namespaces(one) => session.show(&of(&one.container, "namespaces"), one.format, inside::namespaces).await,
        Command::Mounts(one) => session.show(&of(&one.container, "mounts"), one.format, inside::mounts).await,
        Command::Cgroup(one) => session.show(&of(&one.container, "cgroup"), one.format, inside::cgroup).await,
        Command::Overlay(one) => session.show(&of(&one.container, "overlay"), one.format, inside::overlay).await,
        Command::Diff(arguments) => files::diff(session, arguments).await,
        Command::Undo(arguments) => files::undo(session, arguments).await,
        Command::Reset(arguments) => files::reset(session, arguments).await,
        Command::Cp(arguments) => copy::copy(session, arguments).await,
        Command::Plan(one) => inside::plan(session, one).await,
        Command::Exec(arguments) => exec::exec(session, arguments).await,
        Command::Denied(one) => session.show(&of(&one.container, "denied"), one.format, inside::denied).await,
        Command::Images { command } => images::images(session, command).await,
        Command::Volumes { command } => volumes::volumes(session, command).await,
        Command::Pull(arguments) => pull::pull(session, arguments).await,
        Command::Commit(arguments) => images::commit(session, arguments).await,
        Command::Login(arguments) => registries::login(session, arguments).await,
        Command::Logout { registry } => registries::logout(session, &registry).await,
        Command::Events(arguments) => events::events(session, arguments).await,
        Command::Host(format) => session.show("/host", format, host::host).await,
        Command::Token { command } => tokens::token(session, command).await,
    }
}

/// Path of something of a container.
pub(crate) fn of(container: &str, what: &str) -> String {
    format!("/containers/{}/{what}", escape(container))
}

/// Path of a container.
pub(crate) fn container(container: &str) -> String {
    format!("/containers/{}", escape(container))
}

impl Session {
    /// `GET path`, printed as a table, or as the JSON that it came as.
    async fn show<T>(&mut self, path: &str, format: Format, lay_out: impl FnOnce(&T, i64) -> Table) -> Outcome
    where
        T: DeserializeOwned + Serialize,
    {
        let document: T = self.client.fetch(path).await?;
        if format.json {
            self.paper.json(&document)?;
        } else {
            self.paper.table(&lay_out(&document, now_ms()))?;
        }
        Ok(DONE)
    }
}
