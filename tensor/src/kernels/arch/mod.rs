//! Properties of a processor architecture: its vector units, which kernels need which of them, and
//! the additions that a clock is counted by. A folder or a file for each; all have the same names.
//! Matrix kernels over sixteen lanes (`tiles`, `coded_tiles`) are shared by those that implement
//! the lanes (`lanes`).

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod coded_tiles;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod lanes;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
mod other;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod tiles;
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
