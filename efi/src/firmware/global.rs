//! Variables of the whole application, which only the boot processor touches.

use llama2_efi::{stack::is_elsewhere, try_lock::TryLock};

/// A value that only the boot processor reaches, and there one user at a time: what the firmware's
/// interrupts call (`ap_pool::on_tick`, `terminal::on_time`) finds a value that is in use taken,
/// and lets it be. The task priority level would keep them off, too, but also the firmware's other
/// drivers, for as long as a slow serial line takes.
pub struct Global<T>(TryLock<Here<T>>);

/// A value that may not go to another core, such as the firmware's protocols.
struct Here<T>(T);

// Safety: it does not go anywhere: `Global::with` gives it to the boot processor alone.
unsafe impl<T> Send for Here<T> {}

impl<T> Global<T> {
    pub const fn new(value: T) -> Self {
        Global(TryLock::new(Here(value)))
    }

    /// Calls `f` with the value; `None` if it is being used already (an interrupt, a panic in the
    /// middle of printing), and on other cores.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        if is_elsewhere() {
            return None;
        }
        self.0.with(|here| f(&mut here.0))
    }
}
