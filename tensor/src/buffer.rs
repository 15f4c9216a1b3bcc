//! Large, aligned, zeroed memory whose allocation can fail without ending the program.

use alloc::{
    alloc::{Layout, alloc, alloc_zeroed, dealloc},
    sync::Arc,
};
use core::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

/// Bytes a buffer is aligned to: a cache line and the widest vector.
pub const ALIGN: usize = 64;

/// Bytes of a large page (x86-64, AArch64 with 4 KiB granules). Allocations of at least this length
/// are aligned to it, so that a hosted allocator can back them with large pages.
pub const LARGE_PAGE: usize = 2 << 20;

/// Element types of which any bytes are a value, and which need no drop.
///
/// # Safety
/// The implementer promises both, no padding, and an alignment of at most [`ALIGN`].
pub unsafe trait Plain: Copy + Send + Sync + 'static {}
// Safety: plain numbers.
unsafe impl Plain for f32 {}
// Safety: plain numbers.
unsafe impl Plain for i32 {}
// Safety: plain numbers.
unsafe impl Plain for u16 {}
// Safety: plain numbers.
unsafe impl Plain for u8 {}
// Safety: plain numbers.
unsafe impl Plain for i8 {}

/// The allocator could not provide this many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Bytes requested.
    pub bytes: u64,
}

/// One allocation.
struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

