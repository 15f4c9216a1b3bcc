//! Engine of llama2.efi: from bytes on a disk to text, without an operating system.
//!
//! ```text
//! ByteSource ─► Checkpoint ─► Model ─► Session ─► logits ─► Sampler ─► token ─► Tokenizer ─► text
//! ```
//!
//! Everything here is `no_std` + `alloc`. The shells (`llama2`, `llama2.efi`) provide files, a
//! clock and a screen.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub use checkpoint::gguf;
pub use llama2_tensor::{buffer, kernels, layout, math, matrix, quantize};

// From the ground up: each uses only those before it. Ground:
pub mod source;
pub mod units;
pub mod utf8;

// Contents of files:
pub mod checkpoint;
pub mod config;

// Texts to tokens:
pub mod tokenizer;

// The model at work:
pub mod bench;
pub mod context;
mod kv_cache;
pub mod model;
pub mod parallel;
mod quantized;
mod rope;
pub mod session;
pub mod thread_tuner;
pub mod workers;

// Texts out of it:
pub mod chat;
pub mod generate;
pub mod sampler;
pub mod settings;
pub mod task;
