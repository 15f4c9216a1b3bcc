//! Allocator that measures the peak memory and the number of allocations of a piece of code, so
//! that tests can limit them.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Bytes that this thread has allocated, their peak, and the number of allocations.
    static NOW: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator with measurement; test binaries and fuzzers use it as global allocator.
pub struct Gauge;

impl Gauge {
    /// Records `less` bytes freed and `more` allocated. Memory of another thread may be freed here:
    /// the count stays at zero or more.
    fn change(less: usize, more: usize) {
        // A thread that is ending has no gauge any more.
        let _ = NOW.try_with(|now| {
            now.set(now.get().saturating_sub(less) + more);
            let _ = MOST.try_with(|most| most.set(most.get().max(now.get())));
            let _ = CALLS.try_with(|calls| calls.set(calls.get() + usize::from(more > 0)));
        });
    }
}

// Safety: every call is passed on to `System` unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Gauge {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Gauge::change(0, layout.size());
        // Safety: the caller fulfils `alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Gauge::change(0, layout.size());
        // Safety: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Gauge::change(layout.size(), 0);
        // Safety: `pointer` came from `System` through one of the others.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Gauge::change(0, size);
        // Safety: as above.
        let new = unsafe { System.realloc(pointer, layout, size) };
        Gauge::change(layout.size(), 0);
        new
    }
}

/// Runs `work`, which may allocate at most `most` bytes at once in addition to what is allocated.
pub fn bounded<T>(what: &str, most: u64, work: impl FnOnce() -> T) -> T {
    let (result, had) = peak(work);
    assert!(
        had as u64 <= most,
        "{what}: {had} bytes of memory at once, but {most} are allowed"
    );
    result
}

/// Runs `work`, and returns its peak memory in bytes; 0 if [`Gauge`] is not the allocator.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    MOST.set(before);
    let result = work();
    (result, MOST.get() - before)
}

/// Counts the allocations of `work`; 0 if [`Gauge`] is not the allocator.
pub fn allocations(work: impl FnOnce()) -> usize {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}
