//! What events say: one sentence each, for a person.

use std::time::Duration;

use belljar_model::{Container, Signal};

/// Most characters of a command that are shown in an event.
const COMMAND_CHARS_MAX: usize = 120;

/// How a container was brought to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// By its stop signal.
    Signal(Signal),
    /// At once: its first process would not have noticed the signal.
    Unnoticed(Signal),
    /// When the grace was over.
    Overdue(Signal, Duration),
    /// A person killed it.
    Killed,
}

impl Manner {
    /// The sentence of the event, ended by how the container ended.
    pub(super) fn sentence(self, took: Duration, exit: &belljar_model::Exit) -> String {
        match self {
            Manner::Signal(signal) => format!("stopped by {signal} after {}: {exit}", seconds(took)),
            Manner::Unnoticed(signal) => format!("its first process does not listen for {signal}, so it was killed at once: {exit}"),
            Manner::Overdue(signal, grace) => format!("did not end within {} of {signal}, so it was killed: {exit}", seconds(grace)),
            Manner::Killed => exit.to_string(),
        }
    }
}

/// `0.12 s`, `10 s`.
pub(super) fn seconds(duration: Duration) -> String {
    let rounded = (duration.as_secs_f64() * 100.0).round() / 100.0;
    format!("{rounded} s")
}

/// The command line of a container as far as it is readable at a glance.
pub(super) fn command(container: &Container) -> String {
    line(&container.config.command)
}

/// A command line as far as it is readable at a glance.
pub(crate) fn line(command: &[String]) -> String {
    let line = command.join(" ");
    match line.char_indices().nth(COMMAND_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_naturally() {
        assert_eq!(seconds(Duration::from_millis(123)), "0.12 s");
        assert_eq!(seconds(Duration::from_secs(10)), "10 s");
    }
}
