//! What is said to whoever called: on standard error for a person, and as lines in `--log` for an engine, which reads the
//! last one of them for the reason of a failure.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"`
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Errors and warnings.
    Usual,
    /// Every step too.
    Debug,
}

/// The log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open log {}", path.display())]
pub(crate) struct Error {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Option<File>,
    format: Format,
    detail: Detail,
}

impl Journal {
    /// Lines go to the file where one is named, else to standard error.
    pub(crate) fn open(path: Option<&Path>, format: Format, detail: Detail) -> Result<Self, Error> {
        let open = |path: &Path| {
            let opened = File::options().append(true).create(true).mode(0o644).open(path);
            opened.map_err(|source| Error { path: path.to_owned(), source })
        };
        Ok(Self { file: path.filter(|path| !path.as_os_str().is_empty()).map(open).transpose()?, format, detail })
    }

    /// A command failed. A person reads the sentence in any case.
    pub(crate) fn error(&self, message: &str) {
        self.line("error", message);
        if self.file.is_some() {
            let _ = writeln!(std::io::stderr(), "{message}");
        }
    }

    /// Something was done differently from how it was asked for.
    pub(crate) fn warning(&self, message: &str) {
        self.line("warning", message);
    }

    /// What only somebody who looks for a mistake wants to read.
    pub(crate) fn debug(&self, message: impl FnOnce() -> String) {
        if self.detail == Detail::Debug {
            self.line("debug", &message());
        }
    }

    fn line(&self, level: &str, message: &str) {
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let line = match self.format {
            Format::Text => format!("time=\"{time}\" level={level} msg={}\n", serde_json::Value::from(message)),
            Format::Json => format!("{{\"level\":\"{level}\",\"msg\":{},\"time\":\"{time}\"}}\n", serde_json::Value::from(message)),
        };
        // Nobody may be reading, which changes nothing.
        let _ = match self.file.as_ref() {
            Some(mut file) => file.write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// An error and everything that caused it, as one sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        told = format!("{told}: {cause}");
        next = cause.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_finds_the_reason_as_a_line_of_json() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.json");
        let journal = Journal::open(Some(&path), Format::Json, Detail::Usual).expect("it opens");
        journal.debug(|| "not said".into());
        journal.error("a \"quoted\" reason");
        let line: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("a log")).expect("one line of JSON");
        assert_eq!((line["level"].as_str(), line["msg"].as_str()), (Some("error"), Some("a \"quoted\" reason")));
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 20));
    }
}
