//! Whole sessions with scripts for keyboards: every command, keys at every time, files that fail.

mod chat;
#[allow(dead_code)]
#[path = "../../../engine/tests/common/family.rs"]
mod family;
mod files;
mod keys;
mod models;
mod room;
mod story;
