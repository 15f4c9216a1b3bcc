//! Checkpoints of llama2.c's three layouts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::plant;
use llama2_testing::{seeds, untrusted};

fuzz_target!(
    init: plant("llama2c", seeds::of),
    |bytes: &[u8]| untrusted::llama2c(bytes)
);
