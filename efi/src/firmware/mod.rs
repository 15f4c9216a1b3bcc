//! The application: one file for each thing that the firmware gives, and `app` that puts them together.

pub mod app;
mod banner;
mod bench;
pub mod clock;
mod console;
mod cores;
pub use cores::discharge;
mod cpu;
mod files;
mod find;
mod frame;
mod global;
mod keyboard;
mod load;
mod log;
mod machine;
mod memory;
mod panic;
mod power;
mod random;
mod serial;
mod shell;
mod show;
mod stack;
mod store;
pub mod terminal;
mod wishes;

/// The application's name and version.
const NAME: &str = concat!("llama2.efi ", env!("CARGO_PKG_VERSION"));
