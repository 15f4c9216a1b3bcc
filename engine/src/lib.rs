//! The engine of llama2.efi: from bytes on a disk to text, without an operating system.
//!
//! ```text
//! ByteSource ─► Checkpoint ─► Model ─► Session ─► logits ─► Sampler ─► token ─► Tokenizer ─► text
//! ```
//!
//! Everything here is `no_std` + `alloc`. The shells (`llama2`, `llama2.efi`) bring files, a clock and a screen.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub use checkpoint::gguf;
pub use llama2_tensor::{buffer, kernels, layout, math, matrix, quantize};

pub mod bench;
mod cache;
pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod context;
pub mod generate;
pub mod model;
mod quants;
mod rope;
pub mod sampler;
pub mod session;
pub mod settings;
pub mod source;
pub mod task;
pub mod team;
pub mod tokenizer;
pub mod tune;
pub mod units;
pub mod utf8;
pub mod workers;
