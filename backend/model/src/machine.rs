//! Every state against every request: what is done, what is already so, and what is refused with which words.
//!
//! ```text
//!             start   stop    kill    pause   resume  restart delete  delete(force)
//! creating    no      no      no      no      no      no      no      do
//! created     do      so      so*     no      no      do      do      do
//! running     so      do      do      do      so      do      no      do
//! paused      no      do      do      so      do      do      no      do
//! stopped     do      so      so*     no      no      do      do      do
//! ```
//! `so*`: SIGKILL is already so; any other signal has nobody to go to, and is refused.

use crate::{Signal, State};

/// What a person asks of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Begin its program.
    Start,
    /// Stop signal, grace, kill.
    Stop,
    /// One signal to its first process.
    Kill(Signal),
    /// Freeze its processes.
    Pause,
    /// Thaw them.
    Resume,
    /// Stop, then start.
    Restart,
    /// Remove it and everything of it.
    Delete(Force),
}

/// Whether a container that runs may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Killed first where it runs.
    Yes,
    /// Refused where it runs.
    No,
}

/// The answer to a request: a "no" that is expected is a verdict, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It shall be done.
    Do,
    /// It is so already; nothing needs doing.
    AlreadySo,
    /// It cannot be done in this state, and why, as a clause that follows the container's name.
    No(&'static str),
}

/// The verdict on `request` for a container in `state`.
pub fn admit(state: State, request: Request) -> Verdict {
    use Verdict::{AlreadySo, Do, No};
    match (state, request) {
        (_, Request::Delete(Force::Yes)) => Do,
        (State::Creating, _) => No("is still being created"),

        (State::Created | State::Stopped, Request::Start | Request::Restart | Request::Delete(Force::No)) => Do,
        (State::Created | State::Stopped, Request::Stop | Request::Kill(Signal::KILL)) => AlreadySo,
        (State::Created | State::Stopped, Request::Kill(_) | Request::Pause | Request::Resume) => No("is not running"),

        (State::Running, Request::Start | Request::Resume) => AlreadySo,
        (State::Running, Request::Stop | Request::Kill(_) | Request::Pause | Request::Restart) => Do,
        (State::Running, Request::Delete(Force::No)) => No("is running: stop it first, or force"),

        (State::Paused, Request::Pause) => AlreadySo,
        (State::Paused, Request::Stop | Request::Kill(_) | Request::Resume | Request::Restart) => Do,
        (State::Paused, Request::Start) => No("is paused: resume it"),
        (State::Paused, Request::Delete(Force::No)) => No("is paused: stop it first, or force"),
    }
}

/// The verdict on running a further program in a container in `state`.
pub fn admit_exec(state: State) -> Verdict {
    match state {
        State::Running => Verdict::Do,
        // It would be frozen before its first instruction.
        State::Paused => Verdict::No("is paused: resume it"),
        State::Creating => Verdict::No("is still being created"),
        State::Created | State::Stopped => Verdict::No("is not running"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_program_needs_a_container_that_runs() {
        let done = |state: &State| admit_exec(*state) == Verdict::Do;
        assert_eq!(State::ALL.into_iter().filter(done).collect::<Vec<_>>(), [State::Running]);
    }

    /// The table of the module's opening words, read back: the documentation is the test.
    #[test]
    fn every_state_answers_every_request_as_drawn() {
        let drawn = include_str!("machine.rs").lines().filter_map(|line| line.strip_prefix("//! "));
        let rows: Vec<Vec<&str>> = drawn.map(|line| line.split_whitespace().collect()).filter(|row: &Vec<&str>| row.len() == 9).collect();
        assert_eq!(rows.len(), State::ALL.len());
        let requests = [
            Request::Start,
            Request::Stop,
            Request::Kill(Signal::KILL),
            Request::Pause,
            Request::Resume,
            Request::Restart,
            Request::Delete(Force::No),
            Request::Delete(Force::Yes),
        ];
        for (state, row) in State::ALL.into_iter().zip(&rows) {
            assert_eq!(row[0], state.as_str());
            for (request, drawn) in requests.into_iter().zip(&row[1..]) {
                let word = match admit(state, request) {
                    Verdict::Do => "do",
                    Verdict::AlreadySo => "so",
                    Verdict::No(_) => "no",
                };
                assert_eq!(word, drawn.trim_end_matches('*'), "{} {request:?}", state.as_str());
            }
        }
    }

    #[test]
    fn a_signal_other_than_kill_needs_somebody_to_go_to() {
        assert_eq!(admit(State::Stopped, Request::Kill(Signal::TERM)), Verdict::No("is not running"));
    }
}
