//! The variables that this process was started with (environ(7)), as memory that others may come to read.

use crate::error::Result;

/// Writes zeros over them, since whoever traces a copy of this process could read them (`/proc/<pid>/environ`, its memory). From
/// then on it has none. Only a process with one thread may do so, as others could be reading: `EDEADLK` where it has more.
pub fn forget() -> Result<()> {
    unsafe extern "C" {
        /// environ(7).
        static mut environ: *mut *mut libc::c_char;
    }
    crate::process::require_one_thread()?;
    // SAFETY: environ(7) is null or an array of pointers that ends with a null pointer, each to a text that ends with a NUL, on
    // the stack as the kernel left them or on the heap, all writable; as many bytes are written as there are before the NUL. No
    // other thread exists that could use or change them, and the standard library holds no reference into them: it copies what
    // it is asked for.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            libc::explicit_bzero((*entry).cast(), libc::strlen(*entry));
            *entry = std::ptr::null_mut();
            entry = entry.add(1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_another_thread_could_be_reading_stay() {
        let before: Vec<_> = std::env::vars_os().collect();
        // The test's own thread is beside the harness's, so that there are two at least.
        assert_eq!(std::thread::spawn(forget).join().unwrap().unwrap_err().errno, rustix::io::Errno::DEADLK);
        assert_eq!(std::env::vars_os().collect::<Vec<_>>(), before);
    }
}
