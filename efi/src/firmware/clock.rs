//! Time, from the processor's counter: firmware has no clock finer than a second that can be trusted.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

/// Ticks a millisecond, against the firmware's delay. The shortest of three counts: a delay that is interrupted (by
/// firmware's own interrupts, by a virtual machine's host) is too long, never too short.
#[cfg(target_arch = "x86_64")]
fn measure() -> u64 {
    const DELAY: u64 = 10;
    let counts = core::array::from_fn::<u64, 3, _>(|_| {
        let before = ticks();
        uefi::boot::stall(core::time::Duration::from_millis(DELAY));
        ticks().wrapping_sub(before)
    });
    counts.into_iter().fold(u64::MAX, u64::min) / DELAY
}

/// Ticks a millisecond, as the architecture tells.
#[cfg(target_arch = "aarch64")]
fn measure() -> u64 {
    let frequency: u64;
    // Safety: the counter's frequency may be read at every exception level that UEFI runs at.
    unsafe {
        core::arch::asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack));
    }
    frequency / 1000
}

/// Starts the clock.
pub fn start() {
    let rate = measure();
    // A delay that does not delay, or a counter that stands: a guess (1 GHz) keeps the application going.
    let plausible = (1_000..=100_000_000).contains(&rate);
    RATE.store(if plausible { rate } else { 1_000_000 }, Relaxed);
    START.store(ticks(), Relaxed);
}

/// Nanoseconds since [`start`], on any core: firmware has their counters run as one.
pub fn nanoseconds() -> u64 {
    // A core whose counter is a little behind may have it before the start.
    let ticks = ticks().saturating_sub(START.load(Relaxed));
    (u128::from(ticks) * 1_000_000 / u128::from(RATE.load(Relaxed).max(1))) as u64
}

/// Microseconds since [`start`].
pub fn microseconds() -> u64 {
    nanoseconds() / 1000
}

/// Milliseconds since [`start`].
pub fn milliseconds() -> u64 {
    microseconds() / 1000
}
