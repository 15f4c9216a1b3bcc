//! What `llama2.efi` does that needs no firmware: read its configuration and command line, choose a model, understand
//! the firmware's keys, cut text into its pieces. The application itself (`main.rs` and `firmware/`) brings the firmware; this half is tested on
//! the host.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod acpi;
pub mod choose;
pub mod command_line;
pub mod cores;
pub mod crew;
pub mod options;
pub mod processor;
pub mod ring;
pub mod scan;
pub mod screen;
pub mod trouble;
