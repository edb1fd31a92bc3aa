//! The file that this process executes, out of reach for what it makes: a container that shares the host's root user could
//! open `/proc/<pid>/exe` of whoever makes or enters it, and write over the program that the host's root runs next
//! (CVE-2019-5736).
//!
//! [`protect`] says how. Most programs that need it never get that far: [`entry`] did the same before they began.

mod entry;

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::mount::{self, Attributes, Depth};

/// This process's executable, also where its file was replaced meanwhile.
const SELF: &str = "/proc/self/exe";

/// User and group that own this process's executable, and may write to it by that alone.
pub fn owner() -> Result<(u32, u32)> {
    let stat = rustix::fs::stat(SELF).context("stat", || SELF.to_owned())?;
    Ok((stat.st_uid, stat.st_gid))
}

/// Whether this process's executable lies on a mount through which nobody can write to it.
pub fn is_protected() -> Result<bool> {
    is_read_only(mount::open_path(Path::new(SELF))?)
}

fn is_read_only(opened: impl AsFd) -> Result<bool> {
    let stat = rustix::fs::fstatvfs(opened).context("statvfs", || SELF.to_owned())?;
    Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Makes sure of it: executes this program again, with the same arguments and environment, from a read-only copy of its file's
/// mount that hangs nowhere, and that nobody can therefore make writable again. Returns where that is so already. To be called
/// at the beginning of a program, while it has one thread and nothing to lose.
pub fn protect() -> Result<()> {
    if is_protected()? {
        return Ok(());
    }
    let copy = mount::clone_tree(Path::new(SELF), Depth::One)?;
    mount::set_attributes(&copy, Attributes::MOUNT_ATTR_RDONLY, Depth::One)?;
    // Were it not so, the program would find itself unprotected again, and execute itself forever.
    if !is_read_only(&copy)? {
        return Err(Error::new("protect", SELF, Errno::ROFS));
    }
    Err(execute(&copy))
}

/// Returns only the reason why not.
fn execute(file: &OwnedFd) -> Error {
    let text = |text: std::ffi::OsString| CString::new(text.into_vec()).unwrap_or_default();
    let arguments: Vec<CString> = std::env::args_os().map(text).collect();
    let pair = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        let mut pair = key;
        pair.push("=");
        pair.push(value);
        text(pair)
    };
    let environment: Vec<CString> = std::env::vars_os().map(pair).collect();
    let pointers = |list: &[CString]| list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (argv, envp) = (pointers(&arguments), pointers(&environment));
    // SAFETY: execveat(2) demands an open descriptor, a NUL-terminated path, and two arrays of pointers to NUL-terminated
    // strings, each ended by a null pointer: `argv` and `envp` are such, and point into `arguments` and `environment`, which
    // live until the call returns, if it does.
    unsafe { libc::syscall(libc::SYS_execveat, file.as_raw_fd(), c"".as_ptr(), argv.as_ptr(), envp.as_ptr(), libc::AT_EMPTY_PATH) };
    Error::last("execute", SELF)
}
