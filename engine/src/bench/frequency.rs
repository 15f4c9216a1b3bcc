//! Effective clock frequency of a core, measured with a chain of dependent additions, which take
//! one cycle each.

/// Additions per turn of the loop, and turns per sample: about a third of a millisecond.
const ADDITIONS: u64 = 64;
const TURNS: u64 = 20_000;

/// Number of samples. Interruptions only make samples longer, so the shortest counts.
const SAMPLES: usize = 7;

/// Cycles per nanosecond of the core that this runs on; `None` on architectures without an
/// implementation.
pub fn gigahertz(clock: fn() -> u64) -> Option<f64> {
    let shortest = (0..SAMPLES)
        .filter_map(|_| {
            let before = clock();
            chain()?;
            Some(clock().saturating_sub(before).max(1))
        })
        .min()?;
    Some((ADDITIONS * TURNS) as f64 / shortest as f64)
}

/// Runs the chain of additions.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn chain() -> Option<()> {
    let (mut sum, one) = (0u64, 1u64);
    for _ in 0..TURNS {
        // The number added is in a register: newer cores add small constants while they rename, in
        // no time at all. Safety: it changes a register that it names.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            core::arch::asm!(
                ".rept 64",
                "add {sum}, {one}",
                ".endr",
                sum = inout(reg) sum,
                one = in(reg) one,
                options(nomem, nostack)
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::asm!(
                ".rept 64",
                "add {sum}, {sum}, {one}",
                ".endr",
                sum = inout(reg) sum,
                one = in(reg) one,
                options(nomem, nostack)
            );
        }
    }
    (sum == ADDITIONS * TURNS).then_some(())
}

/// Not implemented for this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn chain() -> Option<()> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_ticks_once_a_sample_gives_the_additions_of_one() {
        use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
        static NOW: AtomicU64 = AtomicU64::new(0);
        let found = gigahertz(|| NOW.fetch_add(ADDITIONS * TURNS / 4, Relaxed));
        if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            assert_eq!(found, Some(4.0));
        } else {
            assert_eq!(found, None);
        }
    }
}
