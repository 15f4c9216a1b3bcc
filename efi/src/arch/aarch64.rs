//! AArch64, as far as anybody has come: what x86-64 has to switch on or to look up is on, or is not
//! known, and work on another core's stack has to wait for somebody who can try it.

use alloc::string::String;
use core::arch::asm;

use llama2_engine::kernels::Features;

/// The processor's name.
pub fn name() -> String {
    "AArch64".into()
}

/// Does nothing: vectors are on.
pub fn switch_on_vectors() {}

/// Does nothing: there are no upper halves to be emptied.
pub fn rest_vectors(_: Features) {}

/// The size of the page that an address is on, in words; it is not looked up here.
pub fn page_size(_address: usize) -> Option<&'static str> {
    None
}

/// A random number from the processor; it is not asked here.
pub fn random() -> Option<u64> {
    None
}

/// The counter's ticks.
pub fn ticks() -> u64 {
    let ticks;
    // Safety: the virtual counter may be read at every exception level that UEFI runs at.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// Ticks of the counter a millisecond.
pub fn ticks_per_millisecond() -> Option<u64> {
    let frequency: u64;
    // Safety: as in `ticks`.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack)) };
    Some(frequency / 1000)
}

/// Reads four bytes from a port: there are no ports.
///
/// # Safety
/// None needed.
pub unsafe fn read_port(_port: u16) -> Option<u32> {
    None
}

/// Calls `f(argument)`, an efiapi function, on the stack that it is on.
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

/// Stays for ever: there is no way back yet.
///
/// # Safety
/// None needed.
pub unsafe extern "efiapi" fn back_to(_way_back: usize) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
