//! Memory read rate, which bounds every decode step, measured with the widest plain loads
//! available.
//!
//! Each worker repeatedly reads its own share of the working set as one linear run; the rates are
//! added. This gives the highest rate: reading rows side by side and software prefetching were
//! measured and give the same or less.

use core::{
    hint::black_box,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

use crate::{
    buffer::{Buffer, OutOfMemory},
    kernels::{self, Features, READ_STEP as STEP},
    workers::Workers,
};

/// A working set to be read.
pub struct Reader {
    buffer: Buffer<u8>,
    read: fn(&[u8]) -> u64,
}

impl Reader {
    /// Allocates a working set of `bytes` bytes (rounded to whole KiB), to be read by the widest
    /// loads that `features` allow.
    ///
    /// # Errors
    /// [`OutOfMemory`] if there is no memory for it.
    pub fn new(bytes: u64, features: Features) -> Result<Reader, OutOfMemory> {
        let length = usize::try_from(bytes)
            .ok()
            .and_then(|bytes| bytes.max(1).checked_next_multiple_of(STEP))
            .ok_or(OutOfMemory { bytes })?;
        let mut buffer = Buffer::<u8>::zeroed(length)?;
        // Memory that was never written to is, on some hosts, one page of zeros many times over.
        for (i, word) in buffer.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&(i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        }
        Ok(Reader {
            buffer,
            read: kernels::best(features).read,
        })
    }

    /// Size of the working set in bytes.
    pub fn bytes(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// Address of the working set.
    pub fn address(&self) -> *const u8 {
        self.buffer.as_ptr()
    }

    /// Bytes per second read by `threads` workers (at most as many as there are) over about
    /// `nanoseconds` by `clock`.
    pub fn rate(
        &self,
        workers: &dyn Workers,
        threads: usize,
        clock: fn() -> u64,
        nanoseconds: u64,
    ) -> f64 {
        let threads = threads.clamp(1, workers.count());
        let steps = self.buffer.len() / STEP;
        let ready = AtomicU32::new(0);
        let total = AtomicU64::new(0);
        workers.run(threads, &|index| {
            let share = steps * index / threads * STEP..steps * (index + 1) / threads * STEP;
            let share = &self.buffer[share];
            // Once before the clock runs: caches and address translations are filled.
            black_box((self.read)(share));
            ready.fetch_add(1, AcqRel);
            workers.wake(&ready);
            loop {
                let seen = ready.load(Acquire);
                if seen == threads as u32 {
                    break;
                }
                workers.wait(&ready, seen);
            }
            let start = clock();
            let mut passes = 0;
            let took = loop {
                black_box((self.read)(black_box(share)));
                passes += 1;
                let took = clock().saturating_sub(start);
                if took >= nanoseconds.max(1) {
                    break took;
                }
            };
            let rate = passes as f64 * share.len() as f64 / took as f64 * 1e9;
            total.fetch_add(rate as u64, Relaxed);
        });
        total.into_inner() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::{Single, tests::Scoped};

    #[test]
    fn a_rate_comes_out_for_any_number_of_workers_and_bytes() {
        fn clock() -> u64 {
            use std::{sync::OnceLock, time::Instant};
            static START: OnceLock<Instant> = OnceLock::new();
            START.get_or_init(Instant::now).elapsed().as_nanos() as u64
        }
        for bytes in [0, 1, 1024, 5000, 300_000] {
            let reader = Reader::new(bytes, Features::of_this_core()).unwrap();
            assert_eq!(reader.bytes(), bytes.max(1).next_multiple_of(1024));
            assert!(reader.rate(&Single, 1, clock, 10_000) > 0.0);
            assert!(reader.rate(&Scoped(3), 3, clock, 10_000) > 0.0);
            assert!(reader.rate(&Scoped(2), 9, clock, 10_000) > 0.0);
        }
        assert!(Reader::new(u64::MAX / 2, Features::BASE).is_err());
    }
}
