//! Variables of the whole application, which only the boot processor touches.

use core::cell::{RefCell, RefMut};

/// A value that is reached by one processor only, through checked borrows.
pub struct Global<T>(RefCell<T>);

// Safety: other processors run the engine and what calls it, and nothing of that comes here. Of ours the firmware's interrupts call `cores::on_tick`, while
// the rest of the application waits in the firmware, and `terminal::on_time`, whenever it likes: that one finds a value that is in use borrowed, and the one
// that it interrupts finds the value as it was, for it is done before it returns.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub const fn new(value: T) -> Self {
        Global(RefCell::new(value))
    }

    /// Calls `f` with the value; `None` if it is being used already (a panic in the middle of printing).
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0
            .try_borrow_mut()
            .ok()
            .map(|mut value: RefMut<'_, T>| f(&mut value))
    }
}
