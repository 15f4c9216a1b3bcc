//! Big, aligned, zeroed memory whose allocation may fail without ending the program.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::{
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

/// Bytes a buffer is aligned to: a cache line and the widest vector.
pub const ALIGN: usize = 64;

/// Element types for which all-zero bytes are a value and which need no drop.
///
/// # Safety
/// The implementer promises that.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}
// Safety: plain numbers.
unsafe impl Plain for f32 {}
// Safety: plain numbers.
unsafe impl Plain for u8 {}
// Safety: plain numbers.
unsafe impl Plain for i8 {}

/// The allocator could not give this many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Bytes asked for.
    pub bytes: u64,
}

/// A fixed-length, zeroed slice at a 64-byte boundary.
pub struct Buffer<T: Plain> {
    start: NonNull<T>,
    len: usize,
}

// Safety: it owns its memory, and T is Send and Sync by `Plain`.
unsafe impl<T: Plain> Send for Buffer<T> {}
// Safety: as above.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    fn layout(len: usize) -> Option<Layout> {
        Layout::array::<T>(len).ok()?.align_to(ALIGN).ok()
    }

    /// Allocates `len` zeroed elements.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the allocator has no room or the size does not fit the address space.
    pub fn zeroed(len: usize) -> Result<Self, OutOfMemory> {
        let failed = OutOfMemory {
            bytes: (len as u64).saturating_mul(size_of::<T>() as u64),
        };
        let layout = Self::layout(len).ok_or(failed)?;
        if layout.size() == 0 {
            return Ok(Buffer {
                start: NonNull::dangling(),
                len: 0,
            });
        }
        // Safety: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(failed)?;
        Ok(Buffer {
            start: start.cast(),
            len,
        })
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len).filter(|layout| layout.size() > 0) {
            // Safety: `zeroed` allocated this with the same layout.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) }
        }
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
        // Without the black box the compiler takes an unused allocation away, and with it its failure.
        let huge = core::hint::black_box(Buffer::<u8>::zeroed(isize::MAX as usize - 64));
        assert!(huge.is_err());
    }
}
