//! Matrices of llama2.efi: where their numbers lie in memory, and the arithmetic on them.
//!
//! ```text
//! bytes of a file ─► matrix (packed panels, in an arena of buffer) ─► kernels ─► activations
//! ```
//!
//! A crate of its own because its inner loops are generated per type, number of tokens and
//! instruction set, which is most of what there is to compile: once for all tests.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod buffer;
pub mod kernels;
pub mod layout;
pub mod math;
pub mod matrix;
pub mod quantize;
