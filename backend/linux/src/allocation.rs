//! An allocator that counts, for tests and measurements of what should allocate nothing.
//!
//! ```ignore
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts for each thread how often it was asked.
#[derive(Debug)]
pub struct Counting;

/// How often this thread asked for memory, or for more of it, since it began.
pub fn count() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

fn add_one() {
    // A thread that is ending has no counter any more, and still may allocate.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: `GlobalAlloc` demands blocks that fit their layout, are not moved, and are given back once: every call is handed on to
// the system's allocator with what it came with. It demands that nothing unwinds: counting cannot, as the counter is a plain
// number that needs no memory and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add_one();
        // SAFETY: demands a layout of more than no bytes, which our caller promised us in the same words.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add_one();
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add_one();
        // SAFETY: demands a block of this allocator with this layout, and a new size that is not 0 and does not overflow; every
        // block of ours is the system's, and our caller promised the rest.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: demands a block of this allocator with this layout, which is the system's, as every block of ours.
        unsafe { System.dealloc(block, layout) }
    }
}
