//! What `llama2.efi` does that needs no firmware, so that the host can test it.
#![cfg_attr(not(test), no_std)]
extern crate alloc;
