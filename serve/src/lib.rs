//! An HTTP server for language models, without an operating system: llama-server's interface,
//! OpenAI's and others, over a [`Network`] that never waits.
//!
//! [`Server::poll`] takes what has come over the network and sends what there is to send;
//! [`Server::step`] makes one pass over the weights for all requests that run. Whoever owns the
//! loop calls both in turn: there are no threads and no locks.
//!
//! A request becomes one or more tasks (`generation.rs`), which wait for a slot (`scheduler.rs`);
//! what happens to them is written in the shape of the interface that was called (`api/`).
#![no_std]

extern crate alloc;

mod api;
mod config;
mod error;
mod field;
mod generation;
mod http;
mod job;
mod machine;
mod network;
mod page;
mod params;
mod scheduler;
mod server;
mod state;
mod templates;

pub use config::{Config, Origins};
pub use machine::Machine;
pub use network::{ConnectionId, Lost, Network, Received};
pub use scheduler::Other;
pub use server::{Server, Status};
pub use templates::chat_template;

/// Name of the build, which answers state.
const FINGERPRINT: &str = concat!("b", env!("CARGO_PKG_VERSION"), "-llama2");
