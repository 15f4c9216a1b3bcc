//! Extensions of NEON that the processor has.

/// Extensions that kernels exist for, usable on one core or on each of several. A value is proof
/// that they can be used: values come only from asking a core and from intersecting such answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Dot products of four bytes (FEAT_DotProd).
    pub(super) dotprod: bool,
    /// Products of 2 × 8 by 8 × 2 bytes (FEAT_I8MM), with what `dotprod` says.
    pub(super) i8mm: bool,
}

impl Features {
    /// The build's baseline: NEON alone.
    pub const BASE: Features = Features {
        dotprod: false,
        i8mm: false,
    };

    /// Detects the features of the core that this runs on.
    #[cfg(target_os = "uefi")]
    pub fn of_this_core() -> Features {
        of_registers()
    }

    /// Asks the operating system, which knows what all cores have: it need not let programs read
    /// the processor's registers.
    #[cfg(not(target_os = "uefi"))]
    pub fn of_this_core() -> Features {
        extern crate std;
        let dotprod = std::arch::is_aarch64_feature_detected!("dotprod");
        Features {
            dotprod,
            i8mm: dotprod && std::arch::is_aarch64_feature_detected!("i8mm"),
        }
    }

    /// Features that both have.
    pub fn intersect(self, other: Features) -> Features {
        Features {
            dotprod: self.dotprod && other.dotprod,
            i8mm: self.i8mm && other.i8mm,
        }
    }
}

/// Features in the core's own registers: fields DP of ID_AA64ISAR0_EL1 and I8MM of
/// ID_AA64ISAR1_EL1 (Arm Architecture Reference Manual, D24.2). Firmware and Linux, which emulates
/// it for programs, let them be read.
#[cfg(any(target_os = "uefi", all(test, target_os = "linux")))]
pub(super) fn of_registers() -> Features {
    let (isar0, isar1): (u64, u64);
    // Safety: UEFI runs applications at EL1 or EL2, where identification registers can be read;
    // Linux emulates the instruction.
    unsafe {
        core::arch::asm!(
            "mrs {}, id_aa64isar0_el1",
            "mrs {}, id_aa64isar1_el1",
            out(reg) isar0,
            out(reg) isar1,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    let dotprod = isar0 >> 44 & 15 != 0;
    Features {
        dotprod,
        i8mm: dotprod && isar1 >> 52 & 15 != 0,
    }
}
