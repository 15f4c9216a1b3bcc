//! Sixteen lanes as four SSE vectors: with SSE2, which every processor of this architecture has,
//! and with SSSE3's products of bytes.

// Four vectors stand side by side; their indices say which rows.
#![allow(clippy::needless_range_loop)]

use core::{arch::x86_64::*, array, marker::PhantomData};

use crate::{
    half::F16,
    kernels::{
        self,
        arch::lanes::{Lanes, kernel_set, whole_number_set},
        scalar,
    },
};

kernel_set!(
    KERNELS,
    plain,
    "sse2",
    "SSE2",
    Sse<Widened>,
    "sse2",
    to_f16,
    read
);

whole_number_set!(SSSE3_KERNELS, ssse3, "ssse3", "SSSE3", Sse<Bytes>, "ssse3");

/// The implementation of [`Lanes`] with four vectors.
struct Sse<P>(PhantomData<P>);

/// Products of bytes, by the instructions that a processor has for them.
///
/// # Safety
/// As for [`Lanes`].
trait Products {
    /// Looks up each byte, which must be below 16, in `table`.
    unsafe fn lookup(x: __m128i, table: &[i8; 16]) -> __m128i;
    /// Adds each lane's four products of signed bytes.
    unsafe fn signed(sum: __m128i, w: __m128i, x: __m128i) -> __m128i;
    /// [`signed`](Self::signed) for weights from 0 to 63.
    unsafe fn unsigned(sum: __m128i, w: __m128i, x: __m128i) -> __m128i;
    /// Adds each lane's four products with weights from 0 to 15 to sums that hold eight of them,
    /// until [`sum`](Self::sum) widens them.
    unsafe fn four_bits(sums: __m128i, w: __m128i, x: __m128i) -> __m128i;
    /// Adds each lane's sums of [`four_bits`](Self::four_bits).
    unsafe fn sum(start: __m128i, sums: __m128i) -> __m128i;
}

/// Products in 32 bits of bytes widened to 16, even and odd ones separately: SSE2's.
struct Widened;

/// Even bytes, then odd ones, with their signs, as 16-bit numbers.
///
/// # Safety
/// None: every processor has SSE2.
#[inline(always)]
unsafe fn widened(x: __m128i) -> [__m128i; 2] {
    // Safety: SSE2 alone.
    unsafe {
        [
            _mm_srai_epi16::<8>(_mm_slli_epi16::<8>(x)),
            _mm_srai_epi16::<8>(x),
        ]
    }
}

/// Adds each lane's products of 16-bit numbers.
///
/// # Safety
/// As for [`widened`].
#[inline(always)]
unsafe fn add_products(sum: __m128i, w: [__m128i; 2], x: [__m128i; 2]) -> __m128i {
    // Safety: SSE2 alone.
    unsafe {
        let products = _mm_add_epi32(_mm_madd_epi16(w[0], x[0]), _mm_madd_epi16(w[1], x[1]));
        _mm_add_epi32(sum, products)
    }
}

impl Products for Widened {
    #[inline(always)]
    unsafe fn lookup(x: __m128i, table: &[i8; 16]) -> __m128i {
        // Safety: as the caller says; so below.
        unsafe {
            let mut bytes = [0u8; 16];
            _mm_storeu_si128(bytes.as_mut_ptr().cast(), x);
            let values = bytes.map(|byte| table[usize::from(byte & 15)]);
            _mm_loadu_si128(values.as_ptr().cast())
        }
    }
    #[inline(always)]
    unsafe fn signed(sum: __m128i, w: __m128i, x: __m128i) -> __m128i {
        // Safety: as above.
        unsafe { add_products(sum, widened(w), widened(x)) }
    }
    #[inline(always)]
    unsafe fn unsigned(sum: __m128i, w: __m128i, x: __m128i) -> __m128i {
        // Safety: as above.
        unsafe {
            let even = _mm_and_si128(w, _mm_set1_epi16(0xff));
            add_products(sum, [even, _mm_srli_epi16::<8>(w)], widened(x))
        }
    }
    #[inline(always)]
    unsafe fn four_bits(sums: __m128i, w: __m128i, x: __m128i) -> __m128i {
        // Safety: as above.
        unsafe { Self::unsigned(sums, w, x) }
    }
    #[inline(always)]
    unsafe fn sum(start: __m128i, sums: __m128i) -> __m128i {
        // Safety: as above.
        unsafe { _mm_add_epi32(start, sums) }
    }
}

