//! The application: one file for each thing that the firmware gives, and `app` that puts them together.

pub mod app;
mod banner;
mod bench;
pub mod clock;
mod console;
mod cores;
mod cpu;
mod files;
mod find;
mod global;
mod load;
mod log;
mod memory;
mod panic;
mod random;
mod serial;
mod shell;
mod stack;
mod talk;
pub mod terminal;
mod wishes;

/// The application's name and version.
const NAME: &str = concat!("llama2.efi ", env!("CARGO_PKG_VERSION"));
