//! Memory that a process shares with the children that are made after it: numbers, written by one and read by the other, without
//! a system call and without waking anybody.
//!
//! It must never know what the numbers mean. Both sides see a number whole, and whoever hears by another way that one was
//! written finds it.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// A row of numbers, 0 at first. The kernel drops the memory with the last process that has it, or with its next program.
#[derive(Debug)]
pub struct Board {
    numbers: NonNull<AtomicU64>,
    count: usize,
}

impl Board {
    /// One with room for `count` numbers.
    pub fn new(count: usize) -> Result<Self> {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: mmap(2) demands nothing of a null address without MAP_FIXED: the kernel chooses where nothing lies yet. An
        // anonymous mapping has no file, hence -1 and 0.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), bytes_of(count), access, flags, -1, 0) };
        let failed = || Error::last("share", "memory");
        let numbers = if memory == libc::MAP_FAILED { return Err(failed()) } else { NonNull::new(memory.cast()).ok_or_else(failed)? };
        Ok(Self { numbers, count })
    }

    /// Writes a number; one for which there is no room is lost.
    pub fn write(&self, index: usize, number: u64) {
        if let Some(place) = self.all().get(index) {
            place.store(number, Ordering::Release);
        }
    }

    /// Reads a number; 0 where there is none.
    pub fn read(&self, index: usize) -> u64 {
        self.all().get(index).map_or(0, |place| place.load(Ordering::Acquire))
    }

    fn all(&self) -> &[AtomicU64] {
        // SAFETY: the memory was mapped readable and writable for `count` numbers and stays so until this is dropped; a mapping
        // begins at a page, which is aligned for them; zeroes are valid numbers; and everybody who has it uses atomic accesses.
        unsafe { std::slice::from_raw_parts(self.numbers.as_ptr(), self.count) }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: munmap(2) demands an address and a length that were mapped, and that nothing refers to any more: they are those
        // of the mapping that was made in `new`, and what `all` lends cannot outlive this.
        let _ = unsafe { libc::munmap(self.numbers.as_ptr().cast(), bytes_of(self.count)) };
    }
}

/// An empty mapping is none.
fn bytes_of(count: usize) -> usize {
    count.max(1) * size_of::<AtomicU64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{self, Ended};

    #[test]
    fn what_a_child_writes_is_read_here() {
        let board = Board::new(600).unwrap();
        assert_eq!((board.read(599), board.read(600)), (0, 0));
        // SAFETY: fork(2) in a process with other threads demands that the child calls nothing that may take a lock: it stores two
        // numbers, and ends.
        let nix::unistd::ForkResult::Parent { child } = unsafe { nix::unistd::fork() }.unwrap() else {
            board.write(599, u64::MAX);
            board.write(600, 1);
            process::exit_now(0)
        };
        let pidfd = process::open_child(child.as_raw()).unwrap();
        assert_eq!(process::wait(&pidfd).unwrap(), Ended::Exited(0));
        assert_eq!((board.read(0), board.read(599), board.read(600)), (0, u64::MAX, 0));
    }
}
