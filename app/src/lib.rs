//! The program, the same in firmware and on the host: models one after another, a conversation at
//! a console, what each command does, how replies are made and shown.
//!
//! ```text
//!  Console (keys in, text out) ─► prompt ─► a line ─► commands ─► dispatch
//!                                   ▲                     │
//!  Platform (files, cores, models) ─┴──── reply ◄─────────┘ ─► engine::{chat, generate}
//! ```
//!
//! A shell brings the two traits of [`platform`] and calls [`run_models`], which comes back when
//! its user leaves.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bench;
pub mod catalogue;
mod dispatch;
mod files;
pub mod menu;
mod model_loop;
pub mod model_names;
pub mod platform;
mod prompt;
pub mod qr;
mod reply;
pub mod sentences;
mod service;
mod session_loop;
mod settings;

pub use model_loop::{First, run_models};
pub use service::{Service, ServiceParts};
pub use session_loop::{Loaded, Next, State, run_session, tell_once};

/// Sentence before the last line where the machine starts again: for whoever runs it and may think
/// that this was the end.
pub const AGAIN: &str = "Starting the machine again.";
