//! Lock that never waits, for a value shared by several cores, or by a program and its interrupts.

use core::{
    cell::UnsafeCell,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
};

/// Value for one user at a time. An interrupt that waited for the code it has interrupted would
/// wait forever, so taking a value in use fails instead.
pub struct TryLock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// Safety: only who has moved `taken` from false to true reaches the value, until he moves it back;
// that may be one core after another, so the value must be `Send`.
unsafe impl<T: Send> Sync for TryLock<T> {}

impl<T> TryLock<T> {
    /// Creates a value that is not in use.
    pub const fn new(value: T) -> TryLock<T> {
        TryLock {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Calls `f` with the value; `None` if it is in use.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        /// Releases the value, however `f` ends.
        struct Taken<'a>(&'a AtomicBool);
        impl Drop for Taken<'_> {
            fn drop(&mut self) {
                self.0.store(false, Release);
            }
        }
        if self.taken.swap(true, Acquire) {
            return None;
        }
        let _taken = Taken(&self.taken);
        // Safety: `taken` was false, and no other user gets here until it is false again.
        Some(f(unsafe { &mut *self.value.get() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_nobody_waits() {
        let lock = TryLock::new(0);
        assert_eq!(lock.with(|value| lock.with(|_| *value)), Some(None));
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lock.with(|_| panic!("in the middle"));
        }));
        assert!(unwound.is_err());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        while lock.with(|value| *value += 1).is_none() {
                            std::thread::yield_now();
                        }
                    }
                });
            }
        });
        assert_eq!(lock.with(|value| *value), Some(150));
    }
}
