//! Sixteen lanes as four NEON vectors, with products of bytes by three kinds of instructions.
//!
//! One line of assembly stands for each instruction for which the compiler has no intrinsic, or
//! only from a later version on (dot products, half precision).

// Tiles are small arrays whose indices say which token and which rows.
#![allow(clippy::needless_range_loop)]

use core::{
    arch::{aarch64::*, asm},
    marker::PhantomData,
};

use crate::{
    kernels::{
        arch::lanes::{Lanes, kernel_set, whole_number_set},
        scalar,
    },
    layout::coded::LINE,
};

kernel_set!(
    KERNELS,
    plain,
    "neon",
    "NEON",
    Neon<Widened>,
    "neon",
    to_f16,
    read
);

whole_number_set!(
    DOTPROD_KERNELS,
    dotprod,
    "dotprod",
    "NEON with dot products",
    Neon<Dot>,
    "neon,dotprod"
);
whole_number_set!(
    I8MM_KERNELS,
    i8mm,
    "i8mm",
    "NEON with int8 matrix products",
    Neon<Matrices>,
    "neon,dotprod,i8mm"
);

/// The NEON implementation of [`Lanes`].
struct Neon<P>(PhantomData<P>);

/// Products of signed bytes, by the instructions that a processor has for them.
///
/// # Safety
/// As for [`Lanes`].
trait Products {
    /// [`Lanes::TILE`]: as many as the registers hold beside what the loop needs.
    const TILE: usize;

    /// Adds each lane's four products.
    unsafe fn dot(sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t;

    /// [`Lanes::INTERLEAVED`].
    const INTERLEAVED: bool = false;

    /// [`Lanes::at_once`].
    #[inline(always)]
    unsafe fn at_once<const T: usize>(
        _: &mut [[int32x4_t; 4]; T],
        _: (*const u8, usize),
        _: (*const i8, usize),
    ) {
    }
}

/// Products in 16 bits, widened and added in pairs: every processor's.
struct Widened;

impl Products for Widened {
    const TILE: usize = 4;

    /// The sum of two products, 2 · 128 · 127, fits 16 bits.
    #[inline(always)]
    unsafe fn dot(sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        // Safety: as the caller says; so below.
        unsafe {
            let lower = vmull_s8(vget_low_s8(w), vget_low_s8(x));
            let upper: int16x8_t;
            // The intrinsic moves the upper half first: what it is multiplied with is the same
            // everywhere, so the compiler sees two lower halves.
            asm!(
                "smull2 {upper:v}.8h, {w:v}.16b, {x:v}.16b",
                upper = lateout(vreg) upper,
                w = in(vreg) w,
                x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags)
            );
            vpadalq_s16(sum, vpaddq_s16(lower, upper))
        }
    }
}

/// `sdot` (Armv8.2).
struct Dot;

impl Products for Dot {
    const TILE: usize = 6;

