//! Input and output of a session, for both shells, independent of firmware, terminals and models.
//!
//! ```text
//!  bytes ─► decoder::Keys ┐
//!                         ├─► Key ─► editor::Editor ─► a line ─► commands::parse ─► Input
//!  firmware's keyboard ───┘             │
//!   └─► layout::TypingState             └─► view::lay_out ─► ansi::Ansi, grid::Grid ─► the screen
//!                                                                     ▲
//!                          an answer ─► markdown::Markdown ─► rows ───┘
//! ```
//!
//! Nothing in here waits, prints or reads a clock: a shell passes in keys and milliseconds, and
//! shows the text that comes out.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod ansi;
pub mod cell_terminal;
pub mod commands;
pub mod complete;
pub mod config;
pub mod conversation;
pub mod decoder;
pub mod editor;
pub mod filename;
pub mod front;
pub mod grid;
pub mod history;
pub mod keys;
pub mod layout;
pub mod markdown;
mod paste_detect;
pub mod row;
pub mod settings;
pub mod status;
pub mod style;
pub mod suggest;
pub mod terminal;
pub mod text;
pub mod typeahead;
mod utf8;
pub mod view;
pub mod width;
pub mod wrap;

/// Deterministic random numbers for tests (Knuth's MMIX constants).
#[cfg(test)]
pub(crate) fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    }
}
