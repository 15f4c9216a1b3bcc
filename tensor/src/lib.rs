//! Matrices of llama2.efi: their layout in memory, and the arithmetic on them.
//!
//! ```text
//! bytes of a file ─► matrix (packed panels, in an arena of buffer) ─► kernels ─► activations
//! ```
//!
//! This is a crate of its own because its inner loops are generated per type, number of tokens and
//! instruction set, which takes most of the compile time; all tests share one build of it.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod buffer;
pub mod half;
pub mod kernels;
pub mod layout;
pub mod math;
pub mod matrix;
pub mod quantize;
