//! Files like tokenizer.bin.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{common::untrusted, plant};

fuzz_target!(
    init: plant("tokenizer"),
    |bytes: &[u8]| untrusted::tokenizer(bytes)
);
