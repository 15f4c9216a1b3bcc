//! Files such as tokenizer.bin.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::plant;
use llama2_testing::{seeds, untrusted};

fuzz_target!(
    init: plant("tokenizer", seeds::of),
    |bytes: &[u8]| untrusted::tokenizer(bytes)
);
