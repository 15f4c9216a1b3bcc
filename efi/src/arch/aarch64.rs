//! AArch64, as far as it is implemented: vectors are always on, pages are not inspected, and
//! running work on another core's stack is not implemented because nobody could test it yet.

use alloc::string::String;
use core::arch::asm;

use llama2_engine::kernels::Features;

/// Name of the processor.
pub fn name() -> String {
    "AArch64".into()
}

/// Does nothing: vectors are always on.
pub fn switch_on_vectors() {}

/// Does nothing: there are no upper halves to clear.
pub fn rest_vectors(_: Features) {}

/// Description of the size of the page that contains an address; not implemented.
pub fn page_size(_address: usize) -> Option<&'static str> {
    None
}

/// Random number from the processor; not implemented.
pub fn random() -> Option<u64> {
    None
}

/// Current value of the counter.
pub fn ticks() -> u64 {
    let ticks;
    // Safety: the virtual counter may be read at every exception level that UEFI runs at.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// Ticks of the counter per millisecond.
pub fn ticks_per_millisecond() -> Option<u64> {
    let frequency: u64;
    // Safety: as in `ticks`.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack)) };
    Some(frequency / 1000)
}

/// Returns `None`: there are no I/O ports.
///
/// # Safety
/// None needed.
pub unsafe fn read_port(_port: u16) -> Option<u32> {
    None
}

/// Calls `f(argument)`, an efiapi function, on the current stack.
///
/// # Safety
/// `f` takes one pointer, and may be called with `argument`.
pub unsafe extern "efiapi" fn call_on(
    _top: *mut u8,
    _way_back: *mut usize,
    f: *const (),
    argument: *const (),
) {
    // Safety: as the caller says.
    unsafe {
        core::mem::transmute::<*const (), extern "efiapi" fn(*const ())>(f)(argument);
    }
}

/// Never returns: the way back is not implemented.
///
/// # Safety
/// None needed.
pub unsafe extern "efiapi" fn back_to(_way_back: usize) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
