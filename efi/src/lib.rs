//! Parts of `llama2.efi` that need no firmware: choice of cores and work sharing, stacks, processor
//! features, the firmware's keys and errors. The application itself (`main.rs` and `firmware/`)
//! adds the firmware; this library is tested on the host.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod acpi;
pub mod arch;
pub mod command_line;
pub mod cores;
pub mod device_tree;
pub mod file_error;
pub mod network;
pub mod options;
pub mod pinned;
pub mod progress;
pub mod ring;
pub mod scan_code;
pub mod stack;
pub mod try_lock;
pub mod ucs2;
pub mod work_queue;
