//! AArch64: NEON as the compiler uses it.

use core::arch::asm;

use super::Needs;
use crate::kernels::Kernels;

pub use super::no_features::Features;

/// Name of the plain set.
pub const NAME: &str = "neon";
/// Name of the plain set for people.
pub const TITLE: &str = "NEON";

/// Sets of this architecture's vector units.
pub const SETS: &[(&Kernels, Needs)] = &[];

/// 64 additions, each of which waits for the one before.
pub fn add_64(mut sum: u64, one: u64) -> Option<u64> {
    // Safety: it changes a register that it names.
    unsafe {
        asm!(
            ".rept 64",
            "add {sum}, {sum}, {one}",
            ".endr",
            sum = inout(reg) sum,
            one = in(reg) one,
            options(nomem, nostack)
        );
    }
    Some(sum)
}
