//! Why an operation on files came to nothing, and which kind of no that is.

use belljar_archive::ArchiveError;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// An operation on files that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing at the path.
    #[error("there is no {path}")]
    NotFound {
        /// As it was asked for.
        path: String,
    },
    /// It cannot be done with what is at the path.
    #[error("{path} {problem}")]
    Refused {
        /// As it was asked for.
        path: String,
        /// A clause that follows the path.
        problem: String,
    },
    /// The archive is not one, or holds what is refused.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The kernel said no.
    #[error(transparent)]
    Kernel(#[from] belljar_linux::Error),
    /// Whoever reads what is written has gone, or their disk is full.
    #[error("could not hand the archive over")]
    Output(#[source] std::io::Error),
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// There is no such path.
    NotFound,
    /// The request, or the archive, is at fault.
    Invalid,
    /// What is there does not let it: something is mounted there, it is read-only, it belongs to nobody inside.
    Conflict,
    /// The disk is full.
    Full,
    /// Something of ours or the machine's.
    Internal,
}

impl Error {
    /// What kind it is.
    pub fn why(&self) -> Why {
        match self {
            Error::NotFound { .. } => Why::NotFound,
            Error::Refused { .. } => Why::Conflict,
            Error::Archive(error) if error.is_invalid() => Why::Invalid,
            Error::Archive(_) | Error::Output(_) => Why::Internal,
            Error::Kernel(error) => match error.errno {
                Errno::NOENT => Why::NotFound,
                Errno::NAMETOOLONG | Errno::LOOP | Errno::NOTDIR | Errno::ISDIR => Why::Invalid,
                Errno::ROFS | Errno::BUSY | Errno::ACCESS | Errno::PERM | Errno::NOTEMPTY | Errno::EXIST | Errno::OVERFLOW => Why::Conflict,
                Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Why::Full,
                _ => Why::Internal,
            },
        }
    }

    /// The error and what is under it, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }

    pub(super) fn refused(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Refused { path: path.into(), problem: problem.into() }
    }
}

/// A path fit for a sentence.
pub(super) fn shown(path: &[u8]) -> String {
    belljar_archive::shown(path)
}

/// An errno with its operation and its path.
pub(super) fn failed(operation: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
    let path = shown(path);
    move |errno| Error::Kernel(belljar_linux::Error::new(operation, path, errno))
}
