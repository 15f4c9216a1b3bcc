//! Sixteen lanes as one AVX-512 vector, with VNNI and without.

use core::arch::x86_64::*;

use crate::kernels::{
    READ_STEP,
    arch::lanes::{Lanes, kernel_set, whole_number_set},
    scalar,
};

kernel_set!(
    KERNELS,
    plain,
    "avx512",
    "AVX-512",
    Avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c",
    to_f16,
    read
);

whole_number_set!(
    VNNI_KERNELS,
    vnni,
    "avx512",
    "AVX-512 VNNI",
    Vnni,
    "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
);

/// AVX-512 F and BW, without VNNI.
struct Avx512;

/// AVX-512 F with VNNI.
struct Vnni;

/// Functions that both variants share.
macro_rules! common {
    () => {
        type Floats = __m512;
        type Integers = __m512i;
        type Quads = __m512i;
        type BlockSums = __m512i;
        const TILE: usize = 12;

        #[inline(always)]
        unsafe fn zero() -> __m512 {
            // Safety: as the caller says; so below.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            // Safety: as above.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn splat_f16(p: *const u16) -> __m512 {
            // Safety: as above.
            unsafe {
                let bits = _mm_cvtsi32_si128(i32::from(p.read_unaligned()));
                _mm512_broadcastss_ps(_mm_cvtph_ps(bits))
            }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m512 {
            // Safety: as above.
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn load_f16(p: *const u16) -> __m512 {
            // Safety: as above.
            unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
        }
        #[inline(always)]
        unsafe fn load_bf16(p: *const u16) -> __m512 {
            // Safety: as above.
            unsafe {
                let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
            }
        }
        #[inline(always)]
        unsafe fn load_i8(p: *const i8) -> __m512 {
            // Safety: as above.
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, x: __m512) {
            // Safety: as above.
            unsafe { _mm512_storeu_ps(p, x) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            // Safety: as above.
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            // Safety: as above.
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fetch(p: *const u8) {
            // Safety: as above; a hint, wherever it points.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }
        #[inline(always)]
        unsafe fn nibbles(x: __m512i) -> (__m512i, __m512i) {
            // Safety: as above.
            unsafe {
                let low = _mm512_set1_epi8(15);
                let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(x), low);
                (_mm512_and_si512(x, low), upper)
            }
        }
        #[inline(always)]
        unsafe fn quads(p: *const u8) -> __m512i {
            // Safety: as above.
            unsafe { _mm512_loadu_si512(p.cast()) }
        }
        #[inline(always)]
        unsafe fn store_quads(p: *mut u8, x: __m512i) {
            // Safety: as above.
            unsafe { _mm512_storeu_si512(p.cast(), x) }
        }
        #[inline(always)]
        unsafe fn field(x: __m512i, from: usize, to: usize, mask: u8) -> __m512i {
            // Safety: as above.
            unsafe {
                let mask = _mm512_set1_epi8(mask as i8);
                let moved = if to >= from {
                    _mm512_sll_epi16(x, _mm_cvtsi32_si128((to - from) as i32))
                } else {
                    _mm512_srl_epi16(x, _mm_cvtsi32_si128((from - to) as i32))
                };
                _mm512_and_si512(moved, mask)
            }
        }
        #[inline(always)]
        unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
            // Safety: as above.
            unsafe { _mm512_or_si512(a, b) }
        }
        #[inline(always)]
        unsafe fn lookup(x: __m512i, table: &[i8; 16]) -> __m512i {
            // Safety: as above.
            unsafe {
                let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
                _mm512_shuffle_epi8(table, x)
            }
        }
        #[inline(always)]
        unsafe fn start(x: i32) -> __m512i {
            // Safety: as above.
            unsafe { _mm512_set1_epi32(x) }
        }
        #[inline(always)]
        unsafe fn quantize(x: *const f32, count: usize, out: *mut i8) -> (f32, i32, i32) {
            // Safety: as above.
            unsafe {
                let mut largest = _mm512_setzero_ps();
                for i in 0..count {
                    // If the first one is NaN, the second one counts as the larger.
                    let size = _mm512_abs_ps(_mm512_loadu_ps(x.add(16 * i)));
                    largest = _mm512_max_ps(size, largest);
                }
                let scale = _mm512_reduce_max_ps(largest) / 127.0;
                let divisor = _mm512_set1_ps(scale);
                let most = _mm512_set1_ps(127.0);
                // The number before a half: adding it and cutting off rounds halves away from zero.
                let half = _mm512_set1_ps(0.499_999_97);
                let sign = _mm512_set1_ps(-0.0);
                let mut sums = _mm512_setzero_si512();
                let mut first = sums;
                for i in 0..count {
                    let value = _mm512_div_ps(_mm512_loadu_ps(x.add(16 * i)), divisor);
                    // 0/0 is 0 here.
                    let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(value, value);
                    let size = _mm512_min_ps(_mm512_abs_ps(value), most);
                    let rounded =
                        _mm512_or_ps(_mm512_add_ps(size, half), _mm512_and_ps(value, sign));
                    let quants = _mm512_maskz_cvttps_epi32(number, rounded);
                    sums = _mm512_add_epi32(sums, quants);
                    if i == 0 {
                        first = sums;
                    }
                    _mm_storeu_si128(out.add(16 * i).cast(), _mm512_cvtepi32_epi8(quants));
                }
                (
                    scale,
                    _mm512_reduce_add_epi32(sums),
                    _mm512_reduce_add_epi32(first),
                )
            }
        }
        #[inline(always)]
        unsafe fn to_floats(x: __m512i) -> __m512 {
            // Safety: as above.
            unsafe { _mm512_cvtepi32_ps(x) }
        }
    };
}

/// Broadcasts four activations to every lane.
///
/// # Safety
/// The CPU has AVX-512, and four bytes are readable at `x`.
#[inline(always)]
unsafe fn four(x: *const i8) -> __m512i {
    // Safety: as the caller says.
    unsafe { _mm512_set1_epi32(x.cast::<i32>().read_unaligned()) }
}

impl Lanes for Vnni {
    common!();

    /// Offset that makes signed weights unsigned, as `vpdpbusd` requires of one side.
    const SIGNED_EXCESS: i32 = 128;

    #[inline(always)]
    unsafe fn signed(sum: __m512i, w: __m512i, x: *const i8) -> __m512i {
        // Safety: as the caller says.
        unsafe {
            let w = _mm512_xor_si512(w, _mm512_set1_epi8(-128));
            _mm512_dpbusd_epi32(sum, w, four(x))
        }
    }
    #[inline(always)]
    unsafe fn unsigned(sum: __m512i, w: __m512i, x: *const i8) -> __m512i {
        // Safety: as the caller says.
        unsafe { _mm512_dpbusd_epi32(sum, w, four(x)) }
    }

    #[inline(always)]
    unsafe fn block_sums(start: __m512i) -> __m512i {
        start
    }
    #[inline(always)]
    unsafe fn four_bits(sums: __m512i, w: __m512i, x: *const i8) -> __m512i {
        // Safety: as the caller says.
        unsafe { Self::unsigned(sums, w, x) }
    }
    #[inline(always)]
    unsafe fn block_sum(_: __m512i, sums: __m512i) -> __m512i {
        sums
    }
}

impl Lanes for Avx512 {
    common!();

    const SIGNED_EXCESS: i32 = 0;

    /// `vpmaddubsw` would saturate, so bytes are widened to 16 bits: even and odd ones separately.
    #[inline(always)]
    unsafe fn signed(sum: __m512i, w: __m512i, x: *const i8) -> __m512i {
        // Safety: as the caller says.
        unsafe {
            let x = four(x);
            let odd = _mm512_madd_epi16(_mm512_srai_epi16::<8>(w), _mm512_srai_epi16::<8>(x));
            let even = |v| _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(v));
            let even = _mm512_madd_epi16(even(w), even(x));
            _mm512_add_epi32(sum, _mm512_add_epi32(odd, even))
        }
    }
    /// The sum of two products, 2 · 63 · 127, fits 16 bits.
    #[inline(always)]
    unsafe fn unsigned(sum: __m512i, w: __m512i, x: *const i8) -> __m512i {
        // Safety: as the caller says.
        unsafe {
            let pairs = _mm512_maddubs_epi16(w, four(x));
            _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }

    /// In 16 bits, which hold eight times 2 · 15 · 128: they are widened once a block.
    #[inline(always)]
    unsafe fn block_sums(_: __m512i) -> __m512i {
        // Safety: as the caller says.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn four_bits(sums: __m512i, w: __m512i, x: *const i8) -> __m512i {
        // Safety: as the caller says.
        unsafe { _mm512_add_epi16(sums, _mm512_maddubs_epi16(w, four(x))) }
    }
    #[inline(always)]
    unsafe fn block_sum(start: __m512i, sums: __m512i) -> __m512i {
        // Safety: as the caller says.
        unsafe { _mm512_add_epi32(start, _mm512_madd_epi16(sums, _mm512_set1_epi16(1))) }
    }
}

#[target_feature(enable = "avx512f")]
fn to_f16(x: &[f32], out: &mut [u16]) {
    let (whole, rest) = x.as_chunks::<16>();
    let (out, out_rest) = out.split_at_mut(16 * whole.len());
    for (x, out) in whole.iter().zip(out.chunks_exact_mut(16)) {
        // Safety: sixteen numbers and sixteen places.
        unsafe {
            let bits = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm512_loadu_ps(x.as_ptr()));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), bits);
        }
    }
    (scalar::KERNELS.to_f16)(rest, out_rest);
}

/// Reads all whole steps of `bytes`.
#[target_feature(enable = "avx512f,avx2")]
fn read(bytes: &[u8]) -> u64 {
    let mut sums = [_mm512_setzero_si512(); 16];
    for step in bytes.chunks_exact(READ_STEP) {
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
