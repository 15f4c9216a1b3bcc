//! Sixteen lanes of a vector unit: the operations that the matrix kernels need, and the kernel set
//! built from them.
//!
//! [`super::tiles`] names no instruction; [`Lanes`] does. Everything is inlined into functions that
//! are compiled for a particular instruction set, one per kernel and set ([`kernel_set`]).

use crate::{
    kernels::{Quantized, portable},
    layout::{PANEL, Rounding},
};

/// Sixteen lanes of a vector unit.
///
/// # Safety
/// Every function may only be called if the CPU has the vector unit, with pointers valid for as
/// many elements as its documentation says.
pub(super) trait Lanes {
    /// 16 single-precision numbers.
    type Floats: Copy;
    /// 16 32-bit integers.
    type Integers: Copy;
    /// 16 quads of 8-bit numbers.
    type Quads: Copy;
    /// Sums of products of a block's 4-bit weights.
    type BlockSums: Copy;
    /// Largest number of tokens in a tile.
    const TILE: usize;
    /// Is true for units that were measured to wait for memory where a single token's cache lines
    /// are not read in order: they are prefetched.
    const PREFETCHES: bool = false;

    unsafe fn zero() -> Self::Floats;
    unsafe fn splat(x: f32) -> Self::Floats;
    /// Puts a half-precision number into every lane.
    unsafe fn splat_f16(p: *const u16) -> Self::Floats;
    /// Loads 16 numbers.
    unsafe fn load(p: *const f32) -> Self::Floats;
    /// Loads 16 half-precision numbers.
    unsafe fn load_f16(p: *const u16) -> Self::Floats;
    /// Loads 16 bfloat16 numbers.
    unsafe fn load_bf16(p: *const u16) -> Self::Floats;
    /// Loads 16 8-bit integers.
    unsafe fn load_i8(p: *const i8) -> Self::Floats;
    /// Stores 16 numbers.
    unsafe fn store(p: *mut f32, x: Self::Floats);
    unsafe fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Prefetches a cache line; harmless if there is no memory at `p`.
    unsafe fn fetch(p: *const u8);

    /// Loads 16 quads.
    unsafe fn quads(p: *const u8) -> Self::Quads;
    /// Stores 16 quads.
    unsafe fn store_quads(p: *mut u8, x: Self::Quads);
    /// Splits each byte into its lower and its upper four bits.
    unsafe fn nibbles(x: Self::Quads) -> (Self::Quads, Self::Quads);
    /// Shifts each byte so that bit `from` comes to bit `to`, and masks it with `mask`. Both are at
    /// most 7; bits that cross into another byte must not be in the mask.
    unsafe fn field(x: Self::Quads, from: usize, to: usize, mask: u8) -> Self::Quads;
    unsafe fn or(a: Self::Quads, b: Self::Quads) -> Self::Quads;
    /// Looks up each byte, which must be below 16, in `table`.
    unsafe fn lookup(x: Self::Quads, table: &[i8; 16]) -> Self::Quads;
    /// Initial value of a sum, the same in every lane.
    unsafe fn start(x: i32) -> Self::Integers;
    /// Amount that [`signed`](Lanes::signed) adds too much per unit of the activations' sum.
    const SIGNED_EXCESS: i32;
    /// Adds each lane's products of four signed weights with the four activations at `x`, plus
    /// [`Self::SIGNED_EXCESS`] times those activations.
    unsafe fn signed(sum: Self::Integers, w: Self::Quads, x: *const i8) -> Self::Integers;
    /// Adds each lane's products of four weights from 0 to 63 with the four activations at `x`.
    unsafe fn unsigned(sum: Self::Integers, w: Self::Quads, x: *const i8) -> Self::Integers;
    /// Is true for units that multiply several tokens at once, unpacked quads that have been
    /// interleaved for it.
    const INTERLEAVED: bool = false;
    /// Interleaves the quads of a block for [`at_once`](Lanes::at_once).
    #[inline(always)]
    unsafe fn interleave(_: *mut u8) {}
    /// Adds the products of the `count` interleaved quads at `w`, an even number, with each token's
    /// activations, at `x` and every `stride` bytes.
    #[inline(always)]
    unsafe fn at_once<const T: usize>(
        _: &mut [Self::Integers; T],
        _: (*const u8, usize),
        _: (*const i8, usize),
    ) {
    }
    /// Start of [`four_bits`](Lanes::four_bits)'s sums in a block whose sum begins with `start`.
    unsafe fn block_sums(start: Self::Integers) -> Self::BlockSums;
    /// Adds each lane's products of four weights from 0 to 15 with the four activations at `x`, at
    /// most eight times in a block.
    unsafe fn four_bits(sums: Self::BlockSums, w: Self::Quads, x: *const i8) -> Self::BlockSums;
    /// The sum of a block that began with `start`.
    unsafe fn block_sum(start: Self::Integers, sums: Self::BlockSums) -> Self::Integers;
    unsafe fn to_floats(x: Self::Integers) -> Self::Floats;

