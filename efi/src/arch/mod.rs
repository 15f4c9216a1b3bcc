//! Everything that is specific to a processor architecture: a folder or a file for each, with the
//! same functions. Vector units of the engine's kernels are handled by `llama2_engine::kernels`.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;
