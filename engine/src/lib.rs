//! Engine of llama2.efi: from bytes on a disk to text, without an operating system.
//!
//! ```text
//! ByteSource ─► Checkpoint ─► Model ─► Session ─► logits ─► Sampler ─► token ─► Tokenizer ─► text
//! ```
//!
//! - [`source::ByteSource`] provides the bytes of a file. [`checkpoint::Checkpoint::open`] reads
//!   the header and checks it against the file's size, so that later steps can rely on it.
//! - [`context::Context::fit`] chooses a context length for which there is memory, and
//!   [`model::Model::load`] reads the weights into packed matrices ([`matrix`], [`kernels`]).
//! - [`tokenizer::Tokenizer`] encodes text as tokens and decodes them again.
//! - [`session::Session`] computes the logits of the next token, on as many cores as there are
//!   [`workers`], and [`sampler::Sampler`] chooses the token.
//! - [`generate::step`] repeats this for a [`generate::Sequence`] (a story, or the answer of a
//!   [`chat::Chat`]) and reports each [`event::Event`] until the text is complete.
//!   [`run_mode::RunMode`] is what a model is run as.
//!
//! Everything here is `no_std` + `alloc`. The shells (`llama2`, `llama2.efi`) provide files, a
//! clock and a screen.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub use checkpoint::gguf;
pub use llama2_tensor::{buffer, half, kernels, layout, math, matrix, quantize};

// From the ground up: each floor uses only those before it. Ground:
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
mod forward;
mod kv_cache;
pub mod model;
pub mod parallel;
mod quantized;
mod rope;
pub mod session;
pub mod speculation;
pub mod thread_tuner;
pub mod workers;

// Texts out of it:
pub mod chat;
pub mod event;
pub mod generate;
mod repetition;
pub mod run_mode;
pub mod sampler;
pub mod settings;
pub mod text_stream;
