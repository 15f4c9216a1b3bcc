//! The application: one file for each thing that the firmware gives, and `app` that puts them together.

mod ap_pool;
pub mod app;
mod banner;
mod bench;
pub mod clock;
mod console;
pub use ap_pool::discharge;
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
pub mod power;
mod random;
mod serial;
mod shell;
mod show;
mod store;
pub mod terminal;
mod timer;
mod wishes;

/// The application's name and version.
const NAME: &str = concat!("llama2.efi ", env!("CARGO_PKG_VERSION"));
