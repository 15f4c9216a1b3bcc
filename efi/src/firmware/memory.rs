//! Global allocator on top of the firmware's, and the amount of memory.
//!
//! # Quirks
//! A large `AllocatePages` may fail even though memory is free, because firmware looks for it in
//! one place only: the largest free region is then requested by its address. The engine allocates
//! one buffer per tensor, never one for all.

use core::{
    alloc::{GlobalAlloc, Layout},
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use llama2_efi::stack::is_elsewhere;
use uefi::{
    boot::{self, AllocateType},
    mem::memory_map::{MemoryDescriptor, MemoryMap, MemoryType},
};

/// Bytes left to the firmware, whose drivers allocate while they read.
pub const RESERVE: u64 = 8 << 20;

const PAGE: usize = 4096;
/// Size in bytes from which allocations are made in pages.
const LARGE: usize = 64 << 10;
/// Largest alignment supported: a large page of x86-64 and AArch64.
const WIDEST_ALIGN: usize = 2 << 20;
/// Alignment of the firmware's pool.
const POOL_ALIGN: usize = 8;

struct Firmware;

#[global_allocator]
static ALLOCATOR: Firmware = Firmware;

/// Returns true if a layout is allocated in pages; small ones with a large alignment come from the
/// pool, with padding.
fn in_pages(layout: &Layout) -> bool {
    layout.size() >= LARGE || layout.align() > PAGE / 2
}

/// Bytes of the allocation that failed last; 0 if none did.
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// Bytes of the allocation that failed last; 0 if none did.
pub fn last_failed() -> usize {
    FAILED.load(Relaxed)
}

// Safety: memory comes from the firmware, each piece once, with the requested alignment; nothing
// here panics or unwinds.
unsafe impl GlobalAlloc for Firmware {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // The firmware may not be called there, and the engine's steps do not need to: this would
        // be a bug.
        if is_elsewhere() {
            return ptr::null_mut();
        }
        let start = allocate(layout);
        if start.is_null() {
            FAILED.store(layout.size(), Relaxed);
        }
        start
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(start) = NonNull::new(pointer).filter(|_| !is_elsewhere()) else {
            return;
        };
        // Safety: `allocate` returned this pointer for the same layout, so it used the same of the
        // three ways.
        let _ = unsafe {
            if in_pages(&layout) {
                boot::free_pages(start, layout.size().div_ceil(PAGE))
            } else if layout.align() <= POOL_ALIGN {
                boot::free_pool(start)
            } else {
                NonNull::new(pointer.cast::<*mut u8>().sub(1).read())
                    .map_or(Ok(()), |start| boot::free_pool(start))
            }
        };
    }
}

/// Allocates memory for a layout in pages, or from the pool, with padding if necessary; null if
/// there is none.
fn allocate(layout: Layout) -> *mut u8 {
    if in_pages(&layout) {
        return pages(layout.size().div_ceil(PAGE), layout.align());
    }
    let pool = |size| {
        boot::allocate_pool(MemoryType::LOADER_DATA, size).map_or(ptr::null_mut(), NonNull::as_ptr)
    };
    if layout.align() <= POOL_ALIGN {
        return pool(layout.size());
    }
    // Room for the alignment and, right before the result, the address that the pool gave.
    let start = pool(layout.size() + layout.align() + size_of::<*mut u8>());
    if start.is_null() {
        return start;
    }
    let behind = start.wrapping_add(size_of::<*mut u8>());
    let result = behind.wrapping_add(behind.align_offset(layout.align()));
    // Safety: between `start` and `result` there is room for a pointer, and `result` is aligned to
    // more than one.
    unsafe { result.cast::<*mut u8>().sub(1).write(start) };
    result
}

