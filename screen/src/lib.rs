//! Full-screen interface: a conversation that can be scrolled back; below it the input line, a menu
//! or the progress; and a status bar.
//!
//! [`Screen`] is a [`llama2_console::front::Front`]. It draws into its own pixels and passes on
//! rectangles of them, so that it serves a firmware's frame buffer and a picture in a test alike;
//! it depends on neither firmware nor models.
//!
//! ```text
//!  Front::show ──► text::Text (rows) ─┐
//!  Front::bottom, gauge ──► state ────┴─► views ─► cells ─► Picture: the changed ─► Tiles ─► put
//! ```
//!
//! Showing only changes state; [`Screen::draw`] does the work for everything shown since the last
//! call. The cost depends on what changed: rows that only moved up are moved, not laid out again,
//! and cells that look the same are not redrawn.
//!
//! Measured costs, and a comparison with mousefood 0.5.3 over `embedded-graphics` (70 to 115 times
//! as much for a word, 5 times for a scroll): `docs/INTERFACE.md`, "The screen".
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod font;
mod lines;
mod picture;
mod screen;
#[cfg(test)]
mod tests;
mod text;
mod theme;
mod tiles;
mod unifont;
mod views;

pub use picture::{Area, FrameCost};
pub use screen::{Refused, Screen};
