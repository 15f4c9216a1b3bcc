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
#[expect(dead_code, reason = "the conversation asks for it")]
mod frame;
mod global;
mod keyboard;
mod load;
mod log;
mod memory;
mod panic;
#[expect(dead_code, reason = "the conversation asks for it")]
mod power;
mod random;
mod serial;
mod shell;
mod stack;
#[expect(dead_code, reason = "the conversation asks for it")]
mod store;
mod talk;
#[expect(dead_code, reason = "the conversation asks for it")]
pub mod terminal;
mod wishes;

/// The application's name and version.
const NAME: &str = concat!("llama2.efi ", env!("CARGO_PKG_VERSION"));
