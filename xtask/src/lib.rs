//! Builds, images, boots, fetches and installs llama2.efi: for `cargo xtask`, and for the tools
//! that test and compare.
#![forbid(unsafe_code)]

pub mod arch;
pub mod build;
pub mod dist;
pub mod fetch;
pub mod image;
pub mod qemu;
pub mod run;
pub mod setup;
pub mod shell;
pub mod terminal;
mod toolchain;
