//! Sixteen lanes as two AVX vectors, for processors with AVX2, FMA and F16C.

use core::arch::x86_64::*;

use crate::kernels::{
    READ_STEP,
    arch::lanes::{Lanes, kernel_set},
    scalar,
};

kernel_set!(
    KERNELS,
    avx2,
    "avx2",
    "AVX2",
    Avx2,
    "avx2,fma,f16c",
    to_f16,
    read
);

/// The AVX2 and F16C implementation of [`Lanes`].
struct Avx2;

impl Lanes for Avx2 {
    type Floats = [__m256; 2];
    type Integers = [__m256i; 2];
    type Quads = [__m256i; 2];
    type BlockSums = [__m256i; 2];
    const TILE: usize = 5;
    const PREFETCHES: bool = true;

    #[inline(always)]
    unsafe fn zero() -> [__m256; 2] {
        // Safety: as the caller says; so below.
        unsafe { [_mm256_setzero_ps(); 2] }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [__m256; 2] {
        // Safety: as above.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    unsafe fn splat_f16(p: *const u16) -> [__m256; 2] {
        // Safety: as above.
        unsafe {
            let bits = _mm_cvtsi32_si128(i32::from(p.read_unaligned()));
            [_mm256_broadcastss_ps(_mm_cvtph_ps(bits)); 2]
        }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [__m256; 2] {
        // Safety: as above.
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> [__m256; 2] {
        // Safety: as above.
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(p.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(p.add(8).cast())),
            ]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> [__m256; 2] {
        // Safety: as above.
        unsafe {
            let wide = |p: *const u16| {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
            };
            [wide(p), wide(p.add(8))]
        }
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> [__m256; 2] {
        // Safety: as above.
        unsafe {
            let bytes = _mm_loadu_si128(p.cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128::<8>(bytes))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, x: [__m256; 2]) {
        // Safety: as above.
        unsafe {
            _mm256_storeu_ps(p, x[0]);
            _mm256_storeu_ps(p.add(8), x[1]);
        }
    }
    #[inline(always)]
    unsafe fn add(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // Safety: as above.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // Safety: as above.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn store_quads(p: *mut u8, x: [__m256i; 2]) {
        // Safety: as above.
        unsafe {
            _mm256_storeu_si256(p.cast(), x[0]);
            _mm256_storeu_si256(p.add(32).cast(), x[1]);
        }
    }
    #[inline(always)]
    unsafe fn quads(p: *const u8) -> [__m256i; 2] {
        // Safety: as above.
        unsafe {
            [
                _mm256_loadu_si256(p.cast()),
                _mm256_loadu_si256(p.add(32).cast()),
            ]
        }
    }
    #[inline(always)]
    unsafe fn fetch(p: *const u8) {
        // Safety: as above; a hint, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn nibbles(x: [__m256i; 2]) -> ([__m256i; 2], [__m256i; 2]) {
        // Safety: as above.
        unsafe {
            let low = _mm256_set1_epi8(15);
            (
                [_mm256_and_si256(x[0], low), _mm256_and_si256(x[1], low)],
                [
                    _mm256_and_si256(_mm256_srli_epi16::<4>(x[0]), low),
                    _mm256_and_si256(_mm256_srli_epi16::<4>(x[1]), low),
                ],
            )
        }
    }
    #[inline(always)]
    unsafe fn field(x: [__m256i; 2], from: usize, to: usize, mask: u8) -> [__m256i; 2] {
        // Safety: as above.
        unsafe {
            let mask = _mm256_set1_epi8(mask as i8);
            if to >= from {
                let by = _mm_cvtsi32_si128((to - from) as i32);
                [
                    _mm256_and_si256(_mm256_sll_epi16(x[0], by), mask),
                    _mm256_and_si256(_mm256_sll_epi16(x[1], by), mask),
                ]
            } else {
                let by = _mm_cvtsi32_si128((from - to) as i32);
                [
                    _mm256_and_si256(_mm256_srl_epi16(x[0], by), mask),
                    _mm256_and_si256(_mm256_srl_epi16(x[1], by), mask),
                ]
            }
        }
    }
    #[inline(always)]
    unsafe fn or(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        // Safety: as above.
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn lookup(x: [__m256i; 2], table: &[i8; 16]) -> [__m256i; 2] {
        // Safety: as above.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [
                _mm256_shuffle_epi8(table, x[0]),
                _mm256_shuffle_epi8(table, x[1]),
            ]
        }
    }
    #[inline(always)]
    unsafe fn start(x: i32) -> [__m256i; 2] {
        // Safety: as above.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    unsafe fn to_floats(x: [__m256i; 2]) -> [__m256; 2] {
        // Safety: as above.
        unsafe { [_mm256_cvtepi32_ps(x[0]), _mm256_cvtepi32_ps(x[1])] }
    }

    #[inline(always)]
    unsafe fn quantize(x: *const f32, count: usize, out: *mut i8) -> (f32, i32, i32) {
        // Safety: as above.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            let mut largest = _mm256_setzero_ps();
            for i in 0..2 * count {
                // If the first one is NaN, the second one counts as the larger.
                let size = _mm256_andnot_ps(sign, _mm256_loadu_ps(x.add(8 * i)));
                largest = _mm256_max_ps(size, largest);
            }
            let mut lanes = [0.0f32; 8];
            _mm256_storeu_ps(lanes.as_mut_ptr(), largest);
            let largest = lanes
                .into_iter()
                .fold(0.0, |a, b| if b > a { b } else { a });
            let scale = largest / 127.0;
            let divisor = _mm256_set1_ps(scale);
            let most = _mm256_set1_ps(127.0);
            // The number before a half: adding it and cutting off rounds halves away from zero.
            let half = _mm256_set1_ps(0.499_999_97);
            let mut sums = _mm256_setzero_si256();
            let mut first = sums;
            for i in 0..count {
                let mut quants = [_mm256_setzero_si256(); 2];
                for (h, quants) in quants.iter_mut().enumerate() {
                    let value = _mm256_loadu_ps(x.add(16 * i + 8 * h));
                    let value = _mm256_div_ps(value, divisor);
                    // 0/0 is 0 here.
                    let number = _mm256_cmp_ps::<_CMP_ORD_Q>(value, value);
                    let size = _mm256_min_ps(_mm256_andnot_ps(sign, value), most);
                    let rounded =
                        _mm256_or_ps(_mm256_add_ps(size, half), _mm256_and_ps(value, sign));
                    *quants = _mm256_cvttps_epi32(_mm256_and_ps(rounded, number));
                    sums = _mm256_add_epi32(sums, *quants);
                }
                if i == 0 {
                    first = sums;
                }
                // 16-bit numbers in the order 0-3, 8-11, 4-7, 12-15, put right before they become
                // bytes.
                let words = _mm256_packs_epi32(quants[0], quants[1]);
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
                let low = _mm256_castsi256_si128(words);
                let high = _mm256_extracti128_si256::<1>(words);
                _mm_storeu_si128(out.add(16 * i).cast(), _mm_packs_epi16(low, high));
            }
            let sum = |x| {
                let mut lanes = [0i32; 8];
                _mm256_storeu_si256(lanes.as_mut_ptr().cast(), x);
                lanes.into_iter().sum()
            };
            (scale, sum(sums), sum(first))
        }
    }

    const SIGNED_EXCESS: i32 = 0;

    /// `vpmaddubsw` takes unsigned numbers on one side: it gets the weights' magnitudes, and the
    /// activations get the weights' signs. The sum of two products, 2 · 128 · 127, fits 16 bits.
    #[inline(always)]
    unsafe fn signed(sum: [__m256i; 2], w: [__m256i; 2], x: *const i8) -> [__m256i; 2] {
        // Safety: as above.
        unsafe {
            let x = four(x);
            let dot = |sum, w| {
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
                add_pairs(sum, pairs)
            };
            [dot(sum[0], w[0]), dot(sum[1], w[1])]
        }
    }
    #[inline(always)]
    unsafe fn unsigned(sum: [__m256i; 2], w: [__m256i; 2], x: *const i8) -> [__m256i; 2] {
        // Safety: as above.
        unsafe {
            let x = four(x);
            [
                add_pairs(sum[0], _mm256_maddubs_epi16(w[0], x)),
                add_pairs(sum[1], _mm256_maddubs_epi16(w[1], x)),
            ]
        }
    }

    /// In 16 bits, which hold eight times 2 · 15 · 128: they are widened once a block.
    #[inline(always)]
    unsafe fn block_sums(_: [__m256i; 2]) -> [__m256i; 2] {
        // Safety: as above.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn four_bits(sums: [__m256i; 2], w: [__m256i; 2], x: *const i8) -> [__m256i; 2] {
        // Safety: as above.
        unsafe {
            let x = four(x);
            [
                _mm256_add_epi16(sums[0], _mm256_maddubs_epi16(w[0], x)),
                _mm256_add_epi16(sums[1], _mm256_maddubs_epi16(w[1], x)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn block_sum(start: [__m256i; 2], sums: [__m256i; 2]) -> [__m256i; 2] {
        // Safety: as above.
        unsafe { [add_pairs(start[0], sums[0]), add_pairs(start[1], sums[1])] }
    }
}

/// Broadcasts four activations to every lane.
///
/// # Safety
/// The CPU has AVX2, and four bytes are readable at `x`.
#[inline(always)]
unsafe fn four(x: *const i8) -> __m256i {
    // Safety: as the caller says.
    unsafe { _mm256_set1_epi32(x.cast::<i32>().read_unaligned()) }
}

/// Adds each lane's two 16-bit numbers to its sum.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn add_pairs(sum: __m256i, pairs: __m256i) -> __m256i {
    // Safety: as the caller says.
    unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))) }
}

#[target_feature(enable = "avx,f16c")]
fn to_f16(x: &[f32], out: &mut [u16]) {
    let (whole, rest) = x.as_chunks::<8>();
    let (out, out_rest) = out.split_at_mut(8 * whole.len());
    for (x, out) in whole.iter().zip(out.chunks_exact_mut(8)) {
        // Safety: eight numbers and eight places.
        unsafe {
            let bits = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(x.as_ptr()));
            _mm_storeu_si128(out.as_mut_ptr().cast(), bits);
        }
    }
    (scalar::KERNELS.to_f16)(rest, out_rest);
}

/// Reads all whole steps of `bytes`.
#[target_feature(enable = "avx2")]
fn read(bytes: &[u8]) -> u64 {
    // Sums that do not wait for each other, as many as leave a register for what is loaded.
    let mut sums = [_mm256_setzero_si256(); 8];
    for part in bytes
        .chunks_exact(READ_STEP)
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
