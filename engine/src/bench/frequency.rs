//! Effective clock frequency of a core, measured with a chain of dependent additions, which take
//! one cycle each.

use crate::kernels::arch;

/// Additions of one turn of the loop, and turns of one sample: about a third of a millisecond.
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

/// The additions. The number added is in a register: newer cores add small constants while they
/// rename, in no time at all.
fn chain() -> Option<()> {
    let mut sum = 0;
    for _ in 0..TURNS {
        sum = arch::add_64(sum, 1)?;
    }
    (sum == ADDITIONS * TURNS).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_ticks_once_a_sample_gives_the_additions_of_one() {
        use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
        static NOW: AtomicU64 = AtomicU64::new(0);
        let found = gigahertz(|| NOW.fetch_add(ADDITIONS * TURNS / 4, Relaxed));
        let want = arch::add_64(0, 1).map(|_| 4.0);
        assert_eq!(found, want);
    }
}
