//! What can go wrong on the command line's side, told as one sentence with what to do about it.

use std::path::PathBuf;

use belljar_api::Problem;
use belljar_model::Invalid;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// An argument is wrong in itself.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The server said no, and why.
    #[error("{detail}", detail = .0.detail)]
    Refused(Box<Problem>),
    /// Several things were asked, and some were refused; each was told already.
    #[error("{refused} of {asked} could not be done")]
    Several {
        /// How many were refused.
        refused: usize,
        /// How many were asked.
        asked: usize,
    },
    /// Nobody listens at the socket.
    #[error("no server listens at {}: start one with `belljar serve`, or name its socket with --socket", socket.display())]
    NobodyListens {
        /// Path of the socket.
        socket: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The socket is not for this user.
    #[error("the socket {} is for root and the group belljar: use sudo, or join the group", socket.display())]
    NotAllowed {
        /// Path of the socket.
        socket: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The conversation with the server broke off.
    #[error("the server at {} did not finish its answer", socket.display())]
    BrokeOff {
        /// Path of the socket.
        socket: PathBuf,
        /// What hyper says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is not one that this client knows: most likely the server is of another version.
    #[error("the answer to {path} cannot be read; are server and client of the same version?")]
    Unreadable {
        /// What was asked for.
        path: String,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is longer than anything that the API sends.
    #[error("the answer to {path} has more than {limit_bytes} bytes")]
    TooLong {
        /// What was asked for.
        path: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// The answer has a status without a problem document.
    #[error("the server answered {status} to {path}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        path: String,
    },
    /// A file of the caller could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// An image was not pulled.
    #[error("{problem}")]
    Pull {
        /// Why, in the server's words.
        problem: String,
    },
    /// A file of the caller could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// Something of this process could not be set up.
    #[error("cannot {what}")]
    Process {
        /// What, as a clause that follows *cannot*.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The output could not be written.
    #[error("cannot write the output")]
    Output {
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

impl Failure {
    /// Whether whoever read the output has had enough, as `head` does: nothing to speak of.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Failure::Output { source } if source.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// The whole chain as one sentence.
    pub(crate) fn sentence(&self) -> String {
        sentence(self)
    }
}

/// An error and its sources as one sentence, outermost first.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their source in their own words.
        if !sentence.ends_with(&cause_text) {
            sentence.push_str(": ");
            sentence.push_str(&cause_text);
        }
        source = cause.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_failure_and_its_sources_are_one_sentence() {
        let source = std::io::Error::from_raw_os_error(2);
        let failure = Failure::File { path: "/tmp/env".into(), source };
        assert_eq!(failure.sentence(), "cannot read /tmp/env: No such file or directory (os error 2)");
        assert!(failure.source().is_some());
    }

    #[test]
    fn only_a_closed_pipe_is_passed_over_in_silence() {
        let output = |kind: std::io::ErrorKind| Failure::Output { source: kind.into() };
        assert!(output(std::io::ErrorKind::BrokenPipe).is_broken_pipe());
        assert!(!output(std::io::ErrorKind::StorageFull).is_broken_pipe());
    }
}
