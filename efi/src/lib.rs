//! What `llama2.efi` does that needs no firmware: read its configuration and command line, choose a
//! model, understand the firmware's keys, cut text into its pieces. The application itself
//! (`main.rs` and `firmware/`) brings the firmware; this half is tested on the host.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod acpi;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
pub mod arch;
pub mod command_line;
pub mod cores;
pub mod file_error;
pub mod model_names;
pub mod options;
pub mod progress;
pub mod ring;
pub mod scan_code;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
pub mod stack;
pub mod try_lock;
pub mod ucs2;
pub mod work_queue;
