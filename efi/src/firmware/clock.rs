//! Time, from the processor's counter: firmware has no clock finer than a second that can be trusted. How fast that counter runs is guessed at the
//! start, and measured against the ACPI timer over everything that has happened since ([`settle`]).

use core::{
    slice,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use llama2_efi::acpi::{self, Timer};
use uefi::{
    boot::{self, Tpl},
    system,
    table::cfg::ConfigTableEntry,
};

use super::global::Global;

/// Where the counter stood at [`EARLIER`].
static START: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds of the run until then.
static EARLIER: AtomicU64 = AtomicU64::new(0);
/// Ticks a millisecond; 0 until measured.
static RATE: AtomicU64 = AtomicU64::new(0);
/// The timer that the counter is measured against, with a look at both at the start.
static BESIDE: Global<Option<(Timer, Look)>> = Global::new(None);

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

/// Ticks a millisecond, against the firmware's delay, where there is no better timer. The shortest of three counts: a delay that is interrupted (by
/// firmware's own interrupts, by a virtual machine's host) is too long, never too short.
#[cfg(target_arch = "x86_64")]
fn measure() -> u64 {
    const DELAY: u64 = 10;
    let counts = core::array::from_fn::<u64, 3, _>(|_| {
        let before = ticks();
        boot::stall(Duration::from_millis(DELAY));
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

/// Both counters at one moment.
#[derive(Clone, Copy)]
struct Look {
    timer: u32,
    ticks: u64,
}

impl Look {
    /// Ticks a millisecond from this look to a later one.
    fn rate_to(self, later: Look, timer: Timer, about: Option<u64>) -> Option<u64> {
        let ticks = later.ticks.wrapping_sub(self.ticks);
        timer.rate(self.timer, later.timer, ticks, about)
    }

    /// The closest of a few looks: the firmware's interrupts, or a virtual machine's host, may come in between.
    #[cfg(target_arch = "x86_64")]
    fn at(timer: Timer) -> Look {
        let looks = core::array::from_fn::<(u64, Look), 5, _>(|_| {
            let before = ticks();
            let value: u32;
            // Safety: reading this port changes nothing; the firmware's tables say that it is the timer's.
            unsafe {
                core::arch::asm!("in eax, dx", out("eax") value, in("dx") timer.port, options(nomem, nostack))
            };
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

    #[cfg(not(target_arch = "x86_64"))]
    fn at(_: Timer) -> Look {
        Look {
            timer: 0,
            ticks: ticks(),
        }
    }
}

/// The machine's ACPI timer, if its tables tell of one.
fn timer() -> Option<Timer> {
    let address = system::with_config_table(|entries| {
        let known = [ConfigTableEntry::ACPI2_GUID, ConfigTableEntry::ACPI_GUID];
        let mut found = known
            .iter()
            .filter_map(|guid| entries.iter().find(|entry| entry.guid == *guid));
        found.next().map(|entry| entry.address)
    })?;
    let mut pointer = [0; 36];
    // Safety: the firmware's own pointer to its tables. Version 1 has 20 bytes of them, of which `root` then reads no more;
    // the others lie in the same page or the next of the firmware's tables.
    unsafe { address.cast::<[u8; 20]>().read_unaligned() }
        .iter()
        .zip(&mut pointer)
        .for_each(|(from, to)| *to = *from);
    if pointer[15] >= 2 {
        // Safety: from version 2 on it has 36 bytes.
        pointer = unsafe { address.cast::<[u8; 36]>().read_unaligned() };
    }
    // Safety: addresses out of the firmware's own tables; each begins with its length, which is not believed where it is absurd.
    let table = |at: u64| unsafe {
        let start = core::ptr::with_exposed_provenance::<u8>(usize::try_from(at).ok()?);
        let len = acpi::length(&start.cast::<[u8; 8]>().read_unaligned());
        (8..1 << 16)
            .contains(&len)
            .then(|| slice::from_raw_parts(start, len))
    };
    let root = table(acpi::root(&pointer)?)?;
    acpi::tables(root).filter_map(table).find_map(acpi::timer)
}

/// Starts the clock.
pub fn start() {
    const SHORT: Duration = Duration::from_millis(2);
    let timer = if cfg!(target_arch = "x86_64") {
        timer()
    } else {
        None
    };
    // A timer that stands is none.
    let beside = timer.and_then(|timer| {
        let first = Look::at(timer);
        boot::stall(SHORT);
        first
            .rate_to(Look::at(timer), timer, None)
            .map(|rate| (timer, first, rate))
    });
    let rate = beside.map_or_else(measure, |beside| beside.2);
    // A delay that does not delay, or a counter that stands: a guess (1 GHz) keeps the application going.
    let plausible = (1_000..=100_000_000).contains(&rate);
    RATE.store(if plausible { rate } else { 1_000_000 }, Relaxed);
    START.store(ticks(), Relaxed);
    BESIDE.with(|place| *place = beside.map(|(timer, first, _)| (timer, first)));
}

/// Measures how fast the counter runs, over all of the time since the start: to be called after something that took a while. The time that has passed
/// stays what it was said to be. Gives the new rate, in ticks a millisecond, and the old one.
pub fn settle() -> Option<(u64, u64)> {
    let about = RATE.load(Relaxed);
    let (timer, first) = BESIDE.with(|beside| *beside).flatten()?;
    let now = Look::at(timer);
    let rate = first.rate_to(now, timer, Some(about))?;
    // Safety: the same priority comes back at the block's end. Nobody reads the clock in between: not the timers, for they have to wait, and not the
    // other cores, which are at home while something is loaded.
    let guard = unsafe { boot::raise_tpl(Tpl::NOTIFY) };
    let ticks = ticks();
    EARLIER.store(at(ticks), Relaxed);
    START.store(ticks, Relaxed);
    RATE.store(rate, Relaxed);
    drop(guard);
    Some((rate, about))
}

fn at(ticks: u64) -> u64 {
    // A core whose counter is a little behind may have it before the start.
    let ticks = ticks.saturating_sub(START.load(Relaxed));
    let since = u128::from(ticks) * 1_000_000 / u128::from(RATE.load(Relaxed).max(1));
    EARLIER.load(Relaxed) + since as u64
}

/// Nanoseconds since [`start`], on any core: firmware has their counters run as one.
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
