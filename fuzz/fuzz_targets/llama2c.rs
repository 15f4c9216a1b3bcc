//! Checkpoints of llama2.c's three layouts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{common::untrusted, plant};

fuzz_target!(
    init: plant("llama2c"),
    |bytes: &[u8]| untrusted::llama2c(bytes)
);
