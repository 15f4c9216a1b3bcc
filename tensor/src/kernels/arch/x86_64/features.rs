//! Vector extensions of the processor that the operating environment has enabled.

/// Vector extensions that kernels exist for, usable on one core or on each of several. A value is
/// proof that they can be used: values come only from asking a core and from intersecting such
/// answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// SSSE3.
    pub(in crate::kernels) ssse3: bool,
    /// AVX2 with FMA and F16C (x86-64-v3).
    pub(in crate::kernels) avx2: bool,
    /// AVX-512 F, BW, DQ and VL with what `avx2` says (x86-64-v4).
    pub(in crate::kernels) avx512: bool,
    /// VNNI for 512-bit vectors.
    pub(in crate::kernels) vnni: bool,
}

impl Features {
    /// The build's baseline: SSE2.
    pub const BASE: Features = Features {
        ssse3: false,
        avx2: false,
        avx512: false,
        vnni: false,
    };

    /// Detects the features of the core that this runs on: those in CPUID whose state XCR0 enables
    /// (Intel SDM volume 1, 13.2 and 15.2).
    pub fn of_this_core() -> Features {
        use core::arch::x86_64::{__cpuid, __cpuid_count};
        let bit = |register: u32, bit: u32| register & (1 << bit) != 0;
        let most = __cpuid(0).eax;
        let leaf1 = __cpuid(1);
        // Its state is SSE2's, which is always on.
        let ssse3 = bit(leaf1.ecx, 9);
        // OSXSAVE: without it XGETBV is no instruction.
        if most < 7 || !bit(leaf1.ecx, 27) {
            return Features {
                ssse3,
                ..Features::BASE
            };
        }
        // Safety: OSXSAVE is set.
        let state = unsafe { xcr0() };
        let leaf7 = __cpuid_count(7, 0);
        // AVX, FMA, F16C; AVX2.
        let avx2 = state & 0b110 == 0b110
            && [28, 12, 29].iter().all(|&b| bit(leaf1.ecx, b))
            && bit(leaf7.ebx, 5);
        // F, DQ, BW, VL.
        let avx512 =
            avx2 && state & 0xe0 == 0xe0 && [16, 17, 30, 31].iter().all(|&b| bit(leaf7.ebx, b));
        Features {
            ssse3,
            avx2,
            avx512,
            vnni: avx512 && bit(leaf7.ecx, 11),
        }
    }

    /// AVX2 with FMA and F16C.
    pub fn has_avx2(self) -> bool {
        self.avx2
    }

    /// Returns true if AVX-512 F, BW, DQ and VL are usable.
    pub fn has_avx512(self) -> bool {
        self.avx512
    }

    /// Features that both have.
    pub fn intersect(self, other: Features) -> Features {
        Features {
            ssse3: self.ssse3 && other.ssse3,
            avx2: self.avx2 && other.avx2,
            avx512: self.avx512 && other.avx512,
            vnni: self.vnni && other.vnni,
        }
    }
}

/// # Safety
/// CR4.OSXSAVE is set, as CPUID.1:ECX bit 27 tells.
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // Safety: as the caller says.
    unsafe { core::arch::x86_64::_xgetbv(0) }
}
