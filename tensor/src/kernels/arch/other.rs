//! Processors that nothing was written for.

use super::Needs;
use crate::kernels::Kernels;

pub use super::no_features::Features;

/// Name of the plain set.
pub const NAME: &str = "portable";
/// Name of the plain set for people.
pub const TITLE: &str = "portable";

/// Sets of this architecture's vector units.
pub const SETS: &[(&Kernels, Needs)] = &[];

/// Additions that wait for each other: the compiler would leave them out.
pub fn add_64(_sum: u64, _one: u64) -> Option<u64> {
    None
}
