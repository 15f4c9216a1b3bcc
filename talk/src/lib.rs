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

mod act;
mod files;
mod hold;
pub mod host;
pub mod menu;
pub mod offer;
mod prompt;
pub mod reply;
mod wishes;

pub use hold::{Loaded, Next, State, hold, tell_once};
