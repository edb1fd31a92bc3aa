//! What a container's processes and files say, where "it cannot be told just now" is never taken for "it is gone": a server
//! that is short of descriptors or memory must not give up containers that are well.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use belljar_linux::process;
use belljar_model::container::ProcessRef;
use belljar_monitor::record::Look;
use belljar_runtime::{Bundle, Spec};
use rustix::io::Errno;

use crate::Error;
use crate::launch::{Watched, watched};

/// What a monitor left. A file that is missing or cut off says nothing; one that cannot be read is an error.
pub(crate) fn look(bundle: &Bundle) -> Result<Look, Error> {
    let (alive, exit, exit_of_this_boot) = (read(&bundle.alive())?, read(&bundle.exit())?, read(&bundle.exit_of_this_boot())?);
    Ok(Look::of(alive.as_deref(), [exit.as_deref(), exit_of_this_boot.as_deref()]))
}

/// The spec in this file, with the same exceptions.
pub(crate) fn spec(path: &Path) -> Result<Option<Spec>, Error> {
    Ok(read(path)?.and_then(|content| serde_json::from_slice(&content).ok()))
}

/// Something that tells when exactly this process ends; `None` where it has.
pub(crate) fn watch(process: ProcessRef) -> Result<Option<Watched>, Error> {
    watch_with(process, || process::open(process.pid, process.start_ticks))
}

fn watch_with(process: ProcessRef, open: impl FnOnce() -> belljar_linux::Result<OwnedFd>) -> Result<Option<Watched>, Error> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| Error::failed("look at", format!("process {}", process.pid), error);
    if !lives(process)? {
        return Ok(None);
    }
    match open() {
        Ok(pidfd) => watched(pidfd).map(Some).map_err(|error| failed(error.into())),
        // It ended between the two looks, or there was something else in the way.
        Err(error) => {
            if lives(process)? {
                Err(failed(error.into()))
            } else {
                Ok(None)
            }
        }
    }
}

fn lives(process: ProcessRef) -> Result<bool, Error> {
    let stat = read(Path::new(&format!("/proc/{}/stat", process.pid)))?;
    let stat = stat.and_then(|line| process::parse_stat(&String::from_utf8_lossy(&line)));
    Ok(stat.is_some_and(|stat| stat.start_ticks == process.start_ticks && !matches!(stat.state, 'Z' | 'X')))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if means_gone(&error) => Ok(None),
        Err(source) => Err(Error::File { operation: "read", path: path.to_owned(), source }),
    }
}

/// `ESRCH` is what a file of `/proc` says whose process ended after it was opened. What is below something that is no folder
/// is not there either.
fn means_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_process() -> ProcessRef {
        let pid = i32::try_from(std::process::id()).expect("a pid fits i32");
        ProcessRef { pid, start_ticks: process::start_ticks(pid).expect("it lives") }
    }

    fn too_many() -> belljar_linux::Error {
        belljar_linux::Error::new("open", "process", Errno::MFILE)
    }

    #[tokio::test]
    async fn a_process_that_lives_is_not_gone_because_descriptors_are_short() {
        let me = this_process();
        assert!(matches!(watch(me), Ok(Some(_))));
        assert!(watch_with(me, || Err(too_many())).is_err());
        let other = ProcessRef { start_ticks: me.start_ticks + 1, ..me };
        assert!(matches!(watch_with(other, || Err(too_many())), Ok(None)));
    }

    #[test]
    fn a_record_that_is_there_and_cannot_be_read_is_not_a_missing_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let bundle = Bundle::new(folder.path(), &folder.path().join("run"), &belljar_model::ContainerId::from_bytes([2; 32]));
        assert_eq!(look(&bundle).expect("nothing is there"), Look::default());
        // A folder cannot be read as a file: the nearest to a failing disk that a test can make.
        std::fs::create_dir_all(bundle.alive()).expect("a folder");
        assert!(look(&bundle).is_err());
    }
}
