//! Allocator: the system's own, with large pages for large allocations.
//!
//! 2 MiB pages make reading weights a sixth faster than 4 KiB pages. Linux provides them on request
//! (`madvise(MADV_HUGEPAGE)`, with its default settings), at addresses that are multiples of their
//! size.

use std::alloc::{GlobalAlloc, Layout, System};

/// See the [module](self).
pub struct Allocator;

// Safety: as for `System`, except for what `large` handles, whose memory comes from mmap and is
// returned to munmap.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if large::wanted(layout) {
            return large::allocate(layout);
        }
        // Safety: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if large::wanted(layout) {
            return large::allocate(layout);
        }
        // Safety: as the caller says.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if large::wanted(layout) {
            // Safety: `allocate` gave it for this layout.
            return unsafe { large::free(start, layout) };
        }
        // Safety: as the caller says.
        unsafe { System.dealloc(start, layout) }
    }
}

#[cfg(target_os = "linux")]
mod large {
    use std::{alloc::Layout, ptr};

    use llama2_engine::buffer::LARGE_PAGE;

    /// Returns true if the engine requests large pages.
    pub fn wanted(layout: Layout) -> bool {
        layout.align() == LARGE_PAGE
    }

    /// Allocates zeroed memory with the layout's alignment; null on failure.
    pub fn allocate(layout: Layout) -> *mut u8 {
        let size = layout.size().checked_next_multiple_of(PAGE);
        let room = size.and_then(|size| size.checked_add(LARGE_PAGE));
        let (Some(size), Some(room)) = (size, room) else {
            return ptr::null_mut();
        };
        // Safety: a new mapping.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                room,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return ptr::null_mut();
        }
        let before = start.align_offset(LARGE_PAGE);
        // Safety: within the mapping; the memory around it is returned. Advice may be refused: then
        // the pages are small.
        unsafe {
            let aligned = start.add(before);
            if before > 0 {
                libc::munmap(start, before);
            }
            libc::munmap(aligned.add(size), room - before - size);
            libc::madvise(aligned, size, libc::MADV_HUGEPAGE);
            aligned.cast()
        }
    }

    /// Frees an allocation.
    ///
    /// # Safety
    /// `start` was returned by [`allocate`] for this layout.
    pub unsafe fn free(start: *mut u8, layout: Layout) {
        // Safety: as the caller says.
        unsafe { libc::munmap(start.cast(), layout.size().next_multiple_of(PAGE)) };
    }

    /// A multiple of the smallest page on every Linux.
    const PAGE: usize = 64 << 10;
}

#[cfg(not(target_os = "linux"))]
mod large {
    use std::{alloc::Layout, ptr};

    /// Returns false: the system's allocator is used.
    pub fn wanted(_layout: Layout) -> bool {
        false
    }

    /// Not called.
    pub fn allocate(_layout: Layout) -> *mut u8 {
        ptr::null_mut()
    }

    /// Not called.
    ///
    /// # Safety
    /// None.
    pub unsafe fn free(_start: *mut u8, _layout: Layout) {}
}