    #[inline(always)]
    unsafe fn dot(mut sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        // Safety: as above.
        unsafe {
            asm!(
                "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
                sum = inlateout(vreg) sum,
                w = in(vreg) w,
                x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
}

/// `smmla` (Armv8.6) for several tokens, `sdot` for one.
struct Matrices;

impl Products for Matrices {
    const TILE: usize = 4;

    #[inline(always)]
    unsafe fn dot(sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
        // Safety: as above.
        unsafe { Dot::dot(sum, w, x) }
    }

    const INTERLEAVED: bool = true;

    /// Two rows by two tokens in a vector, eight columns at a time.
    #[inline(always)]
    unsafe fn at_once<const T: usize>(
        whole: &mut [[int32x4_t; 4]; T],
        (w, count): (*const u8, usize),
        (x, stride): (*const i8, usize),
    ) {
        let pairs = T.div_ceil(2);
        // An odd last token is its own neighbour.
        let second = |pair: usize| (2 * pair + 1).min(T - 1);
        // Safety: as above.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 8]; Self::TILE / 2];
            for pair in 0..pairs {
                for i in 0..4 {
                    let (a, b) = (whole[2 * pair][i], whole[second(pair)][i]);
                    sums[pair][2 * i] = vzip1q_s32(a, b);
                    sums[pair][2 * i + 1] = vzip2q_s32(a, b);
                }
            }
            for p in 0..count / 2 {
                let mut tokens = [vdupq_n_s8(0); Self::TILE / 2];
                for (pair, tokens) in tokens.iter_mut().enumerate().take(pairs) {
                    let columns = |token| vld1_s8(x.add(token * stride + 8 * p));
                    *tokens = vcombine_s8(columns(2 * pair), columns(second(pair)));
                }
                for i in 0..8 {
                    let rows = vld1q_u8(w.add(2 * LINE * p + 16 * i));
                    for pair in 0..pairs {
                        asm!(
                            "smmla {sum:v}.4s, {rows:v}.16b, {tokens:v}.16b",
                            sum = inlateout(vreg) sums[pair][i],
                            rows = in(vreg) rows,
                            tokens = in(vreg) tokens[pair],
                            options(pure, nomem, nostack, preserves_flags)
                        );
                    }
                }
            }
            for pair in 0..pairs {
                for i in 0..4 {
                    let (a, b) = (sums[pair][2 * i], sums[pair][2 * i + 1]);
                    whole[second(pair)][i] = vuzp2q_s32(a, b);
                    whole[2 * pair][i] = vuzp1q_s32(a, b);
                }
            }
        }
    }
}

/// Evaluates an expression for each of the four vectors.
macro_rules! each {
    ($i:ident => $vector:expr) => {{
        macro_rules! at {
            ($n:literal) => {{
                const $i: usize = $n;
                $vector
            }};
        }
        [at!(0), at!(1), at!(2), at!(3)]
    }};
}

impl<P: Products> Lanes for Neon<P> {
    type Floats = [float32x4_t; 4];
    type Integers = [int32x4_t; 4];
    type Quads = [uint8x16_t; 4];
    type BlockSums = [int32x4_t; 4];
    const TILE: usize = P::TILE;

    #[inline(always)]
    unsafe fn zero() -> [float32x4_t; 4] {
        // Safety: as above.
        unsafe { Self::splat(0.0) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [float32x4_t; 4] {
        // Safety: as above.
        unsafe { [vdupq_n_f32(x); 4] }
    }
    #[inline(always)]
    unsafe fn splat_f16(p: *const u16) -> [float32x4_t; 4] {
        // Safety: as above.
        unsafe { [wide(vdupq_n_u16(p.read_unaligned()))[0]; 4] }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [float32x4_t; 4] {
        // Safety: as above.
        unsafe { each!(I => vld1q_f32(p.add(4 * I))) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> [float32x4_t; 4] {
        // Safety: as above.
        unsafe {
            let ([a, b], [c, d]) = (wide(vld1q_u16(p)), wide(vld1q_u16(p.add(8))));
            [a, b, c, d]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> [float32x4_t; 4] {
        // Safety: as above.
        unsafe { each!(I => vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p.add(4 * I))))) }
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> [float32x4_t; 4] {
        // Safety: as above.
        unsafe {
            let bytes = vld1q_s8(p);
            let (a, b) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            let low = |x| vmovl_s16(vget_low_s16(x));
            Self::to_floats([low(a), vmovl_high_s16(a), low(b), vmovl_high_s16(b)])
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, x: [float32x4_t; 4]) {
        // Safety: as above.
        unsafe {
            each!(I => vst1q_f32(p.add(4 * I), x[I]));
        }
    }
    #[inline(always)]
    unsafe fn add(a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        // Safety: as above.
        unsafe { each!(I => vaddq_f32(a[I], b[I])) }
    }
    #[inline(always)]
    unsafe fn mul(a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        // Safety: as above.
        unsafe { each!(I => vmulq_f32(a[I], b[I])) }
    }
    #[inline(always)]
    unsafe fn fetch(p: *const u8) {
        // Safety: as above; a hint, wherever it points.
        unsafe {
            asm!("prfm pldl1keep, [{}]", in(reg) p, options(readonly, nostack, preserves_flags));
        }
    }
    #[inline(always)]
    unsafe fn quads(p: *const u8) -> [uint8x16_t; 4] {
        // Safety: as above.
        unsafe { each!(I => vld1q_u8(p.add(16 * I))) }
    }
    #[inline(always)]
    unsafe fn store_quads(p: *mut u8, x: [uint8x16_t; 4]) {
        // Safety: as above.
        unsafe {
            each!(I => vst1q_u8(p.add(16 * I), x[I]));
        }
    }
    #[inline(always)]
    unsafe fn nibbles(x: [uint8x16_t; 4]) -> ([uint8x16_t; 4], [uint8x16_t; 4]) {
        // Safety: as above.
        unsafe {
            let low = vdupq_n_u8(15);
            (
                each!(I => vandq_u8(x[I], low)),
                each!(I => vshrq_n_u8::<4>(x[I])),
            )
        }
    }
    #[inline(always)]
    unsafe fn field(x: [uint8x16_t; 4], from: usize, to: usize, mask: u8) -> [uint8x16_t; 4] {
        // Safety: as above.
        unsafe {
            // To the left; to the right if it is negative.
            let by = vdupq_n_s8(to as i8 - from as i8);
            let mask = vdupq_n_u8(mask);
            each!(I => vandq_u8(vshlq_u8(x[I], by), mask))
        }
    }
    #[inline(always)]
    unsafe fn or(a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        // Safety: as above.
        unsafe { each!(I => vorrq_u8(a[I], b[I])) }
    }
    #[inline(always)]
    unsafe fn lookup(x: [uint8x16_t; 4], table: &[i8; 16]) -> [uint8x16_t; 4] {
        // Safety: as above.
        unsafe {
            let table = vld1q_u8(table.as_ptr().cast());
            each!(I => vqtbl1q_u8(table, x[I]))
        }
    }
    #[inline(always)]
    unsafe fn start(x: i32) -> [int32x4_t; 4] {
        // Safety: as above.
        unsafe { [vdupq_n_s32(x); 4] }
    }

    const SIGNED_EXCESS: i32 = 0;

    #[inline(always)]
    unsafe fn signed(sum: [int32x4_t; 4], w: [uint8x16_t; 4], x: *const i8) -> [int32x4_t; 4] {
        // Safety: as above.
        unsafe {
            let x = vreinterpretq_s8_s32(vdupq_n_s32(x.cast::<i32>().read_unaligned()));
            each!(I => P::dot(sum[I], vreinterpretq_s8_u8(w[I]), x))
        }
    }
    #[inline(always)]
    unsafe fn unsigned(sum: [int32x4_t; 4], w: [uint8x16_t; 4], x: *const i8) -> [int32x4_t; 4] {
        // Safety: as above.
        unsafe { Self::signed(sum, w, x) }
    }
    #[inline(always)]
    unsafe fn block_sums(start: [int32x4_t; 4]) -> [int32x4_t; 4] {
        start
    }
    #[inline(always)]
    unsafe fn four_bits(sums: [int32x4_t; 4], w: [uint8x16_t; 4], x: *const i8) -> [int32x4_t; 4] {
        // Safety: as above.
        unsafe { Self::signed(sums, w, x) }
    }
    #[inline(always)]
    unsafe fn block_sum(_: [int32x4_t; 4], sums: [int32x4_t; 4]) -> [int32x4_t; 4] {
        sums
    }

    const INTERLEAVED: bool = P::INTERLEAVED;

    /// Rows of eight columns, which are four of a quad and four of the next.
    #[inline(always)]
    unsafe fn interleave(quads: *mut u8) {
        // Safety: as above.
        unsafe {
            for pair in 0..if P::INTERLEAVED { 4 } else { 0 } {
                let at = quads.add(pair * 2 * LINE);
                let load = |i| vreinterpretq_s32_u8(vld1q_u8(at.add(16 * i)));
                let (a, b) = (each!(I => load(I)), each!(I => load(4 + I)));
                each!(I => {
                    let store = |i, x| vst1q_u8(at.add(16 * i), vreinterpretq_u8_s32(x));
                    store(2 * I, vzip1q_s32(a[I], b[I]));
                    store(2 * I + 1, vzip2q_s32(a[I], b[I]));
                });
            }
        }
    }
    #[inline(always)]
    unsafe fn at_once<const T: usize>(
        whole: &mut [[int32x4_t; 4]; T],
        w: (*const u8, usize),
        x: (*const i8, usize),
    ) {
        // Safety: as above.
        unsafe { P::at_once::<T>(whole, w, x) }
    }
    #[inline(always)]
    unsafe fn to_floats(x: [int32x4_t; 4]) -> [float32x4_t; 4] {
        // Safety: as above.
        unsafe { each!(I => vcvtq_f32_s32(x[I])) }
    }

    #[inline(always)]
    unsafe fn quantize(x: *const f32, count: usize, out: *mut i8) -> (f32, i32, i32) {
        // Safety: as above.
        unsafe {
            let mut largest = Self::zero();
            for i in 0..count {
                let x = Self::load(x.add(16 * i));
                // NaN is not larger.
                largest = each!(I => {
                    let size = vabsq_f32(x[I]);
                    vbslq_f32(vcgtq_f32(size, largest[I]), size, largest[I])
                });
            }
            let [a, b, c, d] = largest;
            let scale = vmaxvq_f32(vmaxq_f32(vmaxq_f32(a, b), vmaxq_f32(c, d))) / 127.0;
            let divisor = vdupq_n_f32(scale);
            let (mut sum, mut first) = (0, 0);
            for i in 0..count {
                let x = Self::load(x.add(16 * i));
                // Halves away from zero; 0/0 is 0 here.
                let quants = each!(I => {
                    let quant = vcvtaq_s32_f32(vdivq_f32(x[I], divisor));
                    vmaxq_s32(vminq_s32(quant, vdupq_n_s32(127)), vdupq_n_s32(-127))
                });
                let [a, b, c, d] = quants;
                sum += vaddvq_s32(vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d)));
                if i == 0 {
                    first = sum;
                }
                let halves = |a, b| vcombine_s16(vmovn_s32(a), vmovn_s32(b));
                let bytes = vcombine_s8(vmovn_s16(halves(a, b)), vmovn_s16(halves(c, d)));
                vst1q_s8(out.add(16 * i), bytes);
            }
            (scale, sum, first)
        }
    }
}

/// Converts eight half-precision numbers.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn wide(x: uint16x8_t) -> [float32x4_t; 2] {
    let (lower, upper);
    // Safety: as the caller says.
    unsafe {
        asm!(
            "fcvtl {lower:v}.4s, {x:v}.4h",
            "fcvtl2 {upper:v}.4s, {x:v}.8h",
            x = in(vreg) x,
            lower = out(vreg) lower,
            upper = lateout(vreg) upper,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [lower, upper]
}

#[target_feature(enable = "neon")]
fn to_f16(x: &[f32], out: &mut [u16]) {
    let (whole, rest) = x.as_chunks::<8>();
    let (out, out_rest) = out.split_at_mut(8 * whole.len());
    for (x, out) in whole.iter().zip(out.chunks_exact_mut(8)) {
        // Safety: eight numbers and eight places.
        unsafe {
            let bits: uint16x8_t;
            asm!(
                "fcvtn {bits:v}.4h, {lower:v}.4s",
                "fcvtn2 {bits:v}.8h, {upper:v}.4s",
                lower = in(vreg) vld1q_f32(x.as_ptr()),
                upper = in(vreg) vld1q_f32(x.as_ptr().add(4)),
                bits = out(vreg) bits,
                options(pure, nomem, nostack, preserves_flags)
            );
            vst1q_u16(out.as_mut_ptr(), bits);
        }
    }
    (scalar::KERNELS.to_f16)(rest, out_rest);
}

/// Reads all whole steps of `bytes`.
#[target_feature(enable = "neon")]
fn read(bytes: &[u8]) -> u64 {
    crate::kernels::read(bytes)
}
