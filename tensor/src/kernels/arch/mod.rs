//! Properties of a processor architecture: its vector units, which kernels need which of them, and
//! the additions that a clock is counted by. A file for each; all have the same names.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(not(target_arch = "x86_64"))]
mod no_features;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
mod other;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
pub use other::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

/// Vector units that a set needs and a core lacks, in words; `None` if it has them.
pub type Needs = fn(Features) -> Option<&'static str>;
