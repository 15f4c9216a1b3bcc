//! Whole sessions with scripts for keyboards: every command, keys at every time, files that fail.

mod chat;
mod files;
mod keys;
mod models;
mod room;
mod story;
