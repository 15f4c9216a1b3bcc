//! All that is one processor architecture's own: a folder or a file for each, with the same
//! functions. Vector units of the engine's kernels are `llama2_engine::kernels`' own matter.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;