    /// Quantises `count` times 16 numbers at `x` to bytes at `out`. Returns the scale, the sum of
    /// all values, and the sum of the first 16.
    unsafe fn quantize(x: *const f32, count: usize, out: *mut i8) -> (f32, i32, i32);
}

/// Element of a float matrix.
pub(super) trait Number: Copy {
    /// Loads 16 of them.
    ///
    /// # Safety
    /// 16 elements are readable at `p`, and the CPU has the vector unit.
    unsafe fn load<L: Lanes>(p: *const Self) -> L::Floats;
}

impl Number for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const Self) -> L::Floats {
        // Safety: as the caller says.
        unsafe { L::load(p) }
    }
}

/// Bits of a half-precision number.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Half(u16);

impl Number for Half {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const Self) -> L::Floats {
        // Safety: as the caller says.
        unsafe { L::load_f16(p.cast()) }
    }
}

/// Bits of a bfloat16 number.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Brain(u16);

impl Number for Brain {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const Self) -> L::Floats {
        // Safety: as the caller says.
        unsafe { L::load_bf16(p.cast()) }
    }
}

/// Quantises groups to int8.
///
/// # Safety
/// The CPU has the vector unit.
#[inline(always)]
pub(super) unsafe fn quantize<L: Lanes>(x: &[f32], rounding: Rounding, out: Quantized<'_>) {
    let group = match rounding {
        Rounding::Runq { group } if group.is_multiple_of(PANEL) => group,
        _ => return portable::quantize(x, rounding, out),
    };
    let quants = out.quants.chunks_exact_mut(group);
    let places = quants.zip(out.scales).zip(out.sums).zip(out.lower);
    for (x, (((quants, scale), sum), lower)) in x.chunks_exact(group).zip(places) {
        // Safety: a group of numbers, and as many places.
        (*scale, *sum, *lower) =
            unsafe { L::quantize(x.as_ptr(), group / PANEL, quants.as_mut_ptr()) };
    }
}

/// Views half-precision bits as [`Half`]s.
#[inline(always)]
pub(super) fn halves(bits: &[u16]) -> &[Half] {
    // Safety: `Half` is a u16 (`repr(transparent)`).
    unsafe { core::slice::from_raw_parts(bits.as_ptr().cast(), bits.len()) }
}

/// Views bfloat16 bits as [`Brain`]s.
#[inline(always)]
pub(super) fn brains(bits: &[u16]) -> &[Brain] {
    // Safety: `Brain` is a u16 (`repr(transparent)`).
    unsafe { core::slice::from_raw_parts(bits.as_ptr().cast(), bits.len()) }
}

/// Converts a half-precision number.
#[inline(always)]
pub(super) fn half_value(half: Half) -> f32 {
    crate::half::F16::from_bits(half.0).to_f32()
}

