//! Global variables, which only the boot processor accesses.

use llama2_efi::{stack::is_elsewhere, try_lock::TryLock};

/// Value that only the boot processor accesses, one user at a time: a function called by the
/// firmware's interrupts (`ap_pool::on_tick`, `terminal::on_time`) finds it taken while it is in
/// use, and skips it. Raising the task priority level would also keep those out, but the firmware's
/// other drivers too, for as long as a slow serial line takes.
pub struct Global<T>(TryLock<Here<T>>);

/// Value that must not move to another core, such as the firmware's protocols.
struct Here<T>(T);

// Safety: it never moves: `Global::with` passes it to the boot processor alone.
unsafe impl<T> Send for Here<T> {}

impl<T> Global<T> {
    pub const fn new(value: T) -> Self {
        Global(TryLock::new(Here(value)))
    }

    /// Calls `f` with the value; `None` if it is in use already (an interrupt, a panic in the
    /// middle of printing), and on other cores.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if is_elsewhere() {
            return None;
        }
        self.0.with(|here| f(&mut here.0))
    }
}
