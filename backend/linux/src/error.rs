//! One error for every system call: what was tried, on what, and the kernel's word for why not.

use std::fmt;

use rustix::io::Errno;

/// A system call that failed. `Display` is the whole story, since an errno has no source of its own:
/// `mount proc at /proc: EPERM: operation not permitted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What was tried, as a verb: `mount`.
    pub operation: &'static str,
    /// On what: a path, a process, a name.
    pub subject: String,
    /// The kernel's answer.
    pub errno: Errno,
}

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The failure of `operation` on `subject`.
    pub fn new(operation: &'static str, subject: impl Into<String>, errno: impl Into<Errno>) -> Self {
        Self { operation, subject: subject.into(), errno: errno.into() }
    }

    /// The failure that the last raw system call left in `errno`.
    pub(crate) fn last(operation: &'static str, subject: impl Into<String>) -> Self {
        let number = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        Self::new(operation, subject, Errno::from_raw_os_error(number))
    }

    /// Turns an I/O error of the standard library into one of ours.
    pub fn from_io(operation: &'static str, subject: impl Into<String>, error: &std::io::Error) -> Self {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        Self::new(operation, subject, errno)
    }

    /// `EPERM: operation not permitted`: the cause alone, for a failure that already names its step.
    pub fn cause(&self) -> String {
        cause(self.errno)
    }
}

/// `EPERM: operation not permitted`.
pub fn cause(errno: Errno) -> String {
    let known = nix::errno::Errno::from_raw(errno.raw_os_error());
    let mut meaning = known.desc().to_owned();
    if let Some(first) = meaning.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    format!("{known:?}: {meaning}")
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.operation, self.subject, self.cause())
    }
}

impl std::error::Error for Error {}

/// Names what an errno was about.
pub trait Context<T> {
    /// Names the operation and its subject; the subject is only made where it failed.
    fn context(self, operation: &'static str, subject: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, Errno> {
    fn context(self, operation: &'static str, subject: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::new(operation, subject(), errno))
    }
}

impl<T> Context<T> for std::result::Result<T, nix::errno::Errno> {
    fn context(self, operation: &'static str, subject: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::new(operation, subject(), Errno::from_raw_os_error(errno as i32)))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, operation: &'static str, subject: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::from_io(operation, subject(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_operation_subject_and_cause() {
        let error = Error::new("mount", "proc at /proc", Errno::PERM);
        assert_eq!(error.to_string(), "mount proc at /proc: EPERM: operation not permitted");
    }
}