/// Defines a module with a set's functions, each compiled for `$features`, and the set itself.
macro_rules! kernel_set {
    (
        $set:ident, $module:ident, $name:literal, $title:literal, $lanes:ty, $features:literal,
        $to_f16:path, $read:path
    ) => {
        #[doc = concat!("The set for ", $title, ".")]
        pub static $set: crate::kernels::Kernels = crate::kernels::Kernels {
            name: $name,
            title: $title,
            // Safety: a set is chosen only if its features are present; likewise below.
            f32: |w, x, out| unsafe { $module::f32(w, x, out) },
            // Safety: as above.
            f16: |w, x, out| unsafe { $module::f16(w, x, out) },
            // Safety: as above.
            bf16: |w, x, out| unsafe { $module::bf16(w, x, out) },
            // Safety: as above.
            q8: |w, group, x, out| unsafe { $module::q8(w, group, x, out) },
            // Safety: as above.
            q8_0: |w, x, out| unsafe { $module::q8_0(w, x, out) },
            // Safety: as above.
            q4_0: |w, x, out| unsafe { $module::q4_0(w, x, out) },
            // Safety: as above.
            coded: |coded, w, x, out| unsafe { $module::coded(coded, w, x, out) },
            // Safety: as above.
            quantize: |x, rounding, out| unsafe { $module::quantize(x, rounding, out) },
            // Safety: as above.
            weighted_sum_f32: |rows, weights, out, stride| unsafe {
                $module::weighted_sum_f32(rows, weights, out, stride)
            },
            // Safety: as above.
            weighted_sum_f16: |rows, weights, out, stride| unsafe {
                $module::weighted_sum_f16(rows, weights, out, stride)
            },
            // Safety: as above.
            weighted_sum_q8_0: |rows, weights, out, stride| unsafe {
                $module::weighted_sum_q8_0(rows, weights, out, stride)
            },
            // Safety: as above.
            to_f16: |x, out| unsafe { $to_f16(x, out) },
            // Safety: as above.
            add: |out, x| unsafe { $module::add(out, x) },
            // Safety: as above.
            rmsnorm: |out, x, weight, epsilon| unsafe { $module::rmsnorm(out, x, weight, epsilon) },
            // Safety: as above.
            softmax: |x, divisor| unsafe { $module::softmax(x, divisor) },
            // Safety: as above.
            swiglu: |gate, up| unsafe { $module::swiglu(gate, up) },
            // Safety: as above.
            rope: |values, cos, sin| unsafe { $module::rope(values, cos, sin) },
            // Safety: as above.
            argmax: |x| unsafe { $module::argmax(x) },
            // Safety: as above.
            read: |bytes| unsafe { $read(bytes) },
        };

        /// Functions of the set; they may only be called if the CPU has these features.
        mod $module {
            use super::*;
            use crate::{
                kernels::{
                    AttentionWeights, Quantized,
                    arch::{lanes, tiles},
                    portable,
                },
                layout::{Activations, Rounding},
            };

            crate::kernels::arch::lanes::whole_number_kernels!($lanes, $features);

            #[target_feature(enable = $features)]
            pub fn f32(w: &[f32], x: &Activations<'_>, out: &mut [f32]) {
                // Safety: compiled for the unit; so below.
                unsafe { tiles::floats::<$lanes, f32>(w, x, out) }
            }

            #[target_feature(enable = $features)]
            pub fn f16(w: &[u16], x: &Activations<'_>, out: &mut [f32]) {
                // Safety: as above.
                unsafe { tiles::floats::<$lanes, lanes::Half>(lanes::halves(w), x, out) }
            }

            #[target_feature(enable = $features)]
            pub fn bf16(w: &[u16], x: &Activations<'_>, out: &mut [f32]) {
                // Safety: as above.
                unsafe { tiles::floats::<$lanes, lanes::Brain>(lanes::brains(w), x, out) }
            }

            #[target_feature(enable = $features)]
            pub fn weighted_sum_f32(
                rows: &[f32],
                weights: &AttentionWeights<'_>,
                out: &mut [f32],
                stride: usize,
            ) {
                // Safety: as above.
                unsafe { tiles::weigh::<$lanes, f32>(rows, weights, out, stride, |x| x) }
            }

            #[target_feature(enable = $features)]
            pub fn weighted_sum_f16(
                rows: &[u16],
                weights: &AttentionWeights<'_>,
                out: &mut [f32],
                stride: usize,
            ) {
                // Safety: as above.
                unsafe {
                    tiles::weigh::<$lanes, lanes::Half>(
                        lanes::halves(rows),
                        weights,
                        out,
                        stride,
                        lanes::half_value,
                    );
                }
            }

            #[target_feature(enable = $features)]
            pub fn weighted_sum_q8_0(
                rows: &[u8],
                weights: &AttentionWeights<'_>,
                out: &mut [f32],
                stride: usize,
            ) {
                // Safety: as above.
                unsafe { tiles::weigh_blocks::<$lanes>(rows, weights, out, stride) }
            }

            #[target_feature(enable = $features)]
            pub fn quantize(x: &[f32], rounding: Rounding, out: Quantized<'_>) {
                // Safety: as above.
                unsafe { lanes::quantize::<$lanes>(x, rounding, out) }
            }

            #[target_feature(enable = $features)]
            pub fn add(out: &mut [f32], x: &[f32]) {
                portable::add(out, x);
            }

            #[target_feature(enable = $features)]
            pub fn rmsnorm(out: &mut [f32], x: &[f32], weight: &[f32], epsilon: f32) {
                portable::rmsnorm(out, x, weight, epsilon);
            }

            #[target_feature(enable = $features)]
            pub fn softmax(x: &mut [f32], divisor: f32) {
                portable::softmax(x, divisor);
            }

            #[target_feature(enable = $features)]
            pub fn swiglu(gate: &mut [f32], up: &[f32]) {
                portable::swiglu(gate, up);
            }

            #[target_feature(enable = $features)]
            pub fn rope(values: &mut [f32], cos: &[f32], sin: &[f32]) {
                portable::rope(values, cos, sin);
            }

            #[target_feature(enable = $features)]
            pub fn argmax(x: &[f32]) -> usize {
                portable::argmax(x)
            }
        }
    };
}
pub(super) use kernel_set;

