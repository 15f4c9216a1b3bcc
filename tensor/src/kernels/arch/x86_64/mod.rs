//! x86-64: SSE2, SSSE3, AVX2 and AVX-512.

use core::arch::asm;

use super::Needs;
use crate::kernels::Kernels;

mod avx2;
mod avx512;
mod features;
mod sse;

pub use features::Features;

/// Sets of this architecture's vector units, the plainest first.
pub const SETS: &[(&Kernels, Needs)] = &[
    (&sse::KERNELS, |_| None),
    (&sse::SSSE3_KERNELS, |f| (!f.ssse3).then_some("SSSE3")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{best, named};

    #[test]
    fn sets_are_chosen_by_what_there_is_and_by_name() {
        let all = Features {
            ssse3: true,
            avx2: true,
            avx512: true,
            vnni: true,
        };
        assert_eq!(best(Features::BASE).name, "sse2");
        assert_eq!(best(all).title, "AVX-512 VNNI");
        let without = Features { vnni: false, ..all };
        assert_eq!(named("avx512", without).map(|set| set.title), Ok("AVX-512"));
        let old = Features {
            ssse3: true,
            ..Features::BASE
        };
        assert_eq!(best(old).title, "SSSE3");
        assert_eq!(named("avx2", all).map(|set| set.title), Ok("AVX2"));
        assert_eq!(
            named("sse2", Features::BASE).map(|set| set.title),
            Ok("SSE2")
        );
        let error = named(
            "avx512",
            Features {
                avx512: false,
                vnni: false,
                ..all
            },
        );
        assert_eq!(
            error.err().map(|error| error.to_string()).unwrap(),
            "the avx512 kernels need AVX-512 F, BW, DQ and VL, which this \
             machine does not have or its system has not switched on"
        );
        let error = named("mmx", all)
            .err()
            .map(|error| error.to_string())
            .unwrap();
        assert_eq!(
            error,
            "there are no kernels of that name; known are sse2, ssse3, avx2, avx512, scalar"
        );
        let half = Features {
            avx512: false,
            ..all
        };
        assert_eq!(all.intersect(half), half);
        // What this test runs on has what its operating system says.
        let here = Features::of_this_core();
        assert_eq!(
            here.avx2,
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
        );
        assert_eq!(here.ssse3, is_x86_feature_detected!("ssse3"));
        assert_eq!(here.vnni, is_x86_feature_detected!("avx512vnni"));
    }
}
