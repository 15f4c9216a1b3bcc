//! Texts for every kind of tokenizer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::plant;
use llama2_testing::{seeds, untrusted};

fuzz_target!(
    init: plant("tokenisation", seeds::of),
    |bytes: &[u8]| untrusted::tokenisation(bytes)
);
