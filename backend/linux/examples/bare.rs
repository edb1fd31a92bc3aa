//! The least that a container can be, as what `cargo xtask bench runtime` compares runtimes with. It must never become a
//! runtime: no configuration, no cgroup, no filter, no capabilities, no masks, no state.
//!
//! `bare ROOT PROGRAM` does exactly this, and ends as the program does:
//!
//! 1. one `clone3` with new mount, process, network, UTS, IPC and cgroup namespaces; the parent then only waits. `bare
//!    --user ROOT PROGRAM` adds a user namespace: the parent writes two maps, and a byte into a pipe for which the child waits;
//! 2. the child makes its mounts private, binds ROOT on itself, and mounts proc, sysfs and a tmpfs on `dev`, and below it
//!    devpts, a tmpfs `shm` and mqueue;
//! 3. `pivot_root`, the old root unmounted lazily, `execve` of PROGRAM with no arguments and no environment.
#![allow(unsafe_code, reason = "this crate is where the kernel is called without the compiler's help")]
#![allow(clippy::expect_used, reason = "a measure that cannot be taken ends")]

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{Read, Write};
use std::ptr::null;

/// A system call's answer, as a panic where it is an error.
fn done(what: &str, answer: i64) -> i64 {
    assert!(answer >= 0, "{what}: {}", std::io::Error::last_os_error());
    answer
}

/// `mount(2)` of a file system of this kind, or with other flags.
fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong, options: &CStr) {
    // SAFETY: the callee reads five strings that end in zero, or flags; each is a `CStr` that outlives the call.
    let answer = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    done(&format!("mount {}", target.to_string_lossy()), answer.into());
}

/// The child's part: from new namespaces to the program.
fn inside(root: &CStr, program: &CStr) -> ! {
    const PLAIN: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"");
    mount(root, root, c"", libc::MS_BIND | libc::MS_REC, c"");
    // SAFETY: reads a string that ends in zero: a `CStr`.
    done("chdir", unsafe { libc::chdir(root.as_ptr()) }.into());
    mount(c"proc", c"proc", c"proc", PLAIN, c"");
    mount(c"sysfs", c"sys", c"sysfs", PLAIN | libc::MS_RDONLY, c"");
    mount(c"tmpfs", c"dev", c"tmpfs", libc::MS_NOSUID, c"mode=755,size=65536k");
    for folder in ["dev/pts", "dev/shm", "dev/mqueue"] {
        fs::create_dir(folder).expect("a folder can be made");
    }
    mount(c"devpts", c"dev/pts", c"devpts", libc::MS_NOSUID | libc::MS_NOEXEC, c"newinstance,ptmxmode=0666,mode=0620");
    mount(c"tmpfs", c"dev/shm", c"tmpfs", PLAIN, c"mode=1777,size=65536k");
    mount(c"mqueue", c"dev/mqueue", c"mqueue", PLAIN, c"");
    // SAFETY: reads two strings that end in zero: literals.
    done("pivot_root", unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) });
    // SAFETY: reads a string that ends in zero: a literal.
    done("umount2", unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }.into());
    let (arguments, environment) = ([program.as_ptr(), null()], [null()]);
    // SAFETY: reads a string and two arrays of strings that end in a null pointer; all three outlive the call, which
    // returns only where it fails.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    panic!("execve: {}", std::io::Error::last_os_error());
}

fn main() {
    let mut words: Vec<CString> = std::env::args().skip(1).filter_map(|word| CString::new(word).ok()).collect();
    let has_user = words.first().is_some_and(|word| word.as_c_str() == c"--user");
    if has_user {
        words.remove(0);
    }
    let [root, program] = words.as_slice() else { panic!("bare [--user] ROOT PROGRAM") };
    let namespaces =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP;
    let namespaces = if has_user { namespaces | libc::CLONE_NEWUSER } else { namespaces };
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe can be made");

    // SAFETY: an all-zero `clone_args` is the documented default of each field.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(namespaces.cast_unsigned());
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: reads a `clone_args` of the size that is told. Without CLONE_VM and a stack, the child goes on in a copy of this
    // process, which has one thread, so that nothing in the copy is held by a thread that is not there.
    let child = done("clone3", unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) });
    if child == 0 {
        if has_user {
            reader.read_exact(&mut [0]).expect("the maps are written");
            // SAFETY: neither takes a pointer.
            done("setresgid", unsafe { libc::setresgid(0, 0, 0) }.into());
            // SAFETY: as above.
            done("setresuid", unsafe { libc::setresuid(0, 0, 0) }.into());
        }
        inside(root, program);
    }
    if has_user {
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{child}/{map}"), "0 1000000 65536").expect("a map can be written");
        }
        writer.write_all(&[0]).expect("the child reads");
    }
    let child = i32::try_from(child).expect("a pid fits i32");
    let mut status = 0;
    // SAFETY: writes an `int`, which is borrowed for the call alone.
    done("waitpid", unsafe { libc::waitpid(child, &raw mut status, 0) }.into());
    std::process::exit(libc::WEXITSTATUS(status));
}