/// SSSE3's `pmaddubsw`, which multiplies unsigned bytes with signed ones and adds them in pairs.
struct Bytes;

/// Adds each lane's two 16-bit numbers to its sum.
///
/// # Safety
/// As for [`widened`].
#[inline(always)]
unsafe fn add_pairs(sum: __m128i, pairs: __m128i) -> __m128i {
    // Safety: SSE2 alone.
    unsafe { _mm_add_epi32(sum, _mm_madd_epi16(pairs, _mm_set1_epi16(1))) }
}

impl Products for Bytes {
    #[inline(always)]
    unsafe fn lookup(x: __m128i, table: &[i8; 16]) -> __m128i {
        // Safety: the CPU has SSSE3, as the caller says; so below.
        unsafe { _mm_shuffle_epi8(_mm_loadu_si128(table.as_ptr().cast()), x) }
    }
    /// The weights' magnitudes times activations with the weights' signs. The sum of two products,
    /// 2 · 128 · 127, fits 16 bits.
    #[inline(always)]
    unsafe fn signed(sum: __m128i, w: __m128i, x: __m128i) -> __m128i {
        // Safety: as above.
        unsafe { add_pairs(sum, _mm_maddubs_epi16(_mm_abs_epi8(w), _mm_sign_epi8(x, w))) }
    }
    #[inline(always)]
    unsafe fn unsigned(sum: __m128i, w: __m128i, x: __m128i) -> __m128i {
        // Safety: as above.
        unsafe { add_pairs(sum, _mm_maddubs_epi16(w, x)) }
    }
    /// In 16 bits, which hold eight times 2 · 15 · 128.
    #[inline(always)]
    unsafe fn four_bits(sums: __m128i, w: __m128i, x: __m128i) -> __m128i {
        // Safety: as above.
        unsafe { _mm_add_epi16(sums, _mm_maddubs_epi16(w, x)) }
    }
    #[inline(always)]
    unsafe fn sum(start: __m128i, sums: __m128i) -> __m128i {
        // Safety: as above.
        unsafe { add_pairs(start, sums) }
    }
}

/// Broadcasts four activations to every lane.
///
/// # Safety
/// Four bytes are readable at `x`.
#[inline(always)]
unsafe fn four(x: *const i8) -> __m128i {
    // Safety: as the caller says.
    unsafe { _mm_set1_epi32(x.cast::<i32>().read_unaligned()) }
}

impl<P: Products> Lanes for Sse<P> {
    type Floats = [__m128; 4];
    type Integers = [__m128i; 4];
    type Quads = [__m128i; 4];
    type BlockSums = [__m128i; 4];
    const TILE: usize = 2;
    const PREFETCHES: bool = true;

