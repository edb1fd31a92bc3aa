//! Landlock (`landlock(7)`): a process gives up access to all files but those below folders that it names, for itself and all
//! that comes of it, without needing a privilege.
//!
//! The kernel's version of it (its *ABI*, a number that only grows) says which kinds of access it can handle. What is not
//! handled is not restricted, so a caller that wants to be sure asks [`abi`] first.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::error::{Error, Result};

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const QUERY_VERSION: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`, `LANDLOCK_RULE_NET_PORT`.
const RULE_PATH: i32 = 1;
const RULE_PORT: i32 = 2;

/// Kinds of access to files (`LANDLOCK_ACCESS_FS_*`), as bits.
pub mod files {
    /// Executing a file.
    pub const EXECUTE: u64 = 1 << 0;
    /// Opening a file for writing.
    pub const WRITE_FILE: u64 = 1 << 1;
    /// Opening a file for reading.
    pub const READ_FILE: u64 = 1 << 2;
    /// Listing a folder.
    pub const READ_FOLDER: u64 = 1 << 3;
    /// Removing an empty folder, or renaming one.
    pub const REMOVE_FOLDER: u64 = 1 << 4;
    /// Removing or renaming a file.
    pub const REMOVE_FILE: u64 = 1 << 5;
    /// Making a device, a folder, a file, a socket, a pipe, a block device, a link: bits 6 to 12.
    pub const MAKE: u64 = 0b111_1111 << 6;
    /// Linking or renaming from one folder to another (ABI 2).
    pub const REFER: u64 = 1 << 13;
    /// Cutting a file (ABI 3).
    pub const TRUNCATE: u64 = 1 << 14;
    /// Controlling a device (ABI 5).
    pub const CONTROL_DEVICE: u64 = 1 << 15;

    /// What a ruleset of this ABI can handle.
    pub fn handled(abi: u32) -> u64 {
        let first = (1 << 13) - 1;
        let later = [(2, REFER), (3, TRUNCATE), (5, CONTROL_DEVICE)];
        later.into_iter().filter(|(since, _)| abi >= *since).fold(first, |all, (_, bit)| all | bit)
    }

    /// What can be allowed below something that is no folder.
    pub const OF_ONE_FILE: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | CONTROL_DEVICE;
}

/// Kinds of access to TCP ports (`LANDLOCK_ACCESS_NET_*`, ABI 4), as bits.
pub mod ports {
    /// Listening.
    pub const BIND: u64 = 1;
    /// Connecting.
    pub const CONNECT: u64 = 2;
    /// The ABI that has both.
    pub const SINCE_ABI: u32 = 4;
}

/// What cannot be reached outside of the domain (`LANDLOCK_SCOPE_*`, ABI 6), as bits.
pub mod scopes {
    /// Abstract unix sockets.
    pub const ABSTRACT_SOCKETS: u64 = 1;
    /// Processes, by signals.
    pub const SIGNALS: u64 = 2;
    /// The ABI that has both.
    pub const SINCE_ABI: u32 = 6;
}

/// `struct landlock_ruleset_attr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handled {
    /// Kinds of access to files that are denied unless a rule allows them: bits of `LANDLOCK_ACCESS_FS_*`.
    pub files: u64,
    /// The same of TCP ports: bits of `LANDLOCK_ACCESS_NET_*` (ABI 4).
    pub ports: u64,
    /// What is out of reach altogether: bits of `LANDLOCK_SCOPE_*`, as in [`scopes`] (ABI 6).
    pub scopes: u64,
}

/// `struct landlock_path_beneath_attr`, which the kernel declares packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    folder: i32,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// The kernel's ABI; `ENOSYS` where it has no Landlock, `EOPNOTSUPP` where that is switched off.
pub fn abi() -> Result<u32> {
    // SAFETY: with LANDLOCK_CREATE_RULESET_VERSION the call demands a null attribute of size 0 and returns a number.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<Handled>(), 0usize, QUERY_VERSION) };
    u32::try_from(answer).map_err(|_| Error::last("ask for", "Landlock"))
}