/// Allocates `count` pages at a multiple of `align`, at any address; null on failure.
fn pages(count: usize, align: usize) -> *mut u8 {
    if align > WIDEST_ALIGN {
        return ptr::null_mut();
    }
    // Pages are aligned to pages; for a larger alignment allocate more and free the rest before and
    // behind.
    let spare = align.div_ceil(PAGE) - 1;
    let Some(all) = count.checked_add(spare) else {
        return ptr::null_mut();
    };
    let by_firmware = boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_DATA, all);
    let Ok(start) = by_firmware.or_else(|error| {
        largest_region(all).map_or(Err(error), |at| {
            boot::allocate_pages(AllocateType::Address(at), MemoryType::LOADER_DATA, all)
        })
    }) else {
        return ptr::null_mut();
    };
    let before = start.as_ptr().align_offset(align) / PAGE;
    let result = start.as_ptr().wrapping_add(before * PAGE);
    give_back(start.as_ptr(), before);
    give_back(result.wrapping_add(count * PAGE), spare - before);
    result
}

/// Frees the `count` pages at `start`, part of an allocation by [`pages`].
fn give_back(start: *mut u8, count: usize) {
    if let (Some(start), 1..) = (NonNull::new(start), count) {
        // Safety: allocated by `pages` a moment ago, and not part of what it returns. UEFI can free
        // parts of an allocation.
        let _ = unsafe { boot::free_pages(start, count) };
    }
}

/// Address of the largest free region, if it has `count` pages.
fn largest_region(count: usize) -> Option<u64> {
    let map = boot::memory_map(MemoryType::LOADER_DATA).ok()?;
    let free = map
        .entries()
        .filter(|entry| entry.ty == MemoryType::CONVENTIONAL);
    let largest = free.max_by_key(|entry| entry.page_count)?;
    (largest.page_count >= count as u64 && largest.phys_start > 0).then_some(largest.phys_start)
}

/// Amounts of memory in bytes.
#[derive(Clone, Copy, Default)]
pub struct Size {
    /// Memory that can be allocated now.
    pub free: u64,
    /// All memory of the machine.
    pub total: u64,
}

/// Current amounts of memory.
pub fn size() -> Size {
    let Ok(map) = boot::memory_map(MemoryType::LOADER_DATA) else {
        return Size::default();
    };
    let mut size = Size::default();
    for entry in map.entries() {
        let bytes = entry.page_count.saturating_mul(PAGE as u64);
        match entry.ty {
            MemoryType::CONVENTIONAL => size.free = size.free.saturating_add(bytes),
            MemoryType::RESERVED
            | MemoryType::UNUSABLE
            | MemoryType::MMIO
            | MemoryType::MMIO_PORT_SPACE
            | MemoryType::PAL_CODE => continue,
            _ => (),
        }
        size.total = size.total.saturating_add(bytes);
    }
    size
}

/// First address that takes more than 32 bits.
const LOW_END: u64 = 1 << 32;

/// Returns true if any memory is below 4 GiB: some boards of AArch64 have theirs above.
fn is_any_low() -> bool {
    let map = boot::memory_map(MemoryType::LOADER_DATA);
    map.is_ok_and(|map| {
        let is_low = |entry: &MemoryDescriptor| {
            entry.ty == MemoryType::CONVENTIONAL && entry.phys_start < LOW_END
        };
        map.entries().any(is_low)
    })
}

/// Page-aligned buffer below 4 GiB, for firmware whose disk driver reads only there; anywhere on a
/// machine that has no memory there.
pub struct LowBuffer {
    start: NonNull<u8>,
    len: usize,
}

impl LowBuffer {
    /// Allocates `len` zeroed bytes, if possible.
    pub fn new(len: usize) -> Option<LowBuffer> {
        let allocate =
            |kind| boot::allocate_pages(kind, MemoryType::LOADER_DATA, len.div_ceil(PAGE));
        let low = allocate(AllocateType::MaxAddress(LOW_END - 1));
        let start = match low {
            Err(_) if !is_any_low() => allocate(AllocateType::AnyPages),
            low => low,
        };
        let start = start.ok()?;
        // Safety: freshly allocated, and that many bytes long at least.
        unsafe { start.write_bytes(0, len) };
        Some(LowBuffer { start, len })
    }
}

impl Deref for LowBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // Safety: `start` holds `len` bytes, initialised by `new`, and lives as long as `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for LowBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // Safety: as in `deref`; `&mut self` makes it the only reference.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for LowBuffer {
    fn drop(&mut self) {
        // Safety: `new` allocated these pages, and no reference to them outlives `self`.
        let _ = unsafe { boot::free_pages(self.start, self.len.div_ceil(PAGE)) };
    }
}
