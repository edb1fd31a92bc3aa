//! The last step inside: the process becomes the program, and with it everything of ours goes.

use std::ffi::CString;
use std::time::Instant;

use belljar_linux::{Error, Result};
use rustix::io::Errno;

use super::inside::Inside;
use super::{Report, Word, init};
use crate::step::process::First;

/// What is executed.
pub(super) struct Program<'a> {
    pub(super) arguments: &'a [String],
    pub(super) environment: &'a [String],
    pub(super) first: First,
}

impl Inside<'_> {
    /// Becomes the program; returns only the reason why not.
    pub(super) fn exec(&self, index: usize, program: &Program<'_>) -> Error {
        let begun = Instant::now();
        match self.prepare_exec(program) {
            Ok((candidates, arguments, environment)) => {
                // The death of the maker from here on is others' to notice: containers outlive it.
                let _ = rustix::process::set_parent_process_death_signal(None);
                if program.first == First::Init
                    && let Err(error) = init::split()
                {
                    return error;
                }
                self.report(&Report { index, took_nsec: begun.elapsed().as_nanos() as u64, outcome: Word::Begun });
                try_each(&candidates, &arguments, &environment)
            }
            Err(error) => error,
        }
    }

    fn prepare_exec(&self, program: &Program<'_>) -> Result<(Vec<CString>, Vec<CString>, Vec<CString>)> {
        let text = |text: &String| CString::new(text.as_str()).map_err(|_| Error::new("exec", text.clone(), Errno::INVAL));
        let arguments = program.arguments.iter().map(text).collect::<Result<Vec<_>>>()?;
        let mut environment = program.environment.iter().map(text).collect::<Result<Vec<_>>>()?;
        if variable(program.environment, "HOME").is_none() {
            let home = self.identity.as_ref().map_or("/", |identity| &identity.home);
            environment.push(text(&format!("HOME={home}"))?);
        }
        let name = program.arguments.first().cloned().unwrap_or_default();
        let candidates = candidates(&name, search_path(program.environment));
        Ok((candidates.iter().map(text).collect::<Result<Vec<_>>>()?, arguments, environment))
    }
}

fn variable<'a>(environment: &'a [String], key: &str) -> Option<&'a str> {
    environment.iter().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

fn search_path(environment: &[String]) -> &str {
    variable(environment, "PATH").unwrap_or(crate::spec::DEFAULT_PATH)
}

fn executable(path: &str) -> std::result::Result<(), Errno> {
    use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
    let kind = FileType::from_raw_mode(stat(path)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    // By the ids and capabilities that the exec will have.
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

/// Where a program may be: as it is where it has a slash, else below each folder of `PATH` (`execvp(3)`).
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let folder =
        |folder: &str| if folder.is_empty() { format!("./{program}") } else { format!("{}/{program}", folder.trim_end_matches('/')) };
    path.split(':').map(folder).collect()
}

/// Whether executing it can come to anything, as the user that it is executed as. What cannot be asked is left to the execution.
pub(super) fn find(program: &str, path: &str) -> Result<()> {
    let mut worst = Errno::NOENT;
    for candidate in candidates(program, path) {
        match executable(&candidate) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(Errno::ACCESS) => worst = Errno::ACCESS,
            _ => return Ok(()),
        }
    }
    Err(Error::new("exec", "", worst))
}

/// Tries each; a folder without the program goes on to the next, one whose file may not be run is remembered.
fn try_each(candidates: &[CString], arguments: &[CString], environment: &[CString]) -> Error {
    let mut worst = Errno::NOENT;
    for candidate in candidates {
        let errno = match nix::unistd::execve(candidate, arguments, environment) {
            Err(errno) => Errno::from_raw_os_error(errno as i32),
            Ok(never) => match never {},
        };
        match errno {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => worst = errno,
            other => return Error::new("exec", "", other),
        }
    }
    Error::new("exec", "", worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_up_as_a_shell_would() {
        assert_eq!(candidates("sh", "/usr/bin:/bin/"), ["/usr/bin/sh", "/bin/sh"]);
        assert_eq!(candidates("./run", "/bin"), ["./run"]);
        assert_eq!(candidates("x", ":/bin"), ["./x", "/bin/x"]);
    }

    #[test]
    fn a_program_is_found_before_it_is_executed() {
        assert!(find("sh", "/no/such/folder:/bin").is_ok() && find("/bin/sh", "").is_ok());
        assert_eq!(find("no-such-program", "/bin").map_err(|error| error.errno), Err(Errno::NOENT));
        assert_eq!(find("/etc/passwd", "/bin").map_err(|error| error.errno), Err(Errno::ACCESS), "also root may not");
        assert_eq!(find("group", "/no/such/folder:/etc").map_err(|error| error.errno), Err(Errno::ACCESS));
        assert_eq!(find("/etc", "/bin").map_err(|error| error.errno), Err(Errno::ACCESS), "a folder is no program");
    }
}
