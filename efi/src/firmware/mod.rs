//! The application: one file for each thing that the firmware gives, and `app` that puts them
//! together.

mod ap_pool;
pub mod app;
mod banner;
pub mod clock;
mod console;
pub use ap_pool::discharge;
mod configuration;
mod display;
mod files;
mod frame;
mod global;
mod keyboard;
mod load;
mod log;
mod memory;
mod models;
mod netboot;
mod network;
mod panic;
mod platform;
pub mod power;
mod random;
mod save;
mod serial;
mod serving;
mod shell;
mod tables;
pub mod terminal;
mod timer;

/// The application's name and version.
const NAME: &str = concat!("llama2.efi ", env!("CARGO_PKG_VERSION"));