/// What is allowed, before it is put in force.
#[derive(Debug)]
pub struct Ruleset {
    descriptor: OwnedFd,
}

impl Ruleset {
    /// Denies all that is `handled`.
    pub fn new(handled: &Handled) -> Result<Self> {
        // Older kernels know a shorter structure, and take a longer one only where what they do not know is zero.
        // SAFETY: landlock_create_ruleset(2) demands a readable attribute of the given size; it is borrowed for the call.
        let made = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::from_ref(handled), size_of::<Handled>(), 0u32) };
        match i32::try_from(made) {
            // SAFETY: the call returned a new descriptor that nobody else owns.
            Ok(made @ 0..) => Ok(Self { descriptor: unsafe { OwnedFd::from_raw_fd(made) } }),
            _ => Err(Error::last("make", "Landlock ruleset")),
        }
    }

    /// Allows kinds of access below an open folder, or to an open file (`O_PATH` will do).
    pub fn allow_below(&self, opened: impl AsFd, allowed: u64) -> Result<()> {
        let rule = PathBeneath { allowed, folder: opened.as_fd().as_raw_fd() };
        self.add(RULE_PATH, (&raw const rule).cast())
    }

    /// Allows a TCP port.
    pub fn allow_port(&self, port: u16, allowed: u64) -> Result<()> {
        let rule = NetPort { allowed, port: u64::from(port) };
        self.add(RULE_PORT, (&raw const rule).cast())
    }

    fn add(&self, kind: i32, rule: *const libc::c_void) -> Result<()> {
        // SAFETY: landlock_add_rule(2) demands a ruleset's descriptor and a readable structure of the kind; both callers pass
        // a pointer to a local of just that kind, which outlives the call.
        let done = unsafe { libc::syscall(libc::SYS_landlock_add_rule, self.descriptor.as_raw_fd(), kind, rule, 0u32) };
        if done == 0 { Ok(()) } else { Err(Error::last("add", "Landlock rule")) }
    }

    /// Puts this thread, and all that comes of it, under the rules, for good. Demands `no_new_privs`, or `CAP_SYS_ADMIN`.
    pub fn enforce(&self) -> Result<()> {
        // SAFETY: landlock_restrict_self(2) takes a ruleset's descriptor and no pointer.
        let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.descriptor.as_raw_fd(), 0u32) };
        if done == 0 { Ok(()) } else { Err(Error::last("enforce", "Landlock ruleset")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_abi_handles_more() {
        assert_eq!(files::handled(1), 0x1fff);
        assert_eq!(files::handled(2), 0x3fff);
        assert_eq!(files::handled(4), 0x7fff);
        assert_eq!(files::handled(7), 0xffff);
    }

    /// On a thread of its own: rules bind the thread that enforces them, and what comes of it.
    #[test]
    fn a_thread_that_gave_up_files_cannot_open_them_again() {
        let Ok(abi) = abi() else {
            println!("skipped: needs Landlock");
            return;
        };
        let (open, shut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&open, &shut] {
            std::fs::write(folder.path().join("file"), "x").unwrap();
        }
        let confined = std::thread::spawn(move || {
            crate::process::forbid_new_privileges().unwrap();
            let ruleset = Ruleset::new(&Handled { files: files::handled(abi), ..Handled::default() }).unwrap();
            let folder = crate::tree::root(open.path()).unwrap();
            ruleset.allow_below(&folder, files::READ_FILE | files::READ_FOLDER).unwrap();
            ruleset.enforce().unwrap();
            assert!(std::fs::read(open.path().join("file")).is_ok());
            assert!(std::fs::write(open.path().join("file"), "y").is_err(), "reading was allowed, writing was not");
            assert!(std::fs::read(shut.path().join("file")).is_err());
            assert!(std::fs::write(shut.path().join("new"), "y").is_err());
        });
        confined.join().unwrap();
    }
}
