//! x86-64: AVX2 and AVX-512.

use core::arch::asm;

use super::Needs;
use crate::kernels::Kernels;

mod avx2;
mod avx512;
mod features;

pub use features::Features;

/// Name of the plain set.
pub const NAME: &str = "sse2";
/// Name of the plain set for people.
pub const TITLE: &str = "SSE2";

/// Sets of this architecture's vector units, the plainest first.
pub const SETS: &[(&Kernels, Needs)] = &[
    (&avx2::KERNELS, |f| {
        (!f.avx2).then_some("AVX2, FMA and F16C")
    }),
    (&avx512::KERNELS, |f| {
        (!f.avx512).then_some("AVX-512 F, BW, DQ and VL")
    }),
    (&avx512::VNNI_KERNELS, |f| {
        (!f.vnni).then_some("AVX-512 VNNI")
    }),
];

/// 64 additions, each of which waits for the one before.
pub fn add_64(mut sum: u64, one: u64) -> Option<u64> {
    // Safety: it changes a register that it names.
    unsafe {
        asm!(
            ".rept 64",
            "add {sum}, {one}",
            ".endr",
            sum = inout(reg) sum,
            one = in(reg) one,
            options(nomem, nostack)
        );
    }
    Some(sum)
}
