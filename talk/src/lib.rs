//! A conversation at a console, the same in firmware and on the host: what is typed, what each
//! command does, how replies are made and shown.
//!
//! ```text
//!  Console (keys in, text out) ─► prompt ─► a line ─► commands ─► what it does
//!                                   ▲                     │
//!  Host (files, cores, machine) ────┴──── reply ◄─────────┘ ─► engine::{chat, generate}
//! ```
//!
//! A shell brings the two traits of [`host`] and calls [`hold()`], which comes back when something
//! is wanted that only the shell can do: another model, a benchmark, the end.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod catalogue;
mod dispatch;
mod files;
pub mod host;
pub mod menu;
pub mod model_names;
mod prompt;
pub mod reply;
mod session_loop;
mod wishes;

pub use session_loop::{Loaded, Next, State, hold, tell_once};

/// Sentence before the last line where the machine starts again: for whoever runs it and may think
/// that this was the end.
pub const AGAIN: &str = "Starting the machine again.";
