//! `run` and `create`. `run` lives as long as its container: it shows what that writes, turns Ctrl-C into a stop, and ends
//! with the container's own exit code.
//!
//! Docker's rule for the other codes: 125 where Belljar failed, 126 where the program cannot be executed, 127 where it does
//! not exist. If the client goes away, the container stays.

use belljar_api::{Container, CreateRequest, LogLine, query};
use belljar_model::PullPolicy;
use hyper::Method;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{DONE, Outcome, Session, container, logs, of, pull};
use crate::arguments::RunArguments;
use crate::arguments::create::{CreateArguments, Start, Surroundings};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{complain, harmless};

/// Exit status where it was not the program that failed.
pub(crate) const OUR_FAILURE: u8 = 125;

/// `create`: prints the new container's id.
pub(crate) async fn create(session: &mut Session, arguments: CreateArguments) -> Outcome {
    let created = ask(session, arguments, Start::Later).await?;
    session.paper.line(&created.id)?;
    Ok(DONE)
}

/// `run`.
pub(crate) async fn run(session: &mut Session, arguments: RunArguments) -> Outcome {
    let RunArguments { detach, rm, create } = arguments;
    let started = ask(session, create, Start::Now).await?;
    if detach && !never_started(&started) {
        session.paper.line(&started.id)?;
        return Ok(DONE);
    }
    let id = started.id.clone();
    let ended = if never_started(&started) { Ok(started) } else { follow(session, started).await };
    // Nobody reads on (`run --rm … | head -1`): what was to go with its end goes now, as with Ctrl-C.
    if rm && ended.as_ref().map_or_else(Failure::is_broken_pipe, |_| true) {
        let query = query::write(&query::Delete { force: query::Switch::On });
        session.client.act(Method::DELETE, &format!("{}?{query}", container(&id))).await?;
    }
    let ended = ended?;
    Ok(tell_end(&ended))
}

/// Follows the container to its end. Where the server goes away first, the container does not: that is worth a word.
async fn follow(session: &mut Session, started: Container) -> Result<Container, Failure> {
    let ended = accompany(session, &started).await;
    if ended.as_ref().is_err_and(|failure| !failure.is_broken_pipe()) {
        let name = &started.name;
        complain(&format!("{name} keeps running; `belljar logs --follow {name}` follows it again"));
    }
    ended
}

async fn ask(session: &mut Session, arguments: CreateArguments, start: Start) -> Result<Container, Failure> {
    let request = arguments.request(&Surroundings::of_this_process()?, start)?;
    pull::for_container(session, &request.image, request.pull).await?;
    // Whatever was to be pulled is here.
    let request = CreateRequest { pull: PullPolicy::Never, ..request };
    let container: Container = session.client.send("/containers", &request).await?;
    // What was loosened is told to whoever loosened it, too.
    for warning in &container.warnings {
        complain(&harmless(&format!("{}: {warning}", container.name)));
    }
    Ok(container)
}

fn never_started(container: &Container) -> bool {
    container.exit.as_ref().is_some_and(|exit| exit.kind == "never_started") && !container.state.is_alive()
}

/// Shows the container's output until it ends, and returns it as it is then.
async fn accompany(session: &mut Session, started: &Container) -> Result<Container, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let all = query::Logs { follow: query::Switch::On, ..query::Logs::default() };
    let mut lines = session.client.stream(&format!("{}?{}", of(&started.id, "logs"), query::write(&all))).await?;
    loop {
        tokio::select! {
            line = lines.next_document::<LogLine>() => match line? {
                Some(line) => logs::print(&mut session.paper, &line, logs::Stamp::Bare)?,
                None => break,
            },
            request = interrupts.next() => {
                // Beside the output, which goes on until the program has ended.
                tokio::spawn(interrupt(session.client.clone(), started.id.clone(), request));
            }
        }
    }
    session.client.fetch(&of(&started.id, "wait")).await
}

async fn interrupt(client: Client, id: String, verb: &'static str) {
    if let Err(failure) = client.act(Method::POST, &of(&id, verb)).await {
        complain(&failure.sentence());
    }
}

/// What a person presses: the first time it is a stop, from then on a kill.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    seen: u32,
}

impl Interrupts {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|source| Failure::Process { what: "listen for Ctrl-C", source });
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())?, seen: 0 })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.seen += 1;
        if self.seen == 1 { "stop" } else { "kill" }
    }
}

/// Says what a number alone does not say, and returns the number.
fn tell_end(ended: &Container) -> u8 {
    let Some(exit) = &ended.exit else {
        return OUR_FAILURE;
    };
    if matches!(exit.kind.as_str(), "never_started" | "out_of_memory" | "lost") {
        complain(&format!("{}: {}", ended.name, harmless(&exit.message)));
    }
    exit.shell_code.unwrap_or(OUR_FAILURE)
}

#[cfg(test)]
mod tests {
    use belljar_model::exit::{Cause, Exit};
    use belljar_model::{Config, ContainerId, Failure as StepFailure, Signal, State, Wanted, container as model};

    use super::*;

    fn ended(cause: Cause) -> Container {
        let config: Config = serde_json::from_str(r#"{"name":"web","image":"host","command":["nope"]}"#).expect("a config");
        let container = model::Container {
            id: ContainerId::from_bytes([7; 32]),
            config,
            state: State::Stopped,
            wanted: Wanted::Running,
            uid_base: None,
            without_ids: None,
            image_digest: None,
            created_at_ms: 0,
            started_at_ms: None,
            init: None,
            monitor: None,
            exit: Some(Exit { cause, out_of_memory: None, at_ms: 0 }),
            restarts: 0,
        };
        Container::at(&container, 0)
    }

    fn never(step: &str, cause: &str) -> Cause {
        Cause::NeverStarted(StepFailure { step: step.into(), object: "nope".into(), cause: cause.into() })
    }

    #[test]
    fn the_exit_status_follows_dockers_rules() {
        let cases = [
            (Cause::Exited { code: 7 }, 7),
            (Cause::Signaled { signal: Signal::KILL }, 137),
            (never("exec", "ENOENT: no such file or directory"), 127),
            (never("exec", "EACCES: permission denied"), 126),
            (never("mount", "EPERM: operation not permitted"), 125),
            (Cause::Lost { why: "the machine was switched off".into() }, 125),
        ];
        for (cause, status) in cases {
            assert_eq!(tell_end(&ended(cause.clone())), status, "{cause:?}");
        }
    }

    #[test]
    fn a_program_that_never_began_is_not_followed() {
        assert!(never_started(&ended(never("exec", "ENOENT: no such file or directory"))));
        assert!(!never_started(&ended(Cause::Exited { code: 0 })));
    }
}
