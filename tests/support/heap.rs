//! Counts what is on the heap. Include it with `#[path]`; it becomes the program's allocator.
#![allow(
    dead_code,
    unreachable_pub,
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    missing_debug_implementations
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static HEAP: AtomicUsize = AtomicUsize::new(0);

struct Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HEAP.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes on the heap now.
pub fn heap() -> usize {
    HEAP.load(Ordering::Relaxed)
}
