//! Time, from the processor's counter: firmware has no clock finer than a second that can be trusted.

use core::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use uefi::boot;

static START: AtomicU64 = AtomicU64::new(0);
/// Ticks a millisecond; 0 until measured.
static RATE: AtomicU64 = AtomicU64::new(0);

/// The processor's counter.
#[cfg(target_arch = "x86_64")]
pub fn ticks() -> u64 {
    // Safety: every x86-64 processor has a time stamp counter, and firmware leaves CR4.TSD clear.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The processor's counter.
#[cfg(target_arch = "aarch64")]
pub fn ticks() -> u64 {
    let ticks;
    // Safety: the virtual counter may be read at every exception level that UEFI runs at.
    unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// Measures the counter against the firmware's delay, for 20 ms.
pub fn start() {
    let before = ticks();
    boot::stall(Duration::from_millis(20));
    let after = ticks();
    RATE.store((after.wrapping_sub(before) / 20).max(1), Relaxed);
    START.store(after, Relaxed);
}

/// Microseconds since [`start`].
pub fn microseconds() -> u64 {
    let ticks = u128::from(ticks().wrapping_sub(START.load(Relaxed)));
    (ticks * 1000 / u128::from(RATE.load(Relaxed).max(1))) as u64
}

/// Milliseconds since [`start`].
pub fn milliseconds() -> u64 {
    microseconds() / 1000
}
