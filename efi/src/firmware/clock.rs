//! Clock based on the processor's counter, since firmware has no reliable clock finer than a
//! second. The counter's rate is estimated at the start, and later measured against the ACPI timer
//! over the whole time since then ([`settle`]).

use core::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use llama2_efi::{
    acpi::{self, PmTimer},
    arch::{self, ticks},
};
use llama2_engine::chat::{DateTime, NO_CLOCK};
use uefi::{
    boot::{self, Tpl},
    runtime,
};

use super::{global::Global, tables};

/// Counter at the time [`EARLIER`].
static START: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds from the start until then.
static EARLIER: AtomicU64 = AtomicU64::new(0);
/// Ticks per millisecond; 0 until measured.
static RATE: AtomicU64 = AtomicU64::new(0);
/// Timer against which the counter is measured, and both values at the start.
static BESIDE: Global<Option<(PmTimer, Look)>> = Global::new(None);

/// Ticks per millisecond: as defined by the architecture, or else measured against the firmware's
/// delay, for want of a better timer. The shortest of three measurements counts: a delay that is
/// interrupted (by firmware's own interrupts or a virtual machine's host) is too long, never too
/// short.
fn measure() -> u64 {
    const DELAY: u64 = 10;
    arch::ticks_per_millisecond().unwrap_or_else(|| {
        let counts = core::array::from_fn::<u64, 3, _>(|_| {
            let before = ticks();
            boot::stall(Duration::from_millis(DELAY));
            ticks().wrapping_sub(before)
        });
        counts.into_iter().fold(u64::MAX, u64::min) / DELAY
    })
}

/// Values of both counters at one moment.
#[derive(Clone, Copy)]
struct Look {
    timer: u32,
    ticks: u64,
}

impl Look {
    /// Ticks per millisecond between this moment and a later one.
    fn rate_to(self, later: Look, timer: PmTimer, about: Option<u64>) -> Option<u64> {
        let ticks = later.ticks.wrapping_sub(self.ticks);
        timer.rate(self.timer, later.timer, ticks, about)
    }

    /// Reads both counters a few times and keeps the closest pair: the firmware's interrupts or a
    /// virtual machine's host may come in between.
    fn at(timer: PmTimer) -> Look {
        let looks = core::array::from_fn::<(u64, Look), 5, _>(|_| {
            let before = ticks();
            // Safety: the firmware's tables say that this port is the timer's, which reading does
            // not change; applications run at privilege level 0.
            let value = unsafe { arch::read_port(timer.port) }.unwrap_or(0);
            let took = ticks().wrapping_sub(before);
            let look = Look {
                timer: value,
                ticks: before + took / 2,
            };
            (took, look)
        });
        looks
            .into_iter()
            .min_by_key(|look| look.0)
            .unwrap_or(looks[0])
            .1
    }
}

/// ACPI timer of the machine, if its tables describe one.
fn timer() -> Option<PmTimer> {
    // Nothing has to be measured if the architecture defines the rate.
    if arch::ticks_per_millisecond().is_some() {
        return None;
    }
    tables::acpi(acpi::timer)
}

/// Starts the clock.
pub fn start() {
    let begun = ticks();
    const SHORT: Duration = Duration::from_millis(2);
    // A timer that does not run is useless.
    let beside = timer().and_then(|timer| {
        let first = Look::at(timer);
        boot::stall(SHORT);
        first
            .rate_to(Look::at(timer), timer, None)
            .map(|rate| (timer, first, rate))
    });
    let rate = beside.map_or_else(measure, |beside| beside.2);
    // If the delay does not wait, or the counter does not run, a guess (1 GHz) keeps the
    // application going.
    let plausible = (1_000..=100_000_000).contains(&rate);
    RATE.store(if plausible { rate } else { 1_000_000 }, Relaxed);
    START.store(begun, Relaxed);
    BESIDE.with(|place| *place = beside.map(|(timer, first, _)| (timer, first)));
}

/// Measures the counter's rate over the whole time since the start; to be called after something
/// that took a while. The time that has passed is not changed. Returns the new rate, in ticks per
/// millisecond, and the old one.
pub fn settle() -> Option<(u64, u64)> {
    let about = RATE.load(Relaxed);
    let (timer, first) = BESIDE.with(|beside| *beside).flatten()?;
    let now = Look::at(timer);
    let rate = first.rate_to(now, timer, Some(about))?;
    // Safety: the previous priority is restored at the block's end. Nothing reads the clock in
    // between: neither the timers, which are held back, nor the other cores, which are in the
    // firmware while something is loaded.
    let guard = unsafe { boot::raise_tpl(Tpl::NOTIFY) };
    let ticks = ticks();
    EARLIER.store(at(ticks), Relaxed);
    START.store(ticks, Relaxed);
    RATE.store(rate, Relaxed);
    drop(guard);
    Some((rate, about))
}

fn at(ticks: u64) -> u64 {
    // A core whose counter is slightly behind may read a value before the start.
    let ticks = ticks.saturating_sub(START.load(Relaxed));
    let since = u128::from(ticks) * 1_000_000 / u128::from(RATE.load(Relaxed).max(1));
    EARLIER.load(Relaxed) + since as u64
}

/// Nanoseconds since [`start`], on any core: firmware synchronises their counters.
pub fn nanoseconds() -> u64 {
    at(ticks())
}

/// Microseconds since [`start`].
pub fn microseconds() -> u64 {
    nanoseconds() / 1000
}

/// Milliseconds since [`start`].
pub fn milliseconds() -> u64 {
    microseconds() / 1000
}

/// Date and time of the firmware's clock, which chat templates are told. Clocks that were never set
/// stand before this program was made.
pub fn now() -> DateTime {
    const SOONEST: u16 = 2025;
    match runtime::get_time() {
        Ok(time) if time.year() >= SOONEST => DateTime {
            year: time.year(),
            month: time.month(),
            day: time.day(),
            hour: time.hour(),
            minute: time.minute(),
            second: time.second(),
        },
        _ => NO_CLOCK,
    }
}
