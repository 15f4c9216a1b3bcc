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
    kernels::Features,
    workers::Workers,
};

/// Bytes per turn of the loop. Shares are multiples of it.
const STEP: usize = 1024;

/// Width of the loads that read a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loads {
    /// Whatever the compiler generates for the baseline of the architecture.
    Portable,
    /// 32 bytes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 64 bytes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Loads {
    /// Widest loads that the features allow.
    fn best(features: Features) -> Loads {
        #[cfg(target_arch = "x86_64")]
        {
            if features.has_avx512() {
                return Loads::Avx512;
            }
            if features.has_avx2() {
                return Loads::Avx2;
            }
        }
        let _ = features;
        Loads::Portable
    }

    /// Reads all whole steps of `bytes` once. Returns a value that depends on every bit of them.
    fn read(self, bytes: &[u8]) -> u64 {
        match self {
            Loads::Portable => portable(bytes),
            // Safety: `best` has found AVX2 among the features.
            #[cfg(target_arch = "x86_64")]
            Loads::Avx2 => unsafe { avx2(bytes) },
            // Safety: `best` has found AVX-512 F among the features.
            #[cfg(target_arch = "x86_64")]
            Loads::Avx512 => unsafe { avx512(bytes) },
        }
    }
}

fn portable(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for part in bytes
        .chunks_exact(STEP)
        .flat_map(|step| step.chunks_exact(128))
    {
        for (sum, word) in sums.iter_mut().zip(part.chunks_exact(8)) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            *sum ^= u64::from_le_bytes(bytes);
        }
    }
    sums.into_iter().fold(0, |all, sum| all ^ sum)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(bytes: &[u8]) -> u64 {
    use core::arch::x86_64::*;
    // Independent sums, as many as leave a register for loaded values.
    let mut sums = [_mm256_setzero_si256(); 8];
    for part in bytes
        .chunks_exact(STEP)
        .flat_map(|step| step.chunks_exact(256))
    {
        for (i, sum) in sums.iter_mut().enumerate() {
            // Safety: the part is 8 times 32 bytes long.
            let loaded = unsafe { _mm256_loadu_si256(part.as_ptr().add(32 * i).cast()) };
            *sum = _mm256_xor_si256(*sum, loaded);
        }
    }
    let all = sums.into_iter().fold(_mm256_setzero_si256(), |all, sum| {
        _mm256_xor_si256(all, sum)
    });
    let half = _mm_xor_si128(
        _mm256_castsi256_si128(all),
        _mm256_extracti128_si256::<1>(all),
    );
    (_mm_cvtsi128_si64(half) ^ _mm_extract_epi64::<1>(half)) as u64
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2")]
fn avx512(bytes: &[u8]) -> u64 {
    use core::arch::x86_64::*;
    let mut sums = [_mm512_setzero_si512(); 16];
    for step in bytes.chunks_exact(STEP) {
        for (i, sum) in sums.iter_mut().enumerate() {
            // Safety: the step is 16 times 64 bytes long.
            let loaded = unsafe { _mm512_loadu_si512(step.as_ptr().add(64 * i).cast()) };
            *sum = _mm512_xor_si512(*sum, loaded);
        }
    }
    let all = sums.into_iter().fold(_mm512_setzero_si512(), |all, sum| {
        _mm512_xor_si512(all, sum)
    });
    let half = _mm256_xor_si256(
        _mm512_castsi512_si256(all),
        _mm512_extracti64x4_epi64::<1>(all),
    );
    let quarter = _mm_xor_si128(
        _mm256_castsi256_si128(half),
        _mm256_extracti128_si256::<1>(half),
    );
    (_mm_cvtsi128_si64(quarter) ^ _mm_extract_epi64::<1>(quarter)) as u64
}

/// Working set to be read.
pub struct Reader {
    buffer: Buffer<u8>,
    loads: Loads,
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
            loads: Loads::best(features),
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
            black_box(self.loads.read(share));
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
                black_box(self.loads.read(black_box(share)));
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
    use alloc::vec;

    #[test]
    fn every_width_reads_every_byte() {
        let mut widths = vec![Loads::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let features = Features::of_this_core();
            if features.has_avx2() {
                widths.push(Loads::Avx2);
            }
            if features.has_avx512() {
                widths.push(Loads::Avx512);
            }
            assert_eq!(Loads::best(features), widths[widths.len() - 1]);
        }
        assert_eq!(Loads::best(Features::BASE), Loads::Portable);
        let mut bytes = vec![0u8; 3 * STEP];
        for loads in widths {
            assert_eq!(loads.read(&bytes), 0);
            for i in 0..bytes.len() {
                bytes[i] = 1;
                assert_ne!(loads.read(&bytes), 0, "{loads:?} misses byte {i}");
                bytes[i] = 0;
            }
        }
    }

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
