//! `exec`: a further program in a running container. Its outputs pass as they come, byte for byte, and the command ends with
//! its exit status.
//!
//! Docker's rule for the other codes: 125 where Belljar failed, 126 where the program cannot be executed, 127 where it does
//! not exist. When this process ends, the server kills the program.

use belljar_api::exec::{FrameKind, take_frame};
use belljar_api::{ExecAnswer, ExecRequest, Problem, query};
use belljar_model::Invalid;

use super::run::OUR_FAILURE;
use super::{Outcome, Session, of};
use crate::arguments::ExecArguments;
use crate::arguments::create::Surroundings;
use crate::arguments::environment::Environment;
use crate::client::Pieces;
use crate::failure::Failure;
use crate::output::{complain, harmless};

/// How long a program may take where nothing is said: whoever asked waits, and can press Ctrl-C.
const TIME_LIMIT_MS: u64 = belljar_model::exec::TIME_MS_MAX;

/// `exec`.
pub(crate) async fn exec(session: &mut Session, arguments: ExecArguments) -> Outcome {
    let path = format!("{}?{}", of(&arguments.container, "exec"), query::write(&query::Exec { stream: query::Switch::On }));
    let request = request(arguments, &Surroundings::of_this_process()?)?;
    let mut pieces = match session.client.send_for_stream(&path, &request).await {
        Err(Failure::Refused(problem)) => return not_begun(*problem),
        asked => asked?,
    };
    let ended = follow(session, &mut pieces).await?;
    if ended.timed_out {
        complain("its time was up, so it was killed");
    }
    Ok(status(&ended))
}

/// What a shell says of a program that it cannot run.
fn not_begun(problem: Problem) -> Outcome {
    let Some(failure) = &problem.failure else { return Err(Failure::Refused(Box::new(problem))) };
    complain(&harmless(&problem.detail));
    Ok(match failure.step.as_str() {
        "exec" if failure.cause.starts_with("ENOENT") => 127,
        "exec" => 126,
        _ => OUR_FAILURE,
    })
}

fn request(arguments: ExecArguments, surroundings: &Surroundings) -> Result<ExecRequest, Invalid> {
    for (given, flag) in [(arguments.interactive, "--interactive"), (arguments.tty, "--tty")] {
        if given {
            return Err(Invalid::new(flag, "a program cannot have a terminal or an input yet: leave it out"));
        }
    }
    let environment = Environment { files: &[], entries: &arguments.env, inherited: &surroundings.variables };
    Ok(ExecRequest {
        env: environment.variables()?,
        command: arguments.command,
        user: arguments.user,
        workdir: arguments.workdir,
        time_limit_ms: Some(arguments.time_limit.map_or(TIME_LIMIT_MS, |seconds| u64::from(seconds) * 1000)),
    })
}

/// Passes on what comes until the program has ended.
async fn follow(session: &mut Session, pieces: &mut Pieces) -> Result<ExecAnswer, Failure> {
    let mut read = Vec::new();
    while let Some(piece) = pieces.next().await? {
        read.extend_from_slice(&piece);
        while let Some((kind, payload)) = take_frame(&mut read)? {
            let unreadable = |source| Failure::Unreadable { path: pieces.path().to_owned(), source };
            match kind {
                FrameKind::Stdout => session.paper.text(&payload)?,
                FrameKind::Stderr => {
                    use std::io::Write as _;
                    // Who reads its errors no more is not who decides about its end.
                    let _ = std::io::stderr().write_all(&payload);
                }
                FrameKind::Ended => return serde_json::from_slice(&payload).map_err(unreadable),
                FrameKind::Failed => {
                    return Err(serde_json::from_slice::<Problem>(&payload).map_or_else(unreadable, |p| Failure::Refused(Box::new(p))));
                }
            }
        }
        session.paper.flush()?;
    }
    Err(Failure::BrokeOff { socket: pieces.socket().to_owned(), source: "the answer ended before the program did".into() })
}

fn status(ended: &ExecAnswer) -> u8 {
    let signalled = || {
        let signal: belljar_model::Signal = ended.signal.as_deref()?.parse().ok()?;
        u8::try_from(128 + signal.number()).ok()
    };
    ended.code.or_else(signalled).unwrap_or(OUR_FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_the_programs_own() {
        let ended = |code, signal: Option<&str>| {
            let ran = ExecAnswer::from(belljar_model::exec::Ran::default());
            status(&ExecAnswer { code, signal: signal.map(str::to_owned), ..ran })
        };
        assert_eq!((ended(Some(3), None), ended(None, Some("SIGKILL")), ended(None, None)), (3, 137, OUR_FAILURE));
    }
}
