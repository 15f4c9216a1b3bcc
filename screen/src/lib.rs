//! The full-screen interface: a conversation that can be scrolled back, what is being typed, chosen
//! or waited for below it, and a status bar.
//!
//! [`Screen`] is a [`llama2_console::front::Front`]. It draws into pixels of its own and hands over
//! rectangles of them, so that it serves a firmware's frame buffer and a picture in a test alike;
//! it knows neither firmware nor model.
//!
//! ```text
//!  Front::show ──► text::Text (rows) ─┐
//!  Front::bottom, gauge ──► state ────┴─► views ─► cells ─► Picture: the changed ─► Tiles ─► put
//! ```
//!
//! Showing changes state only; [`Screen::draw`] does the work, for all that was shown since the
//! last time. Its cost is what changed: rows that only moved up are moved, not laid out again, and
//! cells that look the same are not drawn again.
//!
//! What it costs, and mousefood 0.5.3 over `embedded-graphics` beside it (70 to 115 times as much
//! for a word, 5 times for a scroll): `docs/INTERFACE.md`, "The screen".
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
mod views;

pub use picture::{Area, FrameCost};
pub use screen::{Refused, Screen};