/// Defines a set that multiplies integers in another way than the set `KERNELS` beside it, with the
/// functions in a module.
macro_rules! whole_number_set {
    (
        $set:ident, $module:ident, $name:literal, $title:literal, $lanes:ty, $features:literal
    ) => {
        #[doc = concat!("The set for ", $title, ".")]
        pub static $set: crate::kernels::Kernels = crate::kernels::Kernels {
            name: $name,
            title: $title,
            // Safety: a set is chosen only if its features are present; likewise below.
            q8: |w, group, x, out| unsafe { $module::q8(w, group, x, out) },
            // Safety: as above.
            q8_0: |w, x, out| unsafe { $module::q8_0(w, x, out) },
            // Safety: as above.
            q4_0: |w, x, out| unsafe { $module::q4_0(w, x, out) },
            // Safety: as above.
            coded: |coded, w, x, out| unsafe { $module::coded(coded, w, x, out) },
            ..KERNELS
        };

        /// Functions of the set; they may only be called if the CPU has these features.
        mod $module {
            use super::*;
            use crate::{kernels::arch::tiles, layout::Activations};

            crate::kernels::arch::lanes::whole_number_kernels!($lanes, $features);
        }
    };
}
pub(super) use whole_number_set;

/// Defines the functions that multiply integers. They are apart because some units have better
/// instructions for these alone.
macro_rules! whole_number_kernels {
    ($lanes:ty, $features:literal) => {
        use crate::{
            kernels::arch::coded_tiles,
            layout::{
                coded::{Coded, Kind, with_kind},
                q4_0, q8_0,
            },
        };

        #[target_feature(enable = $features)]
        pub fn q8(w: &[u8], group: usize, x: &Activations<'_>, out: &mut [f32]) {
            // Safety: as above.
            unsafe { tiles::q8::<$lanes>(w, group, x, out) }
        }

        #[target_feature(enable = $features)]
        pub fn q8_0(w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
            // Safety: as above.
            unsafe {
                if <$lanes>::INTERLEAVED && x.tokens > 1 {
                    coded_tiles::blocks::<$lanes, false>(&q8_0::LAYOUT, w, x, out, unpacked);
                } else {
                    tiles::q8_0::<$lanes>(w, x, out);
                }
            }
        }

        #[target_feature(enable = $features)]
        pub fn q4_0(w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
            // Safety: as above.
            unsafe {
                if <$lanes>::INTERLEAVED && x.tokens > 1 {
                    coded_tiles::blocks::<$lanes, true>(&q4_0::LAYOUT, w, x, out, unpacked);
                } else {
                    tiles::q4_0::<$lanes>(w, x, out);
                }
            }
        }

        #[target_feature(enable = $features)]
        pub fn coded(coded: Coded, w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
            with_kind!(coded, K => one_type::<K>(w, x, out))
        }

        /// [`coded`] for one type, in a function of its own because long functions compile slowly.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn one_type<K: Kind>(w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
            // Safety: as above.
            unsafe { coded_tiles::panels::<$lanes, K>(w, x, out, unpacked) }
        }

        /// [`coded_tiles::multiply`].
        ///
        /// # Safety
        /// As for [`coded_tiles::multiply`].
        #[target_feature(enable = $features)]
        unsafe fn unpacked(
            of: &coded_tiles::Numbers,
            x: &Activations<'_>,
            out: (*mut f32, usize),
        ) {
            // Safety: as the caller says.
            unsafe {
                match (of.shape.factors, of.shape.minima, of.shape.table) {
                    (_, _, true) => {
                        coded_tiles::multiply::<$lanes, false, false, true>(of, x, out);
                    }
                    (2, true, _) => {
                        coded_tiles::multiply::<$lanes, true, true, false>(of, x, out);
                    }
                    (2, false, _) => {
                        coded_tiles::multiply::<$lanes, true, false, false>(of, x, out);
                    }
                    (_, true, _) => {
                        coded_tiles::multiply::<$lanes, false, true, false>(of, x, out);
                    }
                    (_, false, _) => {
                        coded_tiles::multiply::<$lanes, false, false, false>(of, x, out);
                    }
                }
            }
        }
    };
}
pub(super) use whole_number_kernels;
