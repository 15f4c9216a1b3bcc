//! AArch64: NEON, which every processor has, and the dot products and matrix products that newer
//! ones have beside it.

use core::arch::asm;

use super::Needs;
use crate::kernels::Kernels;

mod features;
mod neon;

pub use features::Features;

/// Sets of this architecture's vector units, the plainest first.
pub const SETS: &[(&Kernels, Needs)] = &[
    (&neon::KERNELS, |_| None),
    (&neon::DOTPROD_KERNELS, |f| {
        (!f.dotprod).then_some("the dot products of Armv8.2 (FEAT_DotProd)")
    }),
    (&neon::I8MM_KERNELS, |f| {
        (!f.i8mm).then_some("the int8 matrix products of Armv8.6 (FEAT_I8MM)")
    }),
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{best, named};

    #[test]
    fn sets_are_chosen_by_what_there_is_and_by_name() {
        let all = Features {
            dotprod: true,
            i8mm: true,
        };
        let older = Features { i8mm: false, ..all };
        assert_eq!(best(Features::BASE).name, "neon");
        assert_eq!(best(older).name, "dotprod");
        assert_eq!(best(all).name, "i8mm");
        assert_eq!(named("neon", all).map(|set| set.title), Ok("NEON"));
        let error = |name, features| named(name, features).err().unwrap().to_string();
        assert_eq!(
            error("i8mm", older),
            "the i8mm kernels need the int8 matrix products of Armv8.6 (FEAT_I8MM), which \
             this machine does not have or its system has not switched on"
        );
        assert_eq!(
            error("sse2", all),
            "there are no kernels of that name; known are neon, dotprod, i8mm, scalar"
        );
        assert_eq!(all.intersect(older), older);
        // What the registers say is what the operating system says, where it lets them be read.
        #[cfg(target_os = "linux")]
        assert_eq!(features::of_registers(), Features::of_this_core());
    }
}