// Safety: the memory is its own; its users promise who may access which part.
unsafe impl Send for Region {}
// Safety: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Allocates `bytes` (not 0) bytes, on large pages if they fill one.
    fn new(bytes: usize, zeroed: bool) -> Result<Region, OutOfMemory> {
        let align = if bytes >= LARGE_PAGE {
            LARGE_PAGE
        } else {
            ALIGN
        };
        let failed = OutOfMemory {
            bytes: bytes as u64,
        };
        let layout = Layout::from_size_align(bytes, align).map_err(|_| failed)?;
        assert!(bytes > 0);
        let allocate = if zeroed { alloc_zeroed } else { alloc };
        // Safety: the layout's size is not zero.
        let start = NonNull::new(unsafe { allocate(layout) }).ok_or(failed)?;
        Ok(Region { start, layout })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // Safety: `new` allocated this with the same layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// One allocation for many buffers, so that small ones also lie on large pages. If the allocator
/// cannot provide it in one piece, each buffer gets its own allocation.
pub struct Arena {
    region: Option<Arc<Region>>,
    used: usize,
}

impl Arena {
    /// An arena for `bytes` bytes of buffers, each rounded up to a multiple of [`ALIGN`].
    pub fn new(bytes: u64) -> Arena {
        let region = usize::try_from(bytes)
            .ok()
            .filter(|&bytes| bytes > 0)
            .and_then(|bytes| Region::new(bytes, true).ok());
        Arena {
            region: region.map(Arc::new),
            used: 0,
        }
    }

    /// An arena without memory: each buffer gets its own allocation.
    pub fn none() -> Arena {
        Arena {
            region: None,
            used: 0,
        }
    }

    /// Returns the next `len` elements, zeroed.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the arena is full and the allocator has no room either.
    pub fn zeroed<T: Plain>(&mut self, len: usize) -> Result<Buffer<T>, OutOfMemory> {
        let Some(region) = &self.region else {
            return Buffer::zeroed(len);
        };
        let bytes = len
            .checked_mul(size_of::<T>())
            .and_then(|bytes| bytes.checked_next_multiple_of(ALIGN));
        let end = bytes.and_then(|bytes| self.used.checked_add(bytes));
        match end.filter(|&end| end <= region.layout.size()) {
            None => Buffer::zeroed(len),
            Some(end) => {
                // Safety: within the region.
                let start = unsafe { region.start.add(self.used) };
                self.used = end;
                Ok(Buffer {
                    start: start.cast(),
                    len,
                    _memory: Some(region.clone()),
                })
            }
        }
    }
}

/// A fixed-length, zeroed slice at a 64-byte boundary.
pub struct Buffer<T: Plain> {
    start: NonNull<T>,
    len: usize,
    /// Keeps the allocation alive; `None` if the buffer is empty. No other buffer overlaps this
    /// part.
    _memory: Option<Arc<Region>>,
}

// Safety: it alone owns its part of the memory, and T is Send and Sync by `Plain`.
unsafe impl<T: Plain> Send for Buffer<T> {}
// Safety: as above.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    /// Allocates `len` zeroed elements.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the allocator has no room or the size does not fit the address space.
    pub fn zeroed(len: usize) -> Result<Self, OutOfMemory> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(OutOfMemory {
            bytes: (len as u64).saturating_mul(size_of::<T>() as u64),
        })?;
        if bytes == 0 {
            return Ok(Buffer {
                start: NonNull::<[T; 0]>::dangling().cast(),
                len: 0,
                _memory: None,
            });
        }
        let region = Region::new(bytes, true)?;
        Ok(Buffer {
            start: region.start.cast(),
            len,
            _memory: Some(Arc::new(region)),
        })
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // Safety: `start` holds `len` elements, initialised to zero, and lives as long as `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // Safety: as in `deref`; `&mut self` makes it the only reference.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// Elements that are allocated now but first touched when they are used: until then a host commits
/// no memory for them, and firmware spends no time on them.
pub struct Reserve<T: Plain> {
    start: NonNull<T>,
    len: usize,
    _memory: Region,
}

// Safety: it alone owns its memory, and T is Send and Sync by `Plain`.
unsafe impl<T: Plain> Send for Reserve<T> {}
// Safety: as above.
unsafe impl<T: Plain> Sync for Reserve<T> {}

impl<T: Plain> Reserve<T> {
    /// Allocates room for `len` elements, at least one.
    pub fn new(len: usize) -> Result<Self, OutOfMemory> {
        let bytes = len.max(1).saturating_mul(size_of::<T>());
        let memory = Region::new(bytes, false)?;
        Ok(Reserve {
            start: memory.start.cast(),
            len,
            _memory: memory,
        })
    }

    /// Zeroes the elements in `range`; must be called before anything reads them.
    ///
    /// # Panics
    /// If `range` reaches past the end.
    pub fn zero(&mut self, range: core::ops::Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.len);
        // Safety: within the memory, which is borrowed mutably; zero is a valid value by `Plain`.
        unsafe { self.start.add(range.start).write_bytes(0, range.len()) }
    }

    /// Copies the elements in `range`, which must have been zeroed or written, to those from `to`
    /// on.
    ///
    /// # Panics
    /// If either reaches past the end.
    pub fn copy(&mut self, range: core::ops::Range<usize>, to: usize) {
        assert!(range.start <= range.end && range.end <= self.len);
        assert!(to <= self.len - range.len());
        // Safety: both are within the memory, which is borrowed mutably; they may overlap.
        unsafe {
            let from = self.start.add(range.start);
            from.copy_to(self.start.add(to), range.len());
        }
    }

    /// The elements in `range`, which must have been zeroed or written, as they lie in memory.
    ///
    /// # Panics
    /// If `range` reaches past the end.
    pub fn bytes(&self, range: core::ops::Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.len);
        // Safety: within the memory, which is borrowed; initialised as the caller says, and without
        // padding by `Plain`.
        unsafe {
            let start = self.start.add(range.start).cast().as_ptr();
            core::slice::from_raw_parts(start, range.len() * size_of::<T>())
        }
    }

    /// Writes elements from place `to` on, as [`Reserve::bytes`] gave them.
    ///
    /// # Panics
    /// If they are not whole, or reach past the end.
    pub fn write_bytes(&mut self, to: usize, bytes: &[u8]) {
        assert!(bytes.len().is_multiple_of(size_of::<T>()));
        assert!(to <= self.len && bytes.len() / size_of::<T>() <= self.len - to);
        // Safety: within the memory, which is borrowed mutably; any bytes are a value by `Plain`.
        unsafe {
            let start: *mut u8 = self.start.add(to).cast().as_ptr();
            start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    /// Number of elements.
    #[expect(clippy::len_without_is_empty, reason = "there is always one at least")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Pointer to the first element, for use by several workers.
    pub fn start(&mut self) -> *mut T {
        self.start.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_fallible() {
        let mut buffer = Buffer::<f32>::zeroed(1001).unwrap();
        assert_eq!(buffer.as_ptr() as usize % ALIGN, 0);
        assert!(buffer.iter().all(|&x| x == 0.0));
        buffer[1000] = 1.0;
        assert_eq!(Buffer::<u8>::zeroed(0).unwrap().len(), 0);
        assert!(Buffer::<f32>::zeroed(usize::MAX / 2).is_err());
        // Without the black box the compiler takes an unused allocation away, and with it its
        // failure.
        let huge = core::hint::black_box(Buffer::<u8>::zeroed(isize::MAX as usize - 64));
        assert!(huge.is_err());
    }

    #[test]
    fn an_arena_deals_out_its_room_and_then_asks_for_more() {
        let mut arena = Arena::new(256);
        let mut a = arena.zeroed::<f32>(3).unwrap();
        let mut b = arena.zeroed::<u8>(100).unwrap();
        assert_eq!(b.as_ptr() as usize - a.as_ptr() as usize, ALIGN);
        a.fill(1.0);
        b.fill(2);
        let c = arena.zeroed::<f32>(17).unwrap();
        assert!(c.iter().all(|&x| x == 0.0), "in memory of its own");
        drop(arena);
        assert_eq!((a[2], b[99]), (1.0, 2));
        assert!(Arena::none().zeroed::<f32>(usize::MAX / 2).is_err());
    }
}
