//! Processors that nothing was written for.

use super::Needs;
use crate::kernels::Kernels;

/// Vector units that kernels exist for: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features(());

impl Features {
    /// Nothing but what the build takes for granted.
    pub const BASE: Features = Features(());

    /// Those of the core that this runs on.
    pub fn of_this_core() -> Features {
        Features::BASE
    }

    /// Vector units that both have.
    pub fn intersect(self, _other: Features) -> Features {
        self
    }
}

/// Sets of this architecture: none beside the scalar one.
pub const SETS: &[(&Kernels, Needs)] = &[];

/// Additions that wait for each other: the compiler would leave them out.
pub fn add_64(_sum: u64, _one: u64) -> Option<u64> {
    None
}