    #[inline(always)]
    unsafe fn zero() -> [__m128; 4] {
        // Safety: as the caller says; so below.
        unsafe { [_mm_setzero_ps(); 4] }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [__m128; 4] {
        // Safety: as above.
        unsafe { [_mm_set1_ps(x); 4] }
    }
    #[inline(always)]
    unsafe fn splat_f16(p: *const u16) -> [__m128; 4] {
        // Safety: as above.
        unsafe { Self::splat(F16::from_bits(p.read_unaligned()).to_f32()) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [__m128; 4] {
        // Safety: as above.
        unsafe { load(p) }
    }
    /// Adds the difference of the exponents' biases to normal numbers. Others take a way of
    /// their own: zeros, and scales of some K types.
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> [__m128; 4] {
        // Safety: as above.
        unsafe {
            let halves = halves(p);
            // An exponent of 0 becomes 1, and 31 becomes negative.
            let normal = halves.map(|x| {
                let exponent = _mm_and_si128(x, _mm_set1_epi16(0x7c00));
                let above = _mm_add_epi16(exponent, _mm_set1_epi16(0x400));
                _mm_cmpgt_epi16(above, _mm_set1_epi16(0x7ff))
            });
            if _mm_movemask_epi8(_mm_and_si128(normal[0], normal[1])) != 0xffff {
                return any_halves(p);
            }
            words(halves).map(|x| {
                // The sign is copied to three more bits, which the mask clears.
                let moved = _mm_srai_epi32::<3>(x);
                let moved = _mm_and_si128(moved, _mm_set1_epi32(0x8fff_e000u32 as i32));
                _mm_castsi128_ps(_mm_add_epi32(moved, _mm_set1_epi32(112 << 23)))
            })
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> [__m128; 4] {
        // Safety: as above.
        unsafe { words(halves(p)).map(|x| _mm_castsi128_ps(x)) }
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> [__m128; 4] {
        // Safety: as above.
        unsafe {
            let (zero, bytes) = (_mm_setzero_si128(), _mm_loadu_si128(p.cast()));
            let halves = [
                _mm_unpacklo_epi8(zero, bytes),
                _mm_unpackhi_epi8(zero, bytes),
            ];
            words(halves).map(|x| _mm_cvtepi32_ps(_mm_srai_epi32::<24>(x)))
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, x: [__m128; 4]) {
        // Safety: as above.
        unsafe {
            for i in 0..4 {
                _mm_storeu_ps(p.add(4 * i), x[i]);
            }
        }
    }
    #[inline(always)]
    unsafe fn add(a: [__m128; 4], b: [__m128; 4]) -> [__m128; 4] {
        // Safety: as above.
        unsafe { array::from_fn(|i| _mm_add_ps(a[i], b[i])) }
    }
    #[inline(always)]
    unsafe fn mul(a: [__m128; 4], b: [__m128; 4]) -> [__m128; 4] {
        // Safety: as above.
        unsafe { array::from_fn(|i| _mm_mul_ps(a[i], b[i])) }
    }
    #[inline(always)]
    unsafe fn fetch(p: *const u8) {
        // Safety: as above; a hint, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn quads(p: *const u8) -> [__m128i; 4] {
        // Safety: as above.
        unsafe { array::from_fn(|i| _mm_loadu_si128(p.add(16 * i).cast())) }
    }
    #[inline(always)]
    unsafe fn store_quads(p: *mut u8, x: [__m128i; 4]) {
        // Safety: as above.
        unsafe {
            for i in 0..4 {
                _mm_storeu_si128(p.add(16 * i).cast(), x[i]);
            }
        }
    }
    #[inline(always)]
    unsafe fn nibbles(x: [__m128i; 4]) -> ([__m128i; 4], [__m128i; 4]) {
        // Safety: as above.
        unsafe {
            let low = _mm_set1_epi8(15);
            (
                x.map(|x| _mm_and_si128(x, low)),
                x.map(|x| _mm_and_si128(_mm_srli_epi16::<4>(x), low)),
            )
        }
    }
    #[inline(always)]
    unsafe fn field(x: [__m128i; 4], from: usize, to: usize, mask: u8) -> [__m128i; 4] {
        // Safety: as above.
        unsafe {
            let mask = _mm_set1_epi8(mask as i8);
            let by = _mm_cvtsi32_si128(to.abs_diff(from) as i32);
            x.map(|x| {
                let moved = if to >= from {
                    _mm_sll_epi16(x, by)
                } else {
                    _mm_srl_epi16(x, by)
                };
                _mm_and_si128(moved, mask)
            })
        }
    }
    #[inline(always)]
    unsafe fn or(a: [__m128i; 4], b: [__m128i; 4]) -> [__m128i; 4] {
        // Safety: as above.
        unsafe { array::from_fn(|i| _mm_or_si128(a[i], b[i])) }
    }
    #[inline(always)]
    unsafe fn lookup(mut x: [__m128i; 4], table: &[i8; 16]) -> [__m128i; 4] {
        // Safety: as above.
        unsafe {
            for x in &mut x {
                *x = P::lookup(*x, table);
            }
        }
        x
    }
    #[inline(always)]
    unsafe fn start(x: i32) -> [__m128i; 4] {
        // Safety: as above.
        unsafe { [_mm_set1_epi32(x); 4] }
    }
    const SIGNED_EXCESS: i32 = 0;
    #[inline(always)]
    unsafe fn signed(mut sum: [__m128i; 4], w: [__m128i; 4], x: *const i8) -> [__m128i; 4] {
        // Safety: as above.
        unsafe {
            let x = four(x);
            for i in 0..4 {
                sum[i] = P::signed(sum[i], w[i], x);
            }
            sum
        }
    }
    #[inline(always)]
    unsafe fn unsigned(mut sum: [__m128i; 4], w: [__m128i; 4], x: *const i8) -> [__m128i; 4] {
        // Safety: as above.
        unsafe {
            let x = four(x);
            for i in 0..4 {
                sum[i] = P::unsigned(sum[i], w[i], x);
            }
            sum
        }
    }
    #[inline(always)]
    unsafe fn block_sums(_: [__m128i; 4]) -> [__m128i; 4] {
        // Safety: as above.
        unsafe { Self::start(0) }
    }
    #[inline(always)]
    unsafe fn four_bits(mut sums: [__m128i; 4], w: [__m128i; 4], x: *const i8) -> [__m128i; 4] {
        // Safety: as above.
        unsafe {
            let x = four(x);
            for i in 0..4 {
                sums[i] = P::four_bits(sums[i], w[i], x);
            }
            sums
        }
    }
    #[inline(always)]
    unsafe fn block_sum(mut start: [__m128i; 4], sums: [__m128i; 4]) -> [__m128i; 4] {
        // Safety: as above.
        unsafe {
            for i in 0..4 {
                start[i] = P::sum(start[i], sums[i]);
            }
        }
        start
    }
    #[inline(always)]
    unsafe fn to_floats(x: [__m128i; 4]) -> [__m128; 4] {
        // Safety: as above.
        unsafe { x.map(|x| _mm_cvtepi32_ps(x)) }
    }

    #[inline(always)]
    unsafe fn quantize(x: *const f32, count: usize, out: *mut i8) -> (f32, i32, i32) {
        // Safety: as above.
        unsafe {
            let sign = _mm_set1_ps(-0.0);
            let mut largest = _mm_setzero_ps();
            for i in 0..4 * count {
                // If the first one is NaN, the second one counts as the larger.
                let size = _mm_andnot_ps(sign, _mm_loadu_ps(x.add(4 * i)));
                largest = _mm_max_ps(size, largest);
            }
            let mut lanes = [0.0f32; 4];
            _mm_storeu_ps(lanes.as_mut_ptr(), largest);
            let largest = lanes
                .into_iter()
                .fold(0.0, |a, b| if b > a { b } else { a });
            let scale = largest / 127.0;
            let divisor = _mm_set1_ps(scale);
            let most = _mm_set1_ps(127.0);
            // The number before a half: adding it and cutting off rounds halves away from zero.
            let half = _mm_set1_ps(0.499_999_97);
            let mut sums = _mm_setzero_si128();
            let mut first = sums;
            for i in 0..count {
                let mut quants = [_mm_setzero_si128(); 4];
                for (v, value) in load(x.add(16 * i)).into_iter().enumerate() {
                    let value = _mm_div_ps(value, divisor);
                    // 0/0 is 0 here.
                    let number = _mm_cmpord_ps(value, value);
                    let size = _mm_min_ps(_mm_andnot_ps(sign, value), most);
                    let rounded = _mm_or_ps(_mm_add_ps(size, half), _mm_and_ps(value, sign));
                    quants[v] = _mm_cvttps_epi32(_mm_and_ps(rounded, number));
                    sums = _mm_add_epi32(sums, quants[v]);
                }
                if i == 0 {
                    first = sums;
                }
                let low = _mm_packs_epi32(quants[0], quants[1]);
                let high = _mm_packs_epi32(quants[2], quants[3]);
                _mm_storeu_si128(out.add(16 * i).cast(), _mm_packs_epi16(low, high));
            }
            let sum = |x| {
                let mut lanes = [0i32; 4];
                _mm_storeu_si128(lanes.as_mut_ptr().cast(), x);
                lanes.into_iter().sum()
            };
            (scale, sum(sums), sum(first))
        }
    }
}

/// Loads 16 numbers.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn load(p: *const f32) -> [__m128; 4] {
    // Safety: as the caller says.
    unsafe { array::from_fn(|i| _mm_loadu_ps(p.add(4 * i))) }
}

/// Puts 16-bit numbers into the upper halves of 32-bit ones.
///
/// # Safety
/// As for [`widened`].
#[inline(always)]
unsafe fn words(x: [__m128i; 2]) -> [__m128i; 4] {
    // Safety: SSE2 alone.
    unsafe {
        let zero = _mm_setzero_si128();
        [
            _mm_unpacklo_epi16(zero, x[0]),
            _mm_unpackhi_epi16(zero, x[0]),
            _mm_unpacklo_epi16(zero, x[1]),
            _mm_unpackhi_epi16(zero, x[1]),
        ]
    }
}

/// Converts 16 half-precision numbers of any kind. Subnormal ones are made normal by a subtraction,
/// because multiplying them takes many processors hundreds of cycles.
///
/// # Safety
/// They are readable.
#[cold]
#[inline(never)]
unsafe fn any_halves(p: *const u16) -> [__m128; 4] {
    // Safety: as the caller says.
    unsafe {
        words(halves(p)).map(|x| {
            let sign = _mm_and_si128(x, _mm_set1_epi32(i32::MIN));
            let bits = _mm_and_si128(_mm_srli_epi32::<3>(x), _mm_set1_epi32(0x0fff_e000));
            let is_small = _mm_cmpgt_epi32(_mm_set1_epi32(1 << 23), bits);
            let is_infinite = _mm_cmpgt_epi32(bits, _mm_set1_epi32((31 << 23) - 1));
            let mut bias = _mm_set1_epi32(112 << 23);
            bias = _mm_add_epi32(bias, _mm_and_si128(is_infinite, bias));
            bias = _mm_add_epi32(bias, _mm_and_si128(is_small, _mm_set1_epi32(1 << 23)));
            let number = _mm_castsi128_ps(_mm_add_epi32(bits, bias));
            // The smallest normal number, whose mantissa a subnormal one has.
            let least = _mm_castsi128_ps(_mm_and_si128(is_small, _mm_set1_epi32(113 << 23)));
            _mm_or_ps(_mm_sub_ps(number, least), _mm_castsi128_ps(sign))
        })
    }
}

/// Loads 16 numbers of 16 bits.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn halves(p: *const u16) -> [__m128i; 2] {
    // Safety: as the caller says.
    unsafe { [_mm_loadu_si128(p.cast()), _mm_loadu_si128(p.add(8).cast())] }
}

/// Converts to half precision as the scalar set does.
#[target_feature(enable = "sse2")]
fn to_f16(x: &[f32], out: &mut [u16]) {
    (scalar::KERNELS.to_f16)(x, out);
}

/// Reads all whole steps of `bytes`.
#[target_feature(enable = "sse2")]
fn read(bytes: &[u8]) -> u64 {
    kernels::read(bytes)
}
