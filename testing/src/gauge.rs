//! An allocator that knows how much memory a piece of work had at once and how often it asked for
//! some, so that bounds can be put to both.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Bytes that this thread has, the most that it had, and how often it asked for some.
    static NOW: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator; a test binary or a fuzzer makes it its global one.
pub struct Gauge;

impl Gauge {
    /// `less` bytes go, `more` come. What another thread gave away may go here: nothing is less
    /// than zero.
    fn change(less: usize, more: usize) {
        // A thread that is ending has no gauge any more.
        let _ = NOW.try_with(|now| {
            now.set(now.get().saturating_sub(less) + more);
            let _ = MOST.try_with(|most| most.set(most.get().max(now.get())));
            let _ = CALLS.try_with(|calls| calls.set(calls.get() + usize::from(more > 0)));
        });
    }
}

// Safety: every call goes to `System` as it came; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Gauge {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Gauge::change(0, layout.size());
        // Safety: the caller keeps `alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Gauge::change(0, layout.size());
        // Safety: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Gauge::change(layout.size(), 0);
        // Safety: `pointer` came from `System` by way of one of the others.
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

/// Does `work`, which may have at most `most` bytes at once beside those that are there.
pub fn bounded<T>(what: &str, most: u64, work: impl FnOnce() -> T) -> T {
    let (result, had) = peak(work);
    assert!(
        had as u64 <= most,
        "{what}: {had} bytes of memory at once, but {most} are allowed"
    );
    result
}

/// Does `work`, and says how many bytes it had at once; 0 where [`Gauge`] is not the allocator.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    MOST.set(before);
    let result = work();
    (result, MOST.get() - before)
}

/// Counts how often `work` asks for memory; 0 where [`Gauge`] is not the allocator.
pub fn allocations(work: impl FnOnce()) -> usize {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}
