//! How much memory something holds, counted where it is allocated: what the grammar library says of
//! itself is a third of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has allocated less those that it has freed.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(pointer: *mut u8, bytes: isize) -> *mut u8 {
    if !pointer.is_null() {
        let _ = HELD.try_with(|held| held.set(held.get().wrapping_add(bytes)));
    }
    pointer
}

// SAFETY: the system's allocator does it all; counting touches no memory but the thread's own cell.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(System.alloc(layout), layout.size() as isize)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(System.alloc_zeroed(layout), layout.size() as isize)
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(System.realloc(pointer, layout, size), size as isize - layout.size() as isize)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        System.dealloc(pointer, layout);
        count(pointer, -(layout.size() as isize));
    }
}

/// The bytes that `body` allocated on this thread and left, less what it freed.
pub fn weigh<T>(body: impl FnOnce() -> T) -> (T, isize) {
    let before = HELD.get();
    let result = body();
    (result, HELD.get().wrapping_sub(before))
}
