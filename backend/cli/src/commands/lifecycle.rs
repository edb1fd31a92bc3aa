//! Commands that ask the same of several containers: each is tried, each refusal is told, and the rest goes on.

use belljar_api::{Container, query};
use hyper::Method;

use super::{DONE, Outcome, Session, container, of};
use crate::arguments::{Containers, DeleteArguments, KillArguments, StopArguments};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::complain;

/// Milliseconds of a second.
const SECOND_MS: u64 = 1000;
/// What `wait` prints where nobody knows how a container ended.
const CODE_UNKNOWN: &str = "unknown";

/// `start`, `pause`, `resume`, and what else takes nothing but a query.
pub(crate) async fn act(session: &mut Session, containers: Containers, verb: &str, query: String) -> Outcome {
    let query = if query.is_empty() { query } else { format!("?{query}") };
    for_each(session, containers, async |client, name| client.act(Method::POST, &format!("{}{query}", of(name, verb))).await).await
}

/// `stop` and `restart`.
pub(crate) async fn stop(session: &mut Session, arguments: StopArguments, verb: &str) -> Outcome {
    let grace_ms = arguments.seconds.map(|seconds| u64::from(seconds) * SECOND_MS);
    act(session, arguments.containers, verb, query::write(&query::Stop { grace_ms })).await
}

/// `kill`.
pub(crate) async fn kill(session: &mut Session, arguments: KillArguments) -> Outcome {
    let signal = Some(arguments.signal.to_string());
    act(session, arguments.containers, "kill", query::write(&query::Kill { signal })).await
}

/// `delete`.
pub(crate) async fn delete(session: &mut Session, arguments: DeleteArguments) -> Outcome {
    let query = query::write(&query::Delete { force: arguments.force.into() });
    let delete = async |client: &Client, name: &str| client.act(Method::DELETE, &format!("{}?{query}", container(name))).await;
    for_each(session, arguments.containers, delete).await
}

/// `wait`: prints what a shell would show of each.
pub(crate) async fn wait(session: &mut Session, containers: Containers) -> Outcome {
    for name in &containers.containers {
        let ended: Container = session.client.fetch(&of(name, "wait")).await?;
        let code = ended.exit.and_then(|exit| exit.shell_code);
        session.paper.line(&code.map_or(CODE_UNKNOWN.to_owned(), |code| code.to_string()))?;
        session.paper.flush()?;
    }
    Ok(DONE)
}

pub(super) async fn for_each(
    session: &mut Session,
    containers: Containers,
    ask: impl AsyncFn(&Client, &str) -> Result<(), Failure>,
) -> Outcome {
    let (asked, mut refused) = (containers.containers.len(), 0);
    for name in &containers.containers {
        match ask(&session.client, name).await {
            Ok(()) => {
                session.paper.line(name)?;
                session.paper.flush()?;
            }
            Err(failure @ Failure::Refused(_)) if asked > 1 => {
                complain(&failure.sentence());
                refused += 1;
            }
            Err(failure) => return Err(failure),
        }
    }
    if refused == 0 { Ok(DONE) } else { Err(Failure::Several { refused, asked }) }
}
